//! What a session channel leads to. Each use of Sally brings its own `SessionService`; the SSH server asks it, and knows none by name.
//!
//! A service first starts what was asked for, so that the client is answered when that has worked or failed; what it has started then runs
//! on the channel's two ends, in a task of its own.

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;
use sally_sys::pty::WindowSize;
use tokio::sync::{mpsc, watch};

use super::visit::{Parting, Visit};
use super::{Control, Ending};
use crate::net::endpoint::Endpoint;
use crate::record::RecordError;

/// What the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A login shell.
    Shell,
    /// A command line.
    Command(OsString),
    /// A subsystem, by its name.
    Subsystem(OsString),
}

impl What {
    /// What SSH calls the request.
    pub fn request(&self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Command(_) => "exec",
            Self::Subsystem(_) => "subsystem",
        }
    }
}

/// A terminal as the client describes its own.
#[derive(Clone, Debug)]
pub struct PtyRequest {
    /// Its `$TERM`; empty where it says none.
    pub term: String,
    /// Its size.
    pub size: WindowSize,
    /// Its modes: opcode (RFC 4254 section 8) and value.
    pub modes: Vec<(u8, u32)>,
}

/// A session that a client asks for. `T` is the terminal that the service has made for it.
#[derive(Debug)]
pub struct SessionRequest<T> {
    /// Whose session.
    pub visit: Arc<Visit>,
    /// Its number on the record.
    pub channel: u32,
    /// The user name that the client gave.
    pub user: String,
    /// What the client may, as the checker said; nothing where something else has decided that.
    pub grant: Option<Grant>,
    /// What it asks for.
    pub what: What,
    /// What it is to be shown on.
    pub terminal: Option<T>,
    /// The size that the terminal has got since it was asked for.
    pub resized: Option<WindowSize>,
    /// Variables that the client sent.
    pub sent: Vec<(String, String)>,
    /// A socket that leads to the client's agent.
    pub agent: Option<PathBuf>,
    /// Where the client comes from, and where it arrived.
    pub ends: (Endpoint, Endpoint),
    /// What the client's software calls itself.
    pub software: Vec<u8>,
}

/// A session channel, as what runs on it sees it.
#[derive(Debug)]
pub struct SessionChannel<I, O> {
    /// From the client.
    pub inbound: I,
    /// To the client.
    pub outbound: O,
    /// Signals and breaks. As long as it is held, the session counts as running.
    pub control: mpsc::Receiver<Control>,
    /// The size of the client's window, already clamped, whenever it changes.
    pub size: watch::Receiver<WindowSize>,
    /// What ends it from outside.
    pub parting: Parting,
}

/// What a running session may be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Obeys {
    /// `signal`.
    pub signals: bool,
    /// `break`.
    pub breaks: bool,
}

/// Why nothing was started.
#[derive(Debug)]
pub enum StartError {
    /// The client doesn't get this: which request, and why.
    Refused(&'static str, String),
    /// The client may have it, and there is something wrong here: the session came to nothing.
    Failed(Fault),
    /// Not on the record.
    Record(RecordError),
}

impl StartError {
    /// Nothing that a checker said permits it.
    pub fn without_grant(request: &'static str) -> Self {
        Self::Refused(request, "no key permits it".into())
    }
}

impl From<RecordError> for StartError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// Starts sessions.
pub trait SessionService: Send + Sync + 'static {
    /// What a session is shown on, where it is asked for a terminal.
    type Terminal: Send + 'static;
    /// A session that was started.
    type Started: Started;

    /// Makes a terminal for a session that will be asked for.
    ///
    /// # Errors
    /// [`StartError`].
    fn terminal(&self, channel: u32, asked: PtyRequest) -> Result<Self::Terminal, StartError>;

    /// Whether a client may ask for this at all. A refusal leaves the channel as it is: the client may ask for something else on it.
    ///
    /// # Errors
    /// [`StartError::Refused`].
    fn check(&self, what: &What, grant: Option<&Grant>) -> Result<(), StartError>;

    /// Starts a session. It returns when the session runs, or has failed to.
    ///
    /// # Errors
    /// [`StartError`].
    fn start(&self, request: SessionRequest<Self::Terminal>) -> impl Future<Output = Result<Self::Started, StartError>> + Send;
}

/// A session that was started.
pub trait Started: Send + 'static {
    /// What it may be told while it runs.
    fn obeys(&self) -> Obeys;

    /// Runs to its end, whoever brings it about; then nothing of it is left, and its ending is on the record.
    ///
    /// # Errors
    /// Why it has no ending of its own.
    fn run<I: super::Inbound, O: super::Outbound>(
        self,
        channel: SessionChannel<I, O>,
    ) -> impl Future<Output = Result<Ending, Fault>> + Send;
}
