//! What a file looks like from outside: when this differs, it is read again.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// Length, time of the last change, and inode, which is another where a file was replaced. `None`: there is nothing to be seen.
pub(crate) type Stamp = Option<(u64, SystemTime, u64)>;

/// Looks at a file, or at what a link leads to.
pub(crate) fn stamp(file: &Path) -> Stamp {
    std::fs::metadata(file).ok().as_ref().and_then(of)
}

/// The same of what was looked at already.
pub(crate) fn of(facts: &Metadata) -> Stamp {
    Some((facts.len(), facts.modified().ok()?, facts.ino()))
}
