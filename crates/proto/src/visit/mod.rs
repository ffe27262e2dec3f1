//! The life of a visit: (phase, event, now) → phase. One place answers who ended it, why, whether the client was told, whether the record is
//! sealed, and which exit status follows.
//!
//! - `deadlines`: every time limit of a visit, in the order of their use, and what they come to at worst
//!
//! ARCHITECTURE.md has the table of all events in all phases; `tests` holds each of its cells.

mod deadlines;

use std::fmt;
use std::time::Duration;

pub use self::deadlines::{DEADLINES, VisitDeadlines};
use crate::error::Fault;

/// The phase of a visit. A visit only moves to a later phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No client has logged in yet.
    Waiting,
    /// A client has logged in; it is still connected, or a session or forward of it is open.
    Open,
    /// The visit ends, for the first reason that occurred. No session or forward begins any more.
    Ending(VisitEndReason),
    /// The visit is over, and the record is closed.
    Over(VisitOutcome),
}

/// Why a visit ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisitEndReason {
    /// No client logged in within the waiting time.
    NobodyCame,
    /// The client logged in, and opened no session or forward in time.
    NothingOpened,
    /// The client's sessions and forwards had ended, and it stayed connected for too long.
    StayedOn,
    /// The client's connection ended.
    ClientLeft(Departure),
    /// A signal, a limit or a failure stopped Sally.
    Stopped(Fault),
}

/// How a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The client closed the connection, the network lost it, or Sally cut it.
    Lost,
    /// The client did not answer.
    Unanswered,
    /// The client broke the protocol.
    Violation,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What was wrong with the client's packets is a line of its own on the record.
            Self::Lost | Self::Violation => Fault::ConnectionLost.fmt(f),
            Self::Unanswered => f.write_str("no answer to keepalives"),
        }
    }
}

/// Who ends a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The client, by leaving or by what it sent.
    Client,
    /// The operator, by a signal.
    Operator,
    /// Sally, by a limit or a failure.
    Sally,
}

impl VisitEndReason {
    /// Returns who ended the visit.
    pub fn by(&self) -> Party {
        match self {
            Self::ClientLeft(Departure::Lost | Departure::Violation) => Party::Client,
            Self::Stopped(Fault::Signalled(_)) => Party::Operator,
            // An unanswered client is dropped by Sally.
            Self::ClientLeft(Departure::Unanswered) | Self::NobodyCame | Self::NothingOpened | Self::StayedOn | Self::Stopped(_) => {
                Party::Sally
            }
        }
    }
}

/// A visit that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitOutcome {
    /// The reason of its end, which also says who ended it.
    pub why: VisitEndReason,
    /// Whether the client was told the reason, if there was one to tell.
    pub told: bool,
    /// Whether the record is complete and sealed.
    pub sealed: bool,
    /// The exit status, or the fault that Sally prints.
    pub status: Result<u8, Fault>,
}

/// The settings of a visit.
#[derive(Clone, Copy, Debug)]
pub struct VisitTerms {
    /// The longest time to wait for a client to log in.
    pub wait: Duration,
    /// Whether the client may open further sessions after the first (`--max-sessions` above 1).
    pub several: bool,
}

/// An event that may change a visit's phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisitEvent {
    /// A client has authenticated, and takes the visit unless another client has it.
    Admitted {
        /// Whether the client may forward. If so, the visit goes on while nothing is open.
        may_forward: bool,
    },
    /// A session or a forward begins.
    Began(Part),
    /// A session ended: its exit status, or the reason why it has none.
    SessionEnded(Result<u8, Fault>),
    /// A forward ended.
    ForwardEnded,
    /// The client's connection ended.
    ClientLeft(Departure),
    /// [`VisitState::deadline`] has passed.
    TimeUp,
    /// All sessions and forwards must stop.
    Stop(Fault),
    /// The client was told why the visit ends.
    Told,
    /// The record is closed: sealed, or the reason why not. No event follows.
    Sealed(Result<(), Fault>),
}

/// A part of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A session: a program, or files.
    Session,
    /// A forwarded port, socket or connection.
    Forward,
}

/// A visit: its phase, and the facts that decide the next phase.
#[derive(Clone, Debug)]
pub struct VisitState {
    terms: VisitTerms,
    phase: Phase,
    /// When the client logged in.
    since: Option<Duration>,
    sessions: u32,
    forwards: u32,
    /// Whether the client may still open something when nothing is open: the visit then ends only when the client leaves.
    patient: bool,
    /// Whether the client may forward or has forwarded: a visit without a session then ends with status 0.
    forwarded: bool,
    /// How the last session ended.
    last: Option<Result<u8, Fault>>,
    left: Option<Departure>,
    /// The time of [`VisitEvent::TimeUp`], if [`VisitState::deadline`] says that the time runs.
    limit: Duration,
    /// Whether a session was open when the visit began to end.
    was_in_session: bool,
    /// Whether no session records the end of the visit.
    is_unrecorded: bool,
    told: bool,
}

impl VisitState {
    /// Creates a visit without a client. `now` is a time of any clock that never goes back.
    pub fn new(terms: VisitTerms, now: Duration) -> Self {
        Self {
            terms,
            phase: Phase::Waiting,
            since: None,
            sessions: 0,
            forwards: 0,
            patient: false,
            forwarded: false,
            last: None,
            left: None,
            limit: now.saturating_add(terms.wait),
            was_in_session: false,
            is_unrecorded: false,
            told: false,
        }
    }

    /// Returns the phase.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Returns when the client logged in.
    pub fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Returns how the client's connection ended, if it has ended.
    pub fn departure(&self) -> Option<Departure> {
        self.left
    }

    /// Returns whether a session or a forward is open.
    pub fn has_open_parts(&self) -> bool {
        self.sessions > 0 || self.forwards > 0
    }

    /// Returns whether a session was open when the visit began to end.
    pub fn was_in_session(&self) -> bool {
        self.was_in_session
    }

    /// Returns when [`VisitEvent::TimeUp`] is due: by then the client must have logged in, opened something, or left. `None` while no such limit
    /// runs.
    pub fn deadline(&self) -> Option<Duration> {
        let runs = match self.phase {
            Phase::Waiting => true,
            Phase::Open => !(self.has_open_parts() || self.patient),
            Phase::Ending(_) | Phase::Over(_) => false,
        };
        runs.then_some(self.limit)
    }

    /// Returns whether the client is connected and its sessions or forwards go on. Only then `--idle-timeout` and `--max-duration` apply.
    pub fn goes_on(&self) -> bool {
        self.phase == Phase::Open && (self.has_open_parts() || self.patient || self.last.is_none())
    }

    /// Applies an event. Returns false if it changes nothing, such as the admission of a second client.
    pub fn note(&mut self, event: VisitEvent, now: Duration) -> bool {
        match (&self.phase, event) {
            (Phase::Waiting, VisitEvent::Admitted { may_forward }) => self.open(may_forward, now),
            (Phase::Open | Phase::Ending(_), VisitEvent::Began(part)) => self.begin(part),
            (Phase::Open | Phase::Ending(_), VisitEvent::SessionEnded(status)) => {
                self.last = Some(status);
                self.sessions = self.sessions.saturating_sub(1);
                self.part_ended(now);
            }
            (Phase::Open | Phase::Ending(_), VisitEvent::ForwardEnded) => {
                self.forwards = self.forwards.saturating_sub(1);
                self.part_ended(now);
            }
            (Phase::Waiting | Phase::Open | Phase::Ending(_), VisitEvent::ClientLeft(how)) if self.left.is_none() => {
                self.left = Some(how);
                self.end_if_deserted();
            }
            // What was up may have become more time meanwhile.
            (_, VisitEvent::TimeUp) if self.deadline().is_none_or(|limit| now < limit) => return false,
            (Phase::Waiting, VisitEvent::TimeUp) => self.end(VisitEndReason::NobodyCame),
            (Phase::Open, VisitEvent::TimeUp) => {
                let in_vain = self.last.is_none() && !self.forwarded;
                self.end(if in_vain { VisitEndReason::NothingOpened } else { VisitEndReason::StayedOn });
            }
            (Phase::Waiting | Phase::Open, VisitEvent::Stop(fault)) => self.end(VisitEndReason::Stopped(fault)),
            (Phase::Ending(_), VisitEvent::Told) => self.told = true,
            (Phase::Ending(why), VisitEvent::Sealed(sealed)) => {
                let (why, told, is_sealed) = (why.clone(), self.told, sealed.is_ok());
                // A record that can't be closed is a fault of its own where there is no other.
                let status = self.status_of(&why).and_then(|status| sealed.map(|()| status));
                self.phase = Phase::Over(VisitOutcome { why, told, sealed: is_sealed, status });
            }
            _ => return false,
        }
        true
    }

    fn open(&mut self, may_forward: bool, now: Duration) {
        self.phase = Phase::Open;
        self.since = Some(now);
        (self.patient, self.forwarded) = (may_forward, may_forward);
        self.limit = now.saturating_add(DEADLINES.open);
    }

    fn begin(&mut self, part: Part) {
        match part {
            Part::Session => {
                self.sessions += 1;
                self.patient |= self.terms.several;
            }
            Part::Forward => {
                self.forwards += 1;
                self.forwarded = true;
            }
        }
    }

    fn part_ended(&mut self, now: Duration) {
        if !self.has_open_parts() {
            self.limit = now.saturating_add(DEADLINES.leave);
        }
        self.end_if_deserted();
    }

    fn end_if_deserted(&mut self) {
        if let (Some(how), false, Phase::Waiting | Phase::Open) = (self.left, self.has_open_parts(), &self.phase) {
            self.end(VisitEndReason::ClientLeft(how));
        }
    }

    fn end(&mut self, why: VisitEndReason) {
        self.was_in_session = self.sessions > 0;
        // A session that is open says itself why it ends, and one that has ended well has said all.
        let is_said = self.since.is_none() || self.was_in_session || self.ended_well().is_some();
        self.is_unrecorded = !is_said && matches!(why, VisitEndReason::Stopped(_) | VisitEndReason::NothingOpened);
        self.phase = Phase::Ending(why);
    }

    /// Returns the exit status of the last session, if it ended by itself and no session is open.
    fn ended_well(&self) -> Option<u8> {
        self.last.as_ref().filter(|_| self.sessions == 0).and_then(|last| last.as_ref().ok().copied())
    }

    /// Returns the exit status for a reason, from the present facts.
    fn status_of(&self, why: &VisitEndReason) -> Result<u8, Fault> {
        let otherwise = match why {
            VisitEndReason::NobodyCame => return Ok(0),
            // The session was over by itself: ssh ends its ProxyCommand with SIGHUP when it has what it wanted.
            VisitEndReason::Stopped(fault @ Fault::Signalled(_)) => return self.ended_well().ok_or_else(|| fault.clone()),
            VisitEndReason::Stopped(fault) => return Err(fault.clone()),
            VisitEndReason::ClientLeft(_) => Fault::ConnectionLost,
            VisitEndReason::NothingOpened | VisitEndReason::StayedOn => Fault::NoSession(DEADLINES.open.as_secs()),
        };
        match &self.last {
            Some(ended) => ended.clone(),
            None if self.forwarded => Ok(0),
            None => Err(otherwise),
        }
    }

    /// Returns the fault to record as the visit's end, if no session records it.
    pub fn unrecorded_end(&self) -> Option<Fault> {
        match &self.phase {
            Phase::Ending(VisitEndReason::Stopped(fault)) if self.is_unrecorded => Some(fault.clone()),
            Phase::Ending(why @ VisitEndReason::NothingOpened) if self.is_unrecorded => self.status_of(why).err(),
            _ => None,
        }
    }

    /// Returns the fault to tell the client at the end. `None` if the visit went well, or if the record failed: the sentence could not be
    /// recorded.
    pub fn last_word(&self) -> Option<Fault> {
        let Phase::Ending(why) = &self.phase else { return None };
        self.status_of(why).err().filter(|fault| !matches!(fault, Fault::Record { .. }))
    }
}

#[cfg(test)]
mod tests;
