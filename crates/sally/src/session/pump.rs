//! Moves bytes between the program and the client: recorded first, delivered after.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use sally_proto::record::AuditEvent;
use sally_proto::record::incomplete_tail;
use sally_sys::{process, pty};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fd::Fd;
use super::masking::TerminalMask;
use super::pace::OutputRhythm;
use super::{Disconnected, Inbound, Input, Outbound, OutputStream};
use crate::record::{Entry, RecordError, Recorder, StreamKind, StreamRecorder};

/// The largest piece, in bytes: large enough that locks, wake-ups and hashes don't count, small enough for the caches, and one write of the
/// record as base64.
const PIECE: usize = 128 << 10;
/// A piece smaller than this, in bytes, is copied, so that its buffer is reused.
const SMALL: usize = 32 << 10;
/// How long the rest of a character may take to come, before its beginning is recorded and shown as it is.
const CHARACTER_WAIT: Duration = Duration::from_millis(10);
/// How long a stream must be silent after its program's end to count as drained, if a process in the background still holds it. A terminal
/// needs only the time in which the kernel hands over the last line.
const TERMINAL_SILENCE: Duration = Duration::from_millis(100);
/// The silence on a pipe: long enough for the last output of a background job.
const PIPE_SILENCE: Duration = Duration::from_secs(2);
/// How often the terminal is checked while echo is off, which tells the end of one password prompt from the start of the next.
const PROMPT_WATCH: Duration = Duration::from_millis(1);

/// What a player shows once so much was masked that later input is recorded although echo is off.
const NO_LONGER_MASKED: &str = "echo is off, but enough was masked: input is recorded again";

/// Why a pump stopped before its stream's end.
#[derive(Debug)]
pub enum PumpError {
    /// The record can't be written.
    Record(RecordError),
    /// The client is gone.
    Gone,
    /// The program's stream failed.
    Stream(io::Error),
}

impl From<RecordError> for PumpError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<Disconnected> for PumpError {
    fn from(_: Disconnected) -> Self {
        Self::Gone
    }
}

impl From<io::Error> for PumpError {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// Moves bytes from one of the program's streams to the client.
pub(super) struct OutputPump<O> {
    pub(super) source: Arc<Fd>,
    pub(super) stream: OutputStream,
    /// Whether the stream is a terminal's, whose characters are not split: players show each piece on its own.
    pub(super) terminal: bool,
    pub(super) recording: StreamRecorder,
    pub(super) visitor: Arc<O>,
    /// Cancelled when the program has ended: from then on silence means the end of the stream.
    pub(super) ended: CancellationToken,
    /// How many bytes the terminal has shown, for the mask.
    pub(super) shown: Arc<AtomicU64>,
}

impl<O: Outbound> OutputPump<O> {
    /// Passes on what the program writes, to the stream's end. It reads and enters one piece into the record while it delivers the piece
    /// before.
    pub(super) async fn run(mut self) -> Result<(), PumpError> {
        let (mut buffer, mut entered) = (Vec::new(), None);
        let mut pace = self.terminal.then(|| OutputRhythm::new(Instant::now()));
        loop {
            let deliver = deliver(&*self.visitor, self.stream, &self.shown, entered.take());
            let read = read_piece(&self.source, &self.ended, pace.as_mut(), &mut self.recording, &mut buffer);
            let ((), read) = tokio::try_join!(deliver, async { Ok::<_, PumpError>(read.await) })?;
            let Some(piece) = read? else { return Ok(self.recording.finish()?) };
            entered = Some(piece);
        }
    }
}

/// Reads what the program writes, and enters it into the record. Returns `None` at the end of the stream. On a terminal, an unfinished
/// character at the end stays in the buffer for a moment; on other streams only if its rest has come already, so that the client never
/// waits for it.
async fn read_piece(
    source: &Fd,
    ended: &CancellationToken,
    mut pace: Option<&mut OutputRhythm>,
    recording: &mut StreamRecorder,
    buffer: &mut Vec<u8>,
) -> Result<Option<(Entry, Bytes)>, PumpError> {
    let (carried, terminal) = (buffer.len(), pace.is_some());
    let more = tokio::select! {
        read = read_at_pace(source, pace.as_deref_mut(), buffer, carried + PIECE) => { read?; buffer.len() > carried }
        () = tokio::time::sleep(CHARACTER_WAIT), if carried > 0 => false,
        () = silence(ended, terminal) => false,
    };
    if buffer.is_empty() {
        return Ok(None);
    }
    if let Some(pace) = pace {
        pace.took(buffer.len(), Instant::now());
    }
    let unfinished = incomplete_tail(buffer);
    let keep = if unfinished > 0 && more && (terminal || source.has_more()) { unfinished } else { 0 };
    let rest = buffer.split_off(buffer.len() - keep);
    let entry = recording.enter([buffer.as_slice()])?;
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

async fn read_at_pace(source: &Fd, pace: Option<&mut OutputRhythm>, buffer: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    if let Some(pace) = pace {
        source.readable().await?;
        if let Some(until) = pace.rest(Instant::now()) {
            sleep_until(until).await;
        }
    }
    source.read(buffer, limit).await
}

async fn deliver<O: Outbound>(
    visitor: &O,
    stream: OutputStream,
    shown: &AtomicU64,
    entered: Option<(Entry, Bytes)>,
) -> Result<(), PumpError> {
    let Some((entry, piece)) = entered else { return Ok(()) };
    entry.write()?;
    // Counted before the client sees it, because what the user types after a prompt is counted after it.
    shown.fetch_add(u64::try_from(piece.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(visitor.deliver(stream, piece).await?)
}

async fn silence(ended: &CancellationToken, terminal: bool) {
    ended.cancelled().await;
    tokio::time::sleep(if terminal { TERMINAL_SILENCE } else { PIPE_SILENCE }).await;
}

/// Moves bytes from the client to the program.
pub(super) struct InputPump<I> {
    pub(super) visitor: I,
    pub(super) sink: Option<Arc<Fd>>,
    pub(super) terminal: bool,
    pub(super) channel: u32,
    pub(super) recording: StreamRecorder,
    pub(super) recorder: Recorder,
    /// The mask, if there is a terminal and passwords are not recorded.
    pub(super) mask: Option<TerminalMask>,
    pub(super) shown: Arc<AtomicU64>,
}

/// Input that has come from the client.
struct Arrived {
    pieces: Vec<Bytes>,
    size: usize,
    /// The keyboard that it comes from, if several share the terminal.
    keyboard: Option<u32>,
    /// What came after the pieces: the end of the stream, or the client's departure (the inner `None`).
    then: Option<Option<Input>>,
}

impl<I: Inbound> InputPump<I> {
    /// Hands on what the client sends, until the client is gone. It enters one piece into the record while it hands the piece before to the
    /// program.
    pub(super) async fn run(mut self) -> Result<(), PumpError> {
        let mut entered = None;
        loop {
            let sink = self.sink.clone();
            let hand_on = hand_on(sink.as_deref(), entered.take());
            let (reads_on, arrived) = if self.terminal {
                // Earlier input may decide whether the next is a password.
                (hand_on.await?, self.arrive().await)
            } else {
                tokio::try_join!(hand_on, async { Ok::<_, PumpError>(self.arrive().await) })?
            };
            // If the program reads no more (EPIPE), further input is recorded and dropped, as with sshd.
            if !reads_on {
                self.sink = None;
            }
            let (entry, mut arrived) = arrived?;
            if let Some(then) = arrived.then.take() {
                self::hand_on(self.sink.as_deref(), Some((entry, arrived))).await?;
                self.turn(then)?;
                continue;
            }
            entered = Some((entry, arrived));
        }
    }

    /// Waits for the next input and enters it into the record, with the input behind it that has come already.
    async fn arrive(&mut self) -> Result<(Entry, Arrived), PumpError> {
        let mut arrived = Arrived { pieces: Vec::new(), size: 0, keyboard: None, then: None };
        let mut next = self.next().await;
        loop {
            match next {
                Some(Input::Data(bytes)) => {
                    arrived.size += bytes.len();
                    arrived.pieces.push(bytes);
                }
                Some(Input::Typed(keyboard, bytes)) => {
                    arrived.keyboard = Some(keyboard);
                    arrived.pieces.push(bytes);
                    break;
                }
                other => {
                    arrived.then = Some(other);
                    break;
                }
            }
            // On a terminal each piece is checked for echo.
            if self.terminal || arrived.size >= PIECE {
                break;
            }
            match self.visitor.ready() {
                Poll::Ready(ready) => next = ready,
                Poll::Pending => break,
            }
        }
        Ok((self.enter(&arrived)?, arrived))
    }

    fn turn(&mut self, then: Option<Input>) -> Result<(), PumpError> {
        if then.is_none() {
            return Err(PumpError::Gone);
        }
        self.recording.finish()?;
        // A terminal can't be half-closed: as with sshd, the program reads on.
        if !self.terminal {
            self.sink = None;
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Input> {
        loop {
            tokio::select! {
                input = self.visitor.next() => return input,
                () = tokio::time::sleep(PROMPT_WATCH), if self.mask.as_ref().is_some_and(TerminalMask::in_period) => self.watch(),
            }
        }
    }

    fn watch(&mut self) {
        if let (Some(mask), Some(terminal)) = (&mut self.mask, &self.sink) {
            mask.watch(terminal);
        }
    }

    fn enter(&mut self, arrived: &Arrived) -> Result<Entry, RecordError> {
        let pieces = &arrived.pieces;
        let channel = arrived.keyboard.unwrap_or(self.channel);
        let mut of_keyboard = arrived.keyboard.map(|keyboard| self.recorder.stream(keyboard, StreamKind::PtyInput));
        let recording = of_keyboard.as_mut().unwrap_or(&mut self.recording);
        let (Some(mask), Some(terminal), Some(typed)) = (&mut self.mask, &self.sink, pieces.first()) else {
            return recording.enter(pieces.iter().map(|piece| &**piece));
        };
        let recordable = mask.input(terminal, typed, self.shown.load(Ordering::Relaxed));
        if recordable.masked {
            let reader = pty::foreground(&**terminal);
            let foreground = reader.map(|reader| process::command_line(reader).into());
            self.recorder.audit(&AuditEvent::Masked { channel, foreground })?;
        }
        if recordable.exhausted {
            self.recorder.marker(NO_LONGER_MASKED)?;
        }
        recording.enter([recordable.plain])
    }
}

/// Writes an entry to the record, then hands its bytes to the program. Returns false if the program reads no more.
async fn hand_on(program: Option<&Fd>, entered: Option<(Entry, Arrived)>) -> Result<bool, PumpError> {
    let Some((entry, arrived)) = entered else { return Ok(true) };
    entry.write()?;
    let Some(program) = program else { return Ok(true) };
    Ok(program.write_all(&arrived.pieces).await.is_ok())
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

    use super::*;
    use crate::record::testing::record_to;
    use crate::record::{Policy, StreamKind};

    #[tokio::test]
    async fn a_full_piece_leaves_a_cut_character_to_the_next_and_nothing_waits_for_what_has_not_come() {
        let dir = tempfile::tempdir().unwrap();
        let mut recording = record_to(dir.path().join("visit.cast"), Policy::All).stream(0, StreamKind::Stdout);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        fcntl_setpipe_size(&writer, 2 * PIECE).unwrap();
        let text = "\u{6f22}".repeat(PIECE / 2);
        assert_eq!(rustix::io::write(&writer, text.as_bytes()).unwrap(), text.len());
        let (source, ended, mut buffer) = (Fd::new(reader).unwrap(), CancellationToken::new(), Vec::new());
        let mut piece = async || read_piece(&source, &ended, None, &mut recording, &mut buffer).await.unwrap().unwrap().1;
        let (first, second) = (piece().await, piece().await);
        assert!(first.len() < PIECE && first.len() + 3 > PIECE && std::str::from_utf8(&first).is_ok(), "{}", first.len());
        assert_eq!(first.len() + second.len(), text.len());
        rustix::io::write(&writer, b"x\xe6").unwrap();
        assert_eq!(piece().await, &b"x\xe6"[..]);
    }
}
