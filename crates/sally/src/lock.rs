//! Takes a lock, even if its last holder panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, even after a panic of a task that held it.
///
/// A panic ends one visit or one connection (see `panic`), and the others go on with their shared state: each critical section leaves it
/// usable at every step. Where that is impossible, in the chain and the file of a record, the poison is checked for, and is a failure.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
