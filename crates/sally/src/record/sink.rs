//! Appends whole lines to the file or stream of a record, and checks that it isn't taken away.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, FileType, OFlags, SeekFrom, Stat, access, fcntl_getfl, fdatasync, fstat, major, minor, seek, stat};
use rustix::io::Errno;
use sally_proto::record::{MAX_LINE, MAX_LINE_STDOUT};

use super::error::RecordError;
use super::limit::Limit;
use crate::logfile::{self, reason};
use crate::monitor::MonitorClient;
use crate::term;

/// The shortest time between two checks of a file that is written to.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The target of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordTarget {
    /// A file, created if need be; or a FIFO, a device, `/dev/fd/3`.
    File(PathBuf),
    /// Our stdout.
    Stdout,
}

/// The system calls that a sink needs; tests replace them by ones that fail on request.
pub(super) trait SinkOutput: Send {
    /// Writes like write(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Waits until a non-blocking output takes more.
    fn wait(&mut self) -> io::Result<()>;
    /// Syncs like fdatasync(2).
    fn sync(&mut self) -> io::Result<()>;
    /// Checks that the `written` bytes are still there.
    fn check(&mut self, written: u64) -> Result<(), String>;
    /// Stops checking the path where it was opened.
    fn forget_path(&mut self) {}
}

/// The output before it is opened.
struct Unopened;

impl SinkOutput for Unopened {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn wait(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn check(&mut self, _: u64) -> Result<(), String> {
        Ok(())
    }
}

/// Opens a sink's output when its first line is due; returns a limit too, if the output comes with one.
type Opening = Box<dyn FnOnce() -> Result<(FdOutput, Option<Limit>), String> + Send>;

/// The open file or stream of a record.
pub struct RecordSink {
    output: Box<dyn SinkOutput>,
    opening: Option<Opening>,
    /// Whether nothing is written before the first event.
    waits: bool,
    name: String,
    sync: bool,
    may_block: bool,
    max_line: usize,
    written: u64,
    limit: Option<Limit>,
    checked: Option<Instant>,
}

impl RecordSink {
    /// Opens the target for appending; `sync` makes each write wait for the disk.
    ///
    /// Creates a file with mode 0600. An existing file must be ours (`logfile::open`) and empty: nothing is overwritten, and nothing is
    /// added to.
    ///
    /// # Errors
    /// It can't be written, or the file holds something.
    pub fn open(target: &RecordTarget, sync: bool) -> Result<Self, RecordError> {
        let path = match target {
            RecordTarget::File(path) if is_our_stdout(path) => None,
            RecordTarget::File(path) => Some(path.as_path()),
            RecordTarget::Stdout => None,
        };
        let name = path.map_or_else(|| "stdout".to_owned(), |path| path.display().to_string());
        let failed = |reason: String| RecordError::Unwritten { file: name.clone(), reason };
        if let Some(path) = path {
            return Ok(Self::over_file(open_empty(path).map_err(failed)?, name, sync));
        }
        let fd = io::stdout().as_fd().try_clone_to_owned().map_err(|error| failed(term::reason(&error)))?;
        // A closed stdout is /dev/null by now. A user who wants no record says --log /dev/null.
        if is_null(&fd) {
            return Err(failed("it is closed, or it is /dev/null, which keeps no record".into()));
        }
        let output = FdOutput::new(fd, None).map_err(|error| failed(reason(error)))?;
        Ok(Self { max_line: MAX_LINE_STDOUT, ..Self::over_file(output, name, sync) })
    }

    /// Opens an existing target, or creates the file when its first line is due. Nothing is written before the first event: a client that
    /// connects without authenticating leaves no file.
    ///
    /// # Errors
    /// As [`RecordSink::open`]; the folder can't be written to.
    pub fn open_late(target: &RecordTarget, sync: bool) -> Result<Self, RecordError> {
        let path = match target {
            RecordTarget::File(path) if !is_our_stdout(path) && path.symlink_metadata().is_err() => path.clone(),
            _ => return Self::open(target, sync).map(Self::waiting),
        };
        let name = path.display().to_string();
        // An unwritable folder would keep every client out: it is reported before any client connects.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
            return Err(RecordError::Unwritten { file: name, reason: reason(error) });
        }
        let opening: Opening = Box::new(move || Ok((open_empty(&path)?, None)));
        Ok(Self { opening: Some(opening), may_block: sync, ..Self::over(Box::new(Unopened), name, sync, MAX_LINE) }.waiting())
    }

    /// Makes the sink of a record that an agent creates when the first line is due; the agent limits its size.
    pub fn of_monitor(monitor: Arc<MonitorClient>) -> Self {
        let opening: Opening = Box::new(move || {
            let (fd, bytes) = monitor.record()?;
            let output = FdOutput::new(fd, None).map_err(reason)?;
            Ok((output, Some(Limit::new(bytes, Some(Box::new(move || monitor.growth()))))))
        });
        Self { opening: Some(opening), ..Self::over(Box::new(Unopened), "of the agent".into(), false, MAX_LINE) }.waiting()
    }

    /// Makes the sink write nothing before the first event.
    #[must_use]
    pub fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    fn over_file(output: FdOutput, name: String, sync: bool) -> Self {
        let may_block = !output.regular || sync;
        Self { may_block, ..Self::over(Box::new(output), name, sync, MAX_LINE) }
    }

    /// Makes a sink over an open descriptor, under a name for messages. What a file already holds stays in front of the record.
    ///
    /// # Errors
    /// The system can't tell what the descriptor is.
    pub fn from_fd(fd: OwnedFd, name: &str, sync: bool) -> Result<Self, RecordError> {
        let output = FdOutput::new(fd, None).map_err(|error| RecordError::Unwritten { file: name.to_owned(), reason: reason(error) })?;
        Ok(Self::over_file(output, name.to_owned(), sync))
    }

    /// Makes a sink over any output.
    pub(super) fn over(output: Box<dyn SinkOutput>, name: String, sync: bool, max_line: usize) -> Self {
        let (opening, waits, may_block) = (None, false, false);
        Self { output, opening, waits, name, sync, may_block, max_line, written: 0, limit: None, checked: None }
    }

    /// Limits the sink to this many bytes: beyond them the record can't be written.
    #[must_use]
    pub fn limited(self, limit: Option<u64>) -> Self {
        Self { limit: limit.map(|bytes| Limit::new(bytes, None)), ..self }
    }

    /// Returns the name for messages: the file as given, or `stdout`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether a write may wait for a reader (a pipe, a terminal) or for the disk: async callers step aside first.
    pub const fn may_block(&self) -> bool {
        self.may_block
    }

    /// Returns whether nothing is written before the first event.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// Stops checking the path where the sink was opened, which the process may be about to lose access to. Removing or shortening the file
    /// is still noticed.
    #[must_use]
    pub fn out_of_reach(mut self) -> Self {
        self.output.forget_path();
        self
    }

    /// Returns the length that lines must stay under, in bytes.
    pub(super) const fn max_line(&self) -> usize {
        self.max_line
    }

    /// Writes a batch of whole lines. After an error nothing more may be written: the last line may be torn.
    pub(super) fn write(&mut self, batch: &[u8], now: Instant) -> Result<(), RecordError> {
        if let Some(opening) = self.opening.take() {
            let (output, limit) = opening().map_err(|reason| self.error(reason))?;
            self.output = Box::new(output);
            self.limit = limit.or(self.limit.take());
        }
        if self.checked.is_some_and(|checked| now.duration_since(checked) >= WATCH_INTERVAL) {
            self.check(now)?;
        }
        self.checked.get_or_insert(now);
        let size = self.written.saturating_add(batch.len() as u64);
        if let Some(Err(reason)) = self.limit.as_mut().map(|limit| limit.reach(size)) {
            return Err(self.error(reason));
        }
        let mut rest = batch;
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(self.error("the write returned 0 bytes".into())),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.output.wait().map_err(|error| self.error(term::reason(&error)))?;
                }
                Err(error) => return Err(self.error(term::reason(&error))),
            }
        }
        self.written += batch.len() as u64;
        if self.sync {
            self.output.sync().map_err(|error| self.error(term::reason(&error)))?;
        }
        Ok(())
    }

    /// Checks that the record is still where it was opened.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), RecordError> {
        self.checked = Some(now);
        self.output.check(self.written).map_err(|reason| self.error(reason))
    }

    pub(super) fn error(&self, reason: String) -> RecordError {
        RecordError::Unwritten { file: self.name.clone(), reason }
    }
}

impl fmt::Debug for RecordSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordSink").field("name", &self.name).field("written", &self.written).finish_non_exhaustive()
    }
}

/// An open file, and the path where it was found.
struct FdOutput {
    fd: OwnedFd,
    path: Option<PathBuf>,
    stat: Stat,
    regular: bool,
    /// The size of a regular file, or the position in it, at the beginning.
    base: u64,
}

impl FdOutput {
    fn new(fd: OwnedFd, path: Option<PathBuf>) -> Result<Self, Errno> {
        let stat = fstat(&fd)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let mut base = 0;
        if regular {
            base = u64::try_from(stat.st_size).unwrap_or(0);
            // For a stdout that the shell opened with `>`, writes go to its position, not to the end.
            if !fcntl_getfl(&fd)?.contains(OFlags::APPEND) {
                base = seek(&fd, SeekFrom::Current(0))?;
            }
        }
        Ok(Self { fd, path, stat, regular, base })
    }
}

impl SinkOutput for FdOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.fd, bytes)?)
    }

    fn wait(&mut self) -> io::Result<()> {
        match poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match fdatasync(&self.fd) {
            // A pipe or a terminal has no disk to sync to.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn check(&mut self, written: u64) -> Result<(), String> {
        if !self.regular {
            return Ok(());
        }
        let now = fstat(&self.fd).map_err(reason)?;
        if now.st_nlink == 0 {
            return Err("the file was removed while it was being written".into());
        }
        if u64::try_from(now.st_size).unwrap_or(0) < self.base + written {
            return Err("the file was shortened while it was being written".into());
        }
        if let Some(path) = &self.path {
            let there = stat(path).map_err(|error| format!("the file is no longer at its path: {}", reason(error)))?;
            if (there.st_dev, there.st_ino) != (self.stat.st_dev, self.stat.st_ino) {
                return Err("the file was replaced while it was being written".into());
            }
        }
        Ok(())
    }

    fn forget_path(&mut self) {
        self.path = None;
    }
}

/// Opens the target of a record; refuses a file that holds something, which is never overwritten nor added to.
fn open_empty(path: &Path) -> Result<FdOutput, String> {
    let output = FdOutput::new(logfile::open(path, None)?, Some(path.to_owned())).map_err(reason)?;
    if output.regular && output.base > 0 {
        return Err("it is not empty, and Sally overwrites no record: name a new file".into());
    }
    Ok(output)
}

/// Returns whether a path names our stdout: opening it again would fail for a socket, and lose the position in a file.
fn is_our_stdout(path: &Path) -> bool {
    ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path.as_os_str() == OsStr::new(name))
}

/// Returns whether a descriptor is the null device (major 1, minor 3: null(4)).
fn is_null(fd: &OwnedFd) -> bool {
    fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
    })
}
