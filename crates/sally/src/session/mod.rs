//! The room behind the door: a program, and a visitor at the other end of it. One loop owns a session; nothing here knows the transport.
//!
//! - `visit`: the visit that sessions belong to: its phase, and what waits for it
//! - `service`: what a session channel leads to: the trait that each use implements
//! - `login`: what `once` offers there: `processes`, or files
//! - `account`, `environment`: who the session runs as, and with what
//! - `start`: a program on a terminal or on pipes
//! - `pump`: bytes between the program and the visitor, each on the record first
//! - `masking`: what is typed at a password prompt is kept off the record
//! - `run`: the loop that owns it all and ends it
//! - `sftp`: files instead of a program
//! - `ending`: what is recorded and said at the end, of either
//! - `reaper`, `sweep`: no process stays behind

pub mod account;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod ending;
pub mod environment;
#[cfg(any(feature = "once", feature = "relay"))]
mod fd;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod login;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod masking;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod processes;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod pump;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod reaper;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod run;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod service;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod sftp;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod start;
pub(crate) mod sweep;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod visit;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// What a visitor sends on a session channel.
#[derive(Debug)]
pub enum Input {
    /// Bytes for the program.
    Data(Bytes),
    /// No more bytes will come; the visitor still listens.
    Eof,
}

/// The visitor is gone: nothing can be delivered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// The visitor's side of one session channel, towards the program.
pub trait Inbound: Send + 'static {
    /// The next piece; `None` once the channel or its connection is gone. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Input>> + Send;

    /// The next piece, if it has come already.
    fn ready(&mut self) -> Poll<Option<Input>> {
        pin!(self.next()).poll(&mut Context::from_waker(Waker::noop()))
    }
}

/// The visitor's side of one session channel, from the program. A call waits while the visitor's window is full: that is the backpressure.
pub trait Outbound: Send + Sync + 'static {
    /// Delivers what the program wrote.
    fn deliver(&self, stream: Stream, bytes: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;
    /// Says how the program ended, and closes the channel: exit-status or exit-signal, EOF, CLOSE, in sshd's order (RFC 4254 sections 5.3 and 6.10).
    fn finish(&self, ending: Ending) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// Which of the program's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or everything a program on a terminal shows.
    Stdout,
    /// Standard error of a program without a terminal.
    Stderr,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exited(u8),
    /// A signal ended it.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core file.
        core: bool,
    },
}

impl Ending {
    /// The status as a shell says it: 128+n for a signal.
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Signalled { signal, .. } => u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX),
        }
    }
}

/// What a visitor asks of a running session, beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `signal`: the number, and the name as the visitor gave it.
    Signal(i32, &'static str),
    /// `break` (RFC 4335): its length in milliseconds, which a pseudo-terminal has no use for.
    Break(u32),
}
