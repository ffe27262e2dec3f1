//! Reads a client's requests.

use std::fmt;

use super::attrs::Attrs;
use super::kind;
use super::wire::{SftpReader, TruncatedPacket};

/// The flags of an open (draft section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    const NAMES: [&'static str; 6] = ["read", "write", "append", "create", "truncate", "exclude"];

    const fn has(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// Returns whether to open for reading; also if no flag says so.
    pub const fn read(self) -> bool {
        self.has(0) || !self.write()
    }

    /// Returns whether to open for writing.
    pub const fn write(self) -> bool {
        self.has(1)
    }

    /// Returns whether to write only at the end.
    pub const fn append(self) -> bool {
        self.has(2)
    }

    /// Returns whether to create the file if it doesn't exist.
    pub const fn create(self) -> bool {
        self.has(3)
    }

    /// Returns whether to empty the file.
    pub const fn truncate(self) -> bool {
        self.has(4)
    }

    /// Returns whether the file must not exist yet.
    pub const fn exclude(self) -> bool {
        self.has(5)
    }
}

impl fmt::Display for OpenFlags {
    /// Writes them for the record: `write,create,truncate`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = (0..).zip(Self::NAMES).filter(|(bit, _)| self.has(*bit)).map(|(_, name)| name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

/// A packet, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SftpMessage<'a> {
    /// The first packet: the version that the client speaks.
    Init {
        /// The highest version that the client knows.
        version: u32,
    },
    /// A request that needs an answer.
    Request {
        /// The number that the answer must have.
        id: u32,
        /// The request; malformed if the packet ends too early.
        request: Result<Request<'a>, TruncatedPacket>,
    },
}

impl<'a> SftpMessage<'a> {
    /// Reads a packet; ignores bytes after its last field, as OpenSSH does.
    ///
    /// # Errors
    /// If there is not even a number to answer to.
    pub fn parse(packet: &'a [u8]) -> Result<Self, TruncatedPacket> {
        let mut from = SftpReader(packet);
        let kind = from.u8()?;
        let number = from.u32()?;
        Ok(match kind {
            kind::INIT => Self::Init { version: number },
            _ => Self::Request { id: number, request: Request::parse(kind, &mut from) },
        })
    }
}

/// A client's request. Handles are ours, as the client returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are the draft's and PROTOCOL's own, by their names")]
pub enum Request<'a> {
    /// `SSH_FXP_OPEN`
    Open { path: &'a [u8], flags: OpenFlags, attrs: Attrs },
    /// `SSH_FXP_CLOSE`
    Close { handle: &'a [u8] },
    /// `SSH_FXP_READ`
    Read { handle: &'a [u8], offset: u64, length: u32 },
    /// `SSH_FXP_WRITE`
    Write { handle: &'a [u8], offset: u64, data: &'a [u8] },
    /// `SSH_FXP_LSTAT`
    Lstat { path: &'a [u8] },
    /// `SSH_FXP_FSTAT`
    Fstat { handle: &'a [u8] },
    /// `SSH_FXP_SETSTAT`
    Setstat { path: &'a [u8], attrs: Attrs },
    /// `SSH_FXP_FSETSTAT`
    Fsetstat { handle: &'a [u8], attrs: Attrs },
    /// `SSH_FXP_OPENDIR`
    Opendir { path: &'a [u8] },
    /// `SSH_FXP_READDIR`
    Readdir { handle: &'a [u8] },
    /// `SSH_FXP_REMOVE`
    Remove { path: &'a [u8] },
    /// `SSH_FXP_MKDIR`
    Mkdir { path: &'a [u8], attrs: Attrs },
    /// `SSH_FXP_RMDIR`
    Rmdir { path: &'a [u8] },
    /// `SSH_FXP_REALPATH`
    Realpath { path: &'a [u8] },
    /// `SSH_FXP_STAT`
    Stat { path: &'a [u8] },
    /// `SSH_FXP_RENAME`
    Rename { from: &'a [u8], to: &'a [u8] },
    /// `SSH_FXP_READLINK`
    Readlink { path: &'a [u8] },
    /// `SSH_FXP_SYMLINK`: the target comes first, as in OpenSSH and not in the draft; but see [`super::sends_link_first`].
    Symlink { target: &'a [u8], link: &'a [u8] },
    /// `posix-rename@openssh.com`
    PosixRename { from: &'a [u8], to: &'a [u8] },
    /// `statvfs@openssh.com`
    Statvfs { path: &'a [u8] },
    /// `fstatvfs@openssh.com`
    Fstatvfs { handle: &'a [u8] },
    /// `hardlink@openssh.com`
    Hardlink { from: &'a [u8], to: &'a [u8] },
    /// `fsync@openssh.com`
    Fsync { handle: &'a [u8] },
    /// `lsetstat@openssh.com`
    Lsetstat { path: &'a [u8], attrs: Attrs },
    /// `limits@openssh.com`
    Limits,
    /// `expand-path@openssh.com`
    ExpandPath { path: &'a [u8] },
    /// `copy-data` (draft-ietf-secsh-filexfer-extensions-00): a length of 0 means up to the end.
    CopyData { from: &'a [u8], offset: u64, length: u64, to: &'a [u8], to_offset: u64 },
    /// `home-directory` (the same draft)
    HomeDirectory { user: &'a [u8] },
    /// `users-groups-by-id@openssh.com`: each is a row of 32-bit numbers.
    UsersGroupsById { users: &'a [u8], groups: &'a [u8] },
    /// An unknown packet, by its type.
    Unknown { kind: u8 },
    /// An unknown extension, by its name.
    UnknownExtension { name: &'a [u8] },
}

impl<'a> Request<'a> {
    fn parse(kind: u8, from: &mut SftpReader<'a>) -> Result<Self, TruncatedPacket> {
        Ok(match kind {
            kind::OPEN => Self::Open { path: from.string()?, flags: OpenFlags(from.u32()?), attrs: Attrs::parse(from)? },
            kind::CLOSE => Self::Close { handle: from.string()? },
            kind::READ => Self::Read { handle: from.string()?, offset: from.u64()?, length: from.u32()? },
            kind::WRITE => Self::Write { handle: from.string()?, offset: from.u64()?, data: from.string()? },
            kind::LSTAT => Self::Lstat { path: from.string()? },
            kind::FSTAT => Self::Fstat { handle: from.string()? },
            kind::SETSTAT => Self::Setstat { path: from.string()?, attrs: Attrs::parse(from)? },
            kind::FSETSTAT => Self::Fsetstat { handle: from.string()?, attrs: Attrs::parse(from)? },
            kind::OPENDIR => Self::Opendir { path: from.string()? },
            kind::READDIR => Self::Readdir { handle: from.string()? },
            kind::REMOVE => Self::Remove { path: from.string()? },
            kind::MKDIR => Self::Mkdir { path: from.string()?, attrs: Attrs::parse(from)? },
            kind::RMDIR => Self::Rmdir { path: from.string()? },
            kind::REALPATH => Self::Realpath { path: from.string()? },
            kind::STAT => Self::Stat { path: from.string()? },
            kind::RENAME => Self::Rename { from: from.string()?, to: from.string()? },
            kind::READLINK => Self::Readlink { path: from.string()? },
            kind::SYMLINK => Self::Symlink { target: from.string()?, link: from.string()? },
            kind::EXTENDED => Self::extended(from)?,
            kind => Self::Unknown { kind },
        })
    }

    /// Returns sftp-server's name for it (`sftp-server -Q requests`); `None` for an unknown request.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Open { .. } => "open",
            Self::Close { .. } => "close",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Lstat { .. } => "lstat",
            Self::Fstat { .. } => "fstat",
            Self::Setstat { .. } => "setstat",
            Self::Fsetstat { .. } => "fsetstat",
            Self::Opendir { .. } => "opendir",
            Self::Readdir { .. } => "readdir",
            Self::Remove { .. } => "remove",
            Self::Mkdir { .. } => "mkdir",
            Self::Rmdir { .. } => "rmdir",
            Self::Realpath { .. } => "realpath",
            Self::Stat { .. } => "stat",
            Self::Rename { .. } => "rename",
            Self::Readlink { .. } => "readlink",
            Self::Symlink { .. } => "symlink",
            Self::PosixRename { .. } => "posix-rename",
            Self::Statvfs { .. } => "statvfs",
            Self::Fstatvfs { .. } => "fstatvfs",
            Self::Hardlink { .. } => "hardlink",
            Self::Fsync { .. } => "fsync",
            Self::Lsetstat { .. } => "lsetstat",
            Self::Limits => "limits",
            Self::ExpandPath { .. } => "expand-path",
            Self::CopyData { .. } => "copy-data",
            Self::HomeDirectory { .. } => "home-directory",
            Self::UsersGroupsById { .. } => "users-groups-by-id",
            Self::Unknown { .. } | Self::UnknownExtension { .. } => return None,
        })
    }

    fn extended(from: &mut SftpReader<'a>) -> Result<Self, TruncatedPacket> {
        Ok(match from.string()? {
            b"posix-rename@openssh.com" => Self::PosixRename { from: from.string()?, to: from.string()? },
            b"statvfs@openssh.com" => Self::Statvfs { path: from.string()? },
            b"fstatvfs@openssh.com" => Self::Fstatvfs { handle: from.string()? },
            b"hardlink@openssh.com" => Self::Hardlink { from: from.string()?, to: from.string()? },
            b"fsync@openssh.com" => Self::Fsync { handle: from.string()? },
            b"lsetstat@openssh.com" => Self::Lsetstat { path: from.string()?, attrs: Attrs::parse(from)? },
            b"limits@openssh.com" => Self::Limits,
            b"expand-path@openssh.com" => Self::ExpandPath { path: from.string()? },
            b"copy-data" => Self::CopyData {
                from: from.string()?,
                offset: from.u64()?,
                length: from.u64()?,
                to: from.string()?,
                to_offset: from.u64()?,
            },
            b"home-directory" => Self::HomeDirectory { user: from.string()? },
            b"users-groups-by-id@openssh.com" => Self::UsersGroupsById { users: from.string()?, groups: from.string()? },
            name => Self::UnknownExtension { name },
        })
    }
}
