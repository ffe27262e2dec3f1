//! What is typed at a password prompt is kept off the record: who reads it, and how much of it may be masked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::Pid;
use sally_proto::mask::{Mask, MaskBudget, Recordable, Typing};
use sally_sys::{process, pty};

use super::fd::Fd;
use crate::lock::lock;

/// Where a system lists its login shells: shells(5).
const SHELLS: &str = "/etc/shells";

/// The masking of a visit: its terminals share one budget.
#[derive(Clone, Debug)]
pub struct Masking {
    budget: Arc<Mutex<MaskBudget>>,
    /// What counts as a shell.
    shells: Arc<[PathBuf]>,
}

impl Masking {
    /// Of a visit whose sessions run this shell.
    pub fn new(shell: &Path) -> Self {
        let listed = std::fs::read(SHELLS).unwrap_or_default();
        let listed = String::from_utf8_lossy(&listed);
        let listed = listed.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from);
        Self { budget: Arc::default(), shells: std::iter::once(shell.to_owned()).chain(listed).collect() }
    }

    /// Of the terminal of one session, whose first process is `leader`.
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
    /// Whether the terminal is worth watching: [`TerminalMask::watch`].
    pub(super) fn in_period(&self) -> bool {
        self.mask.in_period()
    }

    /// Notes whether the terminal still has no echo.
    pub(super) fn watch(&mut self, terminal: &Fd) {
        self.mask.observe(pty::reads_secret(terminal));
    }

    /// Splits what was typed by what may be recorded; `shown` is how many bytes the terminal has shown.
    pub(super) fn input<'a>(&mut self, terminal: &Fd, typed: &'a [u8], shown: u64) -> Recordable<'a> {
        let typing = Typing { now: Instant::now(), reads_secret: pty::reads_secret(terminal), shown };
        let mut budget = lock(&self.visit.budget);
        self.mask.input(typed, typing, &mut budget, || self.visit.shell_reads(terminal, self.leader))
    }
}

impl Masking {
    /// Whether the session's own shell reads the terminal: it is in the foreground, and no program of its group could be what reads in its
    /// place, as `sudo` does in a shell that runs a command line.
    fn shell_reads(&self, terminal: &Fd, leader: Pid) -> bool {
        pty::foreground(terminal) == Some(leader)
            && self.shells.iter().any(|shell| process::runs(leader, shell))
            && process::is_alone_in_its_group(leader)
    }
}
