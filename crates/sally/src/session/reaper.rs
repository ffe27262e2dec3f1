//! Reaps every process that is ours: children that are waited for, and orphans that the kernel hands to us (as PID 1, or as subreaper). No
//! zombie stays.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use sally_sys::process::{Launch, Spawner, descendants};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::Ending;
use super::sweep::sweep;
use crate::lock::lock;
use crate::panic::spawn_essential;

/// Starts processes, waits for them, and reaps all others that end.
#[derive(Clone, Debug)]
pub struct Reaper {
    spawner: Spawner,
    waiting: Arc<Mutex<HashMap<Pid, oneshot::Sender<Ending>>>>,
    closed: Arc<AtomicBool>,
}

/// A started process, and the receiver of its ending.
#[derive(Debug)]
pub struct Child {
    /// Its number: also that of its session and its process group.
    pub pid: Pid,
    ending: oneshot::Receiver<Ending>,
    ended: Option<Ending>,
}

impl Child {
    /// Waits for its end; further calls return the same ending. Cancel-safe.
    pub async fn wait(&mut self) -> Ending {
        if let Some(ended) = self.ended {
            return ended;
        }
        // The sender stays in the map until the process is reaped; if it vanished, the child would count as killed.
        let ended = (&mut self.ending).await.unwrap_or(Ending::Signalled { signal: Signal::KILL.as_raw(), core: false });
        self.ended = Some(ended);
        ended
    }
}

impl Reaper {
    /// Begins to reap. Must be called within the runtime, once.
    ///
    /// # Errors
    /// No thread or signal handler can be had.
    pub fn start() -> io::Result<Self> {
        let reaper = Self { spawner: Spawner::new()?, waiting: Arc::default(), closed: Arc::default() };
        let mut ended = signal(SignalKind::child())?;
        let in_background = reaper.clone();
        spawn_essential(async move {
            while ended.recv().await.is_some() {
                in_background.reap();
            }
        });
        Ok(reaper)
    }

    /// Starts a process; see [`Spawner::spawn`].
    ///
    /// # Errors
    /// As [`Spawner::spawn`].
    pub fn spawn(&self, launch: Launch) -> io::Result<Child> {
        // The lock is held during the start, so that a child which ends at once doesn't count as an orphan.
        let mut waiting = self.waiting();
        if self.closed.load(Ordering::Relaxed) {
            return Err(io::Error::other("the visit is over"));
        }
        let pid = self.spawner.spawn(launch)?;
        let (sender, ending) = oneshot::channel();
        waiting.insert(pid, sender);
        Ok(Child { pid, ending, ended: None })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Pid, oneshot::Sender<Ending>>> {
        lock(&self.waiting)
    }

    fn reap(&self) {
        let mut waiting = self.waiting();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let (Some(sender), Some(ending)) = (waiting.remove(&pid), ending(status)) {
                let _ = sender.send(ending); // The child may not be waited for any more.
            }
        }
    }

    /// Prevents further starts. Must be called before the last [`Reaper::sweep`].
    pub fn close(&self) {
        let _waiting = self.waiting(); // A process that is being started is then there to be swept.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Kills every living descendant (of one session, or all) and waits until they are reaped.
    pub async fn sweep(&self, session: Option<Pid>) {
        sweep(|| descendants(session), || self.reap()).await;
    }
}

fn ending(status: WaitStatus) -> Option<Ending> {
    if let Some(code) = status.exit_status() {
        return Some(Ending::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
    }
    let signal = status.terminating_signal()?;
    // wait(2): bit 7 of the raw status says whether a core was left.
    Some(Ending::Signalled { signal, core: status.as_raw() & 0x80 != 0 })
}
