//! Keeps the last status of each device, for later subscribers.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::DeviceId;

/// The retained statuses: one per device, no longer than [`STATUS_MAX`](crate::wake::STATUS_MAX), at most `most`.
///
/// They don't outlive the process: devices that reconnect publish their status again.
#[derive(Clone, Debug)]
pub struct Retained {
    most: usize,
    statuses: BTreeMap<DeviceId, Bytes>,
}

impl Retained {
    /// Starts empty.
    pub fn new(most: usize) -> Self {
        Self { most, statuses: BTreeMap::new() }
    }

    /// Sets the limit from now on.
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Keeps a status in place of the previous one; an empty one deletes it (MQTT 3.1.1, section 3.3.1.3). If all places are taken, a
    /// device without one gets none.
    pub fn keep(&mut self, id: &DeviceId, status: &Bytes) {
        if status.is_empty() {
            self.statuses.remove(id);
        } else if let Some(place) = self.statuses.get_mut(id) {
            *place = status.clone();
        } else if self.statuses.len() < self.most {
            self.statuses.insert(id.clone(), status.clone());
        }
    }

    /// Returns a device's status.
    pub fn of(&self, id: &DeviceId) -> Option<&Bytes> {
        self.statuses.get(id)
    }

    /// Forgets the statuses of devices for which `known` returns false.
    pub fn retain(&mut self, mut known: impl FnMut(&DeviceId) -> bool) {
        self.statuses.retain(|id, _| known(id));
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.statuses.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.statuses.is_empty()
    }
}
