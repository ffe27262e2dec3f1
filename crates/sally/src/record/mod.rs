//! The book: record first, then deliver; a recorder that fails ends the session.
//!
//! - `sink`: where the record goes, and whether it is still there
//! - `limit`: how large it may become
//! - `queue`: batches of lines between the chain and the sink
//! - `book`: the chain, and the batches that are made of it
//! - `recorder`: what sessions write to; returns once write(2) has
//! - `stream`: one stream of a channel, whole or its head
//! - `signer`: the host key, as the record's seal
//! - `cmd`: `sally record verify|play|cat|export`, each in its own file
//! - `decode`, `visible`: what was shown, as text; `screen`: as a terminal has it
//!
//! The format itself is [`sally_proto::record`].

mod book;
mod cat;
pub mod cmd;
mod decode;
mod error;
mod export;
mod limit;
mod play;
mod queue;
mod recorder;
mod screen;
mod signer;
mod sink;
mod source;
mod stream;
mod verify;
mod visible;

#[cfg(test)]
mod tests;

pub use error::RecordError;
pub use recorder::{Recorder, SIZE, Settings};
pub use sally_proto::record::{AuditEvent, DigestName, Policy, RunningDigest, Said, StreamKind};
pub use sink::{Sink, Target};
pub use stream::{Entry, StreamRecorder};
