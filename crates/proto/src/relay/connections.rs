//! Limits how many connections there may be at once, and how many of one key: descriptors belong to the process, and no client may take
//! all of them.

use std::collections::BTreeMap;

use super::Refusal;
use super::visit_shares::less;

/// The part of all descriptors, one in so many, that is reserved for short-lived use: clients that authenticate, connections to forwarded
/// ports, files, scrapers.
const KEPT_PART: usize = 4;
/// The most that is reserved: for 100 clients that authenticate, 384 connections at forwarded ports, and as many again.
const KEPT_MAX: usize = 1024;
/// With a broker in this process, whose clients are the fleet's devices, the part of all descriptors, one in so many, for connections to
/// the relay, …
const BESIDE_BROKER_PART: usize = 4;
/// … and the most: for visitors, and devices that were woken.
const BESIDE_BROKER_MAX: usize = 4096;

/// How the descriptors of a process are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorShares {
    /// For connections of clients that have logged in, and the sockets of their ports.
    pub connections: usize,
    /// For connections to forwarded ports, which need no key.
    pub unauthenticated: usize,
    /// For clients of the broker in this process.
    pub broker: usize,
}

impl DescriptorShares {
    /// Divides a number of descriptors.
    pub fn of(descriptors: usize, broker: bool) -> Self {
        let kept = (descriptors / KEPT_PART).min(KEPT_MAX);
        let rest = descriptors.saturating_sub(kept);
        let connections = if broker { (descriptors / BESIDE_BROKER_PART).min(BESIDE_BROKER_MAX) } else { rest };
        Self { connections, unauthenticated: kept / 2, broker: rest.saturating_sub(connections) }
    }
}

/// Counts the descriptors that connections use, by key.
///
/// Besides its own limit, a key never gets more than are free: one alone gets half of all, two a third each, and some are always left for
/// a key that has none.
#[derive(Debug)]
pub struct ConnectionShares {
    most: usize,
    per_key: usize,
    taken: usize,
    keys: BTreeMap<String, usize>,
}

impl ConnectionShares {
    /// Starts with none used; `most` in all, `per_key` for one key.
    pub fn new(most: usize, per_key: usize) -> Self {
        Self { most, per_key, taken: 0, keys: BTreeMap::new() }
    }

    /// Returns how many are free.
    pub fn free(&self) -> usize {
        self.most.saturating_sub(self.taken)
    }

    /// Takes so many for a key.
    ///
    /// # Errors
    /// [`Refusal::TooMany`], with what the key may have at this moment.
    pub fn take(&mut self, key: &str, count: usize) -> Result<(), Refusal> {
        let held = self.keys.get(key).copied().unwrap_or(0);
        let after = held.saturating_add(count);
        if after > self.per_key {
            return Err(too_many(self.per_key));
        }
        if after > self.free() {
            return Err(too_many(held));
        }
        self.taken = self.taken.saturating_add(count);
        self.keys.insert(key.to_owned(), after);
        Ok(())
    }

    /// Returns so many that were taken.
    pub fn give_back(&mut self, key: &str, count: usize) {
        self.taken = self.taken.saturating_sub(count);
        less(&mut self.keys, key, count);
    }
}

fn too_many(limit: usize) -> Refusal {
    Refusal::TooMany { what: "connections and ports of this key", limit }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn descriptors_are_parted_and_none_is_promised_twice() {
        let shares = |descriptors, broker| {
            let DescriptorShares { connections, unauthenticated, broker } = DescriptorShares::of(descriptors, broker);
            (connections, unauthenticated, broker)
        };
        assert_eq!(shares(150, false), (113, 18, 0));
        assert_eq!(shares(1024, false), (768, 128, 0));
        assert_eq!(shares(20_000, false), (18_976, 512, 0));
        assert_eq!(shares(20_000, true), (4096, 512, 14_880));
        assert_eq!(shares(1_048_576, true), (4096, 512, 1_043_456));
        assert_eq!(shares(0, true), (0, 0, 0));
    }

    fn fill(shares: &mut ConnectionShares, key: &str) -> usize {
        (0..).take_while(|_| shares.take(key, 1).is_ok()).count()
    }

    #[test]
    fn whoever_comes_first_leaves_some_for_whoever_comes_next() {
        let mut shares = ConnectionShares::new(100, 1000);
        assert_eq!((fill(&mut shares, "one"), fill(&mut shares, "two"), fill(&mut shares, "three")), (50, 25, 13));
        assert!(shares.take("four", 1).is_ok());
        let mut shares = ConnectionShares::new(100, 8);
        assert_eq!(fill(&mut shares, "one"), 8);
        assert_eq!(shares.take("one", 1).unwrap_err().to_string(), "too many connections and ports of this key: the limit is 8");
    }

    proptest! {
        /// No more than all are taken, a key without any finds some until all are gone, and what is returned can be taken again.
        #[test]
        fn nothing_is_lost_and_nothing_too_much(takes in proptest::collection::vec((0..6_u8, 1..3_usize), 0..80), most in 0..40_usize) {
            let mut shares = ConnectionShares::new(most, 10);
            let mut taken = Vec::new();
            for (key, count) in takes {
                let (free, key) = (shares.free(), key.to_string());
                let none = !taken.iter().any(|(other, _)| *other == key);
                let took = shares.take(&key, count).is_ok();
                prop_assert!(took || !none || free < count);
                if took {
                    taken.push((key, count));
                }
                prop_assert_eq!(shares.free(), most - taken.iter().map(|(_, count)| count).sum::<usize>());
            }
            for (key, count) in taken {
                shares.give_back(&key, count);
            }
            prop_assert!(shares.free() == most && shares.keys.is_empty());
        }
    }
}
