//! Shares a visit among its tasks: the phases of `sally_proto::visit` with a clock, and the tokens that tasks wait for.
//!
//! Every end within a visit derives from here: a task waits for a phase, or for a token that a phase cancels.

use std::sync::Arc;
use std::time::Duration;

use sally_proto::error::Fault;
use sally_proto::visit::{self as machine, DEADLINES, Phase, VisitEndReason, VisitEvent, VisitTerms};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::net::activity::Activity;
use crate::record::{AuditEvent, RecordError, Recorder};

/// The limits of a visit, once its client is in.
#[derive(Clone, Copy, Debug, Default)]
pub struct VisitLimits {
    /// The longest time without a byte.
    pub idle: Option<Duration>,
    /// The longest duration.
    pub longest: Option<Duration>,
}

/// One visit.
#[derive(Debug)]
pub struct Visit {
    machine: watch::Sender<machine::VisitState>,
    origin: Instant,
    /// The time of the last byte.
    pub activity: Activity,
    /// Cancelled when no further client is let in.
    taken: CancellationToken,
    /// Cancelled when everything that is open has to stop.
    stopped: CancellationToken,
    /// Cancelled when the client has to be told why the visit ends, and to be cut off.
    dismissed: CancellationToken,
    /// Cancelled when the client's connection has ended and the reason is known.
    gone: CancellationToken,
}

impl Visit {
    /// Makes a visit without a client.
    pub fn new(terms: VisitTerms) -> Arc<Self> {
        Arc::new(Self {
            machine: watch::Sender::new(machine::VisitState::new(terms, Duration::ZERO)),
            origin: Instant::now(),
            activity: Activity::start(),
            taken: CancellationToken::new(),
            stopped: CancellationToken::new(),
            dismissed: CancellationToken::new(),
            gone: CancellationToken::new(),
        })
    }

    /// Notes an event; returns false if it changes nothing.
    pub fn note(&self, event: VisitEvent) -> bool {
        self.note_then(event, || ())
    }

    /// Lets a client in: returns true for the first one, false for all others. Calls `settle` before any task learns of it.
    pub fn admit(&self, may_forward: bool, settle: impl FnOnce()) -> bool {
        self.note_then(VisitEvent::Admitted { may_forward }, || {
            self.activity.touch();
            settle();
        })
    }

    fn note_then(&self, event: VisitEvent, settle: impl FnOnce()) -> bool {
        let now = self.origin.elapsed();
        let (mut noted, mut taken, mut stopped, mut gone) = (false, false, false, false);
        self.machine.send_if_modified(|visit| {
            noted = visit.note(event, now);
            if noted {
                settle();
            }
            taken = *visit.phase() != Phase::Waiting;
            stopped = matches!(visit.phase(), Phase::Ending(VisitEndReason::Stopped(_)));
            gone = visit.departure().is_some();
            noted
        });
        for (token, is_due) in [(&self.taken, taken), (&self.stopped, stopped), (&self.gone, gone)] {
            if is_due {
                token.cancel();
            }
        }
        noted
    }

    /// Ends the visit; the first reason counts.
    pub fn stop(&self, why: Fault) {
        self.note(VisitEvent::Stop(why));
    }

    /// Records an event, or ends the visit: nothing goes on unrecorded.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn audit(&self, recorder: &Recorder, event: &AuditEvent) -> Result<(), RecordError> {
        recorder.audit(event).inspect_err(|error| self.stop(error.clone().into()))
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        self.machine.borrow().phase().clone()
    }

    /// Returns whether the visit is ending or over: then nothing begins any more.
    pub fn is_ending(&self) -> bool {
        matches!(self.machine.borrow().phase(), Phase::Ending(_) | Phase::Over(_))
    }

    /// Returns the end to record, if no session's end records it.
    pub fn unrecorded_end(&self) -> Option<Fault> {
        self.machine.borrow().unrecorded_end()
    }

    /// Returns what the client is told at the end.
    pub fn last_word(&self) -> Option<Fault> {
        self.machine.borrow().last_word()
    }

    /// Returns the token that is cancelled when no further client is let in.
    pub fn taken(&self) -> &CancellationToken {
        &self.taken
    }

    /// Returns the token that is cancelled when the client's connection has ended.
    pub fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Waits until the client has to be cut off. Cancel-safe.
    pub async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }

    /// Waits until everything that is open has to stop; returns why. Cancel-safe.
    pub async fn stopped(&self) -> Fault {
        self.stopped.cancelled().await;
        match self.machine.borrow().phase() {
            Phase::Ending(VisitEndReason::Stopped(fault)) => fault.clone(),
            Phase::Over(machine::VisitOutcome { why: VisitEndReason::Stopped(fault), .. }) => fault.clone(),
            phase => Fault::Internal(format!("stopped without a reason: {phase:?}")),
        }
    }

    /// Enforces the time limits until the visit begins to end. Cancel-safe.
    pub async fn attend(&self, limits: VisitLimits) {
        let mut changes = self.machine.subscribe();
        loop {
            let (deadline, since, goes_on) = {
                let visit = changes.borrow_and_update();
                if matches!(visit.phase(), Phase::Ending(_) | Phase::Over(_)) {
                    return;
                }
                (visit.deadline(), visit.since(), visit.goes_on())
            };
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = self.until(deadline) => drop(self.note(VisitEvent::TimeUp)),
                fault = self.worn_out(since, limits), if goes_on => self.stop(fault),
            }
        }
    }

    /// Waits until the visit has been idle or has lasted for too long; returns which.
    async fn worn_out(&self, since: Option<Duration>, limits: VisitLimits) -> Fault {
        let idle = async {
            match limits.idle {
                Some(limit) => self.activity.idle(limit).await,
                None => std::future::pending().await,
            }
        };
        let end = since.zip(limits.longest).and_then(|(since, longest)| since.checked_add(longest));
        tokio::select! {
            () = idle => Fault::Idle(limits.idle.unwrap_or_default().as_secs()),
            () = self.until(end) => Fault::MaxDuration(limits.longest.unwrap_or_default().as_secs()),
        }
    }

    /// Waits until a time after the beginning; forever without one.
    async fn until(&self, time: Option<Duration>) {
        match time.and_then(|time| self.origin.checked_add(time)) {
            Some(time) => sleep_until(time).await,
            None => std::future::pending().await,
        }
    }

    /// Ends what is open, then has the client told and cut off; each step has its deadline.
    pub async fn finish(&self) {
        let _ = timeout(DEADLINES.parts, self.parts_ended()).await; // The sweep ends the rest.
        if self.machine.borrow().since().is_some() {
            self.dismissed.cancel();
            let _ = timeout(DEADLINES.tell + DEADLINES.cut, self.gone.cancelled()).await; // The rest gets no more time.
        }
    }

    async fn parts_ended(&self) {
        let mut changes = self.machine.subscribe();
        let ended = changes.wait_for(|visit| !visit.has_open_parts()).await.map(|visit| visit.was_in_session());
        // The client leaves when it has heard how its session ended.
        if let Ok(true) = ended {
            let _ = timeout(DEADLINES.disconnect, self.gone.cancelled()).await;
        }
    }

    /// Returns how the client's connection ended, in the record's words.
    fn verdict(&self) -> String {
        self.machine.borrow().departure().map_or_else(|| Fault::ConnectionLost.to_string(), |departure| departure.to_string())
    }
}

/// The end of one channel of a visit: by the client, which may close it and go on with others, or by the visit.
#[derive(Clone, Debug)]
pub struct ChannelEnd {
    visit: Arc<Visit>,
    gone: CancellationToken,
}

impl ChannelEnd {
    /// Makes the end of one channel.
    pub fn of_channel(visit: &Arc<Visit>) -> Self {
        Self { gone: visit.gone.child_token(), visit: Arc::clone(visit) }
    }

    /// Notes that the client has closed the channel.
    pub fn close(&self) {
        self.gone.cancel();
    }

    /// Waits until the client has closed the channel, or its connection has ended and the reason is known. Cancel-safe.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Waits until the session has to stop; returns why. Cancel-safe.
    pub async fn stopped(&self) -> Fault {
        self.visit.stopped().await
    }

    /// Returns how the client's connection ended, in the record's words.
    pub(super) fn verdict(&self) -> String {
        self.visit.verdict()
    }
}
