//! Writes files as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::term;
use rustix::fs::{FlockOperation, flock};
use sally_proto::error::Fault;

/// The mode of private keys: only the owner reads them.
pub(super) const PRIVATE: u32 = 0o600;
/// The mode of public files.
pub(super) const PUBLIC: u32 = 0o644;
/// The mode of scripts.
pub(super) const EXECUTABLE: u32 = 0o755;

/// The largest file of a fleet that is read at once, in bytes: the ledger and the list of a million devices fit.
const FILE_MAX: u64 = 256 << 20;

fn unwritable(file: &Path) -> impl Fn(io::Error) -> Fault {
    move |error| Fault::Unwritable { file: file.display().to_string(), reason: term::reason(&error) }
}

/// A folder under a temporary name. [`Draft::keep`] renames it to its target; otherwise it is removed.
pub(super) struct Draft {
    folder: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Draft {
    /// Creates the folder beside the target, which must not exist or must be empty. The umask is subtracted from `mode`.
    pub(super) fn begin(target: &Path, mode: u32) -> Result<Self, Fault> {
        let exists = || Fault::Exists { file: target.display().to_string() };
        match fs::read_dir(target).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(exists()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(exists()),
            Ok(_) | Err(_) => {}
        }
        let name = target.file_name().ok_or_else(|| unwritable(target)(io::ErrorKind::InvalidInput.into()))?;
        let folder = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        make_folder(&folder, mode)?;
        Ok(Self { folder, target: target.to_owned(), kept: false })
    }

    /// Returns the temporary folder, to write files to.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Renames the folder to its target.
    pub(super) fn keep(mut self) -> Result<(), Fault> {
        fs::rename(&self.folder, &self.target).map_err(unwritable(&self.target))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Makes a folder with this mode, less the umask.
pub(super) fn make_folder(folder: &Path, mode: u32) -> Result<(), Fault> {
    fs::DirBuilder::new().mode(mode).create(folder).map_err(unwritable(folder))
}

/// Writes a new file; fails if it exists.
pub(super) fn write_new(file: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<(), Fault> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(file).and_then(|mut open| {
        open.write_all(content.as_ref())?;
        open.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Fault::Exists { file: file.display().to_string() },
        _ => unwritable(file)(error),
    })
}

/// Replaces a file's content: a reader sees the old one or the new one, never a part.
pub(super) fn replace(file: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<(), Fault> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let draft = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    write_new(&draft, content, mode)?;
    fs::rename(&draft, file).map_err(|error| {
        let _ = fs::remove_file(&draft);
        unwritable(file)(error)
    })
}

/// Appends one line by one write, and syncs it to the disk.
pub(super) fn append(file: &Path, line: &str, mode: u32) -> Result<(), Fault> {
    let appended = OpenOptions::new().append(true).create(true).mode(mode).open(file).and_then(|mut open| {
        open.write_all(format!("{line}\n").as_bytes())?;
        open.sync_all()
    });
    appended.map_err(unwritable(file))
}

/// Reads a file of the fleet, of at most [`FILE_MAX`] bytes.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let size = fs::metadata(file).map_err(|error| super::invalid(file, term::reason(&error)))?.len();
    if size > FILE_MAX {
        return Err(super::invalid(file, format!("it is larger than {FILE_MAX} bytes")));
    }
    fs::read(file).map_err(|error| super::invalid(file, term::reason(&error)))
}

/// Reads a file of the fleet as text.
pub(super) fn read_text(file: &Path) -> Result<String, Fault> {
    String::from_utf8(read(file)?).map_err(|_| super::invalid(file, "it is not UTF-8 text"))
}

/// Locks a fleet against other processes until the result is dropped, so that each serial number is used once.
pub(super) fn lock(folder: &Path) -> Result<File, Fault> {
    let open = File::open(folder).map_err(|error| super::invalid(folder, term::reason(&error)))?;
    flock(&open, FlockOperation::LockExclusive).map_err(|error| super::invalid(folder, term::reason(&error.into())))?;
    Ok(open)
}
