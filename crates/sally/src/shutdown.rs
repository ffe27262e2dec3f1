//! Being told to stop: by whom and why, once.

use std::sync::{Arc, OnceLock};

use sally_proto::error::Fault;
use tokio_util::sync::CancellationToken;

/// A request to stop, with its reason; the first one counts.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    why: Arc<OnceLock<Fault>>,
}

impl Shutdown {
    /// Asks everyone to stop.
    pub fn request(&self, why: Fault) {
        // A second reason is not lost on anybody: the first has ended everything already.
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the request. Cancel-safe.
    pub async fn requested(&self) -> Fault {
        self.token.cancelled().await;
        self.why.get().cloned().unwrap_or_else(|| Fault::Internal("stopped without a reason".into()))
    }
}
