//! Every time limit of a visit, in the order of their use.

use std::time::Duration;

/// The longest time for each step of a visit and of its end. Sessions and forwards have no limit here, but `--idle-timeout` and
/// `--max-duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitDeadlines {
    /// For a client that has logged in to open its first session.
    pub open: Duration,
    /// For background jobs that hold a session's streams to write the rest, after the session's program has ended.
    pub drain: Duration,
    /// For the SSH library to say why the connection ended, after the client has gone. It always does unless it has a defect.
    pub verdict: Duration,
    /// For the last line of a stopped session to reach the client, and again for the exit status.
    pub notice: Duration,
    /// For a program to end after SIGHUP, and again after the signal that Sally got, before Sally kills it.
    pub hangup: Duration,
    /// For the thread that serves files to return from its last system call: a file system that hangs must not delay the rest.
    pub files: Duration,
    /// For the client to read the last bytes and leave, when nothing is open any more.
    pub leave: Duration,
    /// For all sessions and forwards to end when Sally stops. Includes `notice`, `hangup`, `files` and `disconnect`.
    pub parts: Duration,
    /// Within `parts`, for the client to read how its session ended and to leave.
    pub disconnect: Duration,
    /// For telling the client why the visit ends.
    pub tell: Duration,
    /// For closing the client's connection after the cut.
    pub cut: Duration,
    /// For a killed program to end. If only processes are left that were killed this long ago (in uninterruptible sleep, for example),
    /// Sally leaves them to the kernel.
    pub stuck: Duration,
    /// For all processes to end, of a session and of the whole visit. Sally leaves those that remain to the kernel.
    pub sweep: Duration,
}

/// The deadlines of every visit.
pub const DEADLINES: VisitDeadlines = VisitDeadlines {
    open: Duration::from_secs(30),
    drain: Duration::from_secs(30),
    verdict: Duration::from_secs(10),
    notice: Duration::from_millis(500),
    hangup: Duration::from_millis(800),
    files: Duration::from_secs(2),
    leave: Duration::from_secs(60),
    parts: Duration::from_secs(5),
    disconnect: Duration::from_secs(2),
    tell: Duration::from_secs(1),
    cut: Duration::from_secs(1),
    stuck: Duration::from_secs(2),
    sweep: Duration::from_secs(60),
};

impl VisitDeadlines {
    /// Returns the longest time from the signal to stop until the end of the last process. Closing the record comes after it, and takes the
    /// time that the disk needs.
    pub const fn after_stop(&self) -> Duration {
        sum(&[self.parts, self.last_steps()])
    }

    /// Returns the longest time from the end of the client's connection, with an open session, until the end of the last process.
    pub const fn after_client_left(&self) -> Duration {
        sum(&[self.verdict, self.hangup, self.stuck, self.sweep, self.last_steps()])
    }

    /// Returns the longest time from the end of the only session's program until the end of the last process, if the client reads what it
    /// is sent.
    pub const fn after_program(&self) -> Duration {
        sum(&[self.drain, self.sweep, self.leave, self.last_steps()])
    }

    /// Returns the time for telling the client, closing its connection and killing the remaining processes.
    const fn last_steps(&self) -> Duration {
        sum(&[self.tell, self.cut, self.sweep])
    }

    /// Returns the share of `parts` that a program's session may use before Sally kills its processes.
    pub const fn of_program(&self) -> Duration {
        sum(&[self.notice, self.notice, self.hangup, self.hangup])
    }

    /// What a session of files may take of `parts`.
    pub const fn of_files(&self) -> Duration {
        sum(&[self.files, self.notice, self.notice])
    }
}

const fn sum(durations: &[Duration]) -> Duration {
    match durations {
        [] => Duration::ZERO,
        [first, rest @ ..] => first.saturating_add(sum(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_ends_take_so_long() {
        assert_eq!(DEADLINES.after_stop(), Duration::from_secs(67));
        assert_eq!(DEADLINES.after_client_left(), Duration::from_millis(134_800));
        assert_eq!(DEADLINES.after_program(), Duration::from_secs(212));
    }

    #[test]
    fn whoever_is_told_to_stop_has_the_time_that_the_steps_of_it_need() {
        for steps in [DEADLINES.of_program(), DEADLINES.of_files()] {
            assert!(steps + DEADLINES.disconnect <= DEADLINES.parts, "{steps:?}");
        }
        assert!(DEADLINES.stuck < DEADLINES.sweep);
    }
}
