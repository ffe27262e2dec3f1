//! Limits on visits and on descriptors of connections; each share is returned when it is dropped.

use std::sync::{Arc, Mutex, MutexGuard};

use sally_proto::relay::{ConnectionShares, PermitHolder, Refusal, VisitShares};

use crate::lock::lock;

/// The places for visits of a relay.
#[derive(Debug)]
pub(super) struct VisitPermits(Mutex<VisitShares>);

/// A place for one visit, returned when dropped.
#[derive(Debug)]
pub(super) struct VisitPermit {
    places: Arc<VisitPermits>,
    holder: PermitHolder,
}

impl VisitPermits {
    /// Creates the places; connections to forwarded ports take at most `unauthenticated` of them.
    pub(super) fn new(unauthenticated: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(VisitShares::new(unauthenticated))))
    }

    fn shares(&self) -> MutexGuard<'_, VisitShares> {
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
    pub(super) fn take(self: &Arc<Self>, holder: PermitHolder) -> Result<VisitPermit, Refusal> {
        self.shares().take(&holder)?;
        Ok(VisitPermit { places: Arc::clone(self), holder })
    }
}

impl Drop for VisitPermit {
    fn drop(&mut self) {
        self.places.shares().give_back(&self.holder);
    }
}

/// The descriptors for connections and their ports.
#[derive(Debug)]
pub(super) struct Descriptors(Mutex<ConnectionShares>);

/// Descriptors of one key, returned when dropped.
#[derive(Debug)]
pub(crate) struct DescriptorPermit {
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
    pub(super) fn take(self: &Arc<Self>, key: &str, count: usize) -> Result<DescriptorPermit, Refusal> {
        self.shares().take(key, count)?;
        Ok(DescriptorPermit { descriptors: Arc::clone(self), key: key.to_owned(), count })
    }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        self.descriptors.shares().give_back(&self.key, self.count);
    }
}
