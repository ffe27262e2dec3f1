//! The record can't be written.

use sally_proto::error::Fault;

/// Why the record can't be written: whoever gets this delivers nothing and ends the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Could not write to log file {file}: {reason}")]
pub struct RecordError {
    /// The file as named, `stdout` for none.
    pub file: String,
    /// The system's reason, or ours.
    pub reason: String,
}

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Self {
        Self::Record { file: error.file, reason: error.reason }
    }
}
