//! Defines the failures of operations, in SFTP's terms.

use std::borrow::Cow;

use rustix::io::Errno;
use sally_proto::sftp::Status;

use crate::term;

/// The result of an operation.
pub(super) type Done<T = ()> = Result<T, Failure>;

/// The reason of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The system's error.
    System(Errno),
    /// Sally's own: status and text.
    Ours(Status, &'static str),
}

/// The failure for an unknown handle, a closed one, or one of the other kind.
pub(super) const NO_HANDLE: Failure = Failure::Ours(Status::Failure, "Invalid handle");

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl Failure {
    /// Returns the status, as OpenSSH's sftp-server maps it.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Ours(status, _) => status,
            Self::System(Errno::NOENT | Errno::NOTDIR | Errno::BADF | Errno::LOOP) => Status::NoSuchFile,
            Self::System(Errno::PERM | Errno::ACCESS | Errno::FAULT) => Status::PermissionDenied,
            Self::System(Errno::NAMETOOLONG | Errno::INVAL) => Status::BadMessage,
            Self::System(Errno::NOSYS) => Status::OpUnsupported,
            Self::System(_) => Status::Failure,
        }
    }

    /// Returns the text for the client: the status's usual one, or the system's if the status is only "failure".
    pub(super) fn text(self) -> Cow<'static, str> {
        match self {
            Self::Ours(_, text) => text.into(),
            Self::System(errno) => match self.status() {
                Status::Failure => term::reason(&errno.into()).into(),
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
        let full = Failure::from(Errno::NOSPC);
        assert_eq!((full.status(), &*full.text()), (Status::Failure, "No space left on device"));
        let missing = Failure::from(Errno::NOTDIR);
        assert_eq!((missing.status(), &*missing.text(), &*missing.on_record()), (Status::NoSuchFile, "No such file", "Not a directory"));
    }
}
