//! Takes requests from the channel, records operations, and sends answers, all in the session's own thread.

use std::path::PathBuf;

use bytes::Bytes;
use sally_proto::record::{AuditEvent, SftpOperation};
use sally_proto::sftp::{Packets, Request, SftpAnswers, SftpFlags, SftpMessage, SftpStatus, TruncatedPacket};
use tokio::sync::mpsc;

use super::SftpTerms;
use super::accounts::Accounts;
use super::failure::{Done, NO_HANDLE, SftpFailure};
use super::handles::{Handles, MAX_HANDLES, OpenHandle, TransferTally};
use crate::record::{RecordError, Recorder};
use crate::session::Ending;

/// Answers are sent when they have this many bytes, or when no request waits. A full batch is eight packets of the channel, and stays in
/// the processor's cache while it is read, hashed and encrypted.
pub(super) const BATCH: usize = 256 << 10;
/// The exit status if a client violates the protocol, as OpenSSH's.
const BROKEN: u8 = 255;

/// The outcome of a session's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SftpOutcome {
    /// The status that the client gets.
    pub(super) status: Ending,
    /// Whether the client left a file open that was being written.
    pub(super) unfinished: bool,
}

/// The reason that no further request is served.
#[derive(Debug)]
pub(super) enum Stop {
    /// The record failed: nothing goes on unrecorded.
    Record(RecordError),
    /// The session takes no more answers.
    Gone,
    /// The client violates the protocol.
    Broken,
}

impl From<RecordError> for Stop {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// Serves the requests of one session.
#[derive(Debug)]
pub(super) struct SftpServer {
    channel: u32,
    /// The folder where relative paths begin.
    pub(super) start: PathBuf,
    pub(super) home: PathBuf,
    pub(super) flags: SftpFlags,
    pub(super) link_first: bool,
    recorder: Recorder,
    outlet: mpsc::Sender<Bytes>,
    pub(super) answers: SftpAnswers,
    pub(super) handles: Handles,
    pub(super) accounts: Accounts,
    greeted: bool,
}

impl SftpServer {
    pub(super) fn new(channel: u32, terms: SftpTerms, recorder: Recorder, outlet: mpsc::Sender<Bytes>) -> Self {
        let SftpTerms { account, flags, link_first } = terms;
        let home = sally_sys::process::enterable(account.home);
        // As with sshd: if that folder can't be entered, paths begin at home.
        let start = flags.start(&home.to_string_lossy(), &account.name).map(|start| home.join(start));
        let start = start.filter(|start| sally_sys::process::can_enter(start)).unwrap_or_else(|| home.clone());
        Self {
            channel,
            start,
            home,
            flags,
            link_first,
            recorder,
            outlet,
            answers: SftpAnswers::default(),
            handles: Handles::default(),
            accounts: Accounts::default(),
            greeted: false,
        }
    }

    /// Serves until no more requests come; then closes everything, and records it.
    pub(super) fn serve(mut self, mut inlet: mpsc::Receiver<Bytes>) -> Result<SftpOutcome, RecordError> {
        let mut packets = Packets::default();
        let status = match self.converse(&mut packets, &mut inlet) {
            Ok(()) | Err(Stop::Gone) => 0,
            Err(Stop::Broken) => BROKEN,
            Err(Stop::Record(error)) => return Err(error),
        };
        let _ = self.flush(); // The session may be over.
        let mut unfinished = false;
        while let Some(open) = self.handles.pop() {
            unfinished |= matches!(&open, OpenHandle::File(file) if file.flags.write());
            let operation = self.closing(&open);
            self.audit(SftpOperation { result: Some("left open".into()), ..operation })?;
        }
        Ok(SftpOutcome { status: Ending::Exited(status), unfinished })
    }

    fn converse(&mut self, packets: &mut Packets, inlet: &mut mpsc::Receiver<Bytes>) -> Result<(), Stop> {
        loop {
            let mut piece = match inlet.try_recv() {
                Ok(piece) => piece,
                Err(_) => {
                    self.flush()?;
                    match inlet.blocking_recv() {
                        Some(piece) => piece,
                        None => return Ok(()),
                    }
                }
            };
            while let Some(packet) = packets.next(&mut piece).map_err(|_| Stop::Broken)? {
                // A write could not be recorded if the record has failed.
                self.recorder.check().map_err(Stop::Record)?;
                self.take(&packet)?;
                if self.answers.len() >= BATCH {
                    self.flush()?;
                }
            }
        }
    }

    /// Sends the answers so far.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        if self.answers.is_empty() {
            return Ok(());
        }
        self.outlet.blocking_send(self.answers.take().into()).map_err(|_| Stop::Gone)
    }

    /// Starts a tally for one direction of a file.
    pub(super) fn tally(&self) -> TransferTally {
        TransferTally::new(self.recorder.digest())
    }

    /// Returns whether the session is over, so that long operations can stop.
    pub(super) fn is_over(&self) -> bool {
        self.outlet.is_closed()
    }

    fn take(&mut self, packet: &[u8]) -> Result<(), Stop> {
        match SftpMessage::parse(packet) {
            Ok(SftpMessage::Init { .. }) => {
                self.greeted = true;
                self.answers.version(&self.flags);
                Ok(())
            }
            Ok(SftpMessage::Request { id, request }) if self.greeted => match request {
                Ok(request) if self.flags.permits(&request) => self.answer(id, request),
                Ok(request) => self.refuse(id, &request),
                Err(TruncatedPacket) => self.status(id, Err(SftpFailure::Ours(SftpStatus::BadMessage, "Bad message"))),
            },
            // Nothing may precede the version.
            Ok(SftpMessage::Request { .. }) | Err(TruncatedPacket) => Err(Stop::Broken),
        }
    }

    /// Refuses a request that the key's flags deny, and records that.
    fn refuse(&mut self, id: u32, request: &Request<'_>) -> Result<(), Stop> {
        let path = match request {
            Request::Open { path, .. }
            | Request::Lstat { path }
            | Request::Setstat { path, .. }
            | Request::Opendir { path }
            | Request::Remove { path }
            | Request::Mkdir { path, .. }
            | Request::Rmdir { path }
            | Request::Realpath { path }
            | Request::Stat { path }
            | Request::Readlink { path }
            | Request::Statvfs { path }
            | Request::Lsetstat { path, .. }
            | Request::ExpandPath { path }
            | Request::Rename { from: path, .. }
            | Request::PosixRename { from: path, .. }
            | Request::Hardlink { from: path, .. }
            | Request::Symlink { link: path, .. } => path,
            Request::Close { handle }
            | Request::Read { handle, .. }
            | Request::Write { handle, .. }
            | Request::Fstat { handle }
            | Request::Fsetstat { handle, .. }
            | Request::Readdir { handle }
            | Request::Fstatvfs { handle }
            | Request::Fsync { handle }
            | Request::CopyData { from: handle, .. } => self.handles.get(handle).map_or(&b""[..], OpenHandle::path),
            _ => b"",
        };
        let denied = SftpFailure::Ours(SftpStatus::PermissionDenied, SftpStatus::PermissionDenied.text());
        self.conclude(self.operation(request.name().unwrap_or_default(), path), &Err::<(), _>(denied))?;
        self.status(id, Err(denied))
    }

    fn answer(&mut self, id: u32, request: Request<'_>) -> Result<(), Stop> {
        match request {
            Request::Read { handle, offset, length } => self.read(id, handle, offset, length),
            Request::Write { handle, offset, data } => self.write(id, handle, offset, data),
            Request::Open { path, flags, attrs } => self.open(id, path, flags, &attrs),
            Request::Close { handle } => self.close(id, handle),
            Request::Fstat { handle } => self.fstat(id, handle),
            Request::Fsetstat { handle, attrs } => self.fsetstat(id, handle, &attrs),
            Request::Fsync { handle } => self.fsync(id, handle),
            Request::Fstatvfs { handle } => self.fstatvfs(id, handle),
            Request::CopyData { from, offset, length, to, to_offset } => self.copy_data(id, (from, offset), (to, to_offset), length),
            Request::Opendir { path } => self.opendir(id, path),
            Request::Readdir { handle } => self.readdir(id, handle),
            Request::Stat { path } => self.stat(id, path),
            Request::Lstat { path } => self.lstat(id, path),
            Request::Setstat { path, attrs } => self.setstat(id, path, &attrs),
            Request::Lsetstat { path, attrs } => self.lsetstat(id, path, &attrs),
            Request::Remove { path } => self.remove(id, path),
            Request::Mkdir { path, attrs } => self.mkdir(id, path, &attrs),
            Request::Rmdir { path } => self.rmdir(id, path),
            Request::Rename { from, to } => self.rename(id, from, to),
            Request::PosixRename { from, to } => self.posix_rename(id, from, to),
            Request::Hardlink { from, to } => self.hardlink(id, from, to),
            Request::Symlink { target: link, link: target } if self.link_first => self.symlink(id, target, link),
            Request::Symlink { target, link } => self.symlink(id, target, link),
            Request::Readlink { path } => self.readlink(id, path),
            Request::Realpath { path } => self.realpath(id, path),
            Request::ExpandPath { path } => self.expand_path(id, path),
            Request::HomeDirectory { user } => self.home_directory(id, user),
            Request::Statvfs { path } => self.statvfs(id, path),
            Request::UsersGroupsById { users, groups } => self.users_groups_by_id(id, users, groups),
            Request::Limits => {
                self.answers.limits(id, MAX_HANDLES as u64);
                Ok(())
            }
            Request::Unknown { .. } | Request::UnknownExtension { .. } => {
                self.status(id, Err(SftpFailure::Ours(SftpStatus::OpUnsupported, SftpStatus::OpUnsupported.text())))
            }
        }
    }

    /// Answers with the outcome.
    pub(super) fn status(&mut self, id: u32, done: Done) -> Result<(), Stop> {
        match done {
            Ok(()) => self.answers.status(id, SftpStatus::Ok, SftpStatus::Ok.text()),
            Err(failure) => self.answers.status(id, failure.status(), &failure.text()),
        }
        Ok(())
    }

    /// Makes an operation for the record.
    pub(super) fn operation(&self, op: &str, path: &[u8]) -> SftpOperation {
        SftpOperation { channel: self.channel, op: op.into(), path: path.into(), ..SftpOperation::default() }
    }

    /// Makes the operation that records a handle's close.
    pub(super) fn closing(&self, open: &OpenHandle) -> SftpOperation {
        let mut operation = self.operation("close", open.path());
        if let OpenHandle::File(file) = open {
            file.tell(&mut operation);
        }
        operation
    }

    /// Changes something: records it before it is done, and again with its outcome before the answer.
    pub(super) fn change(&mut self, id: u32, operation: SftpOperation, act: impl FnOnce(&Self) -> Done) -> Result<(), Stop> {
        self.audit(operation.clone())?;
        let done = act(self);
        self.conclude(operation, &done)?;
        self.status(id, done)
    }

    /// Looks at something: records it with its outcome before the answer.
    pub(super) fn look<T>(
        &mut self,
        id: u32,
        operation: SftpOperation,
        act: impl FnOnce(&Self) -> Done<T>,
        answer: impl FnOnce(&mut SftpAnswers, T),
    ) -> Result<(), Stop> {
        let found = act(self);
        self.conclude(operation, &found)?;
        match found {
            Ok(found) => {
                answer(&mut self.answers, found);
                Ok(())
            }
            Err(failure) => self.status(id, Err(failure)),
        }
    }

    /// Records a request for an unknown handle, without a path, and refuses it.
    pub(super) fn no_handle(&mut self, id: u32, op: &str) -> Result<(), Stop> {
        self.conclude(self.operation(op, b""), &Err::<(), _>(NO_HANDLE))?;
        self.status(id, Err(NO_HANDLE))
    }

    pub(super) fn conclude<T>(&self, operation: SftpOperation, done: &Done<T>) -> Result<(), RecordError> {
        let result = done.as_ref().map_or_else(|failure| failure.on_record().into_owned(), |_| "ok".into());
        self.audit(SftpOperation { result: Some(result), ..operation })
    }

    pub(super) fn audit(&self, operation: SftpOperation) -> Result<(), RecordError> {
        self.recorder.audit(&AuditEvent::Sftp(operation))
    }
}
