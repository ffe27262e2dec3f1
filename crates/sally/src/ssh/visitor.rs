//! What is known of one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use russh::server::Msg;
use russh::{Channel, ChannelId};
use sally_proto::authorized_keys::Grant;
use sally_proto::record::AuditEvent;
use sally_sys::pty::{Pty, WindowSize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::door::{Door, Event};
use super::flood::{Patience, REFUSALS, REFUSALS_WITHIN};
use super::forward::{AgentSocket, Forwards};
use super::window::Window;
use crate::net::admission::Connection;
use crate::net::endpoint::Endpoint;
use crate::record::RecordError;
use crate::session::Control;
use crate::session::ending::Parting;
use crate::term;

/// Why nothing begins any more.
pub(super) const LATE: &str = "the visit is over";
/// Characters of what a visitor said that are worth keeping: a name may be as long as a packet.
pub(super) const WORDS: usize = 1024;

/// What ends a connection from our side.
#[derive(Debug)]
pub(crate) enum Error {
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

    /// Whether the SSH library would not go on, for what the other side did: it has neither left nor been cut off.
    pub(super) fn is_violation(&self) -> bool {
        use russh::Error as Ssh;
        matches!(self, Self::Ssh(error) if !matches!(error, Ssh::IO(_) | Ssh::HUP | Ssh::Disconnect | Ssh::KeepaliveTimeout))
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
    pub(super) terminal: Option<PtySetup>,
    pub(super) sent: Vec<(String, String)>,
    /// Leads to the visitor's agent, where they have asked for that.
    pub(super) agent: Option<AgentSocket>,
    /// Its place among the sessions of the visit; nothing where there is one in all, which is never free again.
    pub(super) seat: Option<OwnedSemaphorePermit>,
}

/// The terminal that a session is to have.
pub(super) struct PtySetup {
    pub(super) pty: Pty,
    /// The client's `$TERM`; empty where it says none.
    pub(super) term: String,
    /// The size that a `window-change` gave it since: of many, the last counts.
    pub(super) resized: Option<WindowSize>,
}

/// A session channel whose program runs.
pub(super) struct Running {
    pub(super) control: mpsc::Sender<Control>,
    /// As of the last `window-change`: of many, the last counts.
    pub(super) size: watch::Sender<WindowSize>,
    pub(super) gone: CancellationToken,
    pub(super) obeys: Obeys,
}

/// What a running session may be told. As with sshd, signals are for what the client itself has asked to run, and breaks for a terminal.
#[derive(Clone, Copy, Default)]
pub(super) struct Obeys {
    pub(super) signals: bool,
    pub(super) breaks: bool,
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
    pub(super) forwards: Forwards,
    /// Of the connection.
    pub(super) parting: Parting,
    seats: Arc<Semaphore>,
    patience: Patience,
    pub(super) window: Window,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        // Their sessions hear of it once it is known why: their agents' sockets are gone by then.
        self.setups.clear();
        self.forwards.end();
    }
}

impl Visitor {
    pub(super) fn new(door: Arc<Door>, connection: Arc<Connection>, local: Endpoint) -> Self {
        let forwards = Forwards::new(Arc::clone(&door));
        let patience = Patience::new(connection.cut.clone());
        let seats = Arc::new(Semaphore::new(door.rules.max_sessions));
        let (setups, running, parting) = (HashMap::new(), HashMap::new(), Parting::default());
        Self {
            door,
            connection,
            local,
            grant: None,
            setups,
            running,
            forwards,
            parting,
            seats,
            patience,
            window: Window::new(Instant::now()),
        }
    }

    /// A session begins: its channel collects what it is to have. Otherwise why not.
    pub(super) fn set_up(&mut self, channel: Channel<Msg>) -> Result<(), String> {
        if self.door.shutdown.is_requested() {
            return Err(LATE.into());
        }
        let most = self.door.rules.max_sessions;
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            return Err(match most {
                1 => "this visit has had its one session".into(),
                _ => format!("{most} sessions are open: no more at once"),
            });
        };
        let seat = if most == 1 {
            seat.forget();
            None
        } else {
            Some(seat)
        };
        let (number, id) = (self.door.next_session(), channel.id());
        self.setups.insert(id, Setup { number, channel, terminal: None, sent: Vec::new(), agent: None, seat });
        Ok(())
    }

    pub(super) fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.door.audit(event)
    }

    pub(super) fn refuse(&self, what: &str, why: &str) -> Result<(), RecordError> {
        let (what, why) = (term::cut(what, WORDS), term::cut(why, WORDS));
        tracing::info!(peer = %self.connection.peer, %what, %why, "refused");
        self.audit(&AuditEvent::Refusal { what: (&*what).into(), why: why.into_owned() })?;
        self.bear()
    }

    /// Counts a question that was refused; the connection of whoever asks for ever is cut.
    pub(super) fn bear(&self) -> Result<(), RecordError> {
        if self.patience.ends() {
            let why = format!("more than {REFUSALS} questions were refused within {} s", REFUSALS_WITHIN.as_secs());
            self.audit(&AuditEvent::Refusal { what: "connection".into(), why })?;
        }
        Ok(())
    }

    pub(super) async fn tell(&self, event: Event) {
        self.door.tell(event).await;
    }

    /// Tells a running session something; false where there is none that obeys it.
    pub(super) fn control(&self, id: ChannelId, control: Control) -> bool {
        let obeys = |running: &&Running| match control {
            Control::Signal(..) => running.obeys.signals,
            Control::Break(_) => running.obeys.breaks,
        };
        let Some(running) = self.running.get(&id).filter(obeys) else { return false };
        let _ = running.control.try_send(control); // A flood's excess is dropped.
        true
    }

    /// A session's window has another size now, or will have it when its program begins.
    pub(super) fn resize(&mut self, id: ChannelId, size: WindowSize) {
        if let Some(running) = self.running.get(&id) {
            running.size.send_if_modified(|current| std::mem::replace(current, size) != size);
        } else if let Some(terminal) = self.setups.get_mut(&id).and_then(|setup| setup.terminal.as_mut()) {
            terminal.resized = Some(size);
        }
    }

    pub(super) fn forget(&mut self, id: ChannelId) {
        self.setups.remove(&id);
        if let Some(running) = self.running.remove(&id) {
            running.gone.cancel();
        }
    }
}
