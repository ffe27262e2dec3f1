//! The audit log: one JSON object per line for each event (docs/audit-log.md is the schema).
//!
//! One thread writes, so that a slow disk or a full pipe delays only a task that waits for its line, never a connection's bytes. The line
//! that admits a client is written before it is admitted; a line on how its connection ended follows.

mod event;
mod rotation;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sally_proto::error::Fault;
use tokio::sync::{mpsc, oneshot};

pub use self::event::RelayEvent;
use self::event::line;
use self::rotation::LogFile;
pub use self::rotation::Rotation;
use crate::keys::Skipped;
use crate::panic::essential;
use crate::{logfile, term};

/// Lines that may wait for the disk. Further lines are counted and dropped; what needs a written line is refused meanwhile.
const WAITING: usize = 4096;
/// The time for writing a line; a longer one counts as a failure.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The destination of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// No log.
    Off,
    /// Standard output.
    Stdout,
    /// A file to append to, with its size limit, if any.
    File(PathBuf, Option<Rotation>),
}

impl AuditTarget {
    /// Checks that the current account may rotate the file, if rotation is configured.
    ///
    /// # Errors
    /// [`Fault::Audit`].
    pub fn check_rotation(&self) -> Result<(), Fault> {
        match self {
            Self::File(path, Some(_)) if !rotation::may_rotate(path) => {
                Err(Fault::Audit { file: self.name(), reason: "--audit-max needs to rename files in its folder, and may not".into() })
            }
            Self::Off | Self::Stdout | Self::File(..) => Ok(()),
        }
    }

    /// Returns the name for messages: the path, or `stdout`.
    pub fn name(&self) -> String {
        match self {
            Self::Off | Self::Stdout => "stdout".into(),
            Self::File(path, _) => path.display().to_string(),
        }
    }
}

enum AuditJob {
    Write(Vec<u8>, Option<oneshot::Sender<bool>>),
    Reopen,
}

/// A handle for writing to the log. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    jobs: Option<mpsc::Sender<AuditJob>>,
    state: Arc<AuditState>,
}

#[derive(Debug, Default)]
struct AuditState {
    failing: AtomicBool,
    lost: AtomicU64,
    counters: AuditCounters,
}

/// Counters of the thread; they only grow.
#[derive(Debug, Default)]
pub(super) struct AuditCounters {
    /// Bytes written.
    pub(super) bytes: AtomicU64,
    /// Lines that could not be written.
    pub(super) lost: AtomicU64,
    /// Successful rotations.
    pub(super) rotations: AtomicU64,
    /// Failed rotations.
    pub(super) rotation_failures: AtomicU64,
}

impl AuditLog {
    /// Opens the log and starts its thread. An existing file must be owned by the current account (`logfile::open`), or by `later`, the
    /// account that the process will switch to.
    ///
    /// # Errors
    /// [`Fault::Audit`] if it can't be written.
    pub fn open(target: &AuditTarget, later: Option<u32>) -> Result<Self, Fault> {
        let state = Arc::new(AuditState::default());
        let (path, rotation) = match target {
            AuditTarget::Off => return Ok(Self { jobs: None, state }),
            AuditTarget::Stdout => (None, None),
            AuditTarget::File(path, rotation) => (Some(path.clone()), *rotation),
        };
        let name = target.name();
        let fault = |error: io::Error| Fault::Audit { file: name.clone(), reason: term::reason(&error) };
        let file = LogFile::open(path, name.clone(), rotation, later).map_err(fault)?;
        let (jobs, inbox) = mpsc::channel(WAITING);
        let writer = Writer { file, torn: false, state: Arc::clone(&state) };
        std::thread::Builder::new().name("audit".into()).spawn(move || essential(|| writer.run(inbox))).map_err(fault)?;
        Ok(Self { jobs: Some(jobs), state })
    }

    /// Writes a line and waits until it is written. Returns false on failure: the event must then not begin, unless the settings allow it.
    pub async fn write(&self, event: RelayEvent<'_>) -> bool {
        let Some(jobs) = &self.jobs else { return true };
        let (done, written) = oneshot::channel();
        let job = AuditJob::Write(line(&event), Some(done));
        let writing = async {
            jobs.send(job).await.ok()?;
            written.await.ok()
        };
        let written = matches!(tokio::time::timeout(WRITE_LIMIT, writing).await, Ok(Some(true)));
        if !written {
            self.fail();
        }
        written
    }

    /// Writes a line about something that has happened already: waits for a place in the queue, not for the disk.
    pub async fn note(&self, event: RelayEvent<'_>) {
        let Some(jobs) = &self.jobs else { return };
        let sent = tokio::time::timeout(WRITE_LIMIT, jobs.send(AuditJob::Write(line(&event), None))).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.have_lost(1);
            self.fail();
        }
    }

    /// Counts `lines` lost lines. A line that gives their number is written before the next one.
    pub fn have_lost(&self, lines: u64) {
        self.state.lost.fetch_add(lines, Ordering::Relaxed);
        self.state.counters.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// Returns whether there is a log.
    pub fn is_kept(&self) -> bool {
        self.jobs.is_some()
    }

    /// Returns the counters.
    pub(super) fn counters(&self) -> &AuditCounters {
        &self.state.counters
    }

    /// Reports the lines that a source of keys skipped, on stderr and in the log.
    pub async fn skipped(&self, skipped: &[Skipped]) {
        for line in skipped {
            term::say(&line.to_string());
            self.note(RelayEvent::LineSkipped { source: &line.source, line: line.line, reason: &line.reason }).await;
        }
    }

    /// Reopens the file, after logrotate.
    pub async fn reopen(&self) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(AuditJob::Reopen).await; // The thread lives as long as the process.
        }
    }

    /// Returns whether writing the last line failed.
    pub fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Relaxed)
    }

    fn fail(&self) {
        self.state.failing.store(true, Ordering::Relaxed);
    }
}

fn open(path: Option<&Path>, later: Option<u32>) -> io::Result<File> {
    match path {
        Some(path) => logfile::open(path, later).map(File::from).map_err(io::Error::other),
        None => Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?.into()),
    }
}

/// The state of the thread.
struct Writer {
    file: LogFile,
    /// Whether the last line may be incomplete: the next write then begins with a newline.
    torn: bool,
    state: Arc<AuditState>,
}

impl Writer {
    fn run(mut self, mut inbox: mpsc::Receiver<AuditJob>) {
        while let Some(job) = inbox.blocking_recv() {
            match job {
                AuditJob::Reopen => self.file.reopen(),
                AuditJob::Write(bytes, done) => {
                    let written = self.write_all(&bytes);
                    if let Some(done) = done {
                        let _ = done.send(written); // The asking task has given up.
                    }
                }
            }
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> bool {
        let lost = self.state.lost.swap(0, Ordering::Relaxed);
        let mut whole = Vec::new();
        if self.torn {
            whole.push(b'\n');
        }
        if lost > 0 {
            whole.extend(line(&RelayEvent::Lost { lines: lost }));
        }
        whole.extend_from_slice(bytes);
        match self.file.write(&whole, &self.state.counters) {
            Ok(()) => {
                self.torn = false;
                if self.state.failing.swap(false, Ordering::Relaxed) {
                    term::say(&format!("The audit log {} can be written again", self.file.name));
                }
                true
            }
            Err(error) => {
                self.torn = true;
                self.state.lost.fetch_add(lost.saturating_add(1), Ordering::Relaxed);
                self.state.counters.lost.fetch_add(1, Ordering::Relaxed);
                if !self.state.failing.swap(true, Ordering::Relaxed) {
                    term::say(&format!("The audit log {} can't be written: {error}", self.file.name));
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_event_is_a_line_of_json() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("audit");
        let audit = AuditLog::open(&AuditTarget::File(file.clone(), None), None).unwrap();
        assert!(audit.write(RelayEvent::Release { connection: 7, slot: "cam-17:22".into(), why: "a\nb" }).await);
        std::fs::rename(&file, dir.path().join("audit.1")).unwrap();
        audit.reopen().await;
        assert!(audit.write(RelayEvent::Stop { why: "told to" }).await);
        let old = std::fs::read_to_string(dir.path().join("audit.1")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&old).unwrap();
        assert_eq!((&value["v"], &value["event"], &value["why"]), (&1.into(), &"release".into(), &"a\nb".into()));
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    }

    #[tokio::test]
    async fn a_full_disk_is_a_failure() {
        let audit = AuditLog::open(&AuditTarget::File("/dev/full".into(), None), None).unwrap();
        assert!(!audit.write(RelayEvent::Stop { why: "told to" }).await);
        assert!(audit.is_failing());
        assert!(AuditLog::open(&AuditTarget::File("/no/such/folder/audit".into(), None), None).is_err());
    }
}
