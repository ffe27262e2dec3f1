//! Joins the program's session to the hub: the program's output goes to the screen, its input comes from the people in turn.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sally_proto::visit::{Phase, VisitEndReason};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::hub::{FAREWELL, Over, ShareHub};
use crate::session::visit::Visit;
use crate::session::{Disconnected, Ending, Inbound, Input, Outbound, OutputStream};

/// The most output, in bytes, that no viewer has been shown: further output waits for a viewer.
const AHEAD: usize = 256 << 10;
/// How long it waits for one at most.
const AHEAD_WAIT: Duration = Duration::from_millis(250);
/// The highest rate of output in bytes a second, with viewers and without.
const RATE: (u64, u64) = (64 << 20, 8 << 20);

/// The input of the program.
pub struct ProgramInput {
    hub: Arc<ShareHub>,
    visit: Arc<Visit>,
}

impl ProgramInput {
    /// Makes the input of the program of a share, whose visit is idle while nothing comes.
    pub fn new(hub: Arc<ShareHub>, visit: Arc<Visit>) -> Self {
        Self { hub, visit }
    }
}

impl Inbound for ProgramInput {
    async fn next(&mut self) -> Option<Input> {
        let (keyboard, bytes) = self.hub.next_input().await;
        self.visit.activity.touch();
        Some(Input::Typed(keyboard, bytes.into()))
    }
}

/// The output of the program.
pub struct ProgramOutput {
    hub: Arc<ShareHub>,
    visit: Arc<Visit>,
    pace: Mutex<OutputPace>,
}

/// How far the output is.
struct OutputPace {
    /// When the output so far would have ended at the highest rate.
    paid_until: Instant,
    /// Bytes since a viewer was last shown something.
    unseen: usize,
    drawn: watch::Receiver<u64>,
}

impl ProgramOutput {
    /// Makes the output of the program of a share, whose visit says why it ends.
    pub fn new(hub: Arc<ShareHub>, visit: Arc<Visit>) -> Self {
        let pace = OutputPace { paid_until: Instant::now(), unseen: 0, drawn: hub.drawn() };
        Self { hub, visit, pace: Mutex::new(pace) }
    }
}

impl Outbound for ProgramOutput {
    /// Shows output, and waits as a terminal would. No viewer slows the program; but a program that is ahead of every viewer waits a moment
    /// for one, as it would fill the record with what is never seen.
    async fn deliver(&self, _: OutputStream, bytes: Bytes) -> Result<(), Disconnected> {
        self.visit.activity.touch();
        self.hub.show(&bytes);
        let mut pace = self.pace.lock().await;
        let is_watched = self.hub.count() > 0;
        if pace.drawn.has_changed().unwrap_or(false) {
            pace.drawn.mark_unchanged();
            pace.unseen = 0;
        }
        pace.unseen += bytes.len();
        if is_watched && pace.unseen > AHEAD {
            let _ = timeout(AHEAD_WAIT, pace.drawn.changed()).await; // Viewers that don't read keep the program waiting no longer.
            pace.unseen = 0;
        }
        let rate = if is_watched { RATE.0 } else { RATE.1 };
        let cost = Duration::from_micros(u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_mul(1_000_000) / rate);
        let now = Instant::now();
        pace.paid_until = pace.paid_until.max(now) + cost;
        // A timer is no finer than this.
        if pace.paid_until > now + Duration::from_millis(2) {
            tokio::time::sleep_until(pace.paid_until).await;
        }
        Ok(())
    }

    async fn finish(&self, ending: Ending) -> Result<(), Disconnected> {
        self.hub.end(match self.visit.phase() {
            Phase::Ending(VisitEndReason::Stopped(fault)) => Over::Stopped(fault),
            _ => Over::Ended(ending),
        });
        let _ = timeout(FAREWELL, self.hub.emptied()).await; // Viewers that don't read are cut off.
        Ok(())
    }
}
