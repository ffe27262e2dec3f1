//! Places for visits and for connections, each given back when it is over.

use std::sync::{Arc, Mutex, MutexGuard};

use sally_proto::relay::{ConnectionShares, Refusal, Shares, Taker};

use crate::lock::lock;

/// The places of a relay.
#[derive(Debug)]
pub(super) struct Places(Mutex<Shares>);

/// One of them. Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    taker: Taker,
}

impl Places {
    /// Places of which connections to forwarded ports have no more than so many.
    pub(super) fn new(strangers: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Shares::new(strangers))))
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        lock(&self.0)
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.shares().taken()
    }

    /// Takes one.
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

/// The descriptors that connections and their ports may have.
#[derive(Debug)]
pub(super) struct Descriptors(Mutex<ConnectionShares>);

/// Some of them. Given back when dropped.
#[derive(Debug)]
pub(crate) struct HeldDescriptors {
    descriptors: Arc<Descriptors>,
    key: String,
    count: usize,
}

impl Descriptors {
    /// `most` in all, `per_key` by one.
    pub(super) fn new(most: usize, per_key: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(ConnectionShares::new(most, per_key))))
    }

    fn shares(&self) -> MutexGuard<'_, ConnectionShares> {
        lock(&self.0)
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.shares().free()
    }

    /// Takes so many.
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
