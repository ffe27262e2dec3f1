//! The clock of a visit's last byte. Keepalives, window changes and answers to questions are no bytes of anybody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a byte was last carried, in any session or forward of a visit. Its clock is monotonic.
#[derive(Clone, Debug)]
pub struct Activity {
    origin: Instant,
    /// Milliseconds after `origin`.
    last: Arc<AtomicU64>,
}

impl Activity {
    /// As if there had been one just now.
    pub fn start() -> Self {
        Self { origin: Instant::now(), last: Arc::default() }
    }

    /// There is one now.
    pub fn touch(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Waits until there was none for so long. Cancel-safe.
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
