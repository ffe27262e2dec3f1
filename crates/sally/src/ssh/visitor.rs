//! What is known of one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use russh::server::Msg;
use russh::{Channel, ChannelId};
use sally_proto::authorized_keys::Grant;
use sally_proto::record::AuditEvent;
use sally_sys::pty::Pty;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::admission::Connection;
use super::door::{Door, Event};
use super::window::Window;
use crate::record::RecordError;
use crate::session::Control;
use crate::session::environment::Endpoint;

/// What ends a connection from our side.
#[derive(Debug)]
pub(super) enum Error {
    Ssh(russh::Error),
    Io(std::io::Error),
    Record(RecordError),
}

impl Error {
    /// Whether the other side sent what no client sends.
    pub(super) fn is_garbage(&self) -> bool {
        use russh::Error as Ssh;
        matches!(
            self,
            Self::Ssh(
                Ssh::KexInit
                    | Ssh::Version
                    | Ssh::Kex
                    | Ssh::PacketAuth
                    | Ssh::Inconsistent
                    | Ssh::ProtocolViolation(_)
                    | Ssh::IndexOutOfBounds
                    | Ssh::PacketSize(_)
                    | Ssh::DecryptionError
                    | Ssh::Utf8(_)
            )
        )
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ssh(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Record(error) => error.fmt(f),
        }
    }
}

impl From<russh::Error> for Error {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// A session channel before its program runs.
pub(super) struct Setup {
    pub(super) number: u32,
    pub(super) channel: Channel<Msg>,
    pub(super) terminal: Option<(Pty, String)>,
    pub(super) sent: Vec<(String, String)>,
}

/// A session channel whose program runs.
pub(super) struct Running {
    pub(super) control: mpsc::Sender<Control>,
    pub(super) gone: CancellationToken,
}

/// One connection's conversation.
pub(super) struct Visitor {
    pub(super) door: Arc<Door>,
    pub(super) connection: Arc<Connection>,
    pub(super) local: Endpoint,
    /// Only the checker makes one, and only the claim puts it here.
    pub(super) grant: Option<Grant>,
    pub(super) setups: HashMap<ChannelId, Setup>,
    pub(super) running: HashMap<ChannelId, Running>,
    pub(super) window: Window,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.gone.cancel();
        }
        if self.grant.is_some() {
            self.door.visitor_leaves();
        }
    }
}

impl Visitor {
    pub(super) fn new(door: Arc<Door>, connection: Arc<Connection>, local: Endpoint) -> Self {
        Self { door, connection, local, grant: None, setups: HashMap::new(), running: HashMap::new(), window: Window::new(Instant::now()) }
    }

    /// A record that can't be written ends everything.
    pub(super) fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.door.recorder.audit(event).inspect_err(|error| self.door.shutdown.request(error.clone().into()))
    }

    pub(super) fn refuse(&self, what: &str, why: &str) -> Result<(), RecordError> {
        tracing::info!(peer = %self.connection.peer, what, why, "refused");
        self.audit(&AuditEvent::Refusal { what: what.into(), why: why.into(), channel: None })
    }

    pub(super) async fn tell(&self, event: Event) {
        // Nobody listens any more once the visit is over.
        let _ = self.door.events.send(event).await;
    }

    pub(super) fn control(&self, id: ChannelId, control: Control) {
        if let Some(running) = self.running.get(&id) {
            // A flood's excess is dropped; its last word is lost only where the session is stuck anyway.
            let _ = running.control.try_send(control);
        }
    }

    pub(super) fn forget(&mut self, id: ChannelId) {
        self.setups.remove(&id);
        if let Some(running) = self.running.remove(&id) {
            running.gone.cancel();
        }
    }
}
