//! Serves the requests for an open file.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, pread, pwrite};
use sally_proto::record::SftpOperation;
use sally_proto::sftp::{Attrs, OpenFlags, SftpStatus};

use super::failure::{Done, NO_HANDLE, SftpFailure};
use super::handles::{OpenFile, OpenHandle, TransferTally};
use super::opening::open_file;
use super::server::{BATCH, SftpServer, Stop};
use super::tree::{self, AttrsTarget};

/// The piece size, in bytes, of a copy within the machine.
const COPY: usize = 128 << 10;

impl SftpServer {
    pub(super) fn open(&mut self, id: u32, path: &[u8], flags: OpenFlags, attrs: &Attrs) -> Result<(), Stop> {
        let mut operation = self.operation("open", path);
        operation.mode = Some(with_attrs(flags, attrs));
        let changes = flags.create() || flags.truncate() || flags.write();
        if changes {
            self.audit(operation.clone())?;
        }
        let opened = self.open_now(path, flags, attrs);
        self.conclude(operation, &opened)?;
        match opened {
            Ok(file) => {
                let number = self.handles.insert(OpenHandle::File(Box::new(file)));
                self.answers.handle(id, number);
                Ok(())
            }
            Err(failure) => self.status(id, Err(failure)),
        }
    }

    fn open_now(&self, path: &[u8], flags: OpenFlags, attrs: &Attrs) -> Done<OpenFile> {
        if self.handles.is_full() {
            return Err(SftpFailure::Ours(SftpStatus::Failure, "Too many open files"));
        }
        let mode = Mode::from_raw_mode(attrs.mode.unwrap_or(0o666) & 0o7777);
        let fd = open_file(&self.at(path)?, to_system(flags), mode)?;
        let size = || rustix::fs::fstat(&fd).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
        let grows_from = if flags.append() { size() } else { None };
        Ok(OpenFile { fd, path: path.into(), flags, grows_from, read: self.tally(), written: self.tally() })
    }

    pub(super) fn close(&mut self, id: u32, handle: &[u8]) -> Result<(), Stop> {
        let Some(open) = self.handles.remove(handle) else { return self.no_handle(id, "close") };
        let operation = self.closing(&open);
        let closed = match open {
            // A file system on another machine may report a full disk only here.
            OpenHandle::File(file) => sally_sys::file::close(file.fd).map_err(SftpFailure::from),
            OpenHandle::Folder(_) => Ok(()),
        };
        self.conclude(operation, &closed)?;
        self.status(id, closed)
    }

    /// Reads from a file: counts and hashes the bytes before they are sent.
    pub(super) fn read(&mut self, id: u32, handle: &[u8], offset: u64, length: u32) -> Result<(), Stop> {
        let Some(file) = self.handles.file_mut(handle) else { return self.status(id, Err(NO_HANDLE)) };
        let read = self.answers.data(id, length, BATCH, |place| again(|| pread(&file.fd, &mut *place, offset)));
        match read {
            Ok(Some(data)) => {
                file.read.add(offset, data);
                Ok(())
            }
            Ok(None) => {
                self.answers.status(id, SftpStatus::Eof, SftpStatus::Eof.text());
                Ok(())
            }
            Err(errno) => self.status(id, Err(errno.into())),
        }
    }

    /// Writes to a file: counts and hashes the bytes before it answers; on a full disk, those that were written.
    pub(super) fn write(&mut self, id: u32, handle: &[u8], offset: u64, data: &[u8]) -> Result<(), Stop> {
        let Some(file) = self.handles.file_mut(handle) else { return self.status(id, Err(NO_HANDLE)) };
        let done = write_all(&file.fd, offset, data, &mut file.written);
        self.status(id, done)
    }

    pub(super) fn fstat(&mut self, id: u32, handle: &[u8]) -> Result<(), Stop> {
        let Some(open) = self.handles.get(handle) else { return self.no_handle(id, "fstat") };
        let operation = self.operation("fstat", open.path());
        let found = match open {
            OpenHandle::File(file) => rustix::fs::fstat(&file.fd),
            OpenHandle::Folder(folder) => folder.entries.stat(),
        };
        let found = found.map(|stat| tree::attrs(&stat)).map_err(SftpFailure::from);
        self.look(id, operation, |_| found, |answers, attrs| answers.attrs(id, &attrs))
    }

    pub(super) fn fsetstat(&mut self, id: u32, handle: &[u8], attrs: &Attrs) -> Result<(), Stop> {
        let Some(file) = self.handles.file(handle) else { return self.no_handle(id, "fsetstat") };
        let operation = SftpOperation { mode: Some(attrs.to_string()), ..self.operation("fsetstat", &file.path) };
        self.change(id, operation, |server| {
            let file = server.handles.file(handle).ok_or(NO_HANDLE)?;
            tree::set(&AttrsTarget::File(&file.fd), attrs)
        })
    }

    pub(super) fn fsync(&mut self, id: u32, handle: &[u8]) -> Result<(), Stop> {
        let Some(file) = self.handles.file(handle) else { return self.no_handle(id, "fsync") };
        let operation = self.operation("fsync", &file.path);
        let synced = rustix::fs::fsync(&file.fd).map_err(SftpFailure::from);
        self.conclude(operation, &synced)?;
        self.status(id, synced)
    }

    pub(super) fn fstatvfs(&mut self, id: u32, handle: &[u8]) -> Result<(), Stop> {
        let Some(file) = self.handles.file(handle) else { return self.no_handle(id, "fstatvfs") };
        let operation = self.operation("fstatvfs", &file.path);
        let found = rustix::fs::fstatvfs(&file.fd).map(|volume| tree::volume(&volume)).map_err(SftpFailure::from);
        self.look(id, operation, |_| found, |answers, volume| answers.volume(id, &volume))
    }

    /// Copies between two open files, without passing the bytes over the network; a length of 0 means to the end.
    pub(super) fn copy_data(&mut self, id: u32, from: (&[u8], u64), to: (&[u8], u64), length: u64) -> Result<(), Stop> {
        let (Some(source), Some(target)) = (self.handles.file(from.0), self.handles.file(to.0)) else {
            return self.no_handle(id, "copy-data");
        };
        let mut operation = self.operation("copy-data", &source.path);
        operation.to = Some(target.path.as_slice().into());
        self.audit(operation.clone())?;
        // Ready answers are sent first: the copy may take long.
        self.flush()?;
        let (copied, done) = self.copy_now(from, to, length);
        copied.written(&mut operation);
        self.conclude(operation, &done)?;
        self.status(id, done)
    }

    fn copy_now(&self, from: (&[u8], u64), to: (&[u8], u64), length: u64) -> (TransferTally, Done) {
        let mut copied = self.tally();
        let (Some(source), Some(target)) = (self.handles.file(from.0), self.handles.file(to.0)) else {
            return (copied, Err(NO_HANDLE));
        };
        if source.path == target.path {
            return (copied, Err(SftpFailure::Ours(SftpStatus::Failure, "Source and target are the same")));
        }
        let mut left = if length == 0 { u64::MAX } else { length };
        let (mut at, mut to_at) = (from.1, to.1);
        let mut buffer = vec![0; COPY];
        while left > 0 {
            if self.is_over() {
                return (copied, Err(SftpFailure::Ours(SftpStatus::Failure, "The session ended")));
            }
            let wanted = usize::try_from(left).map_or(COPY, |left| left.min(COPY));
            let place = buffer.get_mut(..wanted).unwrap_or_default();
            let piece = match again(|| pread(&source.fd, &mut *place, at)) {
                // The source ended: as asked for, or too early.
                Ok(0) if length == 0 => return (copied, Ok(())),
                Ok(0) => return (copied, Err(SftpFailure::Ours(SftpStatus::Eof, SftpStatus::Eof.text()))),
                Ok(count) => place.get(..count).unwrap_or_default(),
                Err(errno) => return (copied, Err(errno.into())),
            };
            let size = piece.len() as u64;
            if let Err(failure) = write_all(&target.fd, to_at, piece, &mut copied) {
                return (copied, Err(failure));
            }
            at = at.saturating_add(size);
            to_at = to_at.saturating_add(size);
            left -= size;
        }
        (copied, Ok(()))
    }
}

/// Writes all bytes, and counts those that were written, even if it fails.
fn write_all(fd: impl AsFd, mut at: u64, mut data: &[u8], written: &mut TransferTally) -> Done {
    while !data.is_empty() {
        let count = again(|| pwrite(&fd, data, at))?;
        let Some((piece, rest)) = data.split_at_checked(count).filter(|_| count > 0) else { return Err(Errno::IO.into()) };
        written.add(at, piece);
        at = at.saturating_add(piece.len() as u64);
        data = rest;
    }
    Ok(())
}

/// Repeats a call that a signal interrupted.
fn again<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(&mut call)
}

fn with_attrs(flags: OpenFlags, attrs: &Attrs) -> String {
    match attrs {
        attrs if *attrs == Attrs::default() => flags.to_string(),
        attrs => format!("{flags} {attrs}"),
    }
}

/// Converts the flags. Opening never waits: a FIFO without a partner is then an error, and doesn't block the session's thread.
fn to_system(flags: OpenFlags) -> OFlags {
    let mut system = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    system |= match (flags.read(), flags.write()) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    for (wanted, flag) in [
        (flags.append(), OFlags::APPEND),
        (flags.create(), OFlags::CREATE),
        (flags.truncate(), OFlags::TRUNC),
        (flags.exclude(), OFlags::EXCL),
    ] {
        system.set(flag, wanted);
    }
    system
}
