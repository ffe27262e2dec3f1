//! Answers the requests of a relay's connections. A request without a method here is refused: the library's defaults refuse, and so does a
//! channel-open whose reply is dropped.

mod handler;
mod refused;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use russh::server::{Auth, Config, Msg, SecurityKeyPresence, Session};
use russh::{Channel, ChannelId, Disconnect};
use sally_proto::admission::Settings;
use sally_proto::error::Fault;
use sally_proto::relay::{Refusal, Veiled};
use sally_proto::visit::{Departure, Terms};
use sally_sys::pty::WindowSize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::refused::Refused;
use super::channel::ends;
use super::flood::{Patience, REFUSALS};
use super::library;
use super::listen::Serve;
use super::visitor::Error;
use super::window::Window;
use crate::net::admission::{Connection, Gate};
use crate::net::endpoint::Endpoint;
use crate::net::stream::{Guarded, Wire};
use crate::panic::caught;
use crate::relay::audit::Event;
use crate::relay::caller::{Caller, LetIn, Proven};
use crate::relay::fleet::Member;
use crate::relay::metrics::Metrics;
use crate::relay::rules::{CHANNELS_MAX, SESSIONS_MAX};
use crate::relay::session::{Console, Lines};
use crate::relay::{HeldDescriptors, Relay};
use crate::server_settings::DoorSettings;
use crate::session::service::{SessionChannel, SessionRequest, SessionService, Started, What};
use crate::session::visit::{Parting, Visit};
use crate::term;
use crate::tunnel::line::Line;

/// The most visits with which windows still grow on a long path: the windows of more would need too much memory.
const FEW: usize = 16;

/// A relay as a service of the accept loop.
pub struct Service {
    relay: Arc<Relay>,
    config: Arc<Config>,
    gate: Arc<Gate>,
    banner: Option<Arc<str>>,
}

impl Service {
    /// Makes the service of a relay, with the host keys and the banner of `door`.
    pub fn new(relay: Arc<Relay>, door: DoorSettings) -> Arc<Self> {
        let config = Config {
            keepalive_interval: Some(relay.rules.alive_interval),
            keepalive_max: relay.rules.alive_count,
            ..library::config(&door)
        };
        let gate = Gate::new(Settings::MANY_VISITS, door.origins);
        Arc::new(Self { relay, config: Arc::new(config), gate, banner: door.banner })
    }
}

impl Serve for Service {
    fn shut(&self) -> &CancellationToken {
        self.relay.shut()
    }

    fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn listener_closed(&self) {}

    /// Does nothing: a relay listens on a socket, which nothing cuts off.
    fn cut_off(&self, _: Option<Fault>) {}

    async fn connect(self: Arc<Self>, wire: Wire, _: Endpoint, connection: Arc<Connection>) -> Result<(), Error> {
        Metrics::count(&self.relay.metrics.connections);
        let seat = Arc::new(OnceLock::new());
        let ended =
            caught(self.converse(wire, &connection, &seat)).await.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked).into()));
        connection.cut.cancel();
        if let Some(caller) = seat.get() {
            let why = ended.as_ref().map_or_else(reason, |()| "the other side closed the connection in good order".into());
            self.relay.leave(caller, &why).await;
        }
        ended
    }
}

/// Says in the audit log's words why a connection ended.
fn reason(error: &Error) -> String {
    match error {
        Error::Ssh(russh::Error::KeepaliveTimeout) => Departure::Unanswered.to_string(),
        Error::Ssh(russh::Error::IO(error)) | Error::Io(error) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "the other side closed the connection".into(),
            std::io::ErrorKind::ConnectionAborted => "this side closed the connection".into(),
            _ => term::reason(error),
        },
        other => other.to_string(),
    }
}

impl Service {
    async fn converse(&self, wire: Wire, connection: &Arc<Connection>, seat: &Arc<OnceLock<Arc<Caller>>>) -> Result<(), Error> {
        // The kernel knows the address of an accepted socket's peer, unless the peer has left already.
        let Some(peer) = connection.peer.address() else { return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into()) };
        let peer = std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let stream = Guarded::new(wire, connection.cut.clone());
        let refused = Arc::new(Refused::new(&self.relay, peer));
        let conversation = Conversation {
            relay: Arc::clone(&self.relay),
            connection: Arc::clone(connection),
            banner: self.banner.clone(),
            peer,
            heard: stream.heard(),
            let_in: None,
            seat: Arc::clone(seat),
            descriptor: None,
            refused: Arc::clone(&refused),
            promised: Default::default(),
            sessions: HashMap::new(),
            consoles: Arc::new(Semaphore::new(SESSIONS_MAX)),
            channels: Arc::new(Semaphore::new(CHANNELS_MAX)),
            patience: Arc::new(Patience::new(connection.cut.clone())),
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
    terminal: Option<Lines>,
}

/// The state of one connection.
struct Conversation {
    relay: Arc<Relay>,
    connection: Arc<Connection>,
    banner: Option<Arc<str>>,
    peer: std::net::SocketAddr,
    heard: Arc<AtomicU64>,
    /// The client's identity, between the end of its authentication and its registration.
    let_in: Option<LetIn>,
    /// The registered client.
    seat: Arc<OnceLock<Arc<Caller>>>,
    /// The descriptors that an authenticated connection holds.
    descriptor: Option<HeldDescriptors>,
    refused: Arc<Refused>,
    promised: crate::relay::Promised,
    sessions: HashMap<ChannelId, Asking>,
    consoles: Arc<Semaphore>,
    channels: Arc<Semaphore>,
    patience: Arc<Patience>,
    window: Window,
}

impl Conversation {
    fn user_is_welcome(&self, user: &str) -> bool {
        self.relay.rules.user.as_deref().is_none_or(|only| only == user)
    }

    async fn authenticate(&mut self, user: &str, proven: Proven, presence: Option<SecurityKeyPresence>) -> Result<Auth, Error> {
        if self.let_in.is_some() || !self.user_is_welcome(user) {
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
        self.let_in = Some(LetIn { user: user.to_owned(), access, offer: proven, flags });
        Ok(Auth::Accept)
    }

    async fn turn_away(&mut self, user: &str, proven: &Proven, reason: String) -> Auth {
        tracing::info!(peer = %self.peer, user = %Veiled::from(user), reason, "refused");
        self.connection.deny();
        self.refused.key(user, proven, reason).await;
        Auth::reject()
    }

    /// Registers the connection: from here on, others can reach it.
    async fn sit_down(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some(let_in) = self.let_in.take() else { return Err(russh::Error::Inconsistent.into()) };
        let line = Line::new(session.handle(), Arc::clone(&self.heard), self.connection.cut.clone());
        let caller = Arc::new(Caller::new(self.relay.number(), self.peer, let_in, line));
        self.refused.settle(Some(&caller.fingerprint)).await;
        // Whatever becomes of the connection, its client authenticated: no penalty.
        self.connection.authenticated();
        match self.relay.seat(&caller) {
            Ok(descriptor) => self.descriptor = Some(descriptor),
            Err(refusal) => {
                self.relay.note_refusal(&caller, "connection", &refusal).await;
                return Ok(session.disconnect(Disconnect::ByApplication, &refusal.to_string(), "en")?);
            }
        }
        let grant = caller.access.grant();
        let event = Event::Auth {
            connection: caller.number,
            peer: caller.peer.to_string(),
            user: term::excerpt(&caller.user).into(),
            key: &caller.fingerprint,
            source: grant.map(|grant| format!("{}:{}", grant.source(), grant.line())),
            who: &caller.who,
            serial: grant.and_then(|grant| grant.certificate()).map(|facts| facts.serial).or(caller.access.member().map(Member::serial)),
            roles: &caller.access.roles(),
        };
        if !self.relay.audit.write(event).await && !self.relay.rules.unaudited {
            return Ok(session.disconnect(Disconnect::ByApplication, &Refusal::Unrecorded.to_string(), "en")?);
        }
        Metrics::count(&self.relay.metrics.authenticated);
        self.relay.enter(&caller);
        let _ = self.seat.set(caller); // Authentication succeeds once.
        Ok(())
    }

    /// Refuses a forward and disconnects with the reason, because in SSH the refusal of a forward carries no text.
    async fn refuse_forward(&self, caller: &Caller, what: &str, refusal: &Refusal, session: &mut Session) -> Result<bool, Error> {
        self.relay.note_refusal(caller, what, refusal).await;
        session.disconnect(Disconnect::ByApplication, &refusal.to_string(), "en")?;
        Ok(false)
    }

    /// Answers what a session channel asks for, and closes the channel.
    async fn answer(&mut self, id: ChannelId, what: What, session: &mut Session) -> Result<(), Error> {
        let (Some(asking), Some(caller)) = (self.sessions.remove(&id), self.seat.get()) else {
            return Ok(session.channel_failure(id)?);
        };
        let Asking { channel, place, terminal } = asking;
        // A refused terminal gets no failure, but the text that says why: `ssh -tt` leaves at a refusal without reading on.
        let answers = self.relay.has_console(caller) || terminal.is_none();
        let request = SessionRequest {
            channel: 0,
            user: caller.user.clone(),
            grant: None,
            what,
            terminal,
            resized: None,
            sent: Vec::new(),
            agent: None,
            ends: (Some(caller.peer).into(), Endpoint::UNKNOWN),
            software: session.remote_sshid().into(),
        };
        let console = Console { relay: Arc::clone(&self.relay), caller: Arc::clone(caller) };
        let Ok(reply) = console.start(request).await else { return Ok(session.channel_failure(id)?) };
        if answers {
            session.channel_success(id)?;
        }
        let visit = Visit::new(Terms { wait: Duration::MAX, several: true });
        let (inbound, outbound) = ends(channel, session.handle(), &visit.activity, Some(place));
        let ((_, control), (_, size)) = (mpsc::channel(1), watch::channel(WindowSize::default()));
        let parting = Parting::of_channel(&visit);
        tokio::spawn(reply.run(SessionChannel { inbound, outbound, control, size, parting }));
        Ok(())
    }
}

/// Records a refusal, and cuts off a client that keeps asking.
async fn refuse(relay: &Relay, patience: &Patience, caller: &Caller, what: &str, why: &Refusal) {
    relay.note_refusal(caller, what, why).await;
    if patience.ends() {
        let limit = usize::try_from(REFUSALS).unwrap_or(usize::MAX);
        relay.note_refusal(caller, "connection", &Refusal::TooMany { what: "refused requests", limit }).await;
    }
}
