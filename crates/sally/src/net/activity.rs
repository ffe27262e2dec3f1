//! Keeps the time of a visit's last byte. Keepalives, window changes and answers to requests are not activity.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The time of the last byte in any session or forward of a visit, on a monotonic clock.
#[derive(Clone, Debug)]
pub struct Activity {
    origin: Instant,
    /// Milliseconds after `origin`.
    last: Arc<AtomicU64>,
}

impl Activity {
    /// Starts the clock as if a byte had just passed.
    pub fn start() -> Self {
        Self { origin: Instant::now(), last: Arc::default() }
    }

    /// Notes that a byte passes now.
    pub fn touch(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Waits until no byte has passed for `limit`. Cancel-safe.
    pub async fn idle(&self, limit: Duration) {
        loop {
            let then = Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit;
            if self.origin.elapsed() >= then {
                return;
            }
            tokio::time::sleep_until(self.origin + then).await;
        }
    }
}
