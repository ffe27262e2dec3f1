//! Taking a lock, whatever became of its last holder.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic of a task that held it.
///
/// A panic ends one visit or one connection (see `panic`), and the others go on with what they share: each critical section leaves its data
/// usable at every step. Where that can't be so, in the chain and the file of a record, the poison is asked for and is a failure.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
