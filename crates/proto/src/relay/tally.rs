//! Limits how many lines of the audit log a client without a key may cause, and sums up the rest.
//!
//! A client without a key can still cause lines: it can connect to a forwarded port, or offer unknown keys. Each source has a rate. When
//! the rate is used up, the log counts the source's actions for a while instead of listing them; it says so before the first counted
//! action, and has their number afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::admission::ClientSource;
use crate::rate::{Buckets, Rate};

/// How many lines of one source are listed: a crowd behind one router, and then one per second. That is some 50 MB a day, where a flood
/// wrote 80 GB.
const LISTED_PER_SOURCE: Rate = Rate { burst: 256, every: Duration::from_secs(1) };
/// How long actions are counted until a line has their number: as much may be missing from the log when the process is killed.
const SUM_EVERY: Duration = Duration::from_secs(10);
/// How many sources are distinguished; all others count as one.
const SOURCES_MAX: usize = 4096;

/// The actions of clients without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnauthenticatedAction {
    /// A connection to this forwarded port.
    Visit(u16),
    /// An offer of a key that is refused.
    RefusedKey,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TallyKey {
    /// The action.
    pub action: UnauthenticatedAction,
    /// The source; `None` for all sources that had no place of their own.
    pub from: Option<ClientSource>,
}

impl TallyKey {
    /// Returns the source as the log shows it: an address, a network of 64 bits, `others`.
    pub fn shown(&self) -> String {
        match self.from {
            Some(ClientSource::V4(address)) => address.to_string(),
            Some(ClientSource::V6([a, b, c, d])) => format!("{}/64", std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
            None => "others".into(),
        }
    }
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineVerdict {
    /// The line is written.
    Listed,
    /// The action is counted there.
    Counted(TallyKey),
}

/// The sum of what isn't listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How often it was done.
    pub count: u64,
    /// For visits: how many have ended, begun now or before.
    pub closed: u64,
    /// For those: the bytes to the device.
    pub up: u64,
    /// For those: the bytes from the device.
    pub down: u64,
}

#[derive(Debug)]
struct TallyEntry {
    since: Duration,
    /// Whether it is being counted: otherwise only ends of what was counted before are.
    counting: bool,
    sum: Sum,
}

/// The actions of clients without a key. Times are monotonic, since any start.
#[derive(Debug)]
pub struct Tally {
    listed: Buckets<ClientSource>,
    entries: BTreeMap<TallyKey, TallyEntry>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { listed: Buckets::new(LISTED_PER_SOURCE, SOURCES_MAX), entries: BTreeMap::new() }
    }
}

impl Tally {
    /// Decides whether an action is listed or counted.
    pub fn judge(&mut self, action: UnauthenticatedAction, from: ClientSource, now: Duration) -> LineVerdict {
        let key = TallyKey { action, from: Some(from) };
        if self.entries.get(&key).is_some_and(|entry| entry.counting) {
            return LineVerdict::Counted(key);
        }
        if self.listed.take(from, now).is_ok() {
            return LineVerdict::Listed;
        }
        let key = if self.has_place(&key) { key } else { TallyKey { action, from: None } };
        self.entry(key, now).counting = true;
        LineVerdict::Counted(key)
    }

    /// Counts an action for which [`LineVerdict::Counted`] was returned.
    pub fn count(&mut self, key: TallyKey, now: Duration) {
        let entry = self.entry(key, now);
        entry.sum.count = entry.sum.count.saturating_add(1);
    }

    /// Counts the end of a visit that was counted.
    pub fn close(&mut self, key: TallyKey, up: u64, down: u64, now: Duration) {
        let key = if self.has_place(&key) { key } else { TallyKey { from: None, ..key } };
        let sum = &mut self.entry(key, now).sum;
        sum.closed = sum.closed.saturating_add(1);
        sum.up = sum.up.saturating_add(up);
        sum.down = sum.down.saturating_add(down);
    }

    /// Takes the sums that are due, or all of them, with the time since when each was counted.
    pub fn sums(&mut self, now: Duration, all: bool) -> Vec<(TallyKey, Sum, Duration)> {
        let due = |entry: &TallyEntry| all || now.saturating_sub(entry.since) >= SUM_EVERY;
        let mut sums = Vec::new();
        self.entries.retain(|key, entry| {
            let taken = due(entry);
            if taken && entry.sum != Sum::default() {
                sums.push((*key, entry.sum, now.saturating_sub(entry.since)));
            }
            !taken
        });
        sums
    }

    /// Returns whether something is counted there, or may be.
    pub fn has(&self, key: &TallyKey) -> bool {
        self.entries.contains_key(key)
    }

    fn has_place(&self, key: &TallyKey) -> bool {
        self.entries.len() < SOURCES_MAX || self.entries.contains_key(key)
    }

    fn entry(&mut self, key: TallyKey, now: Duration) -> &mut TallyEntry {
        self.entries.entry(key).or_insert(TallyEntry { since: now, counting: false, sum: Sum::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    const ACTION: UnauthenticatedAction = UnauthenticatedAction::Visit(2022);

    fn from(text: &str) -> ClientSource {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_flood_is_listed_for_a_while_and_then_counted_and_listed_again() {
        let (mut tally, flooder) = (Tally::default(), from("192.0.2.9"));
        let mut do_it = |now: u64| match tally.judge(ACTION, flooder, at(now)) {
            LineVerdict::Listed => true,
            LineVerdict::Counted(key) => {
                tally.count(key, at(now));
                false
            }
        };
        assert_eq!((0..1000).filter(|_| do_it(0)).count(), 256);
        // While it is counted nothing is listed, though there might be.
        assert!(!do_it(9));
        let key = TallyKey { action: ACTION, from: Some(flooder) };
        tally.close(key, 3, 7, at(9));
        assert_eq!(tally.sums(at(9), false), []);
        assert_eq!(tally.sums(at(10), false), [(key, Sum { count: 745, closed: 1, up: 3, down: 7 }, at(10))]);
        assert_eq!(tally.judge(ACTION, flooder, at(10)), LineVerdict::Listed);
        // What ends later is summed up without anything being counted.
        tally.close(key, 1, 1, at(11));
        assert_eq!(tally.judge(ACTION, flooder, at(11)), LineVerdict::Listed);
        assert_eq!(tally.sums(at(11), true), [(key, Sum { count: 0, closed: 1, up: 1, down: 1 }, at(0))]);
        // Others have their own.
        assert_eq!(tally.judge(ACTION, from("192.0.2.10"), at(0)), LineVerdict::Listed);
    }

    #[test]
    fn a_crowd_of_sources_has_so_many_places() {
        let mut tally = Tally::default();
        for number in 0..10_000_u64 {
            let source = ClientSource::V6([0x2001, 0xdb8, (number >> 8) as u16, number as u16]);
            if let LineVerdict::Counted(key) = tally.judge(UnauthenticatedAction::RefusedKey, source, at(0)) {
                tally.count(key, at(0));
            }
        }
        assert!(tally.entries.len() <= SOURCES_MAX + 1, "{}", tally.entries.len());
        assert_eq!(tally.sums(at(0), true).iter().map(|(_, sum, _)| sum.count).sum::<u64>(), 10_000 - SOURCES_MAX as u64);
    }

    #[test]
    fn sources_are_shown_as_they_are_counted() {
        let shown = |from: Option<ClientSource>| TallyKey { action: ACTION, from }.shown();
        assert_eq!(shown(Some(from("192.0.2.9"))), "192.0.2.9");
        assert_eq!(shown(Some(from("::ffff:192.0.2.9"))), "192.0.2.9");
        assert_eq!(shown(Some(from("2001:db8:1:2:3::4"))), "2001:db8:1:2::/64");
        assert_eq!(shown(None), "others");
    }

    proptest! {
        /// Whatever is done is listed or in a sum, once.
        #[test]
        fn nothing_is_left_out_unsaid(gaps in proptest::collection::vec((0..3_u64, 0..3_u8), 1..900)) {
            let mut tally = Tally::default();
            let (mut now, mut listed, mut summed) = (0, 0, 0);
            for (gap, host) in &gaps {
                now += gap / 2;
                match tally.judge(ACTION, ClientSource::V4([192, 0, 2, *host].into()), at(now)) {
                    LineVerdict::Listed => listed += 1,
                    LineVerdict::Counted(key) => tally.count(key, at(now)),
                }
                summed += tally.sums(at(now), false).iter().map(|(_, sum, _)| sum.count).sum::<u64>();
            }
            summed += tally.sums(at(now), true).iter().map(|(_, sum, _)| sum.count).sum::<u64>();
            prop_assert_eq!(listed + summed, gaps.len() as u64);
        }
    }
}
