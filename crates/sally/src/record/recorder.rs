//! Records what sessions do. A call returns once write(2) of its lines has returned: only then may the bytes be delivered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use sally_proto::record::{AuditEvent, CutCharacter, DigestName, Encoder, Header, Policy, RecordStream, Seal, Signer, StreamKind};
use ssh_key::PrivateKey;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;

use super::batch::{Batch, RecordChain};
use super::error::RecordError;
use super::queue::Queue;
use super::signer::HostKeySigner;
use super::sink::RecordSink;
use super::stream::{StreamRecorder, StreamTally, finish};
use crate::clock::unix_time;
use crate::lock::lock;
use crate::panic::Panicked;

/// How often an idle record is checked.
const TICK: Duration = Duration::from_secs(1);
/// The number of the batch that holds the header.
const FIRST_BATCH: u64 = 1;
/// Columns and rows of the header before there is a terminal.
pub const SIZE: (u16, u16) = (80, 24);

/// The settings of a record, all in its header.
#[derive(Clone, Debug)]
pub struct RecordSettings {
    /// How much of a stream without a terminal is recorded.
    pub policy: Policy,
    /// The digest for everything that is hashed.
    pub digest: DigestName,
    /// The shell that sessions run.
    pub shell: PathBuf,
    /// Columns and rows of the terminal at the beginning.
    pub size: (u16, u16),
    /// Whether it is of a shared terminal, whose events need a newer minor version of the format.
    pub is_shared: bool,
}

/// A record being written; clones write to the same record.
///
/// A piece is first entered, then written: entering gives it its place in the chain, and batches are written in the chain's order. After
/// the first failure every further call fails, and [`Recorder::failed`] wakes the tasks that wait for it. A task that panics while it holds
/// one breaks the record off: an unfinished visit must not look like one that was recorded to its end.
#[derive(Clone, Debug)]
pub struct Recorder(pub(super) Arc<RecorderState>);

#[derive(Debug)]
pub(super) struct RecorderState {
    chain: Mutex<RecordChain>,
    queue: Queue,
    failure: watch::Sender<Option<RecordError>>,
    policy: Policy,
    digest: DigestName,
    /// The streams of which only the head is recorded.
    tallies: Mutex<Tallies>,
    name: String,
    may_block: bool,
    start: Instant,
}

type Tallies = BTreeMap<(u32, RecordStream), (StreamKind, Arc<Mutex<StreamTally>>)>;

impl Recorder {
    /// Writes the header and its first checkpoint; with a sink that waits, only before the first event. Within a runtime, starts a task
    /// that checks the record until it is sealed.
    ///
    /// # Errors
    /// The sink can't be written, or the key can't sign.
    pub fn start(sink: RecordSink, settings: RecordSettings, key: PrivateKey) -> Result<Self, RecordError> {
        let signer = HostKeySigner::new(key).map_err(|error| sink.error(error.to_string()))?;
        Self::begin(sink, settings, Box::new(signer), Instant::now())
    }

    pub(super) fn begin(sink: RecordSink, settings: RecordSettings, signer: Box<dyn Signer>, start: Instant) -> Result<Self, RecordError> {
        let (width, height) = settings.size;
        let header = Header {
            width,
            height,
            timestamp: unix_time().unwrap_or_default(),
            shell: settings.shell.to_str().map(str::to_owned),
            term: None,
            policy: settings.policy,
            minor: if settings.is_shared { Header::SHARE } else { 0 },
            digest: settings.digest,
            host_key: signer.public_key(),
        };
        let mut encoder = Encoder::new(sink.max_line(), settings.digest);
        encoder.header(&header).map_err(|error| sink.error(error.to_string()))?;
        let waits = sink.waits();
        let recorder = Self(Arc::new(RecorderState {
            chain: Mutex::new(RecordChain::new(encoder, signer)),
            failure: watch::Sender::new(None),
            policy: settings.policy,
            digest: settings.digest,
            tallies: Mutex::default(),
            name: sink.name().to_owned(),
            may_block: sink.may_block(),
            queue: Queue::new(sink),
            start,
        }));
        let beginning = recorder.0.enter(|batch| batch.close(Some(Seal::Checkpoint)))?;
        if !waits {
            recorder.0.write_up_to(beginning)?;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(look_after(Arc::downgrade(&recorder.0), recorder.0.failure.subscribe()));
        }
        Ok(recorder)
    }

    /// Checks that the record has not failed: for bytes that are counted now and recorded only later.
    ///
    /// # Errors
    /// The first failure.
    pub fn check(&self) -> Result<(), RecordError> {
        self.0.failure.borrow().clone().map_or(Ok(()), Err)
    }

    /// Returns the digest of the record, which everything else that is hashed in a visit uses too.
    pub fn digest(&self) -> DigestName {
        self.0.digest
    }

    /// Returns the recorder of a channel's stream. A second call returns one of the same stream.
    pub fn stream(&self, channel: u32, kind: StreamKind) -> StreamRecorder {
        let head = match self.0.policy {
            Policy::Head(size) if !kind.is_pty() => {
                let mut tallies = lock(&self.0.tallies);
                let begin = || (kind, Arc::new(Mutex::new(StreamTally::new(self.0.digest))));
                let (_, tally) = tallies.entry((channel, kind.stream())).or_insert_with(begin);
                Some((size, Arc::clone(tally)))
            }
            Policy::Head(_) | Policy::All => None,
        };
        StreamRecorder { recorder: self.clone(), channel, kind, head }
    }

    /// Records an event.
    ///
    /// # Errors
    /// The record can't be written: what the event announces must not go on.
    pub fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.0.audit(event)
    }

    /// Records a remark that players show as a marker.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn marker(&self, text: &str) -> Result<(), RecordError> {
        self.0.with(|batch| {
            batch.chain.encoder.marker(batch.at, text);
            batch.close(None)
        })
    }

    /// Records the new size of a channel's terminal.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn resize(&self, channel: u32, cols: u16, rows: u16) -> Result<(), RecordError> {
        self.0.with(|batch| {
            batch.chain.encoder.resize(batch.at, channel, cols, rows);
            batch.close(None)
        })
    }

    /// Records the exit status of a channel's program: 128 + n if signal n ended it.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn exit(&self, channel: u32, status: impl Into<u32>) -> Result<(), RecordError> {
        let status = status.into();
        self.0.with(|batch| {
            batch.chain.encoder.exit(batch.at, channel, status);
            batch.close(None)
        })
    }

    /// Signs what is new if that is due, and checks that the file is still there. The record's own task calls this each second. While a
    /// write is in progress it does nothing: the writer does both.
    ///
    /// # Errors
    /// The record can't be written, or is gone.
    pub fn tick(&self) -> Result<(), RecordError> {
        self.0.tick()
    }

    /// Ends the record without a seal, after a panic in a task of the visit that has no recorder of its own.
    pub(crate) fn break_off(&self) {
        self.0.break_off();
    }

    /// Writes the missing ends of streams, and the seal: nothing can be recorded after it. Does nothing on a second call, nor while a
    /// waiting sink has no event: then there is no record.
    ///
    /// # Errors
    /// The record can't be written, or it failed before.
    pub fn seal(&self) -> Result<(), RecordError> {
        let closed = lock(&self.0.chain).closed.clone();
        if closed == Some(RecordError::BrokenOff) {
            return Err(RecordError::BrokenOff);
        }
        if closed.is_some() || !self.0.has_written(FIRST_BATCH) {
            return self.0.unless_failed(|| Ok(()));
        }
        let tallies: Vec<_> =
            lock(&self.0.tallies).iter().map(|((channel, _), (kind, tally))| (*channel, *kind, Arc::clone(tally))).collect();
        for (channel, kind, tally) in tallies {
            finish(&self.0, channel, kind, &tally)?;
        }
        self.0.with(|batch| {
            batch.chain.closed = Some(self.0.error("the record is sealed"));
            batch.close(Some(Seal::Seal))
        })?;
        self.0.unless_failed(|| self.0.aside(|| self.0.queue.check()))
    }

    #[cfg(test)]
    pub(super) fn pretend_unsigned_for(&self, time: Duration) {
        use sally_proto::record::Timestamp;
        let mut chain = lock(&self.0.chain);
        chain.signed_at = Timestamp::from_micros(chain.signed_at.micros() - Timestamp::from(time).micros());
    }

    /// Waits for the record to fail. Cancel-safe.
    pub async fn failed(&self) -> RecordError {
        let mut failure = self.0.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                // The sender lives as long as this recorder.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_off();
        }
    }
}

impl RecorderState {
    /// Runs `work` so that waiting for a pipe, or for another writer that waits for one, blocks no other task of this thread.
    fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.may_block && Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread) {
            return tokio::task::block_in_place(work);
        }
        work()
    }

    /// Runs `work`, whose failure is from then on the failure of every call.
    fn unless_failed<T>(&self, work: impl FnOnce() -> Result<T, RecordError>) -> Result<T, RecordError> {
        if let Some(error) = self.failure.borrow().clone() {
            return Err(error);
        }
        work().inspect_err(|error| {
            self.failure.send_replace(Some(error.clone()));
        })
    }

    fn error(&self, reason: &str) -> RecordError {
        RecordError::Unwritten { file: self.name.clone(), reason: reason.into() }
    }

    /// Makes batches under the lock of the chain, and returns the number of the last one; 0 if it made none.
    fn enter(&self, make: impl FnOnce(&mut Batch<'_>) -> Result<(), RecordError>) -> Result<u64, RecordError> {
        // Poisoned: another thread panicked in the middle of a batch.
        let mut chain = self.unless_failed(|| self.chain.lock().map_err(|_| self.error("a write was interrupted")))?;
        if let Some(closed) = &chain.closed {
            return Err(closed.clone());
        }
        let before = chain.entered;
        let at = self.start.elapsed().into();
        self.unless_failed(|| make(&mut Batch { chain: &mut chain, queue: &self.queue, name: &self.name, at }))?;
        Ok(if chain.entered == before { 0 } else { chain.entered })
    }

    pub(super) fn has_written(&self, number: u64) -> bool {
        self.queue.has_written(number)
    }

    pub(super) fn write_up_to(&self, number: u64) -> Result<(), RecordError> {
        if self.has_written(number) {
            return Ok(());
        }
        self.unless_failed(|| self.aside(|| self.queue.write_up_to(number)))
    }

    fn with(&self, make: impl FnOnce(&mut Batch<'_>) -> Result<(), RecordError>) -> Result<(), RecordError> {
        self.write_up_to(self.enter(make)?)
    }

    pub(super) fn enter_chunks<'a>(
        &self,
        channel: u32,
        kind: StreamKind,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<u64, RecordError> {
        self.enter(|batch| {
            let mut chunks = chunks.into_iter().peekable();
            let mut written = 0;
            while let Some(chunk) = chunks.next() {
                let chunk = chunk.get(written..).unwrap_or_default();
                // Half a character is no text: the halves are put together.
                let cut = chunks.peek().and_then(|next| CutCharacter::between(chunk, next));
                let whole = chunk.len() - cut.map_or(0, |cut| cut.begun);
                batch.take(channel, kind, chunk.get(..whole).unwrap_or_default())?;
                batch.take(channel, kind, cut.as_ref().map_or(&[], CutCharacter::bytes))?;
                written = cut.map_or(0, |cut| cut.finished());
            }
            if batch.chain.encoder.pending() > 0 { batch.close(None) } else { Ok(()) }
        })
    }

    pub(super) fn enter_audit(&self, event: &AuditEvent) -> Result<u64, RecordError> {
        self.enter(|batch| batch.audit(event, None))
    }

    pub(super) fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.write_up_to(self.enter_audit(event)?)
    }

    /// Ends the record without a seal: signs what is on it as far as still possible, and lets nothing follow.
    fn break_off(&self) {
        if self.failure.borrow().is_some() || lock(&self.chain).closed.is_some() {
            return;
        }
        // Before the first event there is no record yet.
        if self.has_written(FIRST_BATCH) {
            // A panic within the record itself poisons its locks: then nothing more is written.
            let _ = self.enter_break().and_then(|last| self.queue.write_up_to(last));
        }
        // Only now, because the failure may end the process.
        self.failure.send_replace(Some(RecordError::BrokenOff));
    }

    /// Enters the last line of a record that is broken off: no other task can enter anything, or seal, from this moment.
    pub(super) fn enter_break(&self) -> Result<u64, RecordError> {
        let why = AuditEvent::Close { reason: Panicked.to_string() };
        self.enter(|batch| {
            batch.chain.closed = Some(RecordError::BrokenOff);
            batch.audit(&why, Some(Seal::Checkpoint))
        })
    }

    fn tick(&self) -> Result<(), RecordError> {
        if !self.unless_failed(|| self.queue.check_unless_busy())? {
            return Ok(());
        }
        self.with(|batch| batch.sign_if_due())
    }
}

/// Gives an idle record its checkpoints, until it is sealed, has failed, or has no recorder any more.
async fn look_after(shared: Weak<RecorderState>, mut failure: watch::Receiver<Option<RecordError>>) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = failure.changed() => return,
            _ = clock.tick() => {
                let Some(shared) = shared.upgrade() else { return };
                // The record is sealed or has failed: the task is done.
                if shared.tick().is_err() {
                    return;
                }
            }
        }
    }
}
