//! Bytes between the program and the visitor: recorded first, delivered after.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use sally_proto::mask::Mask;
use sally_proto::record::AuditEvent;
use sally_proto::record::incomplete_tail;
use sally_sys::{process, pty};
use tokio_util::sync::CancellationToken;

use super::fd::Fd;
use super::{Gone, Inbound, Input, Outbound, Stream};
use crate::record::{Entry, RecordError, Recorder, StreamRecorder};

/// One piece: large enough that locks, wake-ups and hashes don't count, small enough for the caches, and one write of the record as base64.
const PIECE: usize = 128 << 10;
/// A piece smaller than this is copied, so that its buffer serves again, and its record is written at once.
const SMALL: usize = 32 << 10;
/// How long the rest of a character may take to come, before its beginning is recorded and shown as it is.
const CHARACTER_WAIT: Duration = Duration::from_millis(10);
/// How long a stream must be silent after its program's end to count as drained, where a process in the background still holds it:
/// on a terminal no longer than what the kernel takes to hand over the last line, …
const TERMINAL_SILENCE: Duration = Duration::from_millis(100);
/// … on a pipe long enough for a background job that is about to say its last word.
const PIPE_SILENCE: Duration = Duration::from_secs(2);
/// How often the terminal is looked at while echo is off: the end of one password prompt is told from the beginning of the next.
const PROMPT_WATCH: Duration = Duration::from_millis(1);

/// Why a pump stopped before its stream's end.
#[derive(Debug)]
pub enum Halt {
    /// The record can't be written.
    Record(RecordError),
    /// The visitor is gone.
    Gone,
    /// The program's stream failed.
    Stream(io::Error),
}

impl From<RecordError> for Halt {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<Gone> for Halt {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// From one of the program's streams to the visitor.
pub(super) struct Output<O> {
    pub(super) source: Arc<Fd>,
    pub(super) stream: Stream,
    /// On a terminal a character is never cut in two: players of the record show it.
    pub(super) terminal: bool,
    pub(super) book: StreamRecorder,
    pub(super) visitor: Arc<O>,
    /// Cancelled when the program has ended: from then on silence means the end.
    pub(super) ended: CancellationToken,
    /// Bytes that the terminal has shown, for the mask.
    pub(super) shown: Arc<AtomicU64>,
}

impl<O: Outbound> Output<O> {
    /// Runs to the stream's end: a piece is read and entered into the record while the one before it is written and delivered.
    pub(super) async fn run(mut self) -> Result<(), Halt> {
        let mut buffer = Vec::new();
        let mut entered = None;
        loop {
            let deliver = deliver(&*self.visitor, self.stream, &self.shown, entered.take());
            let read = read_piece(&self.source, &self.ended, self.terminal, &mut self.book, &mut buffer);
            let ((), read) = tokio::try_join!(deliver, async { Ok::<_, Halt>(read.await) })?;
            match read? {
                Some(piece) => entered = Some(piece),
                None => return Ok(self.book.finish()?),
            }
        }
    }
}

/// Waits for what the program writes, and enters it into the record. `None` at the end of the stream. An unfinished character at the end of
/// a terminal's piece stays in the buffer for a moment.
async fn read_piece(
    source: &Fd,
    ended: &CancellationToken,
    terminal: bool,
    book: &mut StreamRecorder,
    buffer: &mut Vec<u8>,
) -> Result<Option<(Entry, Bytes)>, Halt> {
    let carried = buffer.len();
    let more = tokio::select! {
        read = source.read(buffer, carried + PIECE) => { read?; buffer.len() > carried }
        () = tokio::time::sleep(CHARACTER_WAIT), if carried > 0 => false,
        () = silence(ended, terminal) => false,
    };
    if buffer.is_empty() {
        return Ok(None);
    }
    let keep = if terminal && more { incomplete_tail(buffer) } else { 0 };
    let rest = buffer.split_off(buffer.len() - keep);
    let entry = book.enter([buffer.as_slice()])?;
    let piece = if buffer.len() < SMALL {
        let piece = Bytes::copy_from_slice(buffer);
        buffer.clear();
        buffer.extend_from_slice(&rest);
        piece
    } else {
        Bytes::from(std::mem::replace(buffer, rest))
    };
    Ok(Some((entry, piece)))
}

async fn deliver<O: Outbound>(visitor: &O, stream: Stream, shown: &AtomicU64, entered: Option<(Entry, Bytes)>) -> Result<(), Halt> {
    let Some((entry, piece)) = entered else { return Ok(()) };
    write_record(entry, piece.len()).await?;
    // Before the visitor sees it: what they type after a prompt comes after it here too.
    shown.fetch_add(u64::try_from(piece.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(visitor.deliver(stream, piece).await?)
}

/// Returns once a piece's record is written: a large one by another thread, so that this one can go on with the next.
async fn write_record(entry: Entry, size: usize) -> Result<(), Halt> {
    if size < SMALL || entry.is_written() {
        return Ok(entry.write()?);
    }
    Ok(elsewhere(|| entry.write()).await??)
}

/// Has it done by a thread that may wait. A panic there is one here: it ends the session, and not one of its streams in silence.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Halt> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The runtime ends, and with it everything.
        Err(_) => Halt::Gone,
    })
}

async fn silence(ended: &CancellationToken, terminal: bool) {
    ended.cancelled().await;
    tokio::time::sleep(if terminal { TERMINAL_SILENCE } else { PIPE_SILENCE }).await;
}

/// From the visitor to the program.
pub(super) struct InputPump<I> {
    pub(super) visitor: I,
    pub(super) sink: Option<Arc<Fd>>,
    pub(super) terminal: bool,
    pub(super) channel: u32,
    pub(super) book: StreamRecorder,
    pub(super) recorder: Recorder,
    pub(super) mask: Mask,
    pub(super) shown: Arc<AtomicU64>,
}

/// What has come from the visitor.
struct Arrived {
    pieces: Vec<Bytes>,
    size: usize,
    /// What came after them: the end of the stream, or (the inner `None`) of the visitor.
    then: Option<Option<Input>>,
}

impl<I: Inbound> InputPump<I> {
    /// Runs until the visitor is gone: what comes is entered into the record while what came before it is written and handed to the program.
    pub(super) async fn run(mut self) -> Result<(), Halt> {
        let mut entered = None;
        loop {
            let sink = self.sink.clone();
            let hand_on = hand_on(sink.as_deref(), entered.take());
            let (reads_on, arrived) = if self.terminal {
                // What was typed before may change whether what comes next is a password.
                (hand_on.await?, self.arrive().await)
            } else {
                tokio::try_join!(hand_on, async { Ok::<_, Halt>(self.arrive().await) })?
            };
            // A program that does not read any more (EPIPE) is its own affair, as with sshd: what the visitor sends is recorded and dropped.
            if !reads_on {
                self.sink = None;
            }
            let (entry, mut arrived) = arrived?;
            match arrived.then.take() {
                None => entered = Some((entry, arrived)),
                Some(then) => {
                    self::hand_on(self.sink.as_deref(), Some((entry, arrived))).await?;
                    self.turn(then)?;
                }
            }
        }
    }

    /// Waits for what comes next and enters it into the record, with what has come already behind it.
    async fn arrive(&mut self) -> Result<(Entry, Arrived), Halt> {
        let mut arrived = Arrived { pieces: Vec::new(), size: 0, then: None };
        let mut next = self.next().await;
        loop {
            match next {
                Some(Input::Data(bytes)) => {
                    arrived.size += bytes.len();
                    arrived.pieces.push(bytes);
                }
                other => {
                    arrived.then = Some(other);
                    break;
                }
            }
            // Whether echo is off is asked for each piece that is typed.
            if self.terminal || arrived.size >= PIECE {
                break;
            }
            match self.visitor.ready() {
                Poll::Ready(ready) => next = ready,
                Poll::Pending => break,
            }
        }
        Ok((self.enter(&arrived.pieces)?, arrived))
    }

    fn turn(&mut self, then: Option<Input>) -> Result<(), Halt> {
        if then.is_none() {
            return Err(Halt::Gone);
        }
        self.book.finish()?;
        // A terminal has no half: as with sshd, the program reads on.
        if !self.terminal {
            self.sink = None;
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Input> {
        loop {
            tokio::select! {
                input = self.visitor.next() => return input,
                () = tokio::time::sleep(PROMPT_WATCH), if self.mask.in_period() => self.mask.observe(self.reads_secret()),
            }
        }
    }

    fn reads_secret(&self) -> bool {
        self.terminal && self.sink.as_ref().is_some_and(|terminal| pty::reads_secret(&**terminal))
    }

    fn enter(&mut self, pieces: &[Bytes]) -> Result<Entry, RecordError> {
        let Some(typed) = pieces.first().filter(|_| self.terminal) else {
            return self.book.enter(pieces.iter().map(|piece| &**piece));
        };
        let reads_secret = self.reads_secret();
        let recordable = self.mask.input(typed, reads_secret, self.shown.load(Ordering::Relaxed));
        if recordable.masked {
            let reader = self.sink.as_ref().and_then(|terminal| pty::foreground(&**terminal));
            let foreground = reader.map(|reader| process::command_line(reader).into());
            self.recorder.audit(&AuditEvent::Masked { channel: self.channel, foreground })?;
        }
        if recordable.exhausted {
            self.recorder.marker("echo is still off: input is recorded again")?;
        }
        self.book.enter([recordable.plain])
    }
}

/// Hands to the program what its record, once written, allows. False: it reads no more.
async fn hand_on(program: Option<&Fd>, entered: Option<(Entry, Arrived)>) -> Result<bool, Halt> {
    let Some((entry, arrived)) = entered else { return Ok(true) };
    write_record(entry, arrived.size).await?;
    let Some(program) = program else { return Ok(true) };
    for piece in &arrived.pieces {
        if program.write_all(piece).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_thread_that_writes_is_the_pumps() {
        assert_eq!(tokio::spawn(elsewhere(|| 7)).await.unwrap().unwrap(), 7);
        let broken = tokio::spawn(elsewhere(|| panic!("the writer broke"))).await.unwrap_err();
        assert!(broken.to_string().contains("the writer broke"), "{broken}");
    }
}
