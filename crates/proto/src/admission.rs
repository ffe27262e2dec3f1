//! Decides which connections may be mid-authentication on a server, and which one makes room when there are too many.
//!
//! sshd's `MaxStartups` refuses new connections, so that a crowd of stalled ones keeps the right client out. Here a new connection always
//! gets in, and an older one makes room: from `start` on with a probability that rises from `rate` to certainty at `full`. Only the older
//! half of the crowd makes room: first a connection whose source has a penalty, then one of the source with the most connections, then
//! the oldest. So a client has the time of at least `start / 2` new connections, in which a key authenticates many times over; and a
//! crowd from one address pushes out only itself.
//!
//! A penalty belongs to a source, as in sshd's `PerSourcePenalties`: an IPv4 address, or an IPv6 network of 64 bits. Behind one proxy all
//! clients have its address, the right client too: a server for one visit therefore never refuses a source, and a penalty only decides
//! which connection makes room first. A server for many visits over a long time ([`AdmissionSettings::refuse`]) refuses a source with a penalty,
//! but never a source from which a client authenticated lately, because many clients may share it. Loopback gets no penalty, because a
//! client on this machine is a proxy, or needs no network to do harm; neither do exempt sources, nor a proxy before it has named its
//! client.

mod penalties;
mod startups;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::address_block::{self, AddressBlock};
pub use penalties::{ClientSource, LATELY, PENALTY_MAX, PENALTY_MIN, SOURCES};
use penalties::{Penalties, RecentLogins};
pub use startups::Startups;

/// The settings of an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// How many connections may be mid-authentication at once.
    pub startups: Startups,
    /// Whether a source with a penalty is refused: for a server with many visits; never where one client must get in.
    pub refuse: bool,
}

impl AdmissionSettings {
    /// The settings of a server for one visit.
    pub const ONE_VISIT: Self = Self { startups: Startups::DEFAULT, refuse: false };
    /// The settings of a server for many visits over a long time.
    pub const MANY_VISITS: Self = Self { startups: Startups::DEFAULT, refuse: true };

    /// Returns the settings of a server that refuses no source: of `most` connections, an older one makes room for each new one.
    pub const fn crowd(most: u32) -> Self {
        Self { startups: Startups { start: most, rate: 100, full: most }, refuse: false }
    }
}

/// The place of one connection; the numbers rise in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArrivalNumber(u64);

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The connection has a place. The one in `makes_room` loses its place and has to be closed.
    Admitted {
        /// The place of the new connection.
        ticket: ArrivalNumber,
        /// The connection that makes room.
        makes_room: Option<ArrivalNumber>,
    },
    /// The connection is refused, because its source has a penalty.
    Refused {
        /// What is left of the penalty.
        remaining: Duration,
    },
}

/// How the time before authentication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The client authenticated: the source's penalty is forgiven.
    Authenticated,
    /// The client left and had asked for nothing (sshd's `noauth`).
    Left,
    /// The client left after a refusal (`authfail`).
    Denied,
    /// The client used up its time (`grace-exceeded`).
    TooLate,
    /// The client didn't speak SSH, or violated it.
    Garbage,
}

impl LoginOutcome {
    /// Returns the penalty for an outcome: sshd's own. Garbage, which sshd counts as leaving, gets more, because no stock client sends
    /// it.
    fn penalty(self) -> Duration {
        Duration::from_secs(match self {
            Self::Authenticated => 0,
            Self::Left => 1,
            Self::Denied => 5,
            Self::TooLate | Self::Garbage => 10,
        })
    }
}

/// Where a connection comes from, and whether that source gets penalties.
#[derive(Clone, Copy, Debug)]
struct WaitingOrigin {
    source: ClientSource,
    exempt: bool,
}

/// Holds the connections that are mid-authentication, and the penalties. Times are durations since any fixed moment of a monotonic clock.
#[derive(Clone, Debug)]
pub struct Admission {
    settings: AdmissionSettings,
    exempt: Vec<AddressBlock>,
    waiting: BTreeMap<ArrivalNumber, WaitingOrigin>,
    penalties: Penalties,
    recent: RecentLogins,
    next: u64,
}

impl Admission {
    /// Makes an admission without connections. Addresses in the blocks never get a penalty.
    pub fn new(settings: AdmissionSettings, exempt: Vec<AddressBlock>) -> Self {
        let (penalties, recent) = (Penalties::default(), RecentLogins::default());
        Self { settings, exempt, waiting: BTreeMap::new(), penalties, recent, next: 0 }
    }

    /// Returns how many connections are mid-authentication.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Admits or refuses a new connection. `roll`: a random number below 100.
    pub fn arrive(&mut self, peer: IpAddr, now: Duration, roll: u32) -> Arrival {
        let origin = self.origin(peer);
        match self.refusal(origin, now) {
            Some(remaining) => Arrival::Refused { remaining },
            None => self.admit(origin, now, roll),
        }
    }

    /// Admits a proxy's connection, which has yet to name its client: until then it has a place, and gets no penalty.
    pub fn arrive_by_proxy(&mut self, proxy: IpAddr, now: Duration, roll: u32) -> Arrival {
        self.admit(WaitingOrigin { source: proxy.into(), exempt: true }, now, roll)
    }

    /// Notes the client that a proxy has named. If the client is refused, its place becomes free.
    ///
    /// # Errors
    /// What is left of the client's penalty.
    pub fn bring(&mut self, ticket: ArrivalNumber, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let origin = self.origin(client);
        let Some(place) = self.waiting.get_mut(&ticket) else { return Ok(()) }; // It has made room.
        *place = origin;
        match self.refusal(origin, now) {
            Some(remaining) => {
                self.waiting.remove(&ticket);
                Err(remaining)
            }
            None => Ok(()),
        }
    }

    fn origin(&self, peer: IpAddr) -> WaitingOrigin {
        let exempt = peer.to_canonical().is_loopback() || address_block::any_contains(&self.exempt, peer);
        WaitingOrigin { source: peer.into(), exempt }
    }

    /// Returns what is left of the penalty for which an origin is refused.
    fn refusal(&self, origin: WaitingOrigin, now: Duration) -> Option<Duration> {
        let may_be = self.settings.refuse && !origin.exempt && !self.recent.is_lately(origin.source, now);
        self.penalties.of(origin.source, now).filter(|_| may_be)
    }

    fn admit(&mut self, origin: WaitingOrigin, now: Duration, roll: u32) -> Arrival {
        let crowded = roll < self.settings.startups.percent(self.waiting.len());
        let makes_room = if crowded { self.make_room(now) } else { None };
        let ticket = ArrivalNumber(self.next);
        self.next += 1;
        self.waiting.insert(ticket, origin);
        Arrival::Admitted { ticket, makes_room }
    }

    /// Takes the place of the connection that has to make room, if there is one; also for want of something else, such as descriptors.
    pub fn make_room(&mut self, now: Duration) -> Option<ArrivalNumber> {
        let mut places: HashMap<ClientSource, usize> = HashMap::new();
        for origin in self.waiting.values() {
            *places.entry(origin.source).or_default() += 1;
        }
        let older = self.waiting.iter().take(self.waiting.len().div_ceil(2));
        let first = older.max_by_key(|(ticket, origin)| {
            let held = places.get(&origin.source).copied().unwrap_or_default();
            (self.penalties.of(origin.source, now).is_some(), held, Reverse(**ticket))
        });
        let ticket = first.map(|(ticket, _)| *ticket)?;
        self.waiting.remove(&ticket);
        Some(ticket)
    }

    /// Ends a connection's time before authentication. A connection that has made room before gets no penalty.
    pub fn settle(&mut self, ticket: ArrivalNumber, outcome: LoginOutcome, now: Duration) {
        let Some(WaitingOrigin { source, exempt }) = self.waiting.remove(&ticket) else { return };
        match outcome {
            LoginOutcome::Authenticated => {
                self.penalties.forgive(source);
                self.recent.note(source, now);
            }
            _ if exempt => {}
            failure => self.penalties.add(source, failure.penalty(), now),
        }
    }
}

#[cfg(test)]
mod tests;
