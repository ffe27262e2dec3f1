//! Ends a share for everybody.

use sally_proto::error::Fault;

use super::{FAREWELL, ShareHub};
use crate::lock::lock;
use crate::session::Ending;

/// How a share has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its program ended.
    Ended(Ending),
    /// It was stopped.
    Stopped(Fault),
}

impl Over {
    /// Returns the last line for viewers.
    pub(in crate::share) fn sentence(&self) -> String {
        match self {
            Self::Ended(Ending::Exited(status)) => format!("the share has ended: the program exited with status {status}"),
            Self::Ended(Ending::Signalled { signal, .. }) => format!("the share has ended: signal {signal} ended the program"),
            Self::Stopped(fault) => format!("the share has ended: {fault}"),
        }
    }

    /// Returns the exit status of viewers' ssh.
    pub(in crate::share) fn status(&self) -> u8 {
        match self {
            Self::Ended(ending) => ending.status(),
            Self::Stopped(fault) => fault.exit_status(),
        }
    }
}

impl ShareHub {
    /// Ends the share for everybody because it was stopped, and gives them a moment to read why.
    pub async fn stop(&self, why: Fault) {
        self.end(Over::Stopped(why));
        let _ = tokio::time::timeout(FAREWELL, self.emptied()).await; // Viewers that don't read are cut off.
    }

    /// Ends the share for everybody.
    pub(in crate::share) fn end(&self, over: Over) {
        lock(&self.state).over.get_or_insert(over);
        self.over.cancel();
        self.change();
    }

    /// Waits until the share is over; returns how. Cancel-safe.
    pub(in crate::share) async fn ended(&self) -> Over {
        self.over.cancelled().await;
        lock(&self.state).over.clone().unwrap_or_else(|| Over::Stopped(Fault::Internal("ended without a reason".into())))
    }
}
