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

#[cfg(any(feature = "once", feature = "relay"))]
mod book;
#[cfg(feature = "record")]
mod cat;
#[cfg(feature = "record")]
pub mod cmd;
#[cfg(feature = "record")]
mod decode;
#[cfg(any(feature = "once", feature = "relay"))]
mod error;
#[cfg(feature = "record")]
mod export;
#[cfg(any(feature = "once", feature = "relay"))]
mod limit;
#[cfg(feature = "record")]
mod play;
#[cfg(any(feature = "once", feature = "relay"))]
mod queue;
#[cfg(any(feature = "once", feature = "relay"))]
mod recorder;
#[cfg(feature = "record")]
mod screen;
#[cfg(any(feature = "once", feature = "relay"))]
mod signer;
#[cfg(any(feature = "once", feature = "relay"))]
mod sink;
#[cfg(feature = "record")]
mod source;
#[cfg(any(feature = "once", feature = "relay"))]
mod stream;
#[cfg(feature = "record")]
mod verify;
#[cfg(feature = "record")]
mod visible;

#[cfg(test)]
mod tests;

#[cfg(any(feature = "once", feature = "relay"))]
pub use error::RecordError;
#[cfg(any(feature = "once", feature = "relay"))]
pub use recorder::{Recorder, SIZE, Settings};
pub use sally_proto::record::{AuditEvent, DigestName, Policy, RunningDigest, Said, StreamKind};
#[cfg(any(feature = "once", feature = "relay"))]
pub use sink::{Sink, Target};
#[cfg(any(feature = "once", feature = "relay"))]
pub use stream::{Entry, StreamRecorder};
