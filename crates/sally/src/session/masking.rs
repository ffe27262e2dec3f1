//! Keeps input at a password prompt off the record: decides which program reads it, and how much may be masked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::Pid;
use sally_proto::mask::{Mask, MaskBudget, Recordable, Typing};
use sally_sys::{process, pty};

use super::fd::Fd;
use crate::lock::lock;

/// The file that lists a system's login shells (shells(5)).
const SHELLS: &str = "/etc/shells";

/// The masking of a visit, whose terminals share one budget.
#[derive(Clone, Debug)]
pub struct Masking {
    budget: Arc<Mutex<MaskBudget>>,
    /// The files that count as shells.
    shells: Arc<[PathBuf]>,
}

impl Masking {
    /// Makes the masking of a visit whose sessions run this shell.
    pub fn new(shell: &Path) -> Self {
        let listed = std::fs::read(SHELLS).unwrap_or_default();
        let listed = String::from_utf8_lossy(&listed);
        let listed = listed.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from);
        Self { budget: Arc::default(), shells: std::iter::once(shell.to_owned()).chain(listed).collect() }
    }

    /// Makes the masking of one session's terminal; `leader` is the session's first process.
    pub(super) fn of_terminal(self, leader: Pid) -> TerminalMask {
        TerminalMask { visit: self, mask: Mask::default(), leader }
    }
}

/// The masking of one terminal.
#[derive(Debug)]
pub(super) struct TerminalMask {
    visit: Masking,
    mask: Mask,
    leader: Pid,
}

impl TerminalMask {
    /// Returns whether the terminal needs [`TerminalMask::watch`].
    pub(super) fn in_period(&self) -> bool {
        self.mask.in_period()
    }

    /// Notes whether the terminal's echo is still off.
    pub(super) fn watch(&mut self, terminal: &Fd) {
        self.mask.observe(pty::reads_secret(terminal));
    }

    /// Splits input into what may be recorded and what may not; `shown` is how many bytes the terminal has shown.
    pub(super) fn input<'a>(&mut self, terminal: &Fd, typed: &'a [u8], shown: u64) -> Recordable<'a> {
        let typing = Typing { now: Instant::now(), reads_secret: pty::reads_secret(terminal), shown };
        let mut budget = lock(&self.visit.budget);
        self.mask.input(typed, typing, &mut budget, || self.visit.shell_reads(terminal, self.leader))
    }
}

impl Masking {
    /// Returns whether the session's own shell reads the terminal: it is in the foreground, and its process group has no other program that
    /// could read instead, as `sudo` does in a shell that runs a command line.
    fn shell_reads(&self, terminal: &Fd, leader: Pid) -> bool {
        pty::foreground(terminal) == Some(leader)
            && self.shells.iter().any(|shell| process::runs(leader, shell))
            && process::is_alone_in_its_group(leader)
    }
}
