//! Decides which connections may be mid-authentication: `sally_proto::admission` with a clock, randomness, and a way to end a connection.
//! Relay and jail use it too.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sally_proto::address_block::{self, AddressBlock};
use sally_proto::admission::{Admission, AdmissionSettings, Arrival, ArrivalNumber, LoginOutcome};
use sally_proto::id::DeviceId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use crate::lock::lock;

/// The total time from the first byte to authentication, whatever trickles in meanwhile (sshd's LoginGraceTime is 120 s, for typed
/// passwords; keys need less).
const LOGIN_GRACE: Duration = Duration::from_secs(30);

/// The settings for the addresses that connections come from.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// The addresses that get no penalties.
    pub exempt: Vec<AddressBlock>,
    /// The addresses of balancers, which name the client of each connection.
    pub proxies: Vec<AddressBlock>,
}

/// A server's admission.
#[derive(Debug)]
pub struct ServerAdmission {
    origin: Instant,
    proxies: Vec<AddressBlock>,
    state: Mutex<AdmissionState>,
}

#[derive(Debug)]
struct AdmissionState {
    admission: Admission,
    waiting: HashMap<ArrivalNumber, CancellationToken>,
}

impl ServerAdmission {
    /// Makes an admission without connections.
    pub fn new(settings: AdmissionSettings, origins: Origins) -> Arc<Self> {
        let state = AdmissionState { admission: Admission::new(settings, origins.exempt), waiting: HashMap::new() };
        Arc::new(Self { origin: Instant::now(), proxies: origins.proxies, state: Mutex::new(state) })
    }

    /// Admits a connection; returns `None` if its source is refused. Must be called for each accepted connection, before its first byte.
    pub fn admit(self: &Arc<Self>, peer: Endpoint) -> Option<Connection> {
        // A connection over a pipe is the only one: any address will do.
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
                    tracing::info!("too many connections are authenticating: an older one is closed");
                    state.cut(gone);
                }
                let cut = CancellationToken::new();
                state.waiting.insert(ticket, cut.clone());
                let (settled, denied) = (CancellationToken::new(), AtomicBool::new(false));
                Some(Connection { peer, relay_name: None, by_proxy, deadline, cut, settled, denied, admission: Arc::clone(self), ticket })
            }
        }
    }

    /// Drops a connection that is mid-authentication, if there is one: descriptors are used up, perhaps by it.
    pub fn make_room(&self) {
        let mut state = self.state();
        if let Some(gone) = state.admission.make_room(self.origin.elapsed()) {
            state.cut(gone);
        }
    }

    /// Drops every connection that is still mid-authentication.
    pub fn dismiss(&self) {
        for (_, cut) in self.state().waiting.drain() {
            cut.cancel();
        }
    }

    fn settle(&self, ticket: ArrivalNumber, outcome: LoginOutcome) {
        let mut state = self.state();
        state.waiting.remove(&ticket);
        state.admission.settle(ticket, outcome, self.origin.elapsed());
    }

    fn state(&self) -> MutexGuard<'_, AdmissionState> {
        lock(&self.state)
    }
}

impl AdmissionState {
    fn cut(&mut self, ticket: ArrivalNumber) {
        if let Some(cut) = self.waiting.remove(&ticket) {
            cut.cancel();
        }
    }
}

/// Returns a random number below 100; without randomness 0, so that numbers alone decide.
fn roll() -> u32 {
    getrandom::u32().map_or(0, |number| number % 100)
}

/// One connection, from its first byte.
#[derive(Debug)]
pub struct Connection {
    /// The peer's address.
    pub peer: Endpoint,
    /// The name at a relay by which the client has come, as that relay says.
    pub relay_name: Option<DeviceId>,
    /// Ends the connection at once when cancelled.
    pub cut: CancellationToken,
    /// Whether a balancer has yet to name the client.
    by_proxy: bool,
    deadline: Instant,
    settled: CancellationToken,
    denied: AtomicBool,
    admission: Arc<ServerAdmission>,
    ticket: ArrivalNumber,
}

impl Connection {
    /// Returns whether a balancer has yet to name the client.
    pub(crate) fn is_by_proxy(&self) -> bool {
        self.by_proxy
    }

    /// Notes the client that a balancer has named; returns false if it is refused.
    pub(crate) fn is_for(&mut self, client: SocketAddr) -> bool {
        self.peer = Some(client).into();
        let brought = self.admission.state().admission.bring(self.ticket, client.ip(), self.admission.origin.elapsed());
        if let Err(remaining) = &brought {
            tracing::info!(peer = %self.peer, ?remaining, "refused: its address has a penalty");
        }
        brought.is_ok()
    }

    /// Waits for something that must happen before authentication; returns `None` if it takes too long, or if the connection has to end.
    pub(crate) async fn before_deadline<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => None,
            done = tokio::time::timeout_at(self.deadline, what) => done.ok(),
        }
    }

    /// Notes that the client authenticated: lifts the deadline, and keeps the connection from making room.
    pub fn authenticated(&self) {
        self.settle(LoginOutcome::Authenticated);
    }

    /// Notes a refused key, which counts if the connection ends without authentication.
    pub fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    /// Notes that the connection ended. `garbage`: the peer didn't speak SSH.
    pub fn ended(&self, garbage: bool) {
        self.settle(match (garbage, self.denied.load(Ordering::Relaxed)) {
            (true, _) => LoginOutcome::Garbage,
            (false, true) => LoginOutcome::Denied,
            (false, false) => LoginOutcome::Left,
        });
    }

    fn settle(&self, outcome: LoginOutcome) {
        if !self.settled.is_cancelled() {
            self.admission.settle(self.ticket, outcome);
            self.settled.cancel();
        }
    }

    /// Waits until the connection is settled; ends it if that takes too long.
    pub async fn grace(&self) {
        if tokio::time::timeout_at(self.deadline, self.settled.cancelled()).await.is_err() {
            tracing::info!(peer = %self.peer, "not authenticated in time");
            self.settle(LoginOutcome::TooLate);
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
        let admission = ServerAdmission::new(AdmissionSettings::ONE_VISIT, Origins::default());
        let mut crowd: Vec<_> = (0..200).map(|_| admission.admit(peer("192.0.2.1:5")).unwrap()).collect();
        let cut = crowd.iter().filter(|connection| connection.cut.is_cancelled()).count();
        assert!((100..=150).contains(&cut), "{cut}");
        let visitor = crowd.pop().unwrap();
        visitor.authenticated();
        admission.dismiss();
        assert!(crowd.iter().all(|connection| connection.cut.is_cancelled()) && !visitor.cut.is_cancelled());
    }

    #[test]
    fn an_end_gives_the_place_back() {
        let admission = ServerAdmission::new(AdmissionSettings::ONE_VISIT, Origins::default());
        for _ in 0..1000 {
            assert!(!admission.admit(peer("192.0.2.1:5")).unwrap().cut.is_cancelled());
        }
        let state = admission.state();
        assert_eq!((state.admission.waiting(), state.waiting.len()), (0, 0));
    }

    #[test]
    fn descriptors_that_run_out_are_somebodys() {
        let admission = ServerAdmission::new(AdmissionSettings::ONE_VISIT, Origins::default());
        let (first, second) = (admission.admit(peer("192.0.2.1:5")).unwrap(), admission.admit(peer("192.0.2.1:6")).unwrap());
        admission.make_room();
        assert!(first.cut.is_cancelled() && !second.cut.is_cancelled());
    }
}
