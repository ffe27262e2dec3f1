//! Defines the failures of operations, in SFTP's terms.

use std::borrow::Cow;

use rustix::io::Errno;
use sally_proto::sftp::SftpStatus;

use crate::term;

/// The result of an operation.
pub(super) type Done<T = ()> = Result<T, SftpFailure>;

/// The reason of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SftpFailure {
    /// The system's error.
    System(Errno),
    /// Sally's own: status and text.
    Ours(SftpStatus, &'static str),
}

/// The failure for an unknown handle, a closed one, or one of the other kind.
pub(super) const NO_HANDLE: SftpFailure = SftpFailure::Ours(SftpStatus::Failure, "Invalid handle");

impl From<Errno> for SftpFailure {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl SftpFailure {
    /// Returns the status, as OpenSSH's sftp-server maps it.
    pub(super) fn status(self) -> SftpStatus {
        match self {
            Self::Ours(status, _) => status,
            Self::System(Errno::NOENT | Errno::NOTDIR | Errno::BADF | Errno::LOOP) => SftpStatus::NoSuchFile,
            Self::System(Errno::PERM | Errno::ACCESS | Errno::FAULT) => SftpStatus::PermissionDenied,
            Self::System(Errno::NAMETOOLONG | Errno::INVAL) => SftpStatus::BadMessage,
            Self::System(Errno::NOSYS) => SftpStatus::OpUnsupported,
            Self::System(_) => SftpStatus::Failure,
        }
    }

    /// Returns the text for the client: the status's usual one, or the system's if the status is only "failure".
    pub(super) fn text(self) -> Cow<'static, str> {
        match self {
            Self::Ours(_, text) => text.into(),
            Self::System(errno) => match self.status() {
                SftpStatus::Failure => term::reason(&errno.into()).into(),
                status => status.text().into(),
            },
        }
    }

    /// Returns the text for the record: the system's, not SFTP's.
    pub(super) fn on_record(self) -> Cow<'static, str> {
        match self {
            Self::Ours(_, text) => text.into(),
            Self::System(errno) => term::reason(&errno.into()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_and_a_missing_file_has_its_own_status() {
        let full = SftpFailure::from(Errno::NOSPC);
        assert_eq!((full.status(), &*full.text()), (SftpStatus::Failure, "No space left on device"));
        let missing = SftpFailure::from(Errno::NOTDIR);
        assert_eq!(
            (missing.status(), &*missing.text(), &*missing.on_record()),
            (SftpStatus::NoSuchFile, "No such file", "Not a directory")
        );
    }
}
