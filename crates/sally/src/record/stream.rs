//! What is recorded of one stream.

use std::sync::{Arc, Mutex};

use sally_proto::record::{AuditEvent, DigestName, RunningDigest, StreamKind};

use super::error::RecordError;
use super::recorder::{Recorder, Shared};
use crate::lock::lock;

/// Records one stream of a channel.
#[derive(Clone, Debug)]
pub struct StreamRecorder {
    pub(super) recorder: Recorder,
    pub(super) channel: u32,
    pub(super) kind: StreamKind,
    /// Where only the head is recorded: its size.
    pub(super) head: Option<(u64, Arc<Mutex<Tally>>)>,
}

/// A stream of which only the head is recorded.
#[derive(Debug)]
pub(super) struct Tally {
    hash: RunningDigest,
    bytes: u64,
    /// So many bytes were on the last `stream-end`; `None`: there was none.
    reported: Option<u64>,
}

impl Tally {
    pub(super) fn new(digest: DigestName) -> Self {
        Self { hash: digest.start(), bytes: 0, reported: None }
    }
}

/// A piece that has its place in the record and is not yet written.
#[derive(Debug)]
#[must_use = "a piece may be delivered when it is written"]
pub struct Entry {
    shared: Arc<Shared>,
    number: u64,
}

impl Entry {
    /// Returns once write(2) of it, and of everything before it, has. It blocks; the piece may be delivered when, and only when, this is `Ok`.
    ///
    /// # Errors
    /// The record can't be written: the piece must not be delivered.
    pub fn write(self) -> Result<(), RecordError> {
        self.shared.write_up_to(self.number)
    }
}

impl StreamRecorder {
    /// Records a chunk, or counts and hashes what the settings leave out. It may be delivered when, and only when, this is `Ok`.
    ///
    /// # Errors
    /// The record can't be written: the chunk must not be delivered.
    pub fn record(&mut self, chunk: &[u8]) -> Result<(), RecordError> {
        self.enter([chunk])?.write()
    }

    /// The first half of [`StreamRecorder::record`]: gives the chunks their place in the record, for whoever has something else to do while
    /// they are written.
    ///
    /// # Errors
    /// The record can't be written: the chunks must not be delivered.
    pub fn enter<'a>(&mut self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Entry, RecordError> {
        let number = match &self.head {
            None => self.recorder.0.enter_chunks(self.channel, self.kind, chunks)?,
            Some((size, tally)) => self.enter_head(*size, &mut lock(tally), chunks)?,
        };
        Ok(Entry { shared: Arc::clone(&self.recorder.0), number })
    }

    fn enter_head<'a>(&self, size: u64, tally: &mut Tally, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<u64, RecordError> {
        let before = tally.bytes;
        let mut heads = Vec::new();
        for chunk in chunks {
            let room = usize::try_from(size.saturating_sub(tally.bytes)).unwrap_or(usize::MAX);
            tally.hash.update(chunk);
            tally.bytes += chunk.len() as u64;
            if room > 0 {
                heads.push(chunk.get(..room).unwrap_or(chunk));
            }
        }
        let entered = self.recorder.0.enter_chunks(self.channel, self.kind, heads)?;
        if before <= size && tally.bytes > size {
            let cut = AuditEvent::StreamCut { channel: self.channel, stream: self.kind.stream(), recorded: size };
            return self.recorder.0.enter_audit(&cut);
        }
        Ok(entered)
    }

    /// The stream came to its end: where only its head is recorded, its length and digest are too.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn finish(&mut self) -> Result<(), RecordError> {
        match &self.head {
            None => Ok(()),
            Some((_, tally)) => finish(&self.recorder.0, self.channel, self.kind, tally),
        }
    }
}

pub(super) fn finish(shared: &Shared, channel: u32, kind: StreamKind, tally: &Mutex<Tally>) -> Result<(), RecordError> {
    let mut tally = lock(tally);
    if tally.reported == Some(tally.bytes) {
        return Ok(());
    }
    let (sha256, blake3) = tally.hash.fields();
    shared.audit(&AuditEvent::StreamEnd { channel, stream: kind.stream(), bytes: tally.bytes, sha256, blake3 })?;
    tally.reported = Some(tally.bytes);
    Ok(())
}
