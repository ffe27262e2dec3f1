//! Places for visits, each given back when its visit is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sally_proto::relay::{Refusal, Shares, Taker};

/// The places of a relay.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Shares>);

/// One of them. Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    taker: Taker,
}

impl Places {
    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
