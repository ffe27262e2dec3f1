//! Limits how often something may be done: token buckets, with the time passed in.

use std::collections::BTreeMap;
use std::time::Duration;

/// A rate: so many at once, and one more after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many are permitted at once, after a quiet time. At least 1.
    pub burst: u32,
    /// The time until one more is permitted.
    pub every: Duration,
}

/// A bucket of permissions. Times are monotonic, since any start; a time that runs backwards counts as no time passed.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    /// When the bucket would be full again, if nothing were taken from now on.
    full_at: Duration,
}

impl Bucket {
    /// Makes a full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Duration::ZERO }
    }

    /// Takes one permission.
    ///
    /// # Errors
    /// The time until there is one again.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let after = self.full_at.max(now).saturating_add(self.rate.every);
        let latest = now.saturating_add(self.rate.every.saturating_mul(self.rate.burst.max(1)));
        if after > latest {
            return Err(after.saturating_sub(latest));
        }
        self.full_at = after;
        Ok(())
    }

    /// Returns whether the bucket is full: then it need not be kept.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

/// A bucket for each key, for a limited number of keys.
#[derive(Clone, Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    buckets: BTreeMap<K, Bucket>,
}

impl<K: Ord> Buckets<K> {
    /// Makes an empty set for at most `most` keys that have something taken.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, buckets: BTreeMap::new() }
    }

    /// Takes one permission of a key's.
    ///
    /// # Errors
    /// The time until there is one again. If all places are taken, a new key must wait too: a crowd of keys gets no more than the places.
    pub fn take(&mut self, key: K, now: Duration) -> Result<(), Duration> {
        if let Some(bucket) = self.buckets.get_mut(&key) {
            return bucket.take(now);
        }
        if self.buckets.len() >= self.most {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.buckets.len() >= self.most {
            return Err(self.rate.every);
        }
        self.buckets.entry(key).or_insert_with(|| Bucket::new(self.rate)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_and_then_one_by_one() {
        let mut bucket = Bucket::new(RATE);
        assert_eq!([0, 0, 0, 0].map(|now| bucket.take(at(now))), [Ok(()), Ok(()), Ok(()), Err(at(10))]);
        assert_eq!([4, 10, 10].map(|now| bucket.take(at(now))), [Err(at(6)), Ok(()), Err(at(10))]);
        assert_eq!([100, 100, 100, 100].map(|now| bucket.take(at(now)).is_ok()), [true, true, true, false]);
    }

    #[test]
    fn a_crowd_of_keys_has_so_many_places() {
        let mut buckets = Buckets::new(RATE, 2);
        assert!(buckets.take('a', at(0)).is_ok() && buckets.take('b', at(0)).is_ok());
        assert_eq!(buckets.take('c', at(5)), Err(at(10)));
        // Theirs are full again.
        assert!(buckets.take('c', at(10)).is_ok());
    }

    proptest! {
        #[test]
        fn in_any_time_no_more_than_the_rate(gaps in proptest::collection::vec(0_u64..20, 1..200)) {
            let mut bucket = Bucket::new(RATE);
            let (mut now, mut taken) = (0, 0);
            for gap in gaps {
                now += gap;
                taken += u64::from(bucket.take(at(now)).is_ok());
                prop_assert!(taken <= 3 + now / 10);
            }
        }
    }
}
