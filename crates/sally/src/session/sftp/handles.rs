//! Keeps open files and folders, with the count and hash of the bytes that went through each file.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use sally_proto::record::{DigestName, RunningDigest, SftpOperation};
use sally_proto::sftp::OpenFlags;

/// The most files and folders open at once: half of the 1,024 descriptors that a process usually may have.
pub(super) const MAX_HANDLES: usize = 512;

/// The bytes that went through a file in one direction.
#[derive(Clone, Debug)]
pub(super) struct TransferTally {
    hash: RunningDigest,
    bytes: u64,
    /// The offset of the first byte, as long as each piece continues the one before.
    from: Option<u64>,
    next: u64,
}

impl TransferTally {
    /// Starts an empty tally, hashed as the record is.
    pub(super) fn new(digest: DigestName) -> Self {
        Self { hash: digest.start(), bytes: 0, from: None, next: 0 }
    }

    /// Counts a piece.
    pub(super) fn add(&mut self, offset: u64, piece: &[u8]) {
        if self.bytes == 0 {
            self.from = Some(offset);
        } else if offset != self.next {
            self.from = None;
        }
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        self.next = offset.saturating_add(piece.len() as u64);
    }

    /// Puts the tally into an operation as what was written.
    pub(super) fn written(&self, operation: &mut SftpOperation) {
        operation.written = Some(self.bytes);
        operation.written_from = self.from;
        (operation.written_sha256, operation.written_blake3) = self.hash.fields();
    }

    fn read(&self, operation: &mut SftpOperation) {
        operation.read = Some(self.bytes);
        operation.read_from = self.from;
        (operation.read_sha256, operation.read_blake3) = self.hash.fields();
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) fd: OwnedFd,
    /// The path as the client gave it.
    pub(super) path: Vec<u8>,
    pub(super) flags: OpenFlags,
    /// The file's size when it was opened, if it is only appended to.
    pub(super) grows_from: Option<u64>,
    pub(super) read: TransferTally,
    pub(super) written: TransferTally,
}

impl OpenFile {
    /// Puts both tallies into an operation for the record.
    pub(super) fn tell(&self, operation: &mut SftpOperation) {
        if self.flags.read() {
            self.read.read(operation);
        }
        if self.flags.write() {
            self.written.written(operation);
        }
        // Appended bytes go to the end, whatever offset the client gives. If the file has grown by exactly their number, they are one run.
        if self.flags.append() {
            let grown = self.grows_from.and_then(|from| from.checked_add(self.written.bytes)).filter(|_| self.written.bytes > 0);
            let size = rustix::fs::fstat(&self.fd).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
            operation.written_from = self.grows_from.filter(|_| grown.is_some() && grown == size);
        }
    }
}

/// A folder that is being listed.
#[derive(Debug)]
pub(super) struct OpenFolder {
    pub(super) entries: rustix::fs::Dir,
    /// The path as the client gave it.
    pub(super) path: Vec<u8>,
}

/// An open file or folder.
#[derive(Debug)]
pub(super) enum OpenHandle {
    /// A file.
    File(Box<OpenFile>),
    /// A folder.
    Folder(OpenFolder),
}

impl OpenHandle {
    pub(super) fn path(&self) -> &[u8] {
        match self {
            Self::File(file) => &file.path,
            Self::Folder(folder) => &folder.path,
        }
    }
}

/// All open files and folders of a session. No number is used twice: a closed handle stays invalid.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: BTreeMap<u32, OpenHandle>,
    next: u32,
}

impl Handles {
    /// Returns whether no further one can be opened.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MAX_HANDLES || self.next == u32::MAX
    }

    /// Adds one; returns its number.
    pub(super) fn insert(&mut self, open: OpenHandle) -> u32 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, open);
        number
    }

    pub(super) fn get(&self, handle: &[u8]) -> Option<&OpenHandle> {
        self.open.get(&number(handle)?)
    }

    pub(super) fn file(&self, handle: &[u8]) -> Option<&OpenFile> {
        match self.get(handle) {
            Some(OpenHandle::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self, handle: &[u8]) -> Option<&mut OpenFile> {
        match self.open.get_mut(&number(handle)?) {
            Some(OpenHandle::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn folder_mut(&mut self, handle: &[u8]) -> Option<&mut OpenFolder> {
        match self.open.get_mut(&number(handle)?) {
            Some(OpenHandle::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, handle: &[u8]) -> Option<OpenHandle> {
        self.open.remove(&number(handle)?)
    }

    /// Removes and returns the oldest one.
    pub(super) fn pop(&mut self) -> Option<OpenHandle> {
        self.open.pop_first().map(|(_, open)| open)
    }
}

fn number(handle: &[u8]) -> Option<u32> {
    handle.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_knows_whether_it_was_one_run() {
        let mut tally = TransferTally::new(DigestName::Sha256);
        tally.add(100, b"ab");
        tally.add(102, b"c");
        let mut operation = SftpOperation::default();
        tally.written(&mut operation);
        assert_eq!((operation.written, operation.written_from), (Some(3), Some(100)));
        assert_eq!(operation.written_sha256.as_deref(), Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        tally.add(0, b"d");
        tally.add(1, b"e");
        tally.read(&mut operation);
        assert_eq!((operation.read, operation.read_from), (Some(5), None));
    }

    #[test]
    fn a_handle_that_was_closed_stays_closed() {
        let mut handles = Handles::default();
        let open = |path: &str| {
            let entries = rustix::fs::Dir::read_from(std::fs::File::open(path).unwrap()).unwrap();
            OpenHandle::Folder(OpenFolder { entries, path: path.into() })
        };
        let first = handles.insert(open("/")).to_be_bytes();
        assert!(handles.remove(&first).is_some() && handles.get(&first).is_none());
        let second = handles.insert(open("/")).to_be_bytes();
        assert!(first != second && handles.get(&second).is_some() && handles.file(&second).is_none());
        assert!(handles.get(b"").is_none() && handles.get(b"too long").is_none());
    }
}
