//! Encodes the answers.

use super::attrs::Attrs;
use super::flags::SftpFlags;
use super::wire::{put_string, put_u32, put_u64};
use super::{EXTENSIONS, MAX_DATA, MAX_PACKET, SftpStatus, VERSION, kind};

/// One file of a listing.
#[derive(Clone, Copy, Debug)]
pub struct ListingEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// A line for people, as `ls -l` prints it.
    pub long: &'a [u8],
    /// Its attributes.
    pub attrs: Attrs,
}

/// A file system, as `statvfs@openssh.com` describes it.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "fields are statvfs(3)'s")]
pub struct Volume {
    pub bsize: u64,
    pub frsize: u64,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub favail: u64,
    pub fsid: u64,
    /// 1: read-only, 2: no setuid.
    pub flag: u64,
    pub namemax: u64,
}

/// Encodes answers, one after the other, into a buffer that is sent as it is.
#[derive(Debug, Default)]
pub struct SftpAnswers {
    buffer: Vec<u8>,
}

impl SftpAnswers {
    /// Returns the number of bytes that wait to be sent.
    pub const fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns what is to be sent; the next answer begins a new buffer.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Answers INIT: with the version and the extensions, except those that the flags deny.
    pub fn version(&mut self, flags: &SftpFlags) {
        let start = self.begin(kind::VERSION, VERSION);
        for (name, version) in EXTENSIONS.iter().filter(|(name, _)| flags.offers(name)) {
            put_string(&mut self.buffer, name.as_bytes());
            put_string(&mut self.buffer, version.as_bytes());
        }
        self.end(start);
    }

    /// Answers with the result of an operation, and its text.
    pub fn status(&mut self, id: u32, status: SftpStatus, text: &str) {
        let start = self.begin(kind::STATUS, id);
        put_u32(&mut self.buffer, status as u32);
        put_string(&mut self.buffer, text.as_bytes());
        put_string(&mut self.buffer, b"");
        self.end(start);
    }

    /// Answers with a handle: a number of ours.
    pub fn handle(&mut self, id: u32, number: u32) {
        let start = self.begin(kind::HANDLE, id);
        put_string(&mut self.buffer, &number.to_be_bytes());
        self.end(start);
    }

    /// Answers with data that `read` reads into the place from which it is sent: at most `length` bytes, in a buffer with room for `room`
    /// bytes of answers if it must be made. If `read` fails, or has read nothing although there is more, no answer is added yet.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn data<E>(
        &mut self,
        id: u32,
        length: u32,
        room: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<&[u8]>, E> {
        let length = length.min(MAX_DATA);
        let before = self.buffer.len();
        let wanted = usize::try_from(length).unwrap_or(0);
        if self.buffer.capacity() - before < wanted + 16 {
            self.buffer.reserve(room.max(wanted + 16));
        }
        let start = self.begin(kind::DATA, id);
        put_u32(&mut self.buffer, 0);
        let data = self.buffer.len();
        self.buffer.resize(data + wanted, 0);
        let got = read(self.buffer.get_mut(data..).unwrap_or_default());
        let count = match got {
            Ok(count) if count > 0 || wanted == 0 => count.min(wanted),
            other => {
                self.buffer.truncate(before);
                return other.map(|_| None);
            }
        };
        self.buffer.truncate(data + count);
        if let Some(field) = self.buffer.get_mut(data - 4..data) {
            field.copy_from_slice(&u32::try_from(count).unwrap_or(0).to_be_bytes());
        }
        self.end(start);
        Ok(self.buffer.get(data..))
    }

    /// Answers with one name, which is also its long form, without attributes: a path.
    pub fn path(&mut self, id: u32, path: &[u8]) {
        let mut names = self.names(id);
        names.push(ListingEntry { name: path, long: path, attrs: Attrs::default() });
        names.finish();
    }

    /// Begins an answer with a list of names.
    pub fn names(&mut self, id: u32) -> Names<'_> {
        let start = self.begin(kind::NAME, id);
        put_u32(&mut self.buffer, 0);
        Names { answers: self, start, count: 0 }
    }

    /// Answers with a file's attributes.
    pub fn attrs(&mut self, id: u32, attrs: &Attrs) {
        let start = self.begin(kind::ATTRS, id);
        attrs.write(&mut self.buffer);
        self.end(start);
    }

    /// Answers with a file system's.
    pub fn volume(&mut self, id: u32, volume: &Volume) {
        let v = volume;
        let fields = [v.bsize, v.frsize, v.blocks, v.bfree, v.bavail, v.files, v.ffree, v.favail, v.fsid, v.flag, v.namemax];
        self.numbers(id, &fields);
    }

    /// Answers with the limits of one request.
    pub fn limits(&mut self, id: u32, handles: u64) {
        self.numbers(id, &[MAX_PACKET as u64, u64::from(MAX_DATA), u64::from(MAX_DATA), handles]);
    }

    /// Answers with names of users and groups; an unknown one is empty.
    pub fn accounts<'a>(&mut self, id: u32, users: impl Iterator<Item = &'a [u8]>, groups: impl Iterator<Item = &'a [u8]>) {
        let start = self.begin(kind::EXTENDED_REPLY, id);
        let mut list = Vec::new();
        users.for_each(|name| put_string(&mut list, name));
        put_string(&mut self.buffer, &list);
        list.clear();
        groups.for_each(|name| put_string(&mut list, name));
        put_string(&mut self.buffer, &list);
        self.end(start);
    }

    fn numbers(&mut self, id: u32, fields: &[u64]) {
        let start = self.begin(kind::EXTENDED_REPLY, id);
        fields.iter().for_each(|field| put_u64(&mut self.buffer, *field));
        self.end(start);
    }

    /// Begins a packet; its length is filled in at its end.
    fn begin(&mut self, kind: u8, id: u32) -> usize {
        let start = self.buffer.len();
        put_u32(&mut self.buffer, 0);
        self.buffer.push(kind);
        put_u32(&mut self.buffer, id);
        start
    }

    fn end(&mut self, start: usize) {
        let length = u32::try_from(self.buffer.len() - start - 4).unwrap_or(0);
        if let Some(field) = self.buffer.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

/// An answer with a list of names, not finished.
#[derive(Debug)]
pub struct Names<'a> {
    answers: &'a mut SftpAnswers,
    start: usize,
    count: u32,
}

impl Names<'_> {
    /// Adds a name.
    pub fn push(&mut self, entry: ListingEntry<'_>) {
        let buffer = &mut self.answers.buffer;
        put_string(buffer, entry.name);
        put_string(buffer, entry.long);
        entry.attrs.write(buffer);
        self.count += 1;
    }

    /// Returns the bytes so far.
    pub const fn bytes(&self) -> usize {
        self.answers.buffer.len() - self.start
    }

    /// Finishes the list and returns how many names it has; without names, no answer is added.
    pub fn finish(self) -> u32 {
        let Self { answers, start, count } = self;
        if count == 0 {
            answers.buffer.truncate(start);
            return 0;
        }
        if let Some(field) = answers.buffer.get_mut(start + 9..start + 13) {
            field.copy_from_slice(&count.to_be_bytes());
        }
        answers.end(start);
        count
    }
}
