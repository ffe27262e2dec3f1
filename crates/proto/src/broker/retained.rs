//! The last status of each device, for whoever subscribes later.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::DeviceId;

/// What is retained: one status a device, no longer than [`STATUS_MAX`](crate::wake::STATUS_MAX), no more than `most`.
///
/// Nothing of it outlives the process: devices that come back say anew how they are.
#[derive(Clone, Debug)]
pub struct Retained {
    most: usize,
    statuses: BTreeMap<DeviceId, Bytes>,
}

impl Retained {
    /// Nothing yet.
    pub fn new(most: usize) -> Self {
        Self { most, statuses: BTreeMap::new() }
    }

    /// No more than so many from now on.
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Keeps a status in place of the one before; an empty one is none (MQTT 3.1.1, section 3.3.1.3). Where all places are taken, a device that has
    /// none gets none.
    pub fn keep(&mut self, id: &DeviceId, status: &Bytes) {
        if status.is_empty() {
            self.statuses.remove(id);
        } else if let Some(place) = self.statuses.get_mut(id) {
            *place = status.clone();
        } else if self.statuses.len() < self.most {
            self.statuses.insert(id.clone(), status.clone());
        }
    }

    /// A device's.
    pub fn of(&self, id: &DeviceId) -> Option<&Bytes> {
        self.statuses.get(id)
    }

    /// Forgets those of devices for which this is false.
    pub fn retain(&mut self, mut known: impl FnMut(&DeviceId) -> bool) {
        self.statuses.retain(|id, _| known(id));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.statuses.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.statuses.is_empty()
    }
}
