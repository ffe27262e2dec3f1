//! Keeps the state of one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, Disconnect};
use sally_proto::authorized_keys::Grant;
use sally_proto::record::AuditEvent;
use sally_proto::visit::{DEADLINES, VisitEvent};
use sally_sys::pty::WindowSize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::forward::{AgentSocket, Forwards};
use super::refusal_limit::{REFUSALS, REFUSALS_WITHIN, RefusalLimiter};
use super::server::{Server, VisitOfConnection};
use super::visits::Visits;
use super::window::Window;
use crate::net::admission::Connection;
use crate::net::endpoint::Endpoint;
use crate::record::RecordError;
use crate::session::Control;
use crate::session::service::{Obeys, SessionService};
use crate::session::visit::{ChannelEnd, Visit};
use crate::term;

/// The reason for a refusal after the visit has begun to end.
pub(super) const LATE: &str = "the visit is over";
/// How many characters of a client's text are kept: a name may be as long as a packet.
pub(super) const WORDS: usize = 1024;

/// An error that ends a connection.
#[derive(Debug)]
pub(crate) enum ConnectionError {
    Ssh(russh::Error),
    Io(std::io::Error),
    Record(RecordError),
}

impl ConnectionError {
    /// Returns whether the peer sent what no client sends.
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

    /// Returns whether the SSH library ended the connection for what the peer sent, rather than because the peer left or was cut off.
    pub(super) fn is_violation(&self) -> bool {
        use russh::Error as Ssh;
        matches!(self, Self::Ssh(error) if !matches!(error, Ssh::IO(_) | Ssh::HUP | Ssh::Disconnect | Ssh::KeepaliveTimeout))
    }
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ssh(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Record(error) => error.fmt(f),
        }
    }
}

impl From<russh::Error> for ConnectionError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl From<std::io::Error> for ConnectionError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RecordError> for ConnectionError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// A session channel on which nothing runs yet. `T` is the service's terminal.
pub(super) struct ChannelSetup<T> {
    pub(super) number: u32,
    pub(super) channel: Channel<Msg>,
    pub(super) terminal: Option<T>,
    /// The size that a `window-change` gave the terminal; only the last one counts.
    pub(super) resized: Option<WindowSize>,
    pub(super) sent: Vec<(String, String)>,
    /// The socket that leads to the user's agent, if the client asked for it.
    pub(super) agent: Option<AgentSocket>,
    /// The permit among the visit's sessions; `None` if the visit has only one session, whose permit is never released.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A session channel on which something runs.
pub(super) struct RunningChannel {
    pub(super) control: mpsc::Sender<Control>,
    /// The size after the last `window-change`.
    pub(super) size: watch::Sender<WindowSize>,
    pub(super) channel_end: ChannelEnd,
    pub(super) obeys: Obeys,
}

/// The state of an authenticated client.
pub(super) struct AuthenticatedClient {
    /// The checker's grant, which nothing else can make.
    pub(super) grant: Grant,
    /// The user name that the client gave.
    pub(super) user: String,
    pub(super) visit: Arc<Visit>,
    pub(super) forwards: Forwards,
}

/// The handler of one connection.
pub(super) struct ClientConnection<V: Visits, S: SessionService> {
    pub(super) server: Arc<Server<V, S>>,
    pub(super) connection: Arc<Connection>,
    pub(super) local: Endpoint,
    /// The authenticated client; only `enter` sets it.
    pub(super) client: Option<AuthenticatedClient>,
    /// The visit, for the connection's task.
    pub(super) own: Arc<VisitOfConnection>,
    /// Sends the connection's handle to the task that tells the client why its visit ends.
    pub(super) conversation: Option<oneshot::Sender<Handle>>,
    pub(super) setups: HashMap<ChannelId, ChannelSetup<S::Terminal>>,
    pub(super) running: HashMap<ChannelId, RunningChannel>,
    permits: Arc<Semaphore>,
    refusals: RefusalLimiter,
    pub(super) window: Window,
}

impl<V: Visits, S: SessionService> Drop for ClientConnection<V, S> {
    fn drop(&mut self) {
        // A panic before authentication ends one connection; the client's own connection is part of the record.
        if std::thread::panicking() && self.client.is_some() {
            self.server.shared.recorder.break_off();
        }
        // The sessions learn of the end only when its reason is known: their agents' sockets are gone by then.
        self.setups.clear();
        if let Some(client) = &self.client {
            client.forwards.end();
        }
    }
}

impl<V: Visits, S: SessionService> ClientConnection<V, S> {
    pub(super) fn new(server: Arc<Server<V, S>>, connection: Arc<Connection>, local: Endpoint, own: Arc<VisitOfConnection>) -> Self {
        let refusals = RefusalLimiter::new(connection.cut.clone());
        let permits = Arc::new(Semaphore::new(server.shared.rules.max_sessions));
        Self {
            server,
            connection,
            local,
            client: None,
            own,
            conversation: None,
            setups: HashMap::new(),
            running: HashMap::new(),
            permits,
            refusals,
            window: Window::new(Instant::now()),
        }
    }

    /// Returns the client's grant, once it has authenticated.
    pub(super) fn grant(&self) -> Option<&Grant> {
        self.client.as_ref().map(|client| &client.grant)
    }

    /// Lets the client in: sets its visit, its grant and its forwards.
    pub(super) fn enter(&mut self, grant: Grant, user: &str, visit: Arc<Visit>) {
        self.own.set(Arc::clone(&visit));
        let (sender, conversation) = oneshot::channel();
        self.conversation = Some(sender);
        tokio::spawn(disconnect_at_end(Arc::clone(&visit), conversation, self.connection.cut.clone()));
        let forwards = Forwards::new(Arc::clone(&self.server.shared), Arc::clone(&visit));
        self.client = Some(AuthenticatedClient { grant, user: term::cut(user, WORDS).into_owned(), visit, forwards });
    }

    /// Begins a session, whose channel collects the requests that precede its start. Returns why not, if it is refused.
    pub(super) fn set_up(&mut self, channel: Channel<Msg>) -> Result<(), String> {
        if self.client.as_ref().is_none_or(|client| client.visit.is_ending()) {
            return Err(LATE.into());
        }
        let shared = &self.server.shared;
        let most = shared.rules.max_sessions;
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(match most {
                1 => "this visit permits only one session".into(),
                _ => format!("{most} sessions are open, which is the limit"),
            });
        };
        let permit = if most == 1 {
            permit.forget();
            None
        } else {
            Some(permit)
        };
        let (number, id) = (shared.next_session(), channel.id());
        self.setups.insert(id, ChannelSetup { number, channel, terminal: None, resized: None, sent: Vec::new(), agent: None, permit });
        Ok(())
    }

    pub(super) fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.server.audit(event)
    }

    pub(super) fn refuse(&self, what: &str, why: &str) -> Result<(), RecordError> {
        let (what, why) = (term::cut(what, WORDS), term::cut(why, WORDS));
        tracing::info!(peer = %self.connection.peer, %what, %why, "refused");
        self.audit(&AuditEvent::Refusal { what: (&*what).into(), why: why.into_owned() })?;
        self.bear()
    }

    /// Counts a refused request; cuts the connection of a client that makes too many.
    pub(super) fn bear(&self) -> Result<(), RecordError> {
        if self.refusals.ends() {
            let why = format!("more than {REFUSALS} requests were refused within {} s", REFUSALS_WITHIN.as_secs());
            self.audit(&AuditEvent::Refusal { what: "connection".into(), why })?;
        }
        Ok(())
    }

    /// Sends a control to a running session; returns false if there is none that obeys it.
    pub(super) fn control(&self, id: ChannelId, control: Control) -> bool {
        let obeys = |running: &&RunningChannel| match control {
            Control::Signal(..) => running.obeys.signals,
            Control::Break(_) => running.obeys.breaks,
        };
        let Some(running) = self.running.get(&id).filter(obeys) else { return false };
        let _ = running.control.try_send(control); // What exceeds the queue (a flood) is dropped.
        true
    }

    /// Sets the size of a session's window, now or for when its program begins.
    pub(super) fn resize(&mut self, id: ChannelId, size: WindowSize) {
        if let Some(running) = self.running.get(&id) {
            running.size.send_if_modified(|current| std::mem::replace(current, size) != size);
        } else if let Some(setup) = self.setups.get_mut(&id).filter(|setup| setup.terminal.is_some()) {
            setup.resized = Some(size);
        }
    }

    pub(super) fn forget(&mut self, id: ChannelId) {
        self.setups.remove(&id);
        if let Some(running) = self.running.remove(&id) {
            running.channel_end.close();
        }
    }
}

/// Tells the client why its visit ends, once that is recorded, and cuts it off. The connection's state, such as the agent's socket, goes
/// with the connection.
async fn disconnect_at_end(visit: Arc<Visit>, mut conversation: oneshot::Receiver<Handle>, cut: CancellationToken) {
    tokio::select! {
        () = visit.gone().cancelled() => return,
        () = visit.dismissed() => {}
    }
    if let Some((why, conversation)) = visit.last_word().zip(conversation.try_recv().ok()) {
        let told = async {
            if conversation.disconnect(Disconnect::ByApplication, why.to_string(), "en".into()).await.is_ok() {
                visit.note(VisitEvent::Told);
                visit.gone().cancelled().await;
            }
        };
        let _ = tokio::time::timeout(DEADLINES.tell, told).await;
    }
    cut.cancel();
}
