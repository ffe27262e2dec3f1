//! Who may be mid-authentication at a door, and who makes room when there are too many.
//!
//! sshd's `MaxStartups` turns newcomers away, so that a crowd which only stalls keeps the right visitor out. Here the newcomer always gets
//! in and somebody who has had their time makes room: from `start` on with a probability that rises from `rate` to certainty at `full`.
//! Nobody makes room for those who came just after them: only the older half of the crowd does, in it first whoever has a penalty, then
//! whoever's source holds the most places, then the oldest. So a visitor has the time of at least `start / 2` newcomers, in which a key
//! authenticates many times over; and a crowd from one address drives out itself.
//!
//! Penalties are a source's, as in sshd's `PerSourcePenalties`: an IPv4 address, or an IPv6 network of 64 bits. Where everybody comes
//! through one proxy, everybody has its address, the right visitor as well: a door for one visit therefore never refuses a source, and a
//! penalty only says who makes room first. Where there are many visitors for a long time ([`Settings::refuse`]), a source with a penalty
//! is refused. Never refused is a source from which a client authenticated lately: many may share it. No penalty has loopback, for who
//! connects from this machine is a proxy, or needs no network to do harm; nor has a source that is named exempt; nor a proxy, before it has
//! said whom it brings.

mod penalties;
mod startups;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::address_block::{self, AddressBlock};
pub use penalties::{LATELY, PENALTY_MAX, PENALTY_MIN, SOURCES, Source};
use penalties::{Penalties, Welcome};
pub use startups::Startups;

/// How a door admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many at once.
    pub startups: Startups,
    /// Whether a source with a penalty is refused. For a door with many visitors; never where one visitor must get in.
    pub refuse: bool,
}

impl Settings {
    /// For one visit.
    pub const ONE_VISIT: Self = Self { startups: Startups::DEFAULT, refuse: false };
    /// For many visitors, for a long time.
    pub const MANY_VISITS: Self = Self { startups: Startups::DEFAULT, refuse: true };
}

/// One connection's place; the numbers rise in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What becomes of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has a place. Whoever is named has to go, and has no place any more.
    Admitted {
        /// The newcomer's.
        ticket: Ticket,
        /// Who makes room.
        makes_room: Option<Ticket>,
    },
    /// Its source has a penalty for so long.
    Refused {
        /// What is left of it.
        remaining: Duration,
    },
}

/// How the time before authentication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody is in: the source's penalty is forgiven.
    Authenticated,
    /// It left, and had asked for nothing (sshd's `noauth`).
    Left,
    /// It left, and what it had asked for was refused (`authfail`).
    Denied,
    /// It used up its time (`grace-exceeded`).
    TooLate,
    /// What it sent was no SSH, or a violation of it.
    Garbage,
}

impl Outcome {
    /// sshd's own measures; garbage, which sshd counts with those who leave, is no stock client's.
    fn penalty(self) -> Duration {
        Duration::from_secs(match self {
            Self::Authenticated => 0,
            Self::Left => 1,
            Self::Denied => 5,
            Self::TooLate | Self::Garbage => 10,
        })
    }
}

/// Where a connection comes from, and whether that has penalties at all.
#[derive(Clone, Copy, Debug)]
struct Origin {
    source: Source,
    exempt: bool,
}

/// The state of a door's admission. Instants are durations since any fixed moment of a clock that never goes back.
#[derive(Clone, Debug)]
pub struct Admission {
    settings: Settings,
    exempt: Vec<AddressBlock>,
    waiting: BTreeMap<Ticket, Origin>,
    penalties: Penalties,
    welcome: Welcome,
    next: u64,
}

impl Admission {
    /// Nobody is there yet. Addresses in the blocks never have a penalty.
    pub fn new(settings: Settings, exempt: Vec<AddressBlock>) -> Self {
        let (penalties, welcome) = (Penalties::default(), Welcome::default());
        Self { settings, exempt, waiting: BTreeMap::new(), penalties, welcome, next: 0 }
    }

    /// How many are mid-authentication.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Somebody connects. `roll`: a random number below 100.
    pub fn arrive(&mut self, peer: IpAddr, now: Duration, roll: u32) -> Arrival {
        let origin = self.origin(peer);
        match self.refusal(origin, now) {
            Some(remaining) => Arrival::Refused { remaining },
            None => self.admit(origin, now, roll),
        }
    }

    /// A proxy connects, which is to say whom it brings: until then it has a place, and no penalty for what becomes of that.
    pub fn arrive_by_proxy(&mut self, proxy: IpAddr, now: Duration, roll: u32) -> Arrival {
        self.admit(Origin { source: proxy.into(), exempt: true }, now, roll)
    }

    /// A proxy has said whom it brings: whether they are let in. Otherwise what is left of their penalty, and the place is free.
    ///
    /// # Errors
    /// What is left of a penalty.
    pub fn bring(&mut self, ticket: Ticket, client: IpAddr, now: Duration) -> Result<(), Duration> {
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

    fn origin(&self, peer: IpAddr) -> Origin {
        let exempt = peer.to_canonical().is_loopback() || address_block::any_contains(&self.exempt, peer);
        Origin { source: peer.into(), exempt }
    }

    /// What is left of the penalty for which an origin is refused.
    fn refusal(&self, origin: Origin, now: Duration) -> Option<Duration> {
        let may_be = self.settings.refuse && !origin.exempt && !self.welcome.is_lately(origin.source, now);
        self.penalties.of(origin.source, now).filter(|_| may_be)
    }

    fn admit(&mut self, origin: Origin, now: Duration, roll: u32) -> Arrival {
        let crowded = roll < self.settings.startups.percent(self.waiting.len());
        let makes_room = if crowded { self.make_room(now) } else { None };
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, origin);
        Arrival::Admitted { ticket, makes_room }
    }

    /// Takes somebody's place, where there is anybody: also for want of something else, as descriptors.
    pub fn make_room(&mut self, now: Duration) -> Option<Ticket> {
        let mut places: HashMap<Source, usize> = HashMap::new();
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

    /// A connection's authentication is over, one way or the other. Who has made room before has not failed at anything.
    pub fn settle(&mut self, ticket: Ticket, outcome: Outcome, now: Duration) {
        let Some(Origin { source, exempt }) = self.waiting.remove(&ticket) else { return };
        match outcome {
            Outcome::Authenticated => {
                self.penalties.forgive(source);
                self.welcome.note(source, now);
            }
            _ if exempt => {}
            failure => self.penalties.add(source, failure.penalty(), now),
        }
    }
}

#[cfg(test)]
mod tests;
