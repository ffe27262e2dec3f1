//! Supervises the visit, phase by phase.

use std::sync::Arc;
use std::time::Duration;

use sally_proto::error::Fault;
use sally_proto::record::AuditEvent;
use sally_proto::visit::{Phase, VisitEndReason, VisitEvent, VisitOutcome};
use tokio::task::JoinHandle;

use crate::record::Recorder;
use crate::session::reaper::Reaper;
use crate::session::visit::{Visit, VisitLimits};
use crate::shutdown::Signals;
use crate::term;

/// The parts besides the visit that can end it, and that have to end with it.
pub(super) struct Supervisor {
    pub(super) visit: Arc<Visit>,
    pub(super) limits: VisitLimits,
    pub(super) timeout: Duration,
    pub(super) recorder: Recorder,
    pub(super) reaper: Reaper,
    pub(super) announced: Option<JoinHandle<Result<(), Fault>>>,
    pub(super) signals: Signals,
}

impl Supervisor {
    /// Runs until the visit and all its processes have ended.
    pub(super) async fn supervise(mut self) -> VisitOutcome {
        loop {
            match self.visit.phase() {
                Phase::Waiting | Phase::Open => self.attend().await,
                Phase::Ending(why) => self.end(&why).await,
                Phase::Over(outcome) => {
                    let VisitOutcome { why, told, sealed, .. } = &outcome;
                    tracing::debug!(by = ?why.by(), ?why, told, sealed, "the visit is over");
                    return outcome;
                }
            }
        }
    }

    /// Waits until the visit begins to end, on its own or because of one of these parts.
    async fn attend(&mut self) {
        let Self { visit, limits, recorder, announced, signals, .. } = self;
        let ending = visit.attend(*limits);
        tokio::pin!(ending);
        loop {
            tokio::select! {
                biased;
                () = &mut ending => return,
                outcome = outcome(announced), if announced.is_some() => {
                    *announced = None;
                    if let Err(fault) = outcome {
                        visit.stop(fault);
                    }
                }
                number = signals.received() => visit.stop(Fault::Signalled(number)),
                error = recorder.failed() => visit.stop(error.into()),
            }
        }
    }

    /// Ends what is open, tells the client, sweeps the remaining processes, and seals the record.
    async fn end(&mut self, why: &VisitEndReason) {
        if *why == VisitEndReason::NobodyCame {
            term::say(&format!("No client logged in within {} s: Sally exits", self.timeout.as_secs()));
        }
        if let Some(fault) = self.visit.unrecorded_end()
            && let Err(error) = self.recorder.audit(&AuditEvent::Close { reason: fault.to_string() })
        {
            tracing::debug!(%error, "the end of the visit is not on the record"); // Sealing the record fails too.
        }
        self.visit.finish().await;
        self.reaper.close();
        self.reaper.sweep(None).await;
        let sealed = self.recorder.seal().map_err(Fault::from);
        self.visit.note(VisitEvent::Sealed(sealed));
    }
}

async fn outcome(announced: &mut Option<JoinHandle<Result<(), Fault>>>) -> Result<(), Fault> {
    match announced {
        Some(task) => task.await.unwrap_or_else(|error| Err(Fault::Internal(error.to_string()))),
        None => std::future::pending().await,
    }
}
