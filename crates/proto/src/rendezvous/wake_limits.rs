//! Decides which visitors may wait and cause a wake, and which one makes room.
//!
//! Visitors who want in now and those who said that they wait are counted separately: a day's wait for an absent device takes no place of
//! a visit to a present one. A new visitor isn't refused because others are many: the visitor with the longest wait, of the key with the
//! most, makes room. Only a key that has as many as any other gets no more.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::machine::{Rendezvous, WaitingVisitor};
use super::{Unreachable, VisitRequest, VisitorId};
use crate::admission::ClientSource;
use crate::rate::Buckets;

/// The wakes that each key and each source has caused.
#[derive(Debug)]
pub(super) struct WakesSpent {
    pub(super) by_key: Buckets<String>,
    pub(super) by_source: Buckets<ClientSource>,
}

impl WakesSpent {
    /// Counts a wake.
    ///
    /// # Errors
    /// The time until there may be another one.
    pub(super) fn take(&mut self, key: &str, source: ClientSource, now: Duration) -> Result<(), Duration> {
        self.by_key.take(key.to_owned(), now).and_then(|()| self.by_source.take(source, now))
    }
}

impl Rendezvous {
    /// Decides whether one more visitor may wait, and may cause a wake if one is needed; returns the visitor who makes room, if one must.
    pub(super) fn admit(&mut self, visit: &VisitRequest, now: Duration) -> Result<Option<(VisitorId, Unreachable)>, Unreachable> {
        let known = self.devices.get(&visit.device);
        if known.is_some_and(|known| known.current.is_some()) {
            return Ok(None);
        }
        let makes_room = self.find_room(visit)?;
        if self.settings.woken_to.is_some() && known.is_none_or(|known| known.round.is_none()) {
            self.spent.take(&visit.key, visit.source, now).map_err(|after| Unreachable::TooManyWakes { after })?;
            self.devices.entry(visit.device.clone()).or_default().prepaid = true;
        }
        Ok(makes_room)
    }

    fn find_room(&self, visit: &VisitRequest) -> Result<Option<(VisitorId, Unreachable)>, Unreachable> {
        let VisitRequest { device, key, wait, .. } = visit;
        let limits = &self.settings.limits;
        let alike: Vec<_> =
            self.visitors.iter().filter(|(_, other)| other.waits() && other.waits_until.is_some() == wait.is_some()).collect();
        let at_the_device: Vec<_> = alike.iter().filter(|(_, other)| other.device == *device).copied().collect();
        let of_key = |visitors: &[(&VisitorId, &WaitingVisitor)]| visitors.iter().filter(|(_, other)| other.key == *key).count();
        // A key that has filled its own share is refused by it.
        for (waiting, most) in [(of_key(&alike), limits.waiting_per_key), (of_key(&at_the_device), limits.waiting_per_key_and_device)] {
            if waiting >= most {
                return Err(Unreachable::Crowded(most));
            }
        }
        // A visitor who leaves the device leaves the whole crowd too.
        for (crowd, most) in [(&at_the_device, limits.waiting_per_device), (&alike, limits.waiting)] {
            if crowd.len() >= most {
                let crowded = Unreachable::Crowded(most);
                return most_patient(crowd, key).map(|visitor| Some((visitor, crowded.clone()))).ok_or(crowded);
            }
        }
        Ok(None)
    }
}

/// Returns the visitor with the longest wait of the key that has the most in a crowd, the first to come among equals; `None` if
/// `newcomer` has as many.
fn most_patient(crowd: &[(&VisitorId, &WaitingVisitor)], newcomer: &str) -> Option<VisitorId> {
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, visitor) in crowd {
        *held.entry(&visitor.key).or_default() += 1;
    }
    let most = held.values().copied().max()?;
    let has_most = |key: &str| held.get(key) == Some(&most);
    if has_most(newcomer) {
        return None;
    }
    let fullest = crowd.iter().filter(|(_, visitor)| has_most(&visitor.key));
    fullest.max_by_key(|(id, visitor)| (visitor.waits_until, Reverse(**id))).map(|(id, _)| **id)
}
