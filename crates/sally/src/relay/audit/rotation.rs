//! The audit log's file and its rotation.
//!
//! With a limit, a log that has no room for one more line is renamed to `FILE.1`, the previous `FILE.1` to `FILE.2`, and so on, as
//! logrotate names them; the oldest is replaced. SIGHUP reopens the file, for logrotate itself.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::{AuditCounters, open};
use crate::term;

/// After a failed rotation, the number of bytes that are written before the next attempt.
const AGAIN: u64 = 1 << 20;

/// The size limit of a log, and the number of rotated files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The largest size of a file, in bytes.
    pub most: u64,
    /// The number of rotated files to keep; at least 1.
    pub keep: u32,
}

/// The log's open file.
pub(super) struct LogFile {
    path: Option<PathBuf>,
    pub(super) name: String,
    file: File,
    rotation: Option<Rotation>,
    /// The presumed size in bytes: another process may have truncated the file.
    size: u64,
    /// After a failed rotation, the size at which the next is tried.
    again: u64,
}

impl LogFile {
    /// Opens the file; an existing one must be owned by the current account or by `later`.
    ///
    /// # Errors
    /// The system's error, or why the owner is wrong.
    pub(super) fn open(path: Option<PathBuf>, name: String, rotation: Option<Rotation>, later: Option<u32>) -> io::Result<Self> {
        let file = open(path.as_deref(), later)?;
        let facts = file.metadata()?;
        // A FIFO or a device such as /dev/null has no size.
        let rotation = rotation.filter(|_| facts.is_file());
        Ok(Self { path, name, file, rotation, size: facts.len(), again: 0 })
    }

    /// Reopens the file; on failure, the old one is used further.
    pub(super) fn reopen(&mut self) {
        match Self::open(self.path.clone(), self.name.clone(), self.rotation, None) {
            Ok(anew) => *self = anew,
            Err(error) => {
                term::say(&format!("The audit log {} can't be opened again, and Sally continues with the old file: {error}", self.name))
            }
        }
    }

    /// Writes whole lines, and first rotates a file that has no room for them.
    ///
    /// # Errors
    /// The system's error: a line may have been written in part.
    pub(super) fn write(&mut self, lines: &[u8], counters: &AuditCounters) -> io::Result<()> {
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        self.make_room(length, counters);
        self.file.write_all(lines)?;
        self.size = self.size.saturating_add(length);
        counters.bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    fn make_room(&mut self, length: u64, counters: &AuditCounters) {
        let (Some(Rotation { most, keep }), Some(path)) = (self.rotation, &self.path) else { return };
        if self.size.saturating_add(length) <= most || self.size < self.again {
            return;
        }
        // The file may have been truncated (logrotate's copytruncate).
        self.size = self.file.metadata().map_or(self.size, |facts| facts.len());
        if self.size == 0 || self.size.saturating_add(length) <= most {
            return;
        }
        match shift(path, keep).and_then(|()| open(Some(path), None)) {
            Ok(file) => {
                (self.file, self.size, self.again) = (file, 0, 0);
                counters.rotations.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                // No event is lost to this: the file grows on.
                counters.rotation_failures.fetch_add(1, Ordering::Relaxed);
                term::say(&format!("The audit log {} can't be rotated and grows beyond {most} bytes: {error}", self.name));
                self.again = self.size.saturating_add(AGAIN);
            }
        }
    }
}

/// Renames FILE to FILE.1, FILE.1 to FILE.2 and so on, up to `keep`; the oldest is replaced.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    for number in (1..keep).rev() {
        match std::fs::rename(numbered(path, number), numbered(path, number.saturating_add(1))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Returns whether the current account may create and rename files in this file's folder.
pub(super) fn may_rotate(path: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &Path, most: u64) -> (PathBuf, LogFile) {
        let path = folder.join("audit");
        (path.clone(), LogFile::open(Some(path), "audit".into(), Some(Rotation { most, keep: 2 }), None).unwrap())
    }

    #[test]
    fn each_file_has_whole_lines_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut log) = log(folder.path(), 10);
        let counters = AuditCounters::default();
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "far too long for a file\n", "seven\n"] {
            log.write(line.as_bytes(), &counters).unwrap();
        }
        let read = |number: u32| std::fs::read_to_string(numbered(&path, number)).ok();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "seven\n");
        assert_eq!([read(1), read(2), read(3)], [Some("far too long for a file\n".into()), Some("four\nfive\n".into()), None]);
        assert_eq!(counters.rotations.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_log_that_somebody_emptied_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut log) = log(folder.path(), 10);
        let counters = AuditCounters::default();
        log.write(b"12345678\n", &counters).unwrap();
        File::options().write(true).truncate(true).open(&path).unwrap();
        log.write(b"9\n", &counters).unwrap();
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), numbered(&path, 1).exists()), ("9\n", false));
    }

    #[test]
    fn what_cannot_be_renamed_is_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut log) = log(folder.path(), 10);
        let counters = AuditCounters::default();
        std::fs::create_dir(numbered(&path, 1)).unwrap();
        std::fs::write(numbered(&path, 1).join("in the way"), "").unwrap();
        std::fs::create_dir(numbered(&path, 2)).unwrap();
        std::fs::write(numbered(&path, 2).join("in the way"), "").unwrap();
        for _ in 0..4 {
            log.write(b"12345678\n", &counters).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        // Rotation isn't tried again with each line.
        assert_eq!(counters.rotation_failures.load(Ordering::Relaxed), 1);
    }
}
