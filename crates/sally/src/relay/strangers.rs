//! Audits events that unauthenticated clients cause: lists them while they are few, and sums them up when they are many.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sally_proto::relay::{Deed, Heap, Slot, Sum, Tally, Veiled, Verdict};
use tokio::sync::OnceCell;

use super::Relay;
use super::audit::Event;
use crate::lock::lock;

/// The events of unauthenticated clients.
#[derive(Debug)]
pub(super) struct Strangers {
    began: Instant,
    state: Mutex<State>,
    /// The number of lines left out of the log.
    pub(super) left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    tally: Tally,
    /// The sums whose start the log has announced.
    said: BTreeMap<Heap, Arc<OnceCell<()>>>,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { began: Instant::now(), state: Mutex::default(), left_out: AtomicU64::new(0) }
    }
}

impl Strangers {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn judge(&self, deed: Deed, from: IpAddr) -> Option<(Heap, Arc<OnceCell<()>>)> {
        let state = &mut *self.state();
        match state.tally.judge(deed, from.into(), self.now()) {
            Verdict::Listed => None,
            Verdict::Counted(heap) => Some((heap, Arc::clone(state.said.entry(heap).or_default()))),
        }
    }

    fn count(&self, heap: Heap) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
        self.state().tally.count(heap, self.now());
    }

    fn sums(&self, all: bool) -> Vec<(Heap, Sum, Duration)> {
        let State { tally, said } = &mut *self.state();
        let sums = tally.sums(self.now(), all);
        // A later count of the same sum is announced again; a sum that couldn't be announced has counted nothing, and is forgotten too.
        said.retain(|heap, _| tally.has(heap));
        sums
    }
}

impl Relay {
    /// Returns the sum that counts a deed, or `None` if it is listed. The log announces a sum before its first deed is counted.
    ///
    /// # Errors
    /// [`Unsaid`] if the log can't announce it: the deed must not begin then.
    pub(crate) async fn counted(&self, deed: Deed, from: IpAddr) -> Result<Option<Heap>, Unsaid> {
        if !self.audit.is_kept() {
            return Ok(None);
        }
        let Some((heap, said)) = self.strangers.judge(deed, from) else { return Ok(None) };
        let (what, slot) = shown(heap);
        let say = async || {
            let written = self.audit.write(Event::Counting { what, slot, from: heap.shown() }).await;
            if written { Ok(()) } else { Err(Unsaid) }
        };
        said.get_or_try_init(say).await?;
        self.strangers.count(heap);
        Ok(Some(heap))
    }

    /// Counts the end of a visit that was counted.
    pub(super) fn count_end(&self, heap: Heap, up: u64, down: u64) {
        self.strangers.left_out.fetch_add(1, Ordering::Relaxed);
        self.strangers.state().tally.close(heap, up, down, self.strangers.now());
    }

    /// Writes the sums that are due, or all of them.
    pub(super) async fn sum_up(&self, all: bool) {
        for (heap, sum, lasted) in self.strangers.sums(all) {
            let (what, slot) = shown(heap);
            let visits = matches!(heap.deed, Deed::Visit(_));
            let of_visits = |number: u64| visits.then_some(number);
            let (closed, up, down) = (of_visits(sum.closed), of_visits(sum.up), of_visits(sum.down));
            let seconds = lasted.as_secs_f64();
            self.audit.note(Event::Counted { what, slot, from: heap.shown(), count: sum.count, closed, up, down, seconds }).await;
        }
    }
}

/// An error: the log can't announce a sum.
#[derive(Debug)]
pub(crate) struct Unsaid;

/// Returns the event that is left out, and the port.
fn shown(heap: Heap) -> (&'static str, Option<Veiled>) {
    match heap.deed {
        Deed::Visit(port) => ("open", Some(Slot::Port(port).veiled())),
        Deed::RefusedKey => ("auth_refused", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_the_log_could_not_announce_leaves_nothing_behind() {
        let strangers = Strangers::default();
        let judged = (0..1000).filter_map(|_| strangers.judge(Deed::RefusedKey, IpAddr::from([192, 0, 2, 9])));
        assert!(judged.count() > 0);
        assert_eq!(strangers.state().said.len(), 1);
        assert_eq!(strangers.sums(true), []);
        assert!(strangers.state().said.is_empty());
    }
}
