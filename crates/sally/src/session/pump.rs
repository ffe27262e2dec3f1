//! Bytes between the program and the visitor: recorded first, delivered after.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sally_proto::mask::Mask;
use sally_proto::record::AuditEvent;
use sally_proto::record::incomplete_tail;
use sally_sys::{process, pty};
use tokio_util::sync::CancellationToken;

use super::fd::Fd;
use super::{Gone, Inbound, Input, Outbound, Stream};
use crate::record::{RecordError, Recorder, StreamRecorder};

/// One piece of output: what a pipe holds by default, and two packets of the size that OpenSSH takes.
const PIECE: usize = 64 << 10;
/// A piece smaller than this is copied, so that its buffer serves again.
const SMALL: usize = 4 << 10;
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
    /// Runs to the stream's end.
    pub(super) async fn run(mut self) -> Result<(), Halt> {
        let mut buffer = Vec::new();
        loop {
            let carried = buffer.len();
            tokio::select! {
                read = self.source.read(&mut buffer, carried + PIECE) => read?,
                () = tokio::time::sleep(CHARACTER_WAIT), if carried > 0 => {
                    self.pass(&mut buffer, 0).await?;
                    continue;
                }
                () = silence(&self.ended, self.terminal) => break,
            }
            if buffer.len() == carried {
                break;
            }
            let unfinished = if self.terminal { incomplete_tail(&buffer) } else { 0 };
            self.pass(&mut buffer, unfinished).await?;
        }
        self.pass(&mut buffer, 0).await?;
        Ok(self.book.finish()?)
    }

    /// Records and delivers the buffer but for its last bytes, which stay in it.
    async fn pass(&mut self, buffer: &mut Vec<u8>, keep: usize) -> Result<(), Halt> {
        let rest = buffer.split_off(buffer.len() - keep);
        if buffer.is_empty() {
            *buffer = rest;
            return Ok(());
        }
        self.book.record(buffer)?;
        // Before the visitor sees it: what they type after a prompt comes after it here too.
        self.shown.fetch_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let piece = if buffer.len() < SMALL {
            let piece = Bytes::copy_from_slice(buffer);
            buffer.clear();
            buffer.extend_from_slice(&rest);
            piece
        } else {
            Bytes::from(std::mem::replace(buffer, rest))
        };
        Ok(self.visitor.deliver(self.stream, piece).await?)
    }
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

impl<I: Inbound> InputPump<I> {
    /// Runs until the visitor is gone.
    pub(super) async fn run(mut self) -> Result<(), Halt> {
        loop {
            match self.next().await {
                Some(Input::Data(bytes)) => {
                    self.record(&bytes)?;
                    self.write(&bytes).await;
                }
                Some(Input::Eof) => {
                    self.book.finish()?;
                    // A terminal has no half: as with sshd, the program reads on.
                    if !self.terminal {
                        self.sink = None;
                    }
                }
                None => return Err(Halt::Gone),
            }
        }
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

    fn record(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        let reads_secret = self.reads_secret();
        let recordable = self.mask.input(bytes, reads_secret, self.shown.load(Ordering::Relaxed));
        if recordable.masked {
            let reader = self.sink.as_ref().and_then(|terminal| pty::foreground(&**terminal));
            let foreground = reader.map(|reader| process::command_line(reader).into());
            self.recorder.audit(&AuditEvent::Masked { channel: self.channel, foreground })?;
        }
        if recordable.exhausted {
            self.recorder.marker("echo is still off: input is recorded again")?;
        }
        self.book.record(recordable.plain)
    }

    /// A program that does not read any more (EPIPE) is its own affair, as with sshd: what the visitor sends is recorded and dropped.
    async fn write(&mut self, bytes: &[u8]) {
        if let Some(sink) = &self.sink
            && sink.write_all(bytes).await.is_err()
        {
            self.sink = None;
        }
    }
}
