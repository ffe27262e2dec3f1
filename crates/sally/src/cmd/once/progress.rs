//! How far a visit is, and what time there is for what comes next.

use std::time::Duration;

use sally_proto::error::Fault;
use tokio::time::Instant;

use crate::session::Ending;
use crate::ssh::door::Event;

/// How long a visitor may take, once let in, to open a session.
pub(super) const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// How long the visitor's client may take to fetch the last bytes and leave, once everything is over.
const LEAVE_LIMIT: Duration = Duration::from_secs(60);

/// How far a visit is.
#[derive(Default)]
pub(super) struct Progress {
    /// When the visitor was let in.
    claimed: Option<Instant>,
    /// Whether sessions may follow each other.
    several: bool,
    /// Sessions and forwards that are open.
    sessions: u32,
    forwards: u32,
    /// Whether something may still come though nothing is open: then the visit ends when the visitor leaves, and no sooner.
    patient: bool,
    /// Whether forwarding is what the visit was for, at least.
    forwarded: bool,
    /// How the last session ended.
    last: Option<Result<Ending, Fault>>,
}

impl Progress {
    pub(super) fn new(max_sessions: usize) -> Self {
        Self { several: max_sessions > 1, ..Self::default() }
    }

    pub(super) fn claimed(&self) -> Option<Instant> {
        self.claimed
    }

    /// Whether a session or a forward is open.
    pub(super) fn is_open(&self) -> bool {
        self.sessions > 0 || self.forwards > 0
    }

    /// Whether a session is open.
    pub(super) fn in_session(&self) -> bool {
        self.sessions > 0
    }

    /// Whether time runs against the visitor: the time to come, to open something, or to leave.
    pub(super) fn is_limited(&self) -> bool {
        self.claimed.is_none() || !(self.is_open() || self.patient)
    }

    /// Whether the visitor is in, and what they came for is not over yet.
    pub(super) fn goes_on(&self) -> bool {
        self.claimed.is_some() && (self.is_open() || self.patient || self.last.is_none())
    }

    /// Takes note; says whether that changes the time there is, and to what.
    pub(super) fn note(&mut self, event: Event, now: Instant) -> Option<Duration> {
        match event {
            Event::Claimed { may_forward } => {
                self.claimed = Some(now);
                self.patient = may_forward;
                self.forwarded = may_forward;
                return Some(OPEN_LIMIT);
            }
            Event::SessionStarted => {
                self.sessions += 1;
                self.patient |= self.several;
            }
            Event::SessionEnded(ended) => {
                self.sessions -= 1;
                self.last = Some(ended);
            }
            Event::ForwardStarted => {
                self.forwards += 1;
                self.forwarded = true;
            }
            Event::ForwardEnded => self.forwards -= 1,
        }
        (!self.is_open()).then_some(LEAVE_LIMIT)
    }

    /// The status of the last session, where it ended by itself and none is open.
    pub(super) fn ended_well(&self) -> Option<u8> {
        match &self.last {
            Some(Ok(ending)) if self.sessions == 0 => Some(ending.status()),
            _ => None,
        }
    }

    /// The exit status of a visit that is over: the last session's, or 0 for one that was for forwarding.
    pub(super) fn outcome(&mut self, without_any: Fault) -> Result<u8, Fault> {
        match self.last.take() {
            Some(ended) => ended.map(Ending::status),
            None if self.forwarded => Ok(0),
            None => Err(without_any),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(several: bool, events: impl IntoIterator<Item = Event>) -> Progress {
        let mut visit = Progress { several, ..Progress::default() };
        for event in events {
            visit.note(event, Instant::now());
        }
        visit
    }

    const ENDED: Event = Event::SessionEnded(Ok(Ending::Exited(3)));

    #[test]
    fn time_runs_unless_something_is_open_or_may_come() {
        use Event::{ForwardEnded, ForwardStarted, SessionStarted};
        let claimed = |may_forward| Event::Claimed { may_forward };
        assert!(after(false, []).is_limited());
        assert!(after(false, [claimed(false)]).is_limited());
        assert!(!after(false, [claimed(true)]).is_limited(), "ssh -N -L: nothing is open until somebody connects");
        assert!(!after(false, [claimed(false), ForwardStarted]).is_limited(), "ssh -N -R");
        assert!(after(false, [claimed(false), ForwardStarted, ForwardEnded]).is_limited());
        assert!(!after(false, [claimed(false), SessionStarted]).is_limited());
        assert!(after(false, [claimed(false), SessionStarted, ENDED]).is_limited());
        assert!(!after(false, [claimed(false), SessionStarted, ForwardStarted, ENDED]).is_limited());
        assert!(after(true, [claimed(false)]).is_limited(), "the first session has its time");
        assert!(!after(true, [claimed(false), SessionStarted, ENDED]).is_limited(), "and others may follow");
    }

    #[test]
    fn the_last_session_says_the_status_and_forwarding_alone_is_well() {
        let outcome = |events: Vec<Event>| after(false, events).outcome(Fault::ConnectionLost);
        assert_eq!(outcome(vec![Event::Claimed { may_forward: false }]), Err(Fault::ConnectionLost));
        assert_eq!(outcome(vec![Event::Claimed { may_forward: true }]), Ok(0));
        assert_eq!(outcome(vec![Event::ForwardStarted, Event::ForwardEnded]), Ok(0));
        assert_eq!(outcome(vec![Event::ForwardStarted, Event::SessionStarted, ENDED, Event::ForwardEnded]), Ok(3));
    }
}
