//! Every process that is ours ends up here: children that somebody waits for, and orphans that the kernel hands to us (as PID 1, or as
//! subreaper). No zombie stays.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use sally_sys::process::{Launch, Spawner, descendants};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::Ending;

/// How often survivors are looked for while they are being killed.
const SWEEP: Duration = Duration::from_millis(10);
/// Looks at one go for whoever was born since the last.
const ROUNDS: u32 = 1000;
/// Those that have been killed for so long (in uninterruptible sleep, say), and nobody else, are left to the kernel.
const STUCK_LIMIT: Duration = Duration::from_secs(2);
/// And so is everybody after so long.
const SWEEP_LIMIT: Duration = Duration::from_secs(60);

/// Starts processes, waits for them, and buries whoever else ends.
#[derive(Clone, Debug)]
pub struct Reaper {
    spawner: Spawner,
    waiting: Arc<Mutex<HashMap<Pid, oneshot::Sender<Ending>>>>,
    closed: Arc<AtomicBool>,
}

/// A process that was started, and the promise of how it ends.
#[derive(Debug)]
pub struct Child {
    /// Its number: also that of its session and process group.
    pub pid: Pid,
    ending: oneshot::Receiver<Ending>,
    ended: Option<Ending>,
}

impl Child {
    /// Waits for its end, which is the same however often it is asked for. Cancel-safe.
    pub async fn wait(&mut self) -> Ending {
        if let Some(ended) = self.ended {
            return ended;
        }
        // The sender lives in the map until the process is reaped; should it ever vanish, the child counts as killed.
        let ended = (&mut self.ending).await.unwrap_or(Ending::Signalled { signal: Signal::KILL.as_raw(), core: false });
        self.ended = Some(ended);
        ended
    }
}

impl Reaper {
    /// Begins to reap. To be called within the runtime, once.
    ///
    /// # Errors
    /// Where no thread or signal handler can be had.
    pub fn start() -> io::Result<Self> {
        let reaper = Self { spawner: Spawner::new()?, waiting: Arc::default(), closed: Arc::default() };
        let mut ended = signal(SignalKind::child())?;
        let in_background = reaper.clone();
        tokio::spawn(async move {
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
        // The lock is held across the start, so that a child which ends at once isn't taken for an orphan.
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
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self) {
        let mut waiting = self.waiting();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let (Some(sender), Some(ending)) = (waiting.remove(&pid), ending(status)) {
                let _ = sender.send(ending); // Nobody waits any more: that is fine.
            }
        }
    }

    /// Starts nothing any more. To be called before the last [`Reaper::sweep`].
    pub fn close(&self) {
        let _waiting = self.waiting(); // Whoever is being started is there to be swept.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Kills every living descendant (of one session, or all) and waits until they are buried.
    pub async fn sweep(&self, session: Option<Pid>) {
        let began = Instant::now();
        let (mut survivors, mut stuck_since) = (Vec::new(), began);
        loop {
            let living = stopped(session);
            if living.is_empty() {
                return;
            }
            for pid in &living {
                let _ = rustix::process::kill_process(*pid, Signal::KILL); // Gone already: that is the aim.
            }
            if living != survivors {
                (survivors, stuck_since) = (living, Instant::now());
            }
            if stuck_since.elapsed() > STUCK_LIMIT || began.elapsed() > SWEEP_LIMIT {
                tracing::warn!("some processes of the session do not end");
                return;
            }
            tokio::time::sleep(SWEEP).await;
            self.reap();
        }
    }
}

/// Every living descendant, brought to a halt: a fork bomb whose members are killed one by one fills each place that becomes free, and takes
/// the time that killing needs.
fn stopped(session: Option<Pid>) -> Vec<Pid> {
    let mut halted = HashSet::new();
    for _ in 0..ROUNDS {
        let living = descendants(session);
        let mut all = true;
        for pid in &living {
            if halted.insert(*pid) {
                all = false;
                let _ = rustix::process::kill_process(*pid, Signal::STOP);
            }
        }
        if all {
            return living;
        }
    }
    descendants(session)
}

fn ending(status: WaitStatus) -> Option<Ending> {
    if let Some(code) = status.exit_status() {
        return Some(Ending::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
    }
    let signal = status.terminating_signal()?;
    // wait(2): bit 7 of the raw status says that a core was left.
    Some(Ending::Signalled { signal, core: status.as_raw() & 0x80 != 0 })
}
