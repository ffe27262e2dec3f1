//! What a source has coming to it for what its connections did before.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Sources whose penalties are remembered; the one that was quiet for longest is forgotten first.
pub const SOURCES: usize = 4096;
/// A penalty below this has no effect: one mistake is nobody's attack (sshd's `min:15s`).
pub const PENALTY_MIN: Duration = Duration::from_secs(15);
/// The longest penalty (sshd's `max:600s`).
pub const PENALTY_MAX: Duration = Duration::from_secs(600);

/// Where a connection comes from, as far as penalties and shares go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address: what one subscriber has.
    V6([u16; 4]),
}

impl From<IpAddr> for Source {
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

/// What sources have coming to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Penalties {
    pub(super) until: HashMap<Source, (Duration, u64)>,
    /// The sources by their last misdeed, oldest first.
    pub(super) order: BTreeMap<u64, Source>,
    next: u64,
}

impl Penalties {
    /// What is left of a source's penalty, where it is long enough to count.
    pub(super) fn of(&self, source: Source, now: Duration) -> Option<Duration> {
        let (until, _) = self.until.get(&source)?;
        until.checked_sub(now).filter(|remaining| *remaining >= PENALTY_MIN)
    }

    pub(super) fn add(&mut self, source: Source, penalty: Duration, now: Duration) {
        let before = self.until.get(&source).map_or(now, |(until, _)| (*until).max(now));
        self.forgive(source);
        if self.until.len() >= SOURCES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.until.remove(&oldest);
        }
        self.until.insert(source, ((before + penalty).min(now + PENALTY_MAX), self.next));
        self.order.insert(self.next, source);
        self.next += 1;
    }

    pub(super) fn forgive(&mut self, source: Source) {
        if let Some((_, place)) = self.until.remove(&source) {
            self.order.remove(&place);
        }
    }
}
