//! Runs sessions: a program or files, and a client at the other end. One loop owns a session; nothing here knows the transport.
//!
//! - `visit`: the visit that sessions belong to: its phase, and the tasks that wait for it
//! - `service`: the trait that each use implements to serve session channels
//! - `login`: the service of `once`: `processes`, or files
//! - `account`, `environment`: the account that a session runs as, and its variables
//! - `start`: starts a program on a terminal or on pipes
//! - `pump`: moves bytes between the program and the client, and records them first
//! - `pace`: joins what a terminal shows line by line
//! - `masking`: keeps input at a password prompt off the record
//! - `run`: the loop that owns a session and ends it
//! - `sftp`: serves files instead of a program
//! - `ending`: records the end of either, and tells the client
//! - `reaper`, `sweep`: leave no process behind

pub mod account;
pub mod ending;
pub mod environment;
pub(crate) mod fd;
pub mod login;
pub mod masking;
mod pace;
pub mod processes;
pub mod pump;
pub mod reaper;
pub mod run;
pub mod service;
pub mod sftp;
pub mod start;
pub(crate) mod sweep;
pub mod visit;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Input that a client sends on a session channel.
#[derive(Debug)]
pub enum Input {
    /// Bytes for the program.
    Data(Bytes),
    /// Bytes for the program of a shared terminal, from the keyboard that has this number on the record.
    Typed(u32, Bytes),
    /// The end of the bytes; the client still reads.
    Eof,
}

/// The client is gone: nothing can be delivered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

/// The client's side of a session channel, towards the program.
pub trait Inbound: Send + 'static {
    /// Returns the next input; `None` once the channel or its connection is gone. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Input>> + Send;

    /// Returns the next input, if it has come already.
    fn ready(&mut self) -> Poll<Option<Input>> {
        pin!(self.next()).poll(&mut Context::from_waker(Waker::noop()))
    }
}

/// The client's side of a session channel, from the program. A call waits while the client's window is full, which slows the program.
pub trait Outbound: Send + Sync + 'static {
    /// Delivers what the program wrote.
    fn deliver(&self, stream: OutputStream, bytes: Bytes) -> impl Future<Output = Result<(), Disconnected>> + Send;
    /// Tells the client how the program ended, and closes the channel: exit-status or exit-signal, EOF, CLOSE, in sshd's order (RFC 4254
    /// sections 5.3 and 6.10).
    fn finish(&self, ending: Ending) -> impl Future<Output = Result<(), Disconnected>> + Send;
}

/// A stream of the program's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output, or all output of a program on a terminal.
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
    /// Returns the status as shells do: 128+n for a signal.
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Signalled { signal, .. } => u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX),
        }
    }
}

/// A client's request to a running session, besides its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `signal`: the number, and the name as the client gave it.
    Signal(i32, &'static str),
    /// `break` (RFC 4335): its length in milliseconds, which a pseudo-terminal has no use for.
    Break(u32),
}
