//! Answers the requests of a relay's connections. A request without a method here is refused: the library's defaults refuse, and so does a
//! channel-open whose reply is dropped.

mod handler;
mod refused_keys;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use russh::server::{Auth, Config, Msg, SecurityKeyPresence, Session};
use russh::{Channel, ChannelId, Disconnect};
use sally_proto::admission::AdmissionSettings;
use sally_proto::error::Fault;
use sally_proto::relay::{Refusal, Veiled};
use sally_proto::visit::{Departure, VisitTerms};
use sally_sys::pty::WindowSize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::refused_keys::RefusedKeys;
use super::channel::ends;
use super::connection::ConnectionError;
use super::library;
use super::listen::ConnectionService;
use super::refusal_limit::{REFUSALS, RefusalLimiter};
use super::window::Window;
use crate::net::admission::{Connection, ServerAdmission};
use crate::net::endpoint::Endpoint;
use crate::net::stream::{Guarded, Wire};
use crate::panic::caught;
use crate::relay::audit::RelayEvent;
use crate::relay::client::{Client, Proven, UnregisteredClient};
use crate::relay::fleet::Member;
use crate::relay::metrics::Metrics;
use crate::relay::rules::{CHANNELS_MAX, SESSIONS_MAX};
use crate::relay::session::{Console, CrLfTerminal};
use crate::relay::{DescriptorPermit, Relay};
use crate::server_settings::ServerSettings;
use crate::session::service::{SessionChannel, SessionKind, SessionRequest, SessionService, StartedSession};
use crate::session::visit::{ChannelEnd, Visit};
use crate::term;
use crate::tunnel::peer::PeerHandle;

/// The most visits with which windows still grow on a long path: the windows of more would need too much memory.
const FEW: usize = 16;

/// A relay as a service of the accept loop.
pub struct RelayService {
    relay: Arc<Relay>,
    config: Arc<Config>,
    admission: Arc<ServerAdmission>,
    banner: Option<Arc<str>>,
}

impl RelayService {
    /// Makes the service of a relay, with the host keys and the banner of `settings`.
    pub fn new(relay: Arc<Relay>, settings: ServerSettings) -> Arc<Self> {
        let config = Config {
            keepalive_interval: Some(relay.rules.alive_interval),
            keepalive_max: relay.rules.alive_count,
            ..library::config(&settings)
        };
        let admission = ServerAdmission::new(AdmissionSettings::MANY_VISITS, settings.origins);
        Arc::new(Self { relay, config: Arc::new(config), admission, banner: settings.banner })
    }
}

impl ConnectionService for RelayService {
    fn shut(&self) -> &CancellationToken {
        self.relay.shut()
    }

    fn admission(&self) -> &Arc<ServerAdmission> {
        &self.admission
    }

    fn listener_closed(&self) {}

    /// Does nothing: a relay listens on a socket, which nothing cuts off.
    fn cut_off(&self, _: Option<Fault>) {}

    async fn connect(self: Arc<Self>, wire: Wire, _: Endpoint, connection: Arc<Connection>) -> Result<(), ConnectionError> {
        Metrics::count(&self.relay.metrics.connections);
        let client = Arc::new(OnceLock::new());
        let ended =
            caught(self.converse(wire, &connection, &client)).await.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked).into()));
        connection.cut.cancel();
        if let Some(client) = client.get() {
            let why = ended.as_ref().map_or_else(reason, |()| "the other side closed the connection in good order".into());
            self.relay.leave(client, &why).await;
        }
        ended
    }
}

/// Says in the audit log's words why a connection ended.
fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Ssh(russh::Error::KeepaliveTimeout) => Departure::Unanswered.to_string(),
        ConnectionError::Ssh(russh::Error::IO(error)) | ConnectionError::Io(error) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "the other side closed the connection".into(),
            std::io::ErrorKind::ConnectionAborted => "this side closed the connection".into(),
            _ => term::reason(error),
        },
        other => other.to_string(),
    }
}

impl RelayService {
    async fn converse(&self, wire: Wire, connection: &Arc<Connection>, client: &Arc<OnceLock<Arc<Client>>>) -> Result<(), ConnectionError> {
        // The kernel knows the address of an accepted socket's peer, unless the peer has left already.
        let Some(peer) = connection.peer.address() else { return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into()) };
        let peer = std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let stream = Guarded::new(wire, connection.cut.clone());
        let refused = Arc::new(RefusedKeys::new(&self.relay, peer));
        let conversation = Conversation {
            relay: Arc::clone(&self.relay),
            connection: Arc::clone(connection),
            banner: self.banner.clone(),
            peer,
            heard: stream.heard(),
            let_in: None,
            client: Arc::clone(client),
            descriptor: None,
            refused: Arc::clone(&refused),
            promised: Default::default(),
            sessions: HashMap::new(),
            consoles: Arc::new(Semaphore::new(SESSIONS_MAX)),
            channels: Arc::new(Semaphore::new(CHANNELS_MAX)),
            refusals: Arc::new(RefusalLimiter::new(connection.cut.clone())),
            window: Window::new(Instant::now()),
        };
        let ended = match russh::server::run_stream(Arc::clone(&self.config), stream, conversation).await {
            Ok(session) => session.await,
            Err(error) => Err(error),
        };
        refused.settle(None).await;
        ended
    }
}

/// A session channel without a request so far.
struct Asking {
    channel: Channel<Msg>,
    /// The permit among the connection's sessions, held until the answer is delivered: a client may never read it.
    place: OwnedSemaphorePermit,
    terminal: Option<CrLfTerminal>,
}

/// The state of one connection.
struct Conversation {
    relay: Arc<Relay>,
    connection: Arc<Connection>,
    banner: Option<Arc<str>>,
    peer: std::net::SocketAddr,
    heard: Arc<AtomicU64>,
    /// The client's identity, between the end of its authentication and its registration.
    let_in: Option<UnregisteredClient>,
    /// The registered client.
    client: Arc<OnceLock<Arc<Client>>>,
    /// The descriptors that an authenticated connection holds.
    descriptor: Option<DescriptorPermit>,
    refused: Arc<RefusedKeys>,
    promised: crate::relay::ReservedName,
    sessions: HashMap<ChannelId, Asking>,
    consoles: Arc<Semaphore>,
    channels: Arc<Semaphore>,
    refusals: Arc<RefusalLimiter>,
    window: Window,
}

impl Conversation {
    fn user_may_log_in(&self, user: &str) -> bool {
        self.relay.rules.user.as_deref().is_none_or(|only| only == user)
    }

    async fn authenticate(&mut self, user: &str, proven: Proven, presence: Option<SecurityKeyPresence>) -> Result<Auth, ConnectionError> {
        if self.let_in.is_some() || !self.user_may_log_in(user) {
            return Ok(self.turn_away(user, &proven, "the user name is not accepted".into()).await);
        }
        if matches!(proven, Proven::Certificate(_)) {
            // A certificate that was added or revoked a moment ago counts at once for a new connection.
            self.relay.look_at_fleet(false).await;
        }
        // A signature without flags counts as one without a touch.
        let flags = presence.map_or(0, |presence| presence.flags);
        let access = match self.relay.authorize(proven.as_offer(), self.peer.ip()).and_then(|access| access.check_presence(flags)) {
            Ok(access) => access,
            Err(denial) => return Ok(self.turn_away(user, &proven, denial.to_string()).await),
        };
        self.let_in = Some(UnregisteredClient { user: user.to_owned(), access, offer: proven, flags });
        Ok(Auth::Accept)
    }

    async fn turn_away(&mut self, user: &str, proven: &Proven, reason: String) -> Auth {
        tracing::info!(peer = %self.peer, user = %Veiled::from(user), reason, "refused");
        self.connection.deny();
        self.refused.key(user, proven, reason).await;
        Auth::reject()
    }

    /// Registers the connection: from here on, others can reach it.
    async fn register(&mut self, session: &mut Session) -> Result<(), ConnectionError> {
        let Some(let_in) = self.let_in.take() else { return Err(russh::Error::Inconsistent.into()) };
        let line = PeerHandle::new(session.handle(), Arc::clone(&self.heard), self.connection.cut.clone());
        let client = Arc::new(Client::new(self.relay.number(), self.peer, let_in, line));
        self.refused.settle(Some(&client.fingerprint)).await;
        // Whatever becomes of the connection, its client authenticated: no penalty.
        self.connection.authenticated();
        match self.relay.take_descriptor(&client) {
            Ok(descriptor) => self.descriptor = Some(descriptor),
            Err(refusal) => {
                self.relay.note_refusal(&client, "connection", &refusal).await;
                return Ok(session.disconnect(Disconnect::ByApplication, &refusal.to_string(), "en")?);
            }
        }
        let grant = client.access.grant();
        let event = RelayEvent::Auth {
            connection: client.number,
            peer: client.peer.to_string(),
            user: term::excerpt(&client.user).into(),
            key: &client.fingerprint,
            source: grant.map(|grant| format!("{}:{}", grant.source(), grant.line())),
            who: &client.who,
            serial: grant.and_then(|grant| grant.certificate()).map(|facts| facts.serial).or(client.access.member().map(Member::serial)),
            roles: &client.access.roles(),
        };
        if !self.relay.audit.write(event).await && !self.relay.rules.unaudited {
            return Ok(session.disconnect(Disconnect::ByApplication, &Refusal::Unrecorded.to_string(), "en")?);
        }
        Metrics::count(&self.relay.metrics.authenticated);
        self.relay.enter(&client);
        let _ = self.client.set(client); // Authentication succeeds once.
        Ok(())
    }

    /// Refuses a forward and disconnects with the reason, because in SSH the refusal of a forward carries no text.
    async fn refuse_forward(&self, client: &Client, what: &str, refusal: &Refusal, session: &mut Session) -> Result<bool, ConnectionError> {
        self.relay.note_refusal(client, what, refusal).await;
        session.disconnect(Disconnect::ByApplication, &refusal.to_string(), "en")?;
        Ok(false)
    }

    /// Answers what a session channel asks for, and closes the channel.
    async fn answer(&mut self, id: ChannelId, what: SessionKind, session: &mut Session) -> Result<(), ConnectionError> {
        let (Some(asking), Some(client)) = (self.sessions.remove(&id), self.client.get()) else {
            return Ok(session.channel_failure(id)?);
        };
        let Asking { channel, place, terminal } = asking;
        // A refused terminal gets no failure, but the text that says why: `ssh -tt` leaves at a refusal without reading on.
        let answers = self.relay.has_console(client) || terminal.is_none();
        let request = SessionRequest {
            channel: 0,
            user: client.user.clone(),
            grant: None,
            what,
            terminal,
            resized: None,
            sent: Vec::new(),
            agent: None,
            ends: (Some(client.peer).into(), Endpoint::UNKNOWN),
            relay_name: None,
            software: session.remote_sshid().into(),
        };
        let console = Console { relay: Arc::clone(&self.relay), client: Arc::clone(client) };
        let Ok(reply) = console.start(request).await else { return Ok(session.channel_failure(id)?) };
        if answers {
            session.channel_success(id)?;
        }
        let visit = Visit::new(VisitTerms { wait: Duration::MAX, several: true });
        let (inbound, outbound) = ends(channel, session.handle(), &visit.activity, Some(place));
        let ((_, control), (_, size)) = (mpsc::channel(1), watch::channel(WindowSize::default()));
        let channel_end = ChannelEnd::of_channel(&visit);
        tokio::spawn(reply.run(SessionChannel { inbound, outbound, control, size, channel_end }));
        Ok(())
    }
}

/// Records a refusal, and cuts off a client that keeps asking.
async fn refuse(relay: &Relay, refusals: &RefusalLimiter, client: &Client, what: &str, why: &Refusal) {
    relay.note_refusal(client, what, why).await;
    if refusals.ends() {
        let limit = usize::try_from(REFUSALS).unwrap_or(usize::MAX);
        relay.note_refusal(client, "connection", &Refusal::TooMany { what: "refused requests", limit }).await;
    }
}
