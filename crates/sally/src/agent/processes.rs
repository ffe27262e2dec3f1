//! Tracks the sessions' processes, and ends what a killed one leaves behind, which the agent inherits as its subreaper.

use std::collections::HashSet;
use std::io;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use rustix::process::{Pid, WaitOptions, waitpid};
use sally_sys::process::{children, descendants_of};
use tokio::process::Child;

use crate::lock::lock;
use crate::session::sweep::sweep;

/// The processes that were started and are waited for.
#[derive(Debug, Default)]
pub(super) struct SessionProcesses(Mutex<HashSet<Pid>>);

impl SessionProcesses {
    /// Starts a session's process.
    pub(super) fn start(&self, command: Command) -> io::Result<(Pid, Child)> {
        // The lock is held across the start, so that the process isn't taken for an orphan.
        let mut known = self.known();
        let child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(|| io::Error::other("it has no number"))?;
        known.insert(pid);
        Ok((pid, child))
    }

    /// Removes a process that has ended.
    pub(super) fn ended(&self, pid: Pid) {
        self.known().remove(&pid);
    }

    /// Kills and reaps the processes whose parent has ended.
    pub(super) async fn sweep(&self) {
        let bury = || {
            for pid in self.orphans() {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG); // A process that still lives is killed first.
            }
        };
        sweep(|| descendants_of(&self.orphans()), bury).await;
    }

    /// Returns the children that no task waits for.
    fn orphans(&self) -> Vec<Pid> {
        let known = self.known();
        children().into_iter().filter(|pid| !known.contains(pid)).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Pid>> {
        lock(&self.0)
    }
}
