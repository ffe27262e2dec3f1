//! Manages the folder of records: the space in use, and new files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use sally_proto::budget::Budget;

use crate::lock::lock;
use crate::term;

/// The size in bytes of stat(2)'s blocks, on any file system.
const BLOCK: u64 = 512;

/// The folder, and the space promised to the running visits.
#[derive(Debug)]
pub(super) struct RecordFolder {
    folder: PathBuf,
    budget: Mutex<Budget<PathBuf>>,
    number: AtomicU32,
}

impl RecordFolder {
    /// Opens the folder, and creates it if it doesn't exist.
    pub(super) fn open(folder: PathBuf, most: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, budget: Mutex::new(Budget::new(most)), number: AtomicU32::new(0) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Checks that there is room for one more visit; the error is the reason.
    pub(super) fn has_room(&self) -> Result<(), String> {
        let budget = self.budget();
        let kept = self.kept(&budget)?;
        if budget.has_room(kept) { Ok(()) } else { Err(self.full(&budget)) }
    }

    /// Creates a record. Returns its path, its file, and the size in bytes that it may reach.
    pub(super) fn begin(&self) -> Result<(PathBuf, File, u64), String> {
        let record = self.name();
        let mut budget = self.budget();
        let kept = self.kept(&budget)?;
        let Some(room) = budget.promise(record.clone(), kept) else { return Err(self.full(&budget)) };
        // Only the owner may read it, and no existing file is opened.
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&record) {
            Ok(file) => Ok((record, file, room)),
            Err(error) => {
                budget.release(&record);
                Err(format!("{}: {}", record.display(), term::reason(&error)))
            }
        }
    }

    /// Returns the size in bytes that a record may now reach, if it needs more.
    pub(super) fn grow(&self, record: &PathBuf) -> Result<u64, String> {
        let mut budget = self.budget();
        let kept = self.kept(&budget)?;
        budget
            .grow(record, kept)
            .ok_or_else(|| format!("the rest of the {} bytes for all records is reserved for other visits", budget.most()))
    }

    /// Ends a visit's record, which then counts with its actual size. An empty record is removed.
    pub(super) fn end(&self, record: &PathBuf) {
        if record.metadata().is_ok_and(|facts| facts.len() == 0) {
            let _ = std::fs::remove_file(record); // An empty record that remains is harmless.
        }
        self.budget().release(record);
    }

    fn name(&self) -> PathBuf {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{now}-{}-{number}.cast", std::process::id()))
    }

    fn full(&self, budget: &Budget<PathBuf>) -> String {
        format!("{}: the records have reached their limit of {} bytes (records_max)", self.folder.display(), budget.most())
    }

    /// Returns the bytes in the folder, without the records of running visits. A file takes whole blocks; on a file system that allocates
    /// them later, at least its length.
    fn kept(&self, budget: &Budget<PathBuf>) -> Result<u64, String> {
        let counted = || {
            let mut kept = 0_u64;
            for entry in std::fs::read_dir(&self.folder)? {
                let entry = entry?;
                if budget.is_promised(&entry.path()) {
                    continue;
                }
                match entry.metadata() {
                    Ok(facts) => kept = kept.saturating_add(facts.len().max(facts.blocks().saturating_mul(BLOCK))),
                    // The file was removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(kept)
        };
        counted().map_err(|error: io::Error| format!("{}: {}", self.folder.display(), term::reason(&error)))
    }

    fn budget(&self) -> MutexGuard<'_, Budget<PathBuf>> {
        lock(&self.budget)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_record_that_is_being_written_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RecordFolder::open(dir.path().join("records"), 256 << 10).unwrap();
        let (first, mut file, room) = folder.begin().unwrap();
        assert_eq!(room, 64 << 10);
        file.write_all(&vec![b'x'; 60 << 10]).unwrap();
        assert_eq!(folder.grow(&first), Ok(128 << 10));
        assert!(folder.grow(&first).is_err(), "as much is left for others");
        let (second, ..) = folder.begin().unwrap();
        let (third, ..) = folder.begin().unwrap();
        assert!(folder.begin().is_err() && folder.has_room().is_err());
        folder.end(&second);
        assert!(!second.exists() && folder.has_room().is_ok(), "nothing was in it");
        folder.end(&first);
        assert!(first.exists() && third.exists());
    }

    #[test]
    fn files_are_counted_as_the_disk_counts_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RecordFolder::open(dir.path().to_owned(), 256 << 10).unwrap();
        // The files have only a length; each of the following has a block.
        File::create(dir.path().join("sparse")).unwrap().set_len(100 << 10).unwrap();
        for number in 0..20 {
            let mut file = File::create(dir.path().join(number.to_string())).unwrap();
            file.write_all(b"x").and_then(|()| file.sync_all()).unwrap();
        }
        let taken = folder.kept(&folder.budget()).unwrap();
        let blocks: u64 = (0..20).map(|number: u32| dir.path().join(number.to_string()).metadata().unwrap().blocks() * 512).sum();
        assert_eq!(taken, (100 << 10) + blocks.max(20));
    }
}
