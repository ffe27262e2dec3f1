//! Handles panics, which are always Sally's own mistakes.
//!
//! A panic unwinds, and ends the visit, whose record is then broken off and never sealed, or the connection that it happened in. The
//! process goes on, unless it can't do without the task.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::task::Poll;

use sally_proto::error::{Fault, exit::INTERNAL};
use tokio::task::JoinHandle;

use crate::term;

/// A panic, which has been reported already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of Sally has panicked")]
pub(crate) struct Panicked;

impl From<Panicked> for Fault {
    fn from(panicked: Panicked) -> Self {
        Self::Internal(panicked.to_string())
    }
}

/// Reports each panic as one line on stderr; its message may hold bytes of a client.
pub(crate) fn report() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let words = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        term::say(&format!("Internal error: a panic at {place}: {}", term::excerpt(words.unwrap_or_default())));
    }));
}

/// Does `work`, and turns its panic into an error. The work is boxed: it may be a whole connection.
pub(crate) fn caught<F: Future>(work: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    let mut work = Box::pin(work);
    // The state of work that panicked is not used again, except for shared state: see `lock`.
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
}

/// Does `work`, and turns its panic into a fault.
pub(crate) async fn caught_as_fault<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    caught(work).await.unwrap_or_else(|panicked| Err(panicked.into()))
}

/// Starts a task that the process can't do without: its panic ends the process, which a supervisor may start again. A server of which half
/// is dead but looks alive would be worse.
pub(crate) fn spawn_essential(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async {
        if caught(work).await.is_err() {
            give_up();
        }
    })
}

/// Ends the process, whose terminal is then as it was.
fn give_up() -> ! {
    term::let_go();
    exit(INTERNAL.into())
}

/// Does the work of a thread that the process can't do without: its panic ends the process.
pub(crate) fn essential<T>(work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| give_up())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_nothing_else_is() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let panics = async {
            tokio::task::yield_now().await;
            panic!("as a test does");
        };
        assert_eq!(caught::<_>(panics).await, Err(Panicked));
        let fault = caught_as_fault::<()>(async { panic!("as a test does") }).await.unwrap_err();
        assert_eq!(fault.to_string(), "Internal error: a part of Sally has panicked");
    }
}
