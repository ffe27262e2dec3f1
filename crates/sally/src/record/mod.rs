//! Records sessions: bytes are recorded first, then delivered; a recorder that fails ends the session.
//!
//! - `sink`: the file or stream of the record, and whether it is still there
//! - `limit`: limits its size
//! - `queue`: batches of lines between the chain and the sink
//! - `book`: the chain, and the batches that it makes
//! - `recorder`: what sessions write to; returns once write(2) has
//! - `stream`: one stream of a channel, whole or only its head
//! - `signer`: signs the record with the host key
//! - `cmd`: `sally record verify|play|cat|export`, each in its own file
//! - `decode`, `visible`: output as text; `screen`: output as a terminal shows it
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
pub use sally_proto::record::{AuditEvent, DigestName, Policy, StreamKind};
#[cfg(any(feature = "once", feature = "relay"))]
pub use sink::{Sink, Target};
#[cfg(any(feature = "once", feature = "relay"))]
pub use stream::{Entry, StreamRecorder};
