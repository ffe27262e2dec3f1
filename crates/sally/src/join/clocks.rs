//! Notices that the machine was suspended: all its connections may be dead by then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sally_proto::share::SuspendWatch;
use tokio::time::sleep;

/// How often the clocks are compared.
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits until the machine has been suspended. Cancel-safe: from when this is called.
pub(super) async fn suspended() {
    // Not tokio's clock, which a test may stop.
    let started = std::time::Instant::now();
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut watch = SuspendWatch::new(wall(), started.elapsed());
    loop {
        sleep(INTERVAL).await;
        if watch.was_suspended(wall(), started.elapsed()) {
            return;
        }
    }
}
