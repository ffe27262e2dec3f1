//! Shares out how much of a device's disk its records may take together: what exists, and what is promised to open visits.
//!
//! A visit is promised little, and only when its client has authenticated; it is promised more when it needs more, as long as the same
//! amount stays free for others. So one visit takes at most half of the room, two that grow together take a third each, and there is room
//! for the next one until hardly anything is left.

use std::collections::BTreeMap;

/// What a visit is promised at first. A visit for which there is less room doesn't begin: it would end in the middle.
pub const FIRST_PROMISE: u64 = 64 << 10;
/// The most that a promise grows at once; below that it doubles. Asking is cheap, but each time the agent reads the whole folder.
const GROWTH_MAX: u64 = 4 << 20;

/// The promises; `V` names a visit.
#[derive(Debug)]
pub struct Budget<V> {
    most: u64,
    promised: BTreeMap<V, u64>,
}

impl<V: Ord> Budget<V> {
    /// Starts without a promise; all records together may take `most` bytes.
    pub const fn new(most: u64) -> Self {
        Self { most, promised: BTreeMap::new() }
    }

    /// Returns what all records together may take.
    pub const fn most(&self) -> u64 {
        self.most
    }

    /// Returns whether a visit is open, so that its promise counts, and not the size of its record so far.
    pub fn is_promised(&self, visit: &V) -> bool {
        self.promised.contains_key(visit)
    }

    /// Returns whether there is room for one more visit, with records that take `kept` bytes.
    pub fn has_room(&self, kept: u64) -> bool {
        self.left(kept) >= FIRST_PROMISE
    }

    /// Promises a visit the size of its record; `None` if there is no room for it.
    pub fn promise(&mut self, visit: V, kept: u64) -> Option<u64> {
        if !self.has_room(kept) || self.is_promised(&visit) {
            return None;
        }
        self.promised.insert(visit, FIRST_PROMISE);
        Some(FIRST_PROMISE)
    }

    /// Promises a visit more than before, and returns the new size of its record; `None` if less would be left for others than the visit
    /// itself has.
    pub fn grow(&mut self, visit: &V, kept: u64) -> Option<u64> {
        let left = self.left(kept);
        let own = self.promised.get_mut(visit)?;
        let fair = left.saturating_sub(*own) / 2;
        let more = fair.min(*own).min(GROWTH_MAX);
        if more < FIRST_PROMISE {
            return None;
        }
        *own += more;
        Some(*own)
    }

    /// Ends a visit: its record counts with the size that it has.
    pub fn release(&mut self, visit: &V) {
        self.promised.remove(visit);
    }

    fn left(&self, kept: u64) -> u64 {
        self.most.saturating_sub(kept).saturating_sub(self.promised.values().sum())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MB: u64 = 1 << 20;

    fn grown(budget: &mut Budget<u8>, visit: u8, kept: u64) -> u64 {
        let mut own = 0;
        while let Some(more) = budget.grow(&visit, kept) {
            own = more;
        }
        own
    }

    #[test]
    fn one_visit_takes_half_of_the_space_and_the_next_one_half_of_the_rest() {
        let mut budget = Budget::new(MB);
        assert_eq!(budget.promise(1, 0), Some(FIRST_PROMISE));
        assert_eq!(grown(&mut budget, 1, 0), MB / 2);
        assert!(budget.promise(2, 0).is_some());
        assert_eq!(grown(&mut budget, 2, 0), MB / 4);
        // What one has left on the disk is no longer promised.
        budget.release(&1);
        assert_eq!(grown(&mut budget, 2, 100_000), (MB - 100_000) / 2);
    }

    #[test]
    fn visits_that_do_little_are_promised_little() {
        let mut budget = Budget::new(MB);
        assert_eq!((0..100).filter(|visit| budget.promise(*visit, 0).is_some()).count(), 16);
        assert!(!budget.has_room(0) && budget.grow(&3, 0).is_none());
        budget.release(&3);
        assert!(budget.has_room(0) && !budget.has_room(1));
    }

    proptest! {
        #[test]
        fn promises_and_records_never_exceed_the_budget(most in 0..64 * MB, actions in prop::collection::vec((0..3, 0..8_u8), 0..200)) {
            let mut budget = Budget::new(most);
            let mut kept = 0;
            for (action, visit) in actions {
                match action {
                    0 => drop(budget.promise(visit, kept)),
                    1 => {
                        let before = budget.left(kept);
                        if let Some(own) = budget.grow(&visit, kept) {
                            prop_assert!(own <= budget.left(kept) && budget.left(kept) < before, "as much again is left for others");
                        }
                    }
                    _ => {
                        kept += budget.promised.get(&visit).copied().unwrap_or_default();
                        budget.release(&visit);
                    }
                }
                prop_assert!(kept + budget.promised.values().sum::<u64>() <= most);
            }
        }
    }
}
