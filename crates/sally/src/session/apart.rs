//! Threads for streams that turned out to be long.
//!
//! A task that is woken runs next on the thread that woke it, so on the runtime's threads a pump and the connection that it feeds take turns.
//! A long stream is hashed and written on a thread of its own while the runtime encrypts what it gave before.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::pump::Halt;

/// So many streams have a thread at most; the others stay where they are.
const PLACES: usize = 64;

static FREE: Semaphore = Semaphore::const_new(PLACES);

/// The right to a thread.
pub(super) struct Place(SemaphorePermit<'static>);

impl Place {
    /// `None` where all are taken.
    pub(super) fn take() -> Option<Self> {
        FREE.try_acquire().ok().map(Self)
    }

    /// Runs a pump to its end on a thread of its own. Dropped, it stops the pump where that waits next. A panic there is one here: it ends
    /// the session, and not one of its streams in silence.
    pub(super) async fn run(self, pump: impl Future<Output = Result<(), Halt>> + Send + 'static) -> Result<(), Halt> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let _stop = stop.drop_guard();
        let runtime = Handle::current();
        let thread = tokio::task::spawn_blocking(move || {
            let _place = self.0;
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => Err(Halt::Gone),
                    ended = pump => ended,
                }
            })
        });
        thread.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it everything.
            Err(_) => Halt::Gone,
        })?
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_thread_is_the_pumps() {
        assert!(Place::take().unwrap().run(async { Ok(()) }).await.is_ok());
        let broken = tokio::spawn(Place::take().unwrap().run(async { panic!("the pump broke") })).await.unwrap_err();
        assert!(broken.to_string().contains("the pump broke"), "{broken}");
    }

    #[tokio::test]
    async fn a_pump_that_nobody_waits_for_any_more_stops() {
        let (alive, gone) = oneshot::channel::<()>();
        let pump = tokio::spawn(Place::take().unwrap().run(async move {
            std::future::pending::<()>().await;
            drop(alive);
            Ok(())
        }));
        pump.abort();
        assert!(gone.await.is_err());
    }
}
