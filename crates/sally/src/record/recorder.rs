//! What sessions write to. Every call returns once write(2) of its lines has: only then may the bytes be delivered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant, SystemTime};

use sally_proto::record::{AuditEvent, Encoder, Header, Policy, Seal, Signer, Stream, StreamKind, Timestamp, hex};
use sha2::{Digest, Sha256};
use ssh_key::PrivateKey;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;

use super::error::RecordError;
use super::signer::HostKeySigner;
use super::sink::Sink;

/// The chain is signed at least so often while there is anything new.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// The chain is signed at least once in so many bytes of record.
const CHECKPOINT_BYTES: u64 = 1 << 20;
/// How often an idle record is looked after.
const TICK: Duration = Duration::from_secs(1);
/// The size of the terminal until there is one.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// What the header says besides the key.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much of a stream without a terminal is recorded.
    pub policy: Policy,
    /// The shell that sessions run.
    pub shell: PathBuf,
}

/// A record being written; clones write to the same one.
///
/// After the first failure every further call fails, and [`Recorder::failed`] wakes whoever waits.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    failure: watch::Sender<Option<RecordError>>,
    policy: Policy,
    /// Streams of which only the head is recorded. Never held while something is written.
    tallies: Mutex<Tallies>,
    may_block: bool,
    start: Instant,
}

/// What the lock protects: one writer at a time, so that lines, chain and file agree.
struct Book {
    encoder: Encoder,
    sink: Sink,
    signer: Box<dyn Signer>,
    /// When and how far the chain was signed last.
    signed_at: Timestamp,
    signed_to: u64,
    sealed: bool,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("sink", &self.sink).field("sealed", &self.sealed).finish_non_exhaustive()
    }
}

type Tallies = BTreeMap<(u32, Stream), Arc<Mutex<Tally>>>;

/// A stream of which only the head is recorded.
#[derive(Debug, Default)]
struct Tally {
    hash: Sha256,
    bytes: u64,
    /// So many bytes were on the last `stream-end`; `None`: there was none.
    reported: Option<u64>,
}

impl Recorder {
    /// Writes the header and its first checkpoint. Within a runtime, a task looks after the record until it is sealed.
    ///
    /// # Errors
    /// The sink can't be written, or the key can't sign.
    pub fn start(sink: Sink, settings: Settings, key: PrivateKey) -> Result<Self, RecordError> {
        let signer = HostKeySigner::new(key).map_err(|error| sink.error(error.to_string()))?;
        Self::begin(sink, settings, Box::new(signer), Instant::now())
    }

    pub(super) fn begin(sink: Sink, settings: Settings, signer: Box<dyn Signer>, start: Instant) -> Result<Self, RecordError> {
        let (width, height) = DEFAULT_SIZE;
        let header = Header {
            width,
            height,
            timestamp: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            shell: settings.shell.to_str().map(str::to_owned),
            term: None,
            policy: settings.policy,
            host_key: signer.public_key(),
        };
        let may_block = sink.may_block();
        let mut encoder = Encoder::new(sink.max_line());
        encoder.header(&header).map_err(|error| sink.error(error.to_string()))?;
        let book = Book { encoder, sink, signer, signed_at: Timestamp::default(), signed_to: 0, sealed: false };
        let recorder = Self(Arc::new(Shared {
            book: Mutex::new(book),
            failure: watch::Sender::new(None),
            policy: settings.policy,
            tallies: Mutex::default(),
            may_block,
            start,
        }));
        recorder.0.with(|book, now| book.flush(now, Some(Seal::Checkpoint)))?;
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(look_after(Arc::downgrade(&recorder.0), recorder.0.failure.subscribe()));
        }
        Ok(recorder)
    }

    /// One stream of a channel. Asked for twice, both write to the same one.
    pub fn stream(&self, channel: u32, kind: StreamKind) -> StreamRecorder {
        let head = match self.0.policy {
            Policy::Head(size) if !kind.is_pty() => {
                Some((size, Arc::clone(lock(&self.0.tallies).entry((channel, kind.stream())).or_default())))
            }
            Policy::Head(_) | Policy::All => None,
        };
        StreamRecorder { shared: Arc::clone(&self.0), channel, kind, head }
    }

    /// Records what happened.
    ///
    /// # Errors
    /// The record can't be written: what happened must not go on.
    pub fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.0.audit(event)
    }

    /// Records a remark that players show as a marker.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn marker(&self, text: &str) -> Result<(), RecordError> {
        self.0.with(|book, now| {
            book.encoder.marker(now.at, text);
            book.flush(now, None)
        })
    }

    /// Records the new size of a channel's terminal.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn resize(&self, channel: u32, cols: u16, rows: u16) -> Result<(), RecordError> {
        self.0.with(|book, now| {
            book.encoder.resize(now.at, channel, cols, rows);
            book.flush(now, None)
        })
    }

    /// Records the exit status of a channel's program: 128 + n where signal n ended it.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn exit(&self, channel: u32, status: impl Into<u32>) -> Result<(), RecordError> {
        let status = status.into();
        self.0.with(|book, now| {
            book.encoder.exit(now.at, channel, status);
            book.flush(now, None)
        })
    }

    /// Signs what is new if that is due, and sees whether the file is still there. Called each second by the task of its own.
    /// While something is being written it does nothing: whoever writes does the same.
    ///
    /// # Errors
    /// The record can't be written, or is gone.
    pub fn tick(&self) -> Result<(), RecordError> {
        self.0.aside(|| self.0.tick())
    }

    /// Writes the ends of streams that have none yet, and the seal: nothing can be recorded after it. A second call does nothing.
    ///
    /// # Errors
    /// The record can't be written, or could not be at any time before.
    pub fn seal(&self) -> Result<(), RecordError> {
        if self.0.aside(|| lock(&self.0.book).sealed) {
            return Ok(());
        }
        let tallies: Vec<_> = lock(&self.0.tallies).iter().map(|(key, tally)| (*key, Arc::clone(tally))).collect();
        for ((channel, stream), tally) in tallies {
            self.0.aside(|| self.0.finish(channel, stream, &tally))?;
        }
        self.0.with(|book, now| {
            book.flush(now, Some(Seal::Seal))?;
            book.sealed = true;
            book.sink.check(now.instant)
        })
    }

    #[cfg(test)]
    pub(super) fn pretend_unsigned_for(&self, time: Duration) {
        let mut book = lock(&self.0.book);
        book.signed_at = Timestamp::from_micros(book.signed_at.micros() - Timestamp::from(time).micros());
    }

    /// Waits for the record to fail. Cancel-safe.
    pub async fn failed(&self) -> RecordError {
        let mut failure = self.0.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                // The sender lives as long as we do.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Records one stream of a channel.
#[derive(Clone, Debug)]
pub struct StreamRecorder {
    shared: Arc<Shared>,
    channel: u32,
    kind: StreamKind,
    head: Option<(u64, Arc<Mutex<Tally>>)>,
}

impl StreamRecorder {
    /// Records a chunk, or counts and hashes what the settings leave out. It may be delivered when, and only when, this is `Ok`.
    ///
    /// # Errors
    /// The record can't be written: the chunk must not be delivered.
    pub fn record(&mut self, chunk: &[u8]) -> Result<(), RecordError> {
        match &self.head {
            None => self.shared.chunk(self.channel, self.kind, chunk),
            Some((size, tally)) => self.shared.aside(|| {
                let mut tally = lock(tally);
                let before = tally.bytes;
                tally.hash.update(chunk);
                tally.bytes += chunk.len() as u64;
                let room = usize::try_from(size.saturating_sub(before)).unwrap_or(usize::MAX);
                let recorded = chunk.get(..room).unwrap_or(chunk);
                self.shared.chunk(self.channel, self.kind, recorded)?;
                if before <= *size && tally.bytes > *size {
                    self.shared.audit(&AuditEvent::StreamCut { channel: self.channel, stream: self.kind.stream(), recorded: *size })?;
                }
                Ok(())
            }),
        }
    }

    /// The stream came to its end: where only its head is recorded, its length and SHA-256 are too.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn finish(&mut self) -> Result<(), RecordError> {
        match &self.head {
            None => Ok(()),
            Some((_, tally)) => self.shared.aside(|| self.shared.finish(self.channel, self.kind.stream(), tally)),
        }
    }
}

/// One moment, as the record and as the system know it.
#[derive(Clone, Copy)]
struct Now {
    at: Timestamp,
    instant: Instant,
}

impl Shared {
    /// Runs `work` where waiting for a pipe, or for somebody who waits for one, keeps no other task of this thread from going on.
    fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.may_block && Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread) {
            return tokio::task::block_in_place(work);
        }
        work()
    }

    /// Runs `write` with the book, on an empty batch; its failure is everyone's from then on.
    fn with(&self, write: impl FnOnce(&mut Book, Now) -> Result<(), RecordError>) -> Result<(), RecordError> {
        self.aside(|| self.with_book(lock(&self.book), write))
    }

    fn with_book(
        &self,
        mut book: MutexGuard<'_, Book>,
        write: impl FnOnce(&mut Book, Now) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        if let Some(error) = self.failure.borrow().clone() {
            return Err(error);
        }
        if book.sealed {
            return Err(book.sink.error("the record is sealed".into()));
        }
        let instant = Instant::now();
        let now = Now { at: instant.duration_since(self.start).into(), instant };
        // Poisoned: another thread panicked in the middle of a batch, and what is in the file nobody knows.
        let done = if self.book.is_poisoned() { Err(book.sink.error("a write was interrupted".into())) } else { write(&mut book, now) };
        if let Err(error) = &done {
            self.failure.send_replace(Some(error.clone()));
        }
        done
    }

    fn chunk(&self, channel: u32, kind: StreamKind, chunk: &[u8]) -> Result<(), RecordError> {
        self.with(|book, now| {
            let mut rest = chunk;
            while !rest.is_empty() {
                let taken = book.encoder.chunk(now.at, channel, kind, rest);
                rest = rest.get(taken..).unwrap_or_default();
                book.flush(now, None)?;
            }
            Ok(())
        })
    }

    fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.with(|book, now| {
            let mut done = 0;
            while let Some(parts) = book.encoder.audit(now.at, event, done) {
                done = parts;
                book.flush(now, None)?;
            }
            book.flush(now, None)
        })
    }

    fn finish(&self, channel: u32, stream: Stream, tally: &Mutex<Tally>) -> Result<(), RecordError> {
        let mut tally = lock(tally);
        if tally.reported == Some(tally.bytes) {
            return Ok(());
        }
        let sha256 = hex(&tally.hash.clone().finalize());
        self.audit(&AuditEvent::StreamEnd { channel, stream, bytes: tally.bytes, sha256 })?;
        tally.reported = Some(tally.bytes);
        Ok(())
    }

    fn tick(&self) -> Result<(), RecordError> {
        let book = match self.book.try_lock() {
            Ok(book) => book,
            Err(TryLockError::Poisoned(book)) => book.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        self.with_book(book, |book, now| {
            book.sink.check(now.instant)?;
            if book.encoder.written() > book.signed_to && book.is_due(now.at) { book.flush(now, Some(Seal::Checkpoint)) } else { Ok(()) }
        })
    }
}

impl Book {
    /// Whether so much time has passed that the next hash is signed.
    fn is_due(&self, at: Timestamp) -> bool {
        at.micros().saturating_sub(self.signed_at.micros()) >= Timestamp::from(CHECKPOINT_INTERVAL).micros()
    }

    /// Closes the batch, signed if asked for or due, and writes it.
    fn flush(&mut self, now: Now, seal: Option<Seal>) -> Result<(), RecordError> {
        let unsigned = self.encoder.written() + self.encoder.pending() as u64 - self.signed_to;
        let due = unsigned >= CHECKPOINT_BYTES || self.is_due(now.at);
        let seal = seal.or(due.then_some(Seal::Checkpoint));
        let batch = self.encoder.close(now.at, seal.map(|seal| (seal, &*self.signer)));
        let batch = batch.map_err(|error| self.sink.error(error.to_string()))?;
        self.sink.write(batch, now.instant)?;
        self.encoder.clear();
        if seal.is_some() {
            self.signed_at = now.at;
            self.signed_to = self.encoder.written();
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives an idle record its checkpoints, until it is sealed, fails, or nobody writes to it any more.
async fn look_after(shared: Weak<Shared>, mut failure: watch::Receiver<Option<RecordError>>) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = failure.changed() => return,
            _ = clock.tick() => {
                let Some(shared) = shared.upgrade() else { return };
                // Sealed or failed: there is nothing left to look after.
                if shared.aside(|| shared.tick()).is_err() {
                    return;
                }
            }
        }
    }
}
