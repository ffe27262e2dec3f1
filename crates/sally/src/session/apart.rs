//! Threads for streams that turned out to be long.
//!
//! A task that is woken runs next on the thread that woke it, so on the runtime's threads a pump and the connection that it feeds take turns.
//! A long stream is hashed and written on a thread of its own while the runtime encrypts what it gave before.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::{panic, thread};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
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

    /// Runs a pump to its end on a thread of its own, or here where the system gives none. Dropped, it stops the pump where that waits or
    /// yields next.
    pub(super) async fn run<P>(self, pump: P) -> Result<(), Halt>
    where
        P: Future<Output = Result<(), Halt>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let _stop = stop.drop_guard();
        let (end, ended) = oneshot::channel();
        let waiting = Arc::new(Mutex::new(Some(pump)));
        let (taken, runtime) = (Arc::clone(&waiting), Handle::current());
        let started = thread::Builder::new().name("pump".into()).spawn(move || {
            let _place = self.0;
            let Some(pump) = take(&taken) else { return };
            let _ = end.send(runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => Err(Halt::Gone),
                    ended = pump => ended,
                }
            }));
        });
        if started.is_err()
            && let Some(pump) = take(&waiting)
        {
            return pump.await;
        }
        // A panic there is one here: it ends the session, and not one of its streams in silence.
        ended.await.unwrap_or_else(|_| panic::resume_unwind(Box::new("the thread of a stream broke")))
    }
}

fn take<P>(waiting: &Mutex<Option<P>>) -> Option<P> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_thread_is_the_pumps() {
        assert!(Place::take().unwrap().run(async { Ok(()) }).await.is_ok());
        let broken = tokio::spawn(Place::take().unwrap().run(async { panic!("the pump broke") })).await.unwrap_err();
        assert!(broken.to_string().contains("the thread of a stream broke"), "{broken}");
    }

    #[tokio::test]
    async fn a_pump_that_never_has_to_wait_stops_too() {
        let (alive, gone) = oneshot::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let pump = tokio::spawn(Place::take().unwrap().run(async move {
            let _alive = alive;
            begun.send(()).unwrap();
            loop {
                tokio::task::yield_now().await;
            }
        }));
        begins.await.unwrap();
        pump.abort();
        assert!(gone.await.is_err());
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
