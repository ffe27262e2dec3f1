//! Implements a server's side of SFTP version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions (its PROTOCOL file, section 4).
//!
//! In the order in which a request travels: [`Packets`] cuts a channel's bytes into packets, [`SftpMessage::parse`] reads one, [`SftpAnswers`]
//! encodes the answer; [`SftpFlags`] limit what a key may ask for. Paths, handles and data are bytes that borrow from the packet: nothing
//! is copied, and nothing has to be UTF-8.

mod answers;
mod attrs;
mod flags;
mod packets;
mod request;
mod symlink;
mod wire;

#[cfg(test)]
mod tests;

pub use answers::{ListingEntry, Names, SftpAnswers, Volume};
pub use attrs::Attrs;
pub use flags::{INTERNAL_SFTP, SUBSYSTEM, SftpFlags};
pub use packets::{BadLength, Packets};
pub use request::{OpenFlags, Request, SftpMessage};
pub use symlink::sends_link_first;
pub use wire::TruncatedPacket;

/// The version that is spoken.
pub const VERSION: u32 = 3;

/// The longest packet, without its length field: what OpenSSH sends and accepts.
pub const MAX_PACKET: usize = 256 << 10;

/// The most data in one read or write: a packet, less room for its other fields.
pub const MAX_DATA: u32 = 255 << 10;

/// The extensions that are supported, with their versions, in OpenSSH's order.
pub const EXTENSIONS: &[(&str, &str)] = &[
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
    ("users-groups-by-id@openssh.com", "1"),
];

/// The result of an operation (draft section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SftpStatus {
    /// It succeeded.
    Ok = 0,
    /// There is no more to read.
    Eof = 1,
    /// There is no such file.
    NoSuchFile = 2,
    /// The account has no permission.
    PermissionDenied = 3,
    /// Any other reason.
    Failure = 4,
    /// The request makes no sense.
    BadMessage = 5,
    /// The request isn't known.
    OpUnsupported = 8,
}

impl SftpStatus {
    /// Returns the usual text for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "Success",
            Self::Eof => "End of file",
            Self::NoSuchFile => "No such file",
            Self::PermissionDenied => "Permission denied",
            Self::Failure => "Failure",
            Self::BadMessage => "Bad message",
            Self::OpUnsupported => "Operation unsupported",
        }
    }
}

/// Packet types (draft section 3).
mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const SETSTAT: u8 = 9;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const OPENDIR: u8 = 11;
    pub(super) const READDIR: u8 = 12;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const MKDIR: u8 = 14;
    pub(super) const RMDIR: u8 = 15;
    pub(super) const REALPATH: u8 = 16;
    pub(super) const STAT: u8 = 17;
    pub(super) const RENAME: u8 = 18;
    pub(super) const READLINK: u8 = 19;
    pub(super) const SYMLINK: u8 = 20;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}
