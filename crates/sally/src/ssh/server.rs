//! Serves SSH to clients: the state that a server's connections share, and one connection from its first byte to its last.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use russh::server::Config;
use sally_proto::authorized_keys::KeyRing;
use sally_proto::error::Fault;
use sally_proto::visit::{Departure, VisitEvent};
use tokio_util::sync::CancellationToken;

use super::connection::{ClientConnection, ConnectionError};
use super::forward::Allowed;
use super::library;
use super::listen::ConnectionService;
use super::visits::{ManyVisits, Visits};
use crate::lock::lock;
use crate::net::admission::{Connection, ServerAdmission};
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;
use crate::net::stream::{Guarded, Wire};
use crate::record::{AuditEvent, RecordError, Recorder};
use crate::server_settings::ServerSettings;
use crate::session::service::SessionService;
use crate::session::visit::Visit;

/// The rules of a server: which users it admits, and what they may do.
#[derive(Clone, Debug)]
pub struct ServerRules {
    /// The only user name that is let in; `None` lets in any.
    pub user: Option<String>,
    /// The name of the account that sessions run as.
    pub account: String,
    /// Variables that a client may set besides LANG and LC_*.
    pub accept_env: Vec<String>,
    /// How many sessions a visit may have at once; 1 means one session in all.
    pub max_sessions: usize,
    /// The number of the first session on the record.
    pub first_session: u32,
    /// What clients may forward.
    pub allowed: Allowed,
    /// The folder for the sockets that lead to a client's agent.
    pub temporary: PathBuf,
}

/// The state that all connections of a server share, whatever it serves.
pub(super) struct ServerState {
    keys: Mutex<Arc<KeyRing>>,
    pub(super) rules: ServerRules,
    pub(super) recorder: Recorder,
    /// The text that clients get before authentication.
    pub(super) banner: Option<Arc<str>>,
    dialer: OnceLock<Dialer>,
    forwards: AtomicU64,
    sessions: AtomicU32,
}

impl ServerState {
    /// Returns the keys that are let in now.
    pub(super) fn keys(&self) -> Arc<KeyRing> {
        Arc::clone(&lock(&self.keys))
    }

    /// Returns the next session's number on the record.
    pub(super) fn next_session(&self) -> u32 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the next forward's number on the record.
    pub(super) fn next_forward(&self) -> u64 {
        self.forwards.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the dialer that connects to hosts for the client.
    pub(super) fn dialer(&self) -> &Dialer {
        self.dialer.get_or_init(Dialer::new)
    }
}

/// An SSH server. `visits` decides which clients have a visit; `service` serves their session channels.
pub struct Server<V, S> {
    pub(super) shared: Arc<ServerState>,
    pub(super) visits: V,
    pub(super) service: S,
    admission: Arc<ServerAdmission>,
    config: Arc<Config>,
}

impl<V: Visits, S: SessionService> Server<V, S> {
    /// Makes a server without connections.
    pub fn new(keys: KeyRing, rules: ServerRules, settings: ServerSettings, recorder: Recorder, visits: V, service: S) -> Arc<Self> {
        let config = Arc::new(library::config(&settings));
        let admission = ServerAdmission::new(V::ADMISSION, settings.origins);
        let (dialer, forwards, sessions) = (OnceLock::new(), AtomicU64::new(0), AtomicU32::new(rules.first_session));
        let keys = Mutex::new(Arc::new(keys));
        let shared = ServerState { keys, rules, recorder, banner: settings.banner, dialer, forwards, sessions };
        Arc::new(Self { shared: Arc::new(shared), visits, service, admission, config })
    }

    /// Returns what serves session channels.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// Replaces the keys that are let in. Present visits go on.
    pub fn load_keys(&self, keys: KeyRing) {
        *lock(&self.shared.keys) = Arc::new(keys);
    }

    /// Records an event; if that fails, ends all visits.
    pub(super) fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.shared.recorder.audit(event).inspect_err(|error| self.visits.stop(error.clone().into()))
    }
}

impl<S: SessionService> Server<ManyVisits, S> {
    /// Ends every visit of the key with this fingerprint, for the reason `why`.
    pub fn stop_key(&self, fingerprint: &str, why: &Fault) {
        self.stop_keys(|of_visit| of_visit == fingerprint, why);
    }

    /// Ends every visit of the keys with these fingerprints, for the reason `why`.
    pub fn stop_keys(&self, whose: impl Fn(&str) -> bool, why: &Fault) {
        self.visits.stop_keys(whose, why);
    }

    /// Admits no further client, and gives the present ones so long to leave.
    pub async fn drain(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.visits.drained()).await; // Those who stay are cut off.
    }
}

/// Holds a connection's visit, once it has one. However the connection's task ends, dropping this tells the visit that its client is gone.
#[derive(Default)]
pub(super) struct VisitOfConnection(OnceLock<Arc<Visit>>);

impl VisitOfConnection {
    /// Sets the visit, once: a connection is admitted once.
    pub(super) fn set(&self, visit: Arc<Visit>) {
        let _ = self.0.set(visit);
    }
}

impl Drop for VisitOfConnection {
    fn drop(&mut self) {
        if let Some(visit) = self.0.get() {
            visit.note(VisitEvent::ClientLeft(Departure::Lost));
        }
    }
}

impl<V: Visits, S: SessionService> ConnectionService for Server<V, S> {
    fn shut(&self) -> &CancellationToken {
        self.visits.closing()
    }

    fn admission(&self) -> &Arc<ServerAdmission> {
        &self.admission
    }

    fn listener_closed(&self) {
        self.visits.closed();
    }

    fn cut_off(&self, why: Option<Fault>) {
        self.visits.cut_off(why);
    }

    async fn connect(self: Arc<Self>, wire: Wire, local: Endpoint, connection: Arc<Connection>) -> Result<(), ConnectionError> {
        let stream = Guarded::new(wire, connection.cut.clone());
        let own = Arc::new(VisitOfConnection::default());
        let visitor = ClientConnection::new(Arc::clone(&self), Arc::clone(&connection), local, Arc::clone(&own));
        let ended = match russh::server::run_stream(Arc::clone(&self.config), stream, visitor).await {
            Ok(conversation) => conversation.await,
            Err(error) => Err(error),
        };
        let Some(visit) = own.0.get() else { return ended };
        let departure = match &ended {
            Err(ConnectionError::Ssh(russh::Error::KeepaliveTimeout)) => Departure::Unanswered,
            Err(error) if error.is_violation() => {
                // A record that fails has ended the visit already, and the failure is reported there.
                let _ = visit.audit(&self.shared.recorder, &AuditEvent::Refusal { what: "connection".into(), why: error.to_string() });
                Departure::Violation
            }
            _ => Departure::Lost,
        };
        visit.note(VisitEvent::ClientLeft(departure));
        ended
    }
}
