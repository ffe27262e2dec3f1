//! Cuts off a client that keeps asking for what is refused.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::lock::lock;

/// The refused requests within a minute, after which the connection is cut: an honest client makes a handful, and a browser through a `-D`
/// that isn't allowed makes some dozens.
pub(super) const REFUSALS: u32 = 1000;
pub(super) const REFUSALS_WITHIN: Duration = Duration::from_secs(60);

/// Counts the refused requests of a connection.
pub(super) struct RefusalLimiter {
    cut: CancellationToken,
    count: Mutex<RefusalCount>,
}

impl RefusalLimiter {
    /// Makes a counter that cancels `cut` when the refusals are too many.
    pub(super) fn new(cut: CancellationToken) -> Self {
        Self { cut, count: Mutex::default() }
    }

    /// Counts a refused request. Returns true when it was one too many: the connection is then cut, and the caller records that once.
    pub(super) fn ends(&self) -> bool {
        let ends = !self.cut.is_cancelled() && lock(&self.count).is_too_much(Instant::now());
        if ends {
            self.cut.cancel();
        }
        ends
    }
}

/// The refusals since a moment within the last minute.
#[derive(Default)]
struct RefusalCount {
    since: Option<Instant>,
    refusals: u32,
}

impl RefusalCount {
    /// Counts one more refusal, and returns whether that is too many.
    fn is_too_much(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) > REFUSALS_WITHIN) {
            *self = Self { since: Some(now), refusals: 0 };
        }
        self.refusals += 1;
        self.refusals > REFUSALS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_at_once_are_a_flood_and_the_same_in_an_hour_are_none() {
        let (start, mut quick, mut slow) = (Instant::now(), RefusalCount::default(), RefusalCount::default());
        assert!((0..REFUSALS).all(|_| !quick.is_too_much(start)));
        assert!(quick.is_too_much(start));
        assert!((0..10 * REFUSALS).all(|number| !slow.is_too_much(start + Duration::from_millis(360) * number)));
    }
}
