//! Where the record goes: whole lines, appended, and watched for being taken away.

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
use crate::monitor::MonitorClient;
use crate::{logfile, term};

/// A file that is written to is looked at no more often than this.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Where the record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, made if need be; or a FIFO, a device, `/dev/fd/3`.
    File(PathBuf),
    /// Our stdout.
    Stdout,
}

/// What a sink needs of the system: a file, or in tests something that fails when told to.
pub(super) trait Output: Send {
    /// As write(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Waits until a non-blocking output takes more.
    fn wait(&mut self) -> io::Result<()>;
    /// As fdatasync(2).
    fn sync(&mut self) -> io::Result<()>;
    /// Whether what was written (so many bytes) is still there.
    fn check(&mut self, written: u64) -> Result<(), String>;
    /// Looks for it no more at the path where it was opened.
    fn forget_path(&mut self) {}
}

/// What isn't opened yet.
struct Unopened;

impl Output for Unopened {
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

/// Opens a sink's output when its first line is to be written; with a limit where whoever gives it has one.
type Opening = Box<dyn FnOnce() -> Result<(FdOutput, Option<Limit>), String> + Send>;

/// The open end of a record.
pub struct Sink {
    output: Box<dyn Output>,
    opening: Option<Opening>,
    /// Nothing is written until something has happened.
    waits: bool,
    name: String,
    sync: bool,
    may_block: bool,
    max_line: usize,
    written: u64,
    limit: Option<Limit>,
    checked: Option<Instant>,
}

impl Sink {
    /// Opens the target for appending; `sync` waits for the disk after each write.
    ///
    /// A file is made with mode 0600. What is there already is never overwritten and never added to, and must be ours: `logfile::open`.
    ///
    /// # Errors
    /// It can't be written, or it is a file that holds something.
    pub fn open(target: &Target, sync: bool) -> Result<Self, RecordError> {
        let path = match target {
            Target::File(path) if is_our_stdout(path) => None,
            Target::File(path) => Some(path.as_path()),
            Target::Stdout => None,
        };
        let name = path.map_or_else(|| "stdout".to_owned(), |path| path.display().to_string());
        let failed = |reason: String| RecordError::Unwritten { file: name.clone(), reason };
        if let Some(path) = path {
            return Ok(Self::over_file(open_empty(path).map_err(failed)?, name, sync));
        }
        let fd = io::stdout().as_fd().try_clone_to_owned().map_err(|error| failed(term::reason(&error)))?;
        // A stdout that was closed is /dev/null by now. Whoever wants no record says --log /dev/null.
        if is_null(&fd) {
            return Err(failed("it is closed, or /dev/null, where nobody keeps it".into()));
        }
        let output = FdOutput::new(fd, None).map_err(|error| failed(reason(error)))?;
        Ok(Self { max_line: MAX_LINE_STDOUT, ..Self::over_file(output, name, sync) })
    }

    /// Opens what is there already, and makes a file that isn't there yet when its first line is written. Nothing is written until
    /// something has happened: who connects and authenticates nobody leaves nothing behind.
    ///
    /// # Errors
    /// As [`Sink::open`]; the folder can't be written to.
    pub fn open_late(target: &Target, sync: bool) -> Result<Self, RecordError> {
        let path = match target {
            Target::File(path) if !is_our_stdout(path) && path.symlink_metadata().is_err() => path.clone(),
            _ => return Self::open(target, sync).map(Self::waiting),
        };
        let name = path.display().to_string();
        // What would keep each visitor out is told before anybody comes.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
            return Err(RecordError::Unwritten { file: name, reason: reason(error) });
        }
        let opening: Opening = Box::new(move || Ok((open_empty(&path)?, None)));
        Ok(Self { opening: Some(opening), may_block: sync, ..Self::over(Box::new(Unopened), name, sync, MAX_LINE) }.waiting())
    }

    /// The record that an agent makes when the first line is to be written, as large as the agent allows.
    pub fn of_monitor(monitor: Arc<MonitorClient>) -> Self {
        let opening: Opening = Box::new(move || {
            let (fd, bytes) = monitor.record()?;
            let output = FdOutput::new(fd, None).map_err(reason)?;
            Ok((output, Some(Limit::new(bytes, Some(Box::new(move || monitor.growth()))))))
        });
        Self { opening: Some(opening), ..Self::over(Box::new(Unopened), "of the agent".into(), false, MAX_LINE) }.waiting()
    }

    /// Writes nothing until something has happened that is to be on the record.
    #[must_use]
    pub fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    fn over_file(output: FdOutput, name: String, sync: bool) -> Self {
        let may_block = !output.regular || sync;
        Self { may_block, ..Self::over(Box::new(output), name, sync, MAX_LINE) }
    }

    /// A sink over a descriptor that is open already, under a name for people. What a file holds already stays before the record.
    ///
    /// # Errors
    /// The system can't say what it is.
    pub fn from_fd(fd: OwnedFd, name: &str, sync: bool) -> Result<Self, RecordError> {
        let output = FdOutput::new(fd, None).map_err(|error| RecordError::Unwritten { file: name.to_owned(), reason: reason(error) })?;
        Ok(Self::over_file(output, name.to_owned(), sync))
    }

    /// A sink over any output.
    pub(super) fn over(output: Box<dyn Output>, name: String, sync: bool, max_line: usize) -> Self {
        let (opening, waits, may_block) = (None, false, false);
        Self { output, opening, waits, name, sync, may_block, max_line, written: 0, limit: None, checked: None }
    }

    /// Takes no more than so many bytes: whatever would go beyond is a record that can't be written.
    #[must_use]
    pub fn limited(self, limit: Option<u64>) -> Self {
        Self { limit: limit.map(|bytes| Limit::new(bytes, None)), ..self }
    }

    /// The name for people: the file as given, or `stdout`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a write may have to wait for whoever reads (a pipe, a terminal), or for the disk: async callers step aside first.
    pub const fn may_block(&self) -> bool {
        self.may_block
    }

    /// Whether nothing is written until something has happened.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// No longer watches the path at which it was opened: whoever goes on with it may not look there. That its file was removed or shortened
    /// is seen all the same.
    #[must_use]
    pub fn out_of_reach(mut self) -> Self {
        self.output.forget_path();
        self
    }

    /// Lines must stay under this.
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
                Ok(0) => return Err(self.error("nothing was taken".into())),
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

    /// Whether the record is still where it was put.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), RecordError> {
        self.checked = Some(now);
        self.output.check(self.written).map_err(|reason| self.error(reason))
    }

    pub(super) fn error(&self, reason: String) -> RecordError {
        RecordError::Unwritten { file: self.name.clone(), reason }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).field("written", &self.written).finish_non_exhaustive()
    }
}

/// An open file, and where it was found.
struct FdOutput {
    fd: OwnedFd,
    path: Option<PathBuf>,
    stat: Stat,
    regular: bool,
    /// A regular file's size, or our place in it, when we began.
    base: u64,
}

impl FdOutput {
    fn new(fd: OwnedFd, path: Option<PathBuf>) -> Result<Self, Errno> {
        let stat = fstat(&fd)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let mut base = 0;
        if regular {
            base = u64::try_from(stat.st_size).unwrap_or(0);
            // stdout as the shell's `>` opened it: writes go to its place, not to the end.
            if !fcntl_getfl(&fd)?.contains(OFlags::APPEND) {
                base = seek(&fd, SeekFrom::Current(0))?;
            }
        }
        Ok(Self { fd, path, stat, regular, base })
    }
}

impl Output for FdOutput {
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
            // A pipe or a terminal has no disk to wait for.
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

/// Opens what a record may go to: a file that holds something is never overwritten, and never added to.
fn open_empty(path: &Path) -> Result<FdOutput, String> {
    let output = FdOutput::new(logfile::open(path, None)?, Some(path.to_owned())).map_err(reason)?;
    if output.regular && output.base > 0 {
        return Err("it already holds something, and a record is never overwritten: name a new file".into());
    }
    Ok(output)
}

/// Names of the descriptor that we have already: opening them anew would fail for a socket and lose our place in a file.
fn is_our_stdout(path: &Path) -> bool {
    ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path.as_os_str() == OsStr::new(name))
}

/// Whether it is the null device (major 1, minor 3: null(4)).
fn is_null(fd: &OwnedFd) -> bool {
    fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
    })
}

fn reason(error: Errno) -> String {
    term::reason(&error.into())
}
