//! Who may be mid-authentication: `sally_proto::admission` with a clock, dice, and a way to end a connection. Relay and jail have one too.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sally_proto::address_block::{self, AddressBlock};
use sally_proto::admission::{Admission, Arrival, Outcome, Settings, Ticket};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use crate::lock::lock;

/// From the first byte to an authenticated visitor: one total deadline, whatever trickles in meanwhile (sshd's LoginGraceTime is 120 s,
/// for passwords typed by hand; keys need no such time).
const LOGIN_GRACE: Duration = Duration::from_secs(30);

/// What is known of the addresses that connections come from.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Those that have no penalties.
    pub exempt: Vec<AddressBlock>,
    /// Those of balancers, which say of each connection whom it is for.
    pub proxies: Vec<AddressBlock>,
}

/// A door's admission.
#[derive(Debug)]
pub struct Gate {
    origin: Instant,
    proxies: Vec<AddressBlock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    admission: Admission,
    waiting: HashMap<Ticket, CancellationToken>,
}

impl Gate {
    /// A gate that nobody has come to yet.
    pub fn new(settings: Settings, origins: Origins) -> Arc<Self> {
        let state = State { admission: Admission::new(settings, origins.exempt), waiting: HashMap::new() };
        Arc::new(Self { origin: Instant::now(), proxies: origins.proxies, state: Mutex::new(state) })
    }

    /// Lets a connection in, or nothing where its source is refused. To be called for each that is accepted, before its first byte.
    pub fn admit(self: &Arc<Self>, peer: Endpoint) -> Option<Connection> {
        // Who comes over a pipe comes alone: any address will do.
        let source = peer.ip().unwrap_or(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let by_proxy = peer.ip().is_some_and(|address| address_block::any_contains(&self.proxies, address));
        let now = self.origin.elapsed();
        let deadline = Instant::now() + LOGIN_GRACE;
        let mut state = self.state();
        let arrival =
            if by_proxy { state.admission.arrive_by_proxy(source, now, roll()) } else { state.admission.arrive(source, now, roll()) };
        match arrival {
            Arrival::Refused { remaining } => {
                tracing::info!(%peer, ?remaining, "refused: its address has a penalty");
                None
            }
            Arrival::Admitted { ticket, makes_room } => {
                if let Some(gone) = makes_room {
                    tracing::info!("too many are authenticating: an older one is dropped");
                    state.cut(gone);
                }
                let cut = CancellationToken::new();
                state.waiting.insert(ticket, cut.clone());
                let (settled, authenticated, denied) = (CancellationToken::new(), AtomicBool::new(false), AtomicBool::new(false));
                Some(Connection { peer, by_proxy, deadline, cut, settled, authenticated, denied, gate: Arc::clone(self), ticket })
            }
        }
    }

    /// Drops somebody who waits, where there is anybody: descriptors are used up, perhaps by them.
    pub fn make_room(&self) {
        let mut state = self.state();
        if let Some(gone) = state.admission.make_room(self.origin.elapsed()) {
            state.cut(gone);
        }
    }

    /// Drops everyone who is still mid-authentication.
    pub fn dismiss(&self) {
        for (_, cut) in self.state().waiting.drain() {
            cut.cancel();
        }
    }

    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let mut state = self.state();
        state.waiting.remove(&ticket);
        state.admission.settle(ticket, outcome, self.origin.elapsed());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn cut(&mut self, ticket: Ticket) {
        if let Some(cut) = self.waiting.remove(&ticket) {
            cut.cancel();
        }
    }
}

/// Below 100. Without randomness everybody is at the mercy of the numbers alone.
fn roll() -> u32 {
    getrandom::u32().map_or(0, |number| number % 100)
}

/// One connection, from its first byte.
#[derive(Debug)]
pub struct Connection {
    /// Where it comes from.
    pub peer: Endpoint,
    /// Cancelled to end it at once.
    pub cut: CancellationToken,
    /// Whether a balancer has still to say whom it is for.
    by_proxy: bool,
    deadline: Instant,
    settled: CancellationToken,
    authenticated: AtomicBool,
    denied: AtomicBool,
    gate: Arc<Gate>,
    ticket: Ticket,
}

impl Connection {
    /// Whether a balancer has still to say whom it is for.
    pub(crate) fn is_by_proxy(&self) -> bool {
        self.by_proxy
    }

    /// A balancer has said whom it is for: false where these are refused.
    pub(crate) fn is_for(&mut self, client: SocketAddr) -> bool {
        self.peer = Some(client).into();
        let brought = self.gate.state().admission.bring(self.ticket, client.ip(), self.gate.origin.elapsed());
        if let Err(remaining) = &brought {
            tracing::info!(peer = %self.peer, ?remaining, "refused: its address has a penalty");
        }
        brought.is_ok()
    }

    /// Waits for something that is to happen before authentication; nothing where it takes too long, or the connection is to end.
    pub(crate) async fn before_deadline<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => None,
            done = tokio::time::timeout_at(self.deadline, what) => done.ok(),
        }
    }

    /// Somebody is authenticated: the deadline is lifted, and nobody takes the place any more.
    pub fn authenticated(&self) {
        self.authenticated.store(true, Ordering::Relaxed);
        self.settle(Outcome::Authenticated);
    }

    /// Whether somebody was.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// A key was refused: that counts when the connection ends without another one's success.
    pub fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    /// It ended. `garbage`: what it sent was no SSH.
    pub fn ended(&self, garbage: bool) {
        self.settle(match (garbage, self.denied.load(Ordering::Relaxed)) {
            (true, _) => Outcome::Garbage,
            (false, true) => Outcome::Denied,
            (false, false) => Outcome::Left,
        });
    }

    fn settle(&self, outcome: Outcome) {
        if !self.settled.is_cancelled() {
            self.gate.settle(self.ticket, outcome);
            self.settled.cancel();
        }
    }

    /// Waits until it is settled, and ends it where that takes too long.
    pub async fn grace(&self) {
        if tokio::time::timeout_at(self.deadline, self.settled.cancelled()).await.is_err() {
            tracing::info!(peer = %self.peer, "not authenticated in time");
            self.settle(Outcome::TooLate);
            self.cut.cancel();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.ended(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Endpoint {
        Some(text.parse().unwrap()).into()
    }

    #[test]
    fn whoever_makes_room_is_cut_and_whoever_is_in_is_not() {
        let gate = Gate::new(Settings::ONE_VISIT, Origins::default());
        let mut crowd: Vec<_> = (0..200).map(|_| gate.admit(peer("192.0.2.1:5")).unwrap()).collect();
        let cut = crowd.iter().filter(|connection| connection.cut.is_cancelled()).count();
        assert!((100..=150).contains(&cut), "{cut}");
        let visitor = crowd.pop().unwrap();
        visitor.authenticated();
        gate.dismiss();
        assert!(crowd.iter().all(|connection| connection.cut.is_cancelled()) && !visitor.cut.is_cancelled());
    }

    #[test]
    fn an_end_gives_the_place_back() {
        let gate = Gate::new(Settings::ONE_VISIT, Origins::default());
        for _ in 0..1000 {
            assert!(!gate.admit(peer("192.0.2.1:5")).unwrap().cut.is_cancelled());
        }
        let state = gate.state();
        assert_eq!((state.admission.waiting(), state.waiting.len()), (0, 0));
    }

    #[test]
    fn descriptors_that_run_out_are_somebodys() {
        let gate = Gate::new(Settings::ONE_VISIT, Origins::default());
        let (first, second) = (gate.admit(peer("192.0.2.1:5")).unwrap(), gate.admit(peer("192.0.2.1:6")).unwrap());
        gate.make_room();
        assert!(first.cut.is_cancelled() && !second.cut.is_cancelled());
    }
}
