//! The sessions' processes, and what one of them leaves behind that a visitor has killed: as its subreaper the agent inherits it.

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
    /// Starts one.
    pub(super) fn start(&self, command: Command) -> io::Result<(Pid, Child)> {
        // The lock is held across the start, so that it isn't taken for one that was left behind.
        let mut known = self.known();
        let child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(|| io::Error::other("it has no number"))?;
        known.insert(pid);
        Ok((pid, child))
    }

    /// One has ended.
    pub(super) fn ended(&self, pid: Pid) {
        self.known().remove(&pid);
    }

    /// Ends and buries whatever has lost the process that would have done so.
    pub(super) async fn sweep(&self) {
        let bury = || {
            for pid in self.orphans() {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG); // It lives: then it is killed first.
            }
        };
        sweep(|| descendants_of(&self.orphans()), bury).await;
    }

    /// Children that nobody waits for.
    fn orphans(&self) -> Vec<Pid> {
        let known = self.known();
        children().into_iter().filter(|pid| !known.contains(pid)).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Pid>> {
        lock(&self.0)
    }
}
