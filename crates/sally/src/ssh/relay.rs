//! A relay's conversation with one connection: what is asked, and the answers. Whatever is not answered here is refused: the library's
//! defaults refuse, and a channel-open whose reply is dropped is refused too.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, SecurityKeyPresence, Session, VerifiedCertificate, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Disconnect, Pty};
use sally_proto::admission::Settings;
use sally_proto::authorized_keys::{Enforced, KeyRing, Offer};
use sally_proto::relay::{GUEST_KEYS_MAX, NAME_REQUEST, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::admission::{Connection, Gate};
use super::auth::is_sha1;
use super::channel::STDERR;
use super::flood::{Patience, REFUSALS};
use super::forward::{CONNECT_FAILED, SHORTAGE, refusal};
use super::host_key::HostKey;
use super::listen::Serve;
use super::server;
use super::stream::{Guarded, Wire};
use super::visitor::Error;
use super::window::{self, Window};
use crate::relay::Relay;
use crate::relay::audit::Event;
use crate::relay::caller::{Access, Caller, Proven};
use crate::relay::console::{Answer, NO_CONSOLE};
use crate::relay::metrics::Metrics;
use crate::relay::rules::{CHANNELS_MAX, GUEST_BYTES_MAX, SESSIONS_MAX};
use crate::session::environment::Endpoint;
use crate::term;
use crate::tunnel::line::Line;

/// How many visits may have windows that grow on a long way: many of them would be too much to hold.
const FEW: usize = 16;

/// A relay as the accept loop serves it.
pub struct Service {
    relay: Arc<Relay>,
    config: Arc<Config>,
    gate: Arc<Gate>,
}

impl Service {
    /// A relay that shows this key.
    pub fn new(relay: Arc<Relay>, host_key: &HostKey) -> Arc<Self> {
        let config = Config {
            keepalive_interval: Some(relay.rules.alive_interval),
            keepalive_max: relay.rules.alive_count,
            ..server::config(host_key, relay.rules.post_quantum_only)
        };
        Arc::new(Self { relay, config: Arc::new(config), gate: Gate::new(Settings::MANY_VISITS) })
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

    async fn connect(self: Arc<Self>, wire: Wire, _: Endpoint, connection: Arc<Connection>) -> Result<(), Error> {
        Metrics::count(&self.relay.metrics.connections);
        let seat = Arc::new(OnceLock::new());
        let ended = self.converse(wire, &connection, &seat).await;
        connection.cut.cancel();
        if let Some(caller) = seat.get() {
            let why = ended.as_ref().map_or_else(reason, |()| "the other side left".into());
            self.relay.leave(caller, &why).await;
        }
        ended
    }
}

/// Why a connection ended, in the audit log's words.
fn reason(error: &Error) -> String {
    match error {
        Error::Ssh(russh::Error::KeepaliveTimeout) => "no answer to keepalives".into(),
        Error::Ssh(russh::Error::IO(error)) | Error::Io(error) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "the other side closed the connection".into(),
            std::io::ErrorKind::ConnectionAborted => "cut off here".into(),
            _ => term::reason(error),
        },
        other => other.to_string(),
    }
}

impl Service {
    async fn converse(&self, wire: Wire, connection: &Arc<Connection>, seat: &Arc<OnceLock<Arc<Caller>>>) -> Result<(), Error> {
        // The kernel knows who is at the other end of a socket that it accepted, unless they have left already.
        let Some(peer) = connection.peer.address() else { return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into()) };
        let stream = Guarded::new(wire, connection.cut.clone());
        let conversation = Conversation {
            relay: Arc::clone(&self.relay),
            connection: Arc::clone(connection),
            peer: std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            heard: stream.heard(),
            let_in: None,
            seat: Arc::clone(seat),
            refused: false,
            promised: Default::default(),
            sessions: HashMap::new(),
            consoles: Arc::new(Semaphore::new(SESSIONS_MAX)),
            channels: Arc::new(Semaphore::new(CHANNELS_MAX)),
            patience: Arc::new(Patience::new(connection.cut.clone())),
            window: Window::new(Instant::now()),
        };
        russh::server::run_stream(Arc::clone(&self.config), stream, conversation).await?.await
    }
}

/// A session channel that has not asked for anything yet.
struct Asking {
    channel: Channel<Msg>,
    /// Its place among the connection's sessions, until its answer is delivered: a client may never take it.
    _place: OwnedSemaphorePermit,
    /// Lines on a terminal end in CR LF.
    terminal: bool,
}

/// One connection.
struct Conversation {
    relay: Arc<Relay>,
    connection: Arc<Connection>,
    peer: std::net::SocketAddr,
    heard: Arc<AtomicU64>,
    /// Who was let in, until the connection is theirs.
    let_in: Option<(String, Access, Proven)>,
    /// Who it is, once they are.
    seat: Arc<OnceLock<Arc<Caller>>>,
    /// Whether a refused key is on the audit log: one a connection is enough.
    refused: bool,
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
            return Ok(self.turn_away(user, &proven, "the user name is not let in".into()).await);
        }
        // A security key that says nothing was not touched.
        let flags = presence.map_or(0, |presence| presence.flags);
        let access = match self.relay.authorize(proven.as_offer(), self.peer.ip()).and_then(|access| access.check_presence(flags)) {
            Ok(access) => access,
            Err(denial) => return Ok(self.turn_away(user, &proven, denial.to_string()).await),
        };
        self.let_in = Some((user.to_owned(), access, proven));
        Ok(Auth::Accept)
    }

    async fn turn_away(&mut self, user: &str, proven: &Proven, reason: String) -> Auth {
        tracing::info!(peer = %self.peer, user, reason, "refused");
        self.connection.deny();
        if !std::mem::replace(&mut self.refused, true) {
            self.relay.metrics.refused("auth");
            let (peer, key) = (self.peer.to_string(), proven.fingerprint());
            self.relay.audit.note(Event::AuthRefused { peer, user, key: &key, reason }).await;
        }
        Auth::reject()
    }

    /// Takes a seat: from here on, others can reach this connection.
    async fn sit_down(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some((user, access, proven)) = self.let_in.take() else { return Err(russh::Error::Inconsistent.into()) };
        let line = Line::new(session.handle(), Arc::clone(&self.heard), self.connection.cut.clone());
        let caller = Arc::new(Caller::new(self.relay.number(), self.peer, user, access, proven, line));
        let grant = caller.access.grant();
        let event = Event::Auth {
            connection: caller.number,
            peer: caller.peer.to_string(),
            user: &caller.user,
            key: &caller.fingerprint,
            source: grant.map(|grant| format!("{}:{}", grant.source(), grant.line())),
            who: &caller.who,
            serial: grant.and_then(|grant| grant.certificate()).map(|facts| facts.serial),
            roles: &caller.access.roles(),
        };
        if !self.relay.audit.write(event).await && !self.relay.rules.unaudited {
            return Ok(session.disconnect(Disconnect::ByApplication, &Refusal::Unrecorded.to_string(), "en")?);
        }
        Metrics::count(&self.relay.metrics.authenticated);
        self.relay.enter(&caller);
        let _ = self.seat.set(caller); // Authentication succeeds once.
        self.connection.authenticated();
        Ok(())
    }

    /// A forward's refusal carries no text in SSH: the connection ends with one.
    async fn refuse_forward(&self, caller: &Caller, what: &str, refusal: &Refusal, session: &mut Session) -> Result<bool, Error> {
        self.relay.note_refusal(caller, what, refusal).await;
        session.disconnect(Disconnect::ByApplication, &refusal.to_string(), "en")?;
        Ok(false)
    }

    /// Answers what a session channel asks for, and closes it.
    async fn answer(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        let (Some(asking), Some(caller)) = (self.sessions.remove(&id), self.seat.get()) else {
            return Ok(session.channel_failure(id)?);
        };
        let said = String::from_utf8_lossy(command).into_owned();
        let console = self.relay.has_console(caller);
        let shown = term::printable(&said);
        let event = Event::Console { connection: caller.number, key: &caller.fingerprint, command: &shown, allowed: console };
        let recorded = self.relay.audit.write(event).await || self.relay.rules.unaudited;
        let answer = match (console, recorded) {
            (false, _) => Answer { text: String::new(), error: format!("{NO_CONSOLE}\n"), status: 1 },
            (true, false) => Answer { text: String::new(), error: format!("{}\n", Refusal::Unrecorded), status: 1 },
            (true, true) => self.relay.console(caller, &said),
        };
        // Who asked for a terminal that there is not gets the line in place of an answer: `ssh -tt` leaves at a refusal, without reading on.
        if console || !asking.terminal {
            session.channel_success(id)?;
        }
        tokio::spawn(deliver(asking, answer));
        Ok(())
    }
}

/// Somebody doesn't get what they asked for; whoever goes on asking is cut off.
async fn refuse(relay: &Relay, patience: &Patience, caller: &Caller, what: &str, why: &Refusal) {
    relay.note_refusal(caller, what, why).await;
    if patience.ends() {
        let limit = usize::try_from(REFUSALS).unwrap_or(usize::MAX);
        relay.note_refusal(caller, "connection", &Refusal::TooMany { what: "refused questions", limit }).await;
    }
}

async fn deliver(asking: Asking, answer: Answer) {
    let lines = |text: String| Bytes::from(if asking.terminal { text.replace('\n', "\r\n") } else { text });
    let said = async {
        asking.channel.data_bytes(lines(answer.text)).await?;
        asking.channel.extended_data_bytes(STDERR, lines(answer.error)).await?;
        let (_, write) = asking.channel.split();
        write.exit_status(answer.status.into()).await?;
        write.eof().await?;
        write.close().await
    };
    let _: Result<(), russh::Error> = said.await; // Who has left needs no answer.
}

/// An SSH string (RFC 4251 section 5), and what follows it.
fn string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// The keys that a registration admits: bare keys, at most so many.
fn guests(keys: &[u8]) -> Result<Option<KeyRing>, Refusal> {
    if keys.is_empty() {
        return Ok(None);
    }
    let ring =
        KeyRing::read(NAME_REQUEST, keys, Enforced::NONE).ok().filter(|ring| keys.len() <= GUEST_BYTES_MAX && ring.len() <= GUEST_KEYS_MAX);
    ring.map(Some).ok_or(Refusal::TooMany { what: "keys to admit, or not bare ones", limit: GUEST_KEYS_MAX })
}

impl Handler for Conversation {
    type Error = Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        self.window.answered(Instant::now());
        let key = offer.public_key.key_data();
        if is_sha1(offer.algorithm) || !self.user_is_welcome(user) {
            return Ok(self.turn_away(user, &Proven::Key(key.clone()), "the user name or signature algorithm is not let in".into()).await);
        }
        // The library shows a certificate's key and not the certificate: where there are authorities, only the signed request tells.
        if self.relay.keys().has_authorities() {
            return Ok(Auth::Accept);
        }
        match self.relay.authorize(Offer::Key(key), self.peer.ip()) {
            Ok(_) => Ok(Auth::Accept),
            Err(denial) => Ok(self.turn_away(user, &Proven::Key(key.clone()), denial.to_string()).await),
        }
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        self.window.asked(Instant::now());
        if is_sha1(key.algorithm) {
            return Ok(Auth::reject());
        }
        self.authenticate(user, Proven::Key(key.public_key.key_data().clone()), key.presence).await
    }

    async fn auth_verified_certificate(&mut self, user: &str, verified: VerifiedCertificate<'_>) -> Result<Auth, Error> {
        if is_sha1(verified.algorithm) {
            return Ok(Auth::reject());
        }
        self.authenticate(user, Proven::Certificate(Box::new(verified.certificate.clone())), verified.presence).await
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        self.sit_down(session).await?;
        self.window.answered(Instant::now());
        Ok(())
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Error> {
        self.window.received(data.len());
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, current: u32) -> u32 {
        let wanted = self.window.target(Instant::now(), current);
        if self.relay.visits_taken() <= FEW { wanted } else { window::FIRST }
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Error> {
        let Some(caller) = self.seat.get() else { return Ok(()) };
        let Ok(place) = Arc::clone(&self.consoles).try_acquire_owned() else {
            let why = Refusal::TooMany { what: "sessions on this connection", limit: SESSIONS_MAX };
            refuse(&self.relay, &self.patience, caller, "session", &why).await;
            reply.reject(refusal(SHORTAGE, why.to_string())).await;
            return Ok(());
        };
        self.sessions.insert(channel.id(), Asking { channel, _place: place, terminal: false });
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.window.asked(Instant::now());
        let Some(caller) = self.seat.get() else { return Ok(()) };
        let Ok(place) = Arc::clone(&self.channels).try_acquire_owned() else {
            let why = Refusal::TooMany { what: "channels on this connection", limit: CHANNELS_MAX };
            refuse(&self.relay, &self.patience, caller, host, &why).await;
            reply.reject(refusal(CONNECT_FAILED, why.to_string())).await;
            return Ok(());
        };
        let (relay, patience) = (Arc::clone(&self.relay), Arc::clone(&self.patience));
        let (caller, host) = (Arc::clone(caller), host.to_owned());
        tokio::spawn(async move {
            match relay.visit(&caller, &host, port).await {
                Ok(opened) => {
                    reply.accept().await;
                    opened.carry_channel(caller.line.passage(channel)).await;
                }
                Err(why) => {
                    refuse(&relay, &patience, &caller, &format!("{host}:{port}"), &why).await;
                    reply.reject(refusal(CONNECT_FAILED, why.to_string())).await;
                }
            }
            drop(place);
        });
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        self.sessions.remove(&id);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        let console = self.seat.get().is_some_and(|caller| self.relay.has_console(caller));
        let Some(asking) = self.sessions.get_mut(&id) else { return Ok(session.channel_failure(id)?) };
        asking.terminal = true;
        if console {
            // `ssh -t relay devices`: there is no terminal, but lines that one shows.
            return Ok(session.channel_success(id)?);
        }
        self.answer(id, b"pty-req", session).await
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.answer(id, b"", session).await
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        self.answer(id, command, session).await
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        self.answer(id, format!("subsystem {name}").as_bytes(), session).await
    }

    async fn env_request(&mut self, id: ChannelId, _: &str, _: &str, session: &mut Session) -> Result<(), Error> {
        Ok(session.channel_failure(id)?)
    }

    async fn x11_request(&mut self, id: ChannelId, _: bool, _: &str, _: &str, _: u32, session: &mut Session) -> Result<(), Error> {
        Ok(session.channel_failure(id)?)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, session: &mut Session) -> Result<bool, Error> {
        self.window.asked(Instant::now());
        let Some(caller) = self.seat.get() else { return Ok(false) };
        match self.relay.register(caller, address, *port, &self.promised).await {
            Ok(()) => Ok(true),
            Err(refusal) => self.refuse_forward(caller, &format!("-R {address}:{port}"), &refusal, session).await,
        }
    }

    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _: &mut Session) -> Result<bool, Error> {
        match self.seat.get() {
            Some(caller) => Ok(self.relay.cancel(caller, address, port).await),
            None => Ok(false),
        }
    }

    async fn global_request(&mut self, name: &str, data: &[u8], session: &mut Session) -> Result<Option<Vec<u8>>, Error> {
        let Some(caller) = self.seat.get() else { return Ok(None) };
        if name != NAME_REQUEST {
            refuse(&self.relay, &self.patience, caller, name, &Refusal::NotPermitted).await;
            return Ok(None);
        }
        let Some((wanted, keys)) = string(data).and_then(|(name, rest)| Some((name, string(rest)?.0))) else { return Ok(None) };
        let wanted = String::from_utf8_lossy(wanted).into_owned();
        let promised = guests(keys).and_then(|guests| Ok((self.relay.promise(caller, &wanted)?, guests)));
        match promised {
            Ok((name, guests)) => {
                let answer = name.as_str().as_bytes().to_vec();
                self.promised = crate::relay::Promised { name: Some(name), guests };
                Ok(Some(answer))
            }
            Err(refusal) => {
                self.refuse_forward(caller, &format!("{NAME_REQUEST} {wanted}"), &refusal, session).await?;
                Ok(None)
            }
        }
    }
}
