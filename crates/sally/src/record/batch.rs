//! Keeps the chain of a record, and makes its batches.

use std::time::Duration;

use sally_proto::record::{AuditEvent, Encoder, Seal, Signer, StreamKind, Timestamp};

use super::error::RecordError;
use super::queue::Queue;

/// The longest time between two signatures, while there is anything new.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// The most bytes of record between two signatures.
const CHECKPOINT_BYTES: u64 = 1 << 20;

/// The state under the lock: one chain, and batches in its order. The lock is never held during a write.
pub(super) struct RecordChain {
    pub(super) encoder: Encoder,
    signer: Box<dyn Signer>,
    /// The time and the length of the chain when it was last signed.
    pub(super) signed_at: Timestamp,
    signed_to: u64,
    /// The number of the last batch.
    pub(super) entered: u64,
    /// Why nothing more may be entered, once the record has its last line.
    pub(super) closed: Option<RecordError>,
}

impl std::fmt::Debug for RecordChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordChain").field("entered", &self.entered).field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl RecordChain {
    pub(super) fn new(encoder: Encoder, signer: Box<dyn Signer>) -> Self {
        Self { encoder, signer, signed_at: Timestamp::default(), signed_to: 0, entered: 0, closed: None }
    }
}

/// A batch in the making, at one moment.
pub(super) struct Batch<'a> {
    pub(super) chain: &'a mut RecordChain,
    pub(super) queue: &'a Queue,
    pub(super) name: &'a str,
    pub(super) at: Timestamp,
}

impl Batch<'_> {
    /// Takes in a chunk; closes full batches.
    pub(super) fn take(&mut self, channel: u32, kind: StreamKind, chunk: &[u8]) -> Result<(), RecordError> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let taken = self.chain.encoder.chunk(self.at, channel, kind, rest);
            rest = rest.get(taken..).unwrap_or_default();
            if !rest.is_empty() {
                self.close(None)?;
            }
        }
        Ok(())
    }

    /// Closes the batch, signs it if asked to or if that is due, and hands it to the queue.
    pub(super) fn close(&mut self, seal: Option<Seal>) -> Result<(), RecordError> {
        let RecordChain { encoder, signer, signed_at, signed_to, entered, .. } = &mut *self.chain;
        let unsigned = encoder.written() + encoder.pending() as u64 - *signed_to;
        let due = unsigned >= CHECKPOINT_BYTES || is_due(*signed_at, self.at);
        let seal = seal.or(due.then_some(Seal::Checkpoint));
        let closed = encoder.close(self.at, seal.map(|seal| (seal, &**signer)));
        closed.map_err(|error| RecordError::Unwritten { file: self.name.into(), reason: error.to_string() })?;
        self.queue.push(encoder.take(self.queue.buffer()));
        *entered += 1;
        if seal.is_some() {
            *signed_at = self.at;
            *signed_to = encoder.written();
        }
        Ok(())
    }

    /// Signs what is new, if that is due.
    pub(super) fn sign_if_due(&mut self) -> Result<(), RecordError> {
        let new = self.chain.encoder.written() > self.chain.signed_to;
        if new && is_due(self.chain.signed_at, self.at) { self.close(Some(Seal::Checkpoint)) } else { Ok(()) }
    }

    /// Records an event, in as many batches as it needs.
    pub(super) fn audit(&mut self, event: &AuditEvent, seal: Option<Seal>) -> Result<(), RecordError> {
        let mut done = 0;
        while let Some(parts) = self.chain.encoder.audit(self.at, event, done) {
            done = parts;
            self.close(None)?;
        }
        self.close(seal)
    }
}

/// Returns whether the next signature is due.
fn is_due(signed_at: Timestamp, at: Timestamp) -> bool {
    at.micros().saturating_sub(signed_at.micros()) >= Timestamp::from(CHECKPOINT_INTERVAL).micros()
}
