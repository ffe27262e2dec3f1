//! Audits events that unauthenticated clients cause: lists them while they are few, and sums them up when they are many.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sally_proto::relay::{LineVerdict, Slot, Sum, Tally, TallyKey, UnauthenticatedAction, Veiled};
use tokio::sync::OnceCell;

use super::Relay;
use super::audit::RelayEvent;
use crate::lock::lock;

/// The events of unauthenticated clients.
#[derive(Debug)]
pub(super) struct UnauthenticatedEvents {
    began: Instant,
    state: Mutex<UnauthenticatedState>,
    /// The number of lines left out of the log.
    pub(super) left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct UnauthenticatedState {
    tally: Tally,
    /// The sums whose start the log has announced.
    said: BTreeMap<TallyKey, Arc<OnceCell<()>>>,
}

impl Default for UnauthenticatedEvents {
    fn default() -> Self {
        Self { began: Instant::now(), state: Mutex::default(), left_out: AtomicU64::new(0) }
    }
}

impl UnauthenticatedEvents {
    fn state(&self) -> MutexGuard<'_, UnauthenticatedState> {
        lock(&self.state)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn judge(&self, action: UnauthenticatedAction, from: IpAddr) -> Option<(TallyKey, Arc<OnceCell<()>>)> {
        let state = &mut *self.state();
        match state.tally.judge(action, from.into(), self.now()) {
            LineVerdict::Listed => None,
            LineVerdict::Counted(key) => Some((key, Arc::clone(state.said.entry(key).or_default()))),
        }
    }

    fn count(&self, key: TallyKey) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
        self.state().tally.count(key, self.now());
    }

    fn sums(&self, all: bool) -> Vec<(TallyKey, Sum, Duration)> {
        let UnauthenticatedState { tally, said } = &mut *self.state();
        let sums = tally.sums(self.now(), all);
        // A later count of the same sum is announced again; a sum that couldn't be announced has counted nothing, and is forgotten too.
        said.retain(|key, _| tally.has(key));
        sums
    }
}

impl Relay {
    /// Returns the sum that counts a action, or `None` if it is listed. The log announces a sum before its first action is counted.
    ///
    /// # Errors
    /// [`UnannouncedSum`] if the log can't announce it: the action must not begin then.
    pub(crate) async fn counted(&self, action: UnauthenticatedAction, from: IpAddr) -> Result<Option<TallyKey>, UnannouncedSum> {
        if !self.audit.is_kept() {
            return Ok(None);
        }
        let Some((key, said)) = self.unauthenticated.judge(action, from) else { return Ok(None) };
        let (what, slot) = shown(key);
        let say = async || {
            let written = self.audit.write(RelayEvent::Counting { what, slot, from: key.shown() }).await;
            if written { Ok(()) } else { Err(UnannouncedSum) }
        };
        said.get_or_try_init(say).await?;
        self.unauthenticated.count(key);
        Ok(Some(key))
    }

    /// Counts the end of a visit that was counted.
    pub(super) fn count_end(&self, key: TallyKey, up: u64, down: u64) {
        self.unauthenticated.left_out.fetch_add(1, Ordering::Relaxed);
        self.unauthenticated.state().tally.close(key, up, down, self.unauthenticated.now());
    }

    /// Writes the sums that are due, or all of them.
    pub(super) async fn sum_up(&self, all: bool) {
        for (key, sum, lasted) in self.unauthenticated.sums(all) {
            let (what, slot) = shown(key);
            let visits = matches!(key.action, UnauthenticatedAction::Visit(_));
            let of_visits = |number: u64| visits.then_some(number);
            let (closed, up, down) = (of_visits(sum.closed), of_visits(sum.up), of_visits(sum.down));
            let seconds = lasted.as_secs_f64();
            self.audit.note(RelayEvent::Counted { what, slot, from: key.shown(), count: sum.count, closed, up, down, seconds }).await;
        }
    }
}

/// An error: the log can't announce a sum.
#[derive(Debug)]
pub(crate) struct UnannouncedSum;

/// Returns the event that is left out, and the port.
fn shown(key: TallyKey) -> (&'static str, Option<Veiled>) {
    match key.action {
        UnauthenticatedAction::Visit(port) => ("open", Some(Slot::Port(port).veiled())),
        UnauthenticatedAction::RefusedKey => ("auth_refused", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_the_log_could_not_announce_leaves_nothing_behind() {
        let unauthenticated = UnauthenticatedEvents::default();
        let judged = (0..1000).filter_map(|_| unauthenticated.judge(UnauthenticatedAction::RefusedKey, IpAddr::from([192, 0, 2, 9])));
        assert!(judged.count() > 0);
        assert_eq!(unauthenticated.state().said.len(), 1);
        assert_eq!(unauthenticated.sums(true), []);
        assert!(unauthenticated.state().said.is_empty());
    }
}
