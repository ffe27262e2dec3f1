//! The life of a visit: (phase, event, now) → phase. One place answers who ended it, why, whether the client was told, whether the record is
//! sealed, and which exit status follows.
//!
//! - `deadlines`: every time limit of a visit, in the order of their use, and what they come to at worst
//!
//! ARCHITECTURE.md has the table of all events in all phases; `tests` holds each of its cells.

mod deadlines;

use std::fmt;
use std::time::Duration;

pub use self::deadlines::{DEADLINES, Deadlines};
use crate::error::Fault;

/// Where a visit stands. It only ever goes on to a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No client has been let in yet.
    Waiting,
    /// A client was let in, and it is connected or something of it is still open.
    Open,
    /// It ends, for the first reason that there was: nothing begins any more.
    Ending(Why),
    /// It is over, and the record is closed.
    Over(Outcome),
}

/// Why a visit ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// No client was let in within the time that there was.
    NobodyCame,
    /// The client was let in and opened nothing in time.
    NothingOpened,
    /// What the client came for was over, and it stayed connected for too long.
    StayedOn,
    /// The client's connection ended.
    ClientLeft(Departure),
    /// Sally was told to stop: by a signal, a limit, or something that failed.
    Stopped(Fault),
}

/// How a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The client closed it, the network lost it, or Sally cut it.
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

impl Why {
    /// Who ended it.
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
pub struct Outcome {
    /// Why it ended, which says by whom.
    pub why: Why,
    /// Whether the client was told why, where there was something to say.
    pub told: bool,
    /// Whether the record is whole and sealed.
    pub sealed: bool,
    /// The exit status, or what is said in its place.
    pub status: Result<u8, Fault>,
}

/// What is known of a visit before it begins.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a client may take to come.
    pub wait: Duration,
    /// Whether sessions may follow each other.
    pub several: bool,
}

/// What happens to a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client is authenticated, and asks to be the one. `may_forward`: it may have connections opened, so that a visit in which nothing is
    /// open may be under way all the same.
    Admitted {
        /// Whether it may.
        may_forward: bool,
    },
    /// A session or a forward begins.
    Began(Part),
    /// A session is over: its exit status, or why it has none.
    SessionEnded(Result<u8, Fault>),
    /// A forward is over.
    ForwardEnded,
    /// The client's connection ended.
    ClientLeft(Departure),
    /// [`Visit::deadline`] has passed.
    TimeUp,
    /// Everything is to stop.
    Stop(Fault),
    /// The client was told why the visit ends.
    Told,
    /// The record is closed: sealed, or why not. The last event.
    Sealed(Result<(), Fault>),
}

/// What a visit consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A session: a program, files.
    Session,
    /// A forwarded port, socket or connection.
    Forward,
}

/// A visit: its phase, and what is to be known to choose the next one.
#[derive(Clone, Debug)]
pub struct Visit {
    terms: Terms,
    phase: Phase,
    /// When the client was let in.
    since: Option<Duration>,
    sessions: u32,
    forwards: u32,
    /// Something may still come though nothing is open: the visit ends when the client leaves, and no sooner.
    patient: bool,
    /// Forwarding is what the visit was for, at least.
    forwarded: bool,
    /// How the last session ended.
    last: Option<Result<u8, Fault>>,
    left: Option<Departure>,
    /// When time is up, where it runs.
    limit: Duration,
    /// As it was when the visit began to end.
    was_in_session: bool,
    /// No session puts the end on the record.
    is_unrecorded: bool,
    told: bool,
}

impl Visit {
    /// A visit to which no client has come. `now` is of any clock that never goes back.
    pub fn new(terms: Terms, now: Duration) -> Self {
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

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// When the client was let in.
    pub fn since(&self) -> Option<Duration> {
        self.since
    }

    /// How the client's connection ended, where it has.
    pub fn departure(&self) -> Option<Departure> {
        self.left
    }

    /// Whether a session or a forward is open.
    pub fn has_open_parts(&self) -> bool {
        self.sessions > 0 || self.forwards > 0
    }

    /// Whether a session was open when the visit began to end.
    pub fn was_in_session(&self) -> bool {
        self.was_in_session
    }

    /// When [`Event::TimeUp`] is due: the client has so long to come, to open something, or to leave.
    pub fn deadline(&self) -> Option<Duration> {
        let runs = match self.phase {
            Phase::Waiting => true,
            Phase::Open => !(self.has_open_parts() || self.patient),
            Phase::Ending(_) | Phase::Over(_) => false,
        };
        runs.then_some(self.limit)
    }

    /// Whether the client is in, and what it came for is not over: then it may be idle, or stay, for too long.
    pub fn goes_on(&self) -> bool {
        self.phase == Phase::Open && (self.has_open_parts() || self.patient || self.last.is_none())
    }

    /// Takes note of an event; false where it changes nothing, as a second client's admission.
    pub fn note(&mut self, event: Event, now: Duration) -> bool {
        match (&self.phase, event) {
            (Phase::Waiting, Event::Admitted { may_forward }) => self.open(may_forward, now),
            (Phase::Open | Phase::Ending(_), Event::Began(part)) => self.begin(part),
            (Phase::Open | Phase::Ending(_), Event::SessionEnded(status)) => {
                self.last = Some(status);
                self.sessions = self.sessions.saturating_sub(1);
                self.part_ended(now);
            }
            (Phase::Open | Phase::Ending(_), Event::ForwardEnded) => {
                self.forwards = self.forwards.saturating_sub(1);
                self.part_ended(now);
            }
            (Phase::Waiting | Phase::Open | Phase::Ending(_), Event::ClientLeft(how)) if self.left.is_none() => {
                self.left = Some(how);
                self.end_if_deserted();
            }
            // What was up may have become more time meanwhile.
            (_, Event::TimeUp) if self.deadline().is_none_or(|limit| now < limit) => return false,
            (Phase::Waiting, Event::TimeUp) => self.end(Why::NobodyCame),
            (Phase::Open, Event::TimeUp) => {
                let in_vain = self.last.is_none() && !self.forwarded;
                self.end(if in_vain { Why::NothingOpened } else { Why::StayedOn });
            }
            (Phase::Waiting | Phase::Open, Event::Stop(fault)) => self.end(Why::Stopped(fault)),
            (Phase::Ending(_), Event::Told) => self.told = true,
            (Phase::Ending(why), Event::Sealed(sealed)) => {
                let (why, told, is_sealed) = (why.clone(), self.told, sealed.is_ok());
                // A record that can't be closed is a fault of its own where there is no other.
                let status = self.status_of(&why).and_then(|status| sealed.map(|()| status));
                self.phase = Phase::Over(Outcome { why, told, sealed: is_sealed, status });
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
            self.end(Why::ClientLeft(how));
        }
    }

    fn end(&mut self, why: Why) {
        self.was_in_session = self.sessions > 0;
        // A session that is open says itself why it ends, and one that has ended well has said all.
        let is_said = self.since.is_none() || self.was_in_session || self.ended_well().is_some();
        self.is_unrecorded = !is_said && matches!(why, Why::Stopped(_) | Why::NothingOpened);
        self.phase = Phase::Ending(why);
    }

    /// The status of the last session, where it ended by itself and none is open.
    fn ended_well(&self) -> Option<u8> {
        self.last.as_ref().filter(|_| self.sessions == 0).and_then(|last| last.as_ref().ok().copied())
    }

    /// The exit status for a reason, as things stand.
    fn status_of(&self, why: &Why) -> Result<u8, Fault> {
        let otherwise = match why {
            Why::NobodyCame => return Ok(0),
            // The session was over by itself: ssh ends its ProxyCommand with SIGHUP when it has what it wanted.
            Why::Stopped(fault @ Fault::Signalled(_)) => return self.ended_well().ok_or_else(|| fault.clone()),
            Why::Stopped(fault) => return Err(fault.clone()),
            Why::ClientLeft(_) => Fault::ConnectionLost,
            Why::NothingOpened | Why::StayedOn => Fault::NoSession(DEADLINES.open.as_secs()),
        };
        match &self.last {
            Some(ended) => ended.clone(),
            None if self.forwarded => Ok(0),
            None => Err(otherwise),
        }
    }

    /// What goes on the record as the visit's end, where no session's end says it.
    pub fn unrecorded_end(&self) -> Option<Fault> {
        match &self.phase {
            Phase::Ending(Why::Stopped(fault)) if self.is_unrecorded => Some(fault.clone()),
            Phase::Ending(why @ Why::NothingOpened) if self.is_unrecorded => self.status_of(why).err(),
            _ => None,
        }
    }

    /// What the client is told at the end: nothing where the visit went well, or where it would not be on the record.
    pub fn last_word(&self) -> Option<Fault> {
        let Phase::Ending(why) = &self.phase else { return None };
        self.status_of(why).err().filter(|fault| !matches!(fault, Fault::Record { .. }))
    }
}

#[cfg(test)]
mod tests;
