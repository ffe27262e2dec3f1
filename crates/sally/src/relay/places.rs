//! Limits on visits and on descriptors of connections; each share is returned when it is dropped.

use std::sync::{Arc, Mutex, MutexGuard};

use sally_proto::relay::{ConnectionShares, Refusal, Shares, Taker};

use crate::lock::lock;

/// The places for visits of a relay.
#[derive(Debug)]
pub(super) struct Places(Mutex<Shares>);

/// A place for one visit, returned when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    taker: Taker,
}

impl Places {
    /// Creates the places; connections to forwarded ports take at most `strangers` of them.
    pub(super) fn new(strangers: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Shares::new(strangers))))
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        lock(&self.0)
    }

    /// Returns the number of places taken.
    pub(super) fn taken(&self) -> usize {
        self.shares().taken()
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Refusal::TooMany`].
    pub(super) fn take(self: &Arc<Self>, taker: Taker) -> Result<Place, Refusal> {
        self.shares().take(&taker)?;
        Ok(Place { places: Arc::clone(self), taker })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.shares().give_back(&self.taker);
    }
}

/// The descriptors for connections and their ports.
#[derive(Debug)]
pub(super) struct Descriptors(Mutex<ConnectionShares>);

/// Descriptors of one key, returned when dropped.
#[derive(Debug)]
pub(crate) struct HeldDescriptors {
    descriptors: Arc<Descriptors>,
    key: String,
    count: usize,
}

impl Descriptors {
    /// Creates a limit of `most` descriptors in all and `per_key` for each key.
    pub(super) fn new(most: usize, per_key: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(ConnectionShares::new(most, per_key))))
    }

    fn shares(&self) -> MutexGuard<'_, ConnectionShares> {
        lock(&self.0)
    }

    /// Returns the number of free descriptors.
    pub(super) fn free(&self) -> usize {
        self.shares().free()
    }

    /// Takes `count` descriptors for a key.
    ///
    /// # Errors
    /// [`Refusal::TooMany`].
    pub(super) fn take(self: &Arc<Self>, key: &str, count: usize) -> Result<HeldDescriptors, Refusal> {
        self.shares().take(key, count)?;
        Ok(HeldDescriptors { descriptors: Arc::clone(self), key: key.to_owned(), count })
    }
}

impl Drop for HeldDescriptors {
    fn drop(&mut self) {
        self.descriptors.shares().give_back(&self.key, self.count);
    }
}
