//! Remembers the penalties of sources, for what their connections did before.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How many sources have their penalties remembered; the one that was quiet for longest is forgotten first.
pub const SOURCES: usize = 4096;
/// The least penalty that has an effect: a single mistake is no attack (sshd's `min:15s`).
pub const PENALTY_MIN: Duration = Duration::from_secs(15);
/// The longest penalty (sshd's `max:600s`).
pub const PENALTY_MAX: Duration = Duration::from_secs(600);

/// For how long a source isn't refused after a client authenticated from it, whatever other clients do from there: a user behind a shared
/// address comes back within a day.
pub const LATELY: Duration = Duration::from_secs(24 * 3600);

/// The source of a connection, for penalties and shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientSource {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address: what one subscriber has.
    V6([u16; 4]),
}

impl From<IpAddr> for ClientSource {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// Holds one moment for each source, for a limited number of sources.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    pub(super) of: HashMap<ClientSource, (Duration, u64)>,
    /// The sources by the time when they were last set, oldest first.
    pub(super) order: BTreeMap<u64, ClientSource>,
    next: u64,
}

impl Moments {
    pub(super) fn get(&self, source: ClientSource) -> Option<Duration> {
        self.of.get(&source).map(|(moment, _)| *moment)
    }

    /// Sets a source's moment. If there are too many sources, forgets the one that was quiet for longest.
    pub(super) fn set(&mut self, source: ClientSource, moment: Duration) {
        self.forget(source);
        if self.of.len() >= SOURCES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.of.remove(&oldest);
        }
        self.of.insert(source, (moment, self.next));
        self.order.insert(self.next, source);
        self.next += 1;
    }

    pub(super) fn forget(&mut self, source: ClientSource) {
        if let Some((_, place)) = self.of.remove(&source) {
            self.order.remove(&place);
        }
    }
}

/// Holds the end of each source's penalty.
#[derive(Clone, Debug, Default)]
pub(super) struct Penalties(pub(super) Moments);

impl Penalties {
    /// Returns what is left of a source's penalty, if it is long enough to have an effect.
    pub(super) fn of(&self, source: ClientSource, now: Duration) -> Option<Duration> {
        self.0.get(source)?.checked_sub(now).filter(|remaining| *remaining >= PENALTY_MIN)
    }

    pub(super) fn add(&mut self, source: ClientSource, penalty: Duration, now: Duration) {
        let before = self.0.get(source).map_or(now, |until| until.max(now));
        self.0.set(source, (before + penalty).min(now + PENALTY_MAX));
    }

    pub(super) fn forgive(&mut self, source: ClientSource) {
        self.0.forget(source);
    }
}

/// Holds the sources from which a client authenticated lately.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentLogins(Moments);

impl RecentLogins {
    pub(super) fn note(&mut self, source: ClientSource, now: Duration) {
        self.0.set(source, now);
    }

    pub(super) fn is_lately(&self, source: ClientSource, now: Duration) -> bool {
        self.0.get(source).is_some_and(|when| now.saturating_sub(when) < LATELY)
    }
}
