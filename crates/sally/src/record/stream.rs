//! Records one stream, whole or only its head.

use std::sync::{Arc, Mutex};

use sally_proto::record::{AuditEvent, DigestName, RunningDigest, StreamKind};

use super::error::RecordError;
use super::recorder::{Recorder, RecorderState};
use crate::lock::lock;

/// Records one stream of a channel.
#[derive(Clone, Debug)]
pub struct StreamRecorder {
    pub(super) recorder: Recorder,
    pub(super) channel: u32,
    pub(super) kind: StreamKind,
    /// The size of the head and the tally, if only the head is recorded.
    pub(super) head: Option<(u64, Arc<Mutex<StreamTally>>)>,
}

/// The count and hash of a stream of which only the head is recorded.
#[derive(Debug)]
pub(super) struct StreamTally {
    hash: RunningDigest,
    bytes: u64,
    /// The count in the last `stream-end`; `None` if there was none.
    reported: Option<u64>,
}

impl StreamTally {
    pub(super) fn new(digest: DigestName) -> Self {
        Self { hash: digest.start(), bytes: 0, reported: None }
    }
}

/// A piece that has its place in the record, but is not written yet.
#[derive(Debug)]
#[must_use = "a piece may be delivered when it is written"]
pub struct Entry {
    shared: Arc<RecorderState>,
    number: u64,
}

impl Entry {
    /// Waits until write(2) of this piece, and of everything before it, has returned. Blocks. The piece may be delivered if, and only if,
    /// this is `Ok`.
    ///
    /// # Errors
    /// The record can't be written: the piece must not be delivered.
    pub fn write(self) -> Result<(), RecordError> {
        self.shared.write_up_to(self.number)
    }
}

impl StreamRecorder {
    /// Records a chunk, or counts and hashes what the settings leave out. It may be delivered if, and only if, this is `Ok`.
    ///
    /// # Errors
    /// The record can't be written: the chunk must not be delivered.
    pub fn record(&mut self, chunk: &[u8]) -> Result<(), RecordError> {
        self.enter([chunk])?.write()
    }

    /// Gives chunks their place in the record, as the first half of [`StreamRecorder::record`], so that the caller can do something else
    /// while they are written.
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

    fn enter_head<'a>(&self, size: u64, tally: &mut StreamTally, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<u64, RecordError> {
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

    /// Ends the stream: records its length and digest, if only its head is recorded.
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

pub(super) fn finish(shared: &RecorderState, channel: u32, kind: StreamKind, tally: &Mutex<StreamTally>) -> Result<(), RecordError> {
    let mut tally = lock(tally);
    if tally.reported == Some(tally.bytes) {
        return Ok(());
    }
    let (sha256, blake3) = tally.hash.fields();
    shared.audit(&AuditEvent::StreamEnd { channel, stream: kind.stream(), bytes: tally.bytes, sha256, blake3 })?;
    tally.reported = Some(tally.bytes);
    Ok(())
}
