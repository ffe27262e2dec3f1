//! Tells from a file's metadata whether it has to be read again.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// Length, time of the last change, and inode, which differs if the file was replaced. `None` if there is no metadata.
pub(crate) type FileVersion = Option<(u64, SystemTime, u64)>;

/// Returns the version of a file, or of a link's target.
pub(crate) fn version_of(file: &Path) -> FileVersion {
    std::fs::metadata(file).ok().as_ref().and_then(of)
}

/// Returns the version in metadata that was read already.
pub(crate) fn of(facts: &Metadata) -> FileVersion {
    Some((facts.len(), facts.modified().ok()?, facts.ino()))
}
