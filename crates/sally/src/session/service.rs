//! Defines what serves a session channel. Each use of Sally implements `SessionService`; the SSH server calls it, and knows no
//! implementation.
//!
//! A service first starts what the client asked for, so that the client is answered once that has worked or failed; what was started then
//! runs on the channel's two ends, in its own task.

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;

use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use sally_sys::pty::WindowSize;
use tokio::sync::{mpsc, watch};

use super::visit::ChannelEnd;
use super::{Control, Ending};
use crate::net::endpoint::Endpoint;
use crate::record::RecordError;

/// The request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A login shell.
    Shell,
    /// A command line.
    Command(OsString),
    /// A subsystem's name.
    Subsystem(OsString),
}

impl SessionKind {
    /// Returns SSH's name for the request.
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
    /// Its `$TERM`; empty if it gives none.
    pub term: String,
    /// Its size.
    pub size: WindowSize,
    /// Its modes: opcode (RFC 4254 section 8) and value.
    pub modes: Vec<(u8, u32)>,
}

/// A session that a client asks for. `T` is the terminal that the service has made for it.
#[derive(Debug)]
pub struct SessionRequest<T> {
    /// Its number on the record.
    pub channel: u32,
    /// The user name that the client gave.
    pub user: String,
    /// The checker's grant; `None` if something else has decided what the client may do.
    pub grant: Option<Grant>,
    /// The request.
    pub what: SessionKind,
    /// The terminal, if the client asked for one.
    pub terminal: Option<T>,
    /// The terminal's new size, if it has changed since the terminal was asked for.
    pub resized: Option<WindowSize>,
    /// Variables that the client sent.
    pub sent: Vec<(String, String)>,
    /// A socket that leads to the client's agent.
    pub agent: Option<PathBuf>,
    /// The client's address, and the local one.
    pub ends: (Endpoint, Endpoint),
    /// The name at a relay by which the client has come, as that relay says.
    pub relay_name: Option<DeviceId>,
    /// The client's SSH identification.
    pub software: Vec<u8>,
}

/// A session channel, as a running session sees it.
#[derive(Debug)]
pub struct SessionChannel<I, O> {
    /// The end that reads from the client.
    pub inbound: I,
    /// The end that writes to the client.
    pub outbound: O,
    /// Signals and breaks. The session counts as running while this is held.
    pub control: mpsc::Receiver<Control>,
    /// The size of the client's window, already clamped, whenever it changes.
    pub size: watch::Receiver<WindowSize>,
    /// The end that comes from outside.
    pub channel_end: ChannelEnd,
}

/// The requests that a running session obeys.
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
    /// The client may not have this: the request, and why.
    Refused(&'static str, String),
    /// The client may have it, but something is wrong here: the session failed.
    Failed(Fault),
    /// The record can't be written.
    Record(RecordError),
}

impl StartError {
    /// Returns the refusal of a request without a grant.
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
    /// The terminal of a session.
    type Terminal: Send + 'static;
    /// A started session.
    type Started: StartedSession;

    /// Makes a terminal for a session that the client has yet to start.
    ///
    /// # Errors
    /// [`StartError`].
    fn terminal(&self, channel: u32, asked: PtyRequest) -> Result<Self::Terminal, StartError>;

    /// Checks whether a client may make this request at all. A refusal leaves the channel as it is: the client may make another request on
    /// it.
    ///
    /// # Errors
    /// [`StartError::Refused`].
    fn check(&self, what: &SessionKind, grant: Option<&Grant>) -> Result<(), StartError>;

    /// Starts a session. Returns when it runs, or has failed to start.
    ///
    /// # Errors
    /// [`StartError`].
    fn start(&self, request: SessionRequest<Self::Terminal>) -> impl Future<Output = Result<Self::Started, StartError>> + Send;
}

/// A started session.
pub trait StartedSession: Send + 'static {
    /// Returns the requests that it obeys while it runs.
    fn obeys(&self) -> Obeys;

    /// Runs to its end, for whatever reason; then nothing of it is left, and its ending is recorded.
    ///
    /// # Errors
    /// Why it has no ending of its own.
    fn run<I: super::Inbound, O: super::Outbound>(
        self,
        channel: SessionChannel<I, O>,
    ) -> impl Future<Output = Result<Ending, Fault>> + Send;
}
