//! Every time limit of a visit, in the order of their use.

use std::time::Duration;

/// How long each step of a visit's end may take. What a client may do for as long as it likes has none here: `--idle-timeout` and
/// `--max-duration` end that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// A client, once let in, opens its first session.
    pub open: Duration,
    /// A session's program has ended: background jobs that hold its streams have so long to say the rest.
    pub drain: Duration,
    /// The client is gone: what ended the connection is known by then. For a library that never says, which would be a mistake of it.
    pub verdict: Duration,
    /// The session is to stop: a last line to the client, and once more for the exit status.
    pub notice: Duration,
    /// The program ends after SIGHUP, and once more after the signal that Sally got, before it is killed.
    pub hangup: Duration,
    /// The thread that serves files comes back from its last call to the system: a file system that hangs keeps nobody else.
    pub files: Duration,
    /// Nothing is open any more: the client fetches the last bytes and leaves.
    pub leave: Duration,
    /// Sally is told to stop: all sessions and forwards end, which includes `notice`, `hangup`, `files` and `farewell`.
    pub parts: Duration,
    /// Of that, for their last words to arrive: the client leaves when it has heard how its session ended.
    pub farewell: Duration,
    /// The client is told why the visit ends.
    pub tell: Duration,
    /// The client's connection, once cut, is closed: what is left is not worth more time.
    pub cut: Duration,
    /// A program that was killed is waited for so long; and processes that have been killed for so long (in uninterruptible sleep, say), and no
    /// others, are left to the kernel.
    pub stuck: Duration,
    /// And so are all after so long, of a session as of the whole visit.
    pub sweep: Duration,
}

/// The deadlines of every visit.
pub const DEADLINES: Deadlines = Deadlines {
    open: Duration::from_secs(30),
    drain: Duration::from_secs(30),
    verdict: Duration::from_secs(10),
    notice: Duration::from_millis(500),
    hangup: Duration::from_millis(800),
    files: Duration::from_secs(2),
    leave: Duration::from_secs(60),
    parts: Duration::from_secs(5),
    farewell: Duration::from_secs(2),
    tell: Duration::from_secs(1),
    cut: Duration::from_secs(1),
    stuck: Duration::from_secs(2),
    sweep: Duration::from_secs(60),
};

impl Deadlines {
    /// From being told to stop to the end of the last process, at worst. Closing the record comes after it, and takes as long as its disk.
    pub const fn after_stop(&self) -> Duration {
        sum(&[self.parts, self.last_steps()])
    }

    /// From the end of the client's connection, a session being open, to the end of the last process, at worst.
    pub const fn after_client_left(&self) -> Duration {
        sum(&[self.verdict, self.hangup, self.stuck, self.sweep, self.last_steps()])
    }

    /// From the end of the only session's program to that of the last process, at worst, while the client takes what it is sent.
    pub const fn after_program(&self) -> Duration {
        sum(&[self.drain, self.sweep, self.leave, self.last_steps()])
    }

    /// The client is told and cut off, and what is left of its processes is swept.
    const fn last_steps(&self) -> Duration {
        sum(&[self.tell, self.cut, self.sweep])
    }

    /// What a program's session may take of `parts` before its processes are swept.
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
            assert!(steps + DEADLINES.farewell <= DEADLINES.parts, "{steps:?}");
        }
        assert!(DEADLINES.stuck < DEADLINES.sweep);
    }
}
