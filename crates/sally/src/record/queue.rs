//! Holds batches of lines between the chain and the file: they are numbered as they enter, and the first writer writes them in that order.
//!
//! So one piece of a stream is encoded while the piece before it is written, and no stream waits for another one's encoding.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::Instant;

use sally_proto::record::MAX_BATCH;

use super::error::RecordError;
use super::sink::RecordSink;
use crate::lock::lock;

/// How many buffers are kept for the next batches: one is filled while one is written.
const SPARE: usize = 2;

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<WaitingBatches>,
    out: Mutex<Out>,
    /// The number of the last batch in the file.
    written: AtomicU64,
}

#[derive(Default)]
struct WaitingBatches {
    batches: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl std::fmt::Debug for WaitingBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitingBatches").field("batches", &self.batches.len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Out {
    sink: RecordSink,
    /// The first failure. The last line may be torn, so nothing is written after it.
    failed: Option<RecordError>,
}

impl Queue {
    pub(super) fn new(sink: RecordSink) -> Self {
        Self { waiting: Mutex::default(), out: Mutex::new(Out { sink, failed: None }), written: AtomicU64::new(0) }
    }

    /// Returns an empty buffer for a batch.
    pub(super) fn buffer(&self) -> Vec<u8> {
        let spare = lock(&self.waiting).spare.pop();
        spare.unwrap_or_else(|| Vec::with_capacity(MAX_BATCH))
    }

    /// Appends the next batch. The caller numbers batches, from 1, and holds the lock of the chain.
    pub(super) fn push(&self, batch: Vec<u8>) {
        lock(&self.waiting).batches.push_back(batch);
    }

    pub(super) fn has_written(&self, number: u64) -> bool {
        self.written.load(Ordering::Acquire) >= number
    }

    /// Writes the waiting batches up to `number`; returns once that one is in the file, even if another thread wrote it.
    pub(super) fn write_up_to(&self, number: u64) -> Result<(), RecordError> {
        let mut out = match self.out.lock() {
            Ok(out) => out,
            // Another thread panicked in the middle of a write: what the file holds is unknown.
            Err(poisoned) => return Err(poisoned.into_inner().sink.error("a write was interrupted".into())),
        };
        while !self.has_written(number) {
            if let Some(error) = &out.failed {
                return Err(error.clone());
            }
            let Some(mut batch) = lock(&self.waiting).batches.pop_front() else {
                return Err(out.sink.error("a batch was lost".into()));
            };
            if let Err(error) = out.sink.write(&batch, Instant::now()) {
                out.failed = Some(error.clone());
                return Err(error);
            }
            self.written.fetch_add(1, Ordering::Release);
            batch.clear();
            let mut waiting = lock(&self.waiting);
            if waiting.spare.len() < SPARE {
                waiting.spare.push(batch);
            }
        }
        Ok(())
    }

    /// Checks that the record is still where it was opened; returns false if a writer is busy, which checks that too.
    pub(super) fn check_unless_busy(&self) -> Result<bool, RecordError> {
        match self.out.try_lock() {
            Ok(mut out) => out.sink.check(Instant::now()).map(|()| true),
            Err(TryLockError::Poisoned(out)) => Err(out.into_inner().sink.error("a write was interrupted".into())),
            Err(TryLockError::WouldBlock) => Ok(false),
        }
    }

    /// Checks that the record is still where it was opened, after waiting for the writer.
    pub(super) fn check(&self) -> Result<(), RecordError> {
        lock(&self.out).sink.check(Instant::now())
    }
}
