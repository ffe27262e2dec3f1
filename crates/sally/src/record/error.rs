//! Defines why a record can't be written.

use sally_proto::error::Fault;

use crate::panic::Panicked;

/// Why nothing is recorded any more: the task that gets this must deliver nothing and end the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record can't be written.
    #[error("Could not write to log file {file}: {reason}")]
    Unwritten {
        /// The file as the user named it, or `stdout`.
        file: String,
        /// The system's reason, or Sally's.
        reason: String,
    },
    /// A task of the visit panicked: the record ends there, without a seal.
    #[error("the record is broken off: {Panicked}")]
    BrokenOff,
}

#[cfg(test)]
impl RecordError {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Unwritten { reason, .. } => reason,
            Self::BrokenOff => "broken off",
        }
    }
}

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Unwritten { file, reason } => Self::Record { file, reason },
            RecordError::BrokenOff => Panicked.into(),
        }
    }
}
