//! Records sessions: bytes are recorded first, then delivered; a recorder that fails ends the session.
//!
//! - `sink`: the file or stream of the record, and whether it is still there
//! - `limit`: limits its size
//! - `queue`: batches of lines between the chain and the sink
//! - `batch`: the chain, and the batches that it makes
//! - `recorder`: what sessions write to; returns once write(2) has
//! - `stream`: one stream of a channel, whole or only its head
//! - `signer`: signs the record with the host key
//! - `cmd`: `sally record verify|play|cat|export`, each in its own file
//! - `decode`, `visible`: output as text
//!
//! The format itself is [`sally_proto::record`].

mod batch;
#[cfg(feature = "record")]
mod cat;
#[cfg(feature = "record")]
pub mod cmd;
#[cfg(feature = "record")]
mod decode;
mod error;
#[cfg(feature = "record")]
mod export;
mod limit;
#[cfg(feature = "record")]
mod play;
mod queue;
mod recorder;
mod signer;
mod sink;
#[cfg(feature = "record")]
mod source;
mod stream;
#[cfg(feature = "record")]
mod verify;
#[cfg(feature = "record")]
mod visible;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use error::RecordError;
pub use recorder::{RecordSettings, Recorder, SIZE};
pub use sally_proto::record::{AuditEvent, DigestName, Policy, StreamKind};
pub use sink::{RecordSink, RecordTarget};
pub use stream::{Entry, StreamRecorder};
