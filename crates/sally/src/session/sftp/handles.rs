//! What is open, and the count and hash of what went through it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use sally_proto::record::{DigestName, RunningDigest, SftpOperation};
use sally_proto::sftp::OpenFlags;

/// Files and folders open at once: half of the 1,024 descriptors that a process may usually have.
pub(super) const MAX_HANDLES: usize = 512;

/// What went through a file in one direction.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    hash: RunningDigest,
    bytes: u64,
    /// Where it began, as long as each piece went on where the one before ended.
    from: Option<u64>,
    next: u64,
}

impl Tally {
    /// Nothing yet, to be hashed as the record is.
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

    /// Puts it on the record as what was written.
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
pub(super) struct File {
    pub(super) fd: OwnedFd,
    /// As asked for.
    pub(super) path: Vec<u8>,
    pub(super) flags: OpenFlags,
    /// Its size when it was opened, where it is only appended to.
    pub(super) grows_from: Option<u64>,
    pub(super) read: Tally,
    pub(super) written: Tally,
}

impl File {
    /// What went through it, for the record.
    pub(super) fn tell(&self, operation: &mut SftpOperation) {
        if self.flags.read() {
            self.read.read(operation);
        }
        if self.flags.write() {
            self.written.written(operation);
        }
        // What is appended goes to the end, wherever the client says. If the file has grown by just that, it is one run.
        if self.flags.append() {
            let grown = self.grows_from.and_then(|from| from.checked_add(self.written.bytes)).filter(|_| self.written.bytes > 0);
            let size = rustix::fs::fstat(&self.fd).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
            operation.written_from = self.grows_from.filter(|_| grown.is_some() && grown == size);
        }
    }
}

/// A folder that is being listed.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) entries: rustix::fs::Dir,
    /// As asked for.
    pub(super) path: Vec<u8>,
}

/// Either.
#[derive(Debug)]
pub(super) enum Open {
    /// A file.
    File(Box<File>),
    /// A folder.
    Folder(Folder),
}

impl Open {
    pub(super) fn path(&self) -> &[u8] {
        match self {
            Self::File(file) => &file.path,
            Self::Folder(folder) => &folder.path,
        }
    }
}

/// All that is open in a session. A number is never given twice: a handle that was closed stays invalid.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: BTreeMap<u32, Open>,
    next: u32,
}

impl Handles {
    /// Whether there is no room for another.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MAX_HANDLES || self.next == u32::MAX
    }

    /// Takes one in and gives its number.
    pub(super) fn insert(&mut self, open: Open) -> u32 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, open);
        number
    }

    pub(super) fn get(&self, handle: &[u8]) -> Option<&Open> {
        self.open.get(&number(handle)?)
    }

    pub(super) fn file(&self, handle: &[u8]) -> Option<&File> {
        match self.get(handle) {
            Some(Open::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self, handle: &[u8]) -> Option<&mut File> {
        match self.open.get_mut(&number(handle)?) {
            Some(Open::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn folder_mut(&mut self, handle: &[u8]) -> Option<&mut Folder> {
        match self.open.get_mut(&number(handle)?) {
            Some(Open::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, handle: &[u8]) -> Option<Open> {
        self.open.remove(&number(handle)?)
    }

    /// Takes out what is left, oldest first.
    pub(super) fn pop(&mut self) -> Option<Open> {
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
        let mut tally = Tally::new(DigestName::Sha256);
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
            Open::Folder(Folder { entries, path: path.into() })
        };
        let first = handles.insert(open("/")).to_be_bytes();
        assert!(handles.remove(&first).is_some() && handles.get(&first).is_none());
        let second = handles.insert(open("/")).to_be_bytes();
        assert!(first != second && handles.get(&second).is_some() && handles.file(&second).is_none());
        assert!(handles.get(b"").is_none() && handles.get(b"too long").is_none());
    }
}
