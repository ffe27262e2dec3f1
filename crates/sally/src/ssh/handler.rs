//! What a visitor asks, and the answers. A question that is not answered here is refused: the library's defaults refuse, and a channel-open
//! whose reply is dropped is refused too.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty as Mode, Sig};
use sally_proto::authorized_keys::{Context, Grant, Offer};
use sally_proto::record::{AuditEvent, Certificate as CertificateOnRecord, Said};
use sally_sys::pty::{self, Pty};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channel::{SessionInbound, SessionOutbound};
use super::door::{Door, Event};
use super::listen::Connection;
use crate::record::RecordError;
use crate::session::environment::{self, Visit};
use crate::session::run::Session as Room;
use crate::session::start::{self, What};
use crate::session::{Control, signal_number};

/// Variables that a client may set in one session, and the bytes of one: OpenSSH's clients send a handful.
const MAX_ENV: usize = 64;
const MAX_ENV_BYTES: usize = 4 << 10;
/// `$TERM` beyond this is no terminal's name.
const MAX_TERM: usize = 64;
/// Requests to a running session that may wait for its loop; more (a flood) are dropped, the newest first.
const CONTROLS: usize = 64;
/// `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` (RFC 4254 section 5.1), which the library sends without a text.
const PROHIBITED: u32 = 1;

/// What ends a connection from our side.
#[derive(Debug)]
pub(super) enum Error {
    Ssh(russh::Error),
    Io(std::io::Error),
    Record(RecordError),
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
struct Setup {
    number: u32,
    channel: Channel<Msg>,
    terminal: Option<(Pty, String)>,
    sent: Vec<(String, String)>,
}

/// A session channel whose program runs.
struct Running {
    control: mpsc::Sender<Control>,
    gone: CancellationToken,
}

/// One connection's conversation.
pub(super) struct Visitor {
    door: Arc<Door>,
    connection: Arc<Connection>,
    local: SocketAddr,
    /// Only the checker makes one, and only the claim puts it here.
    grant: Option<Grant>,
    setups: HashMap<ChannelId, Setup>,
    running: HashMap<ChannelId, Running>,
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
    pub(super) fn new(door: Arc<Door>, connection: Arc<Connection>, local: SocketAddr) -> Self {
        Self { door, connection, local, grant: None, setups: HashMap::new(), running: HashMap::new() }
    }

    fn context(&self) -> Context<'_> {
        Context {
            peer: Some(self.connection.peer.ip()),
            now: Door::now(),
            account: Some(self.door.rules.user.as_deref().unwrap_or(&self.door.rules.account.name)),
        }
    }

    fn user_is_welcome(&self, user: &str) -> bool {
        self.door.rules.user.as_deref().is_none_or(|only| only == user)
    }

    /// Whether a key might get in, before its owner has proved to hold it.
    fn probe(&self, user: &str, offer: Offer<'_>) -> Auth {
        // The library shows a certificate's key and not the certificate: where there are authorities, only the signed request tells.
        let may = self.door.authorities || self.door.keys.may_accept(offer, &self.context());
        let known = self.grant.is_none() && self.user_is_welcome(user) && may;
        if !known {
            tracing::info!(peer = %self.connection.peer, user, "a key that is not let in was offered");
            return Auth::reject();
        }
        Auth::Accept
    }

    /// A signature was good: the checker decides, the record is written, the claim is made; in that order.
    async fn authenticate(&mut self, user: &str, offer: Offer<'_>) -> Result<Auth, Error> {
        let peer = self.connection.peer;
        if self.grant.is_some() || !self.user_is_welcome(user) {
            return Ok(Auth::reject());
        }
        let grant = match self.door.keys.authorize(offer, &self.context()) {
            Ok(grant) => grant,
            Err(denial) => {
                tracing::info!(%peer, user, %denial, "refused");
                return Ok(Auth::reject());
            }
        };
        self.audit(&connect_event(peer, self.local))?;
        self.audit(&auth_event(user, &grant))?;
        if !self.door.claim(&self.connection).await {
            self.refuse("visit", "another visitor was first")?;
            self.connection.cut.cancel();
            return Ok(Auth::reject());
        }
        self.grant = Some(grant);
        self.tell(Event::Claimed).await;
        Ok(Auth::Accept)
    }

    /// A record that can't be written ends everything.
    fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.door.recorder.audit(event).inspect_err(|error| self.door.shutdown.request(error.clone().into()))
    }

    fn refuse(&self, what: &str, why: &str) -> Result<(), RecordError> {
        tracing::info!(peer = %self.connection.peer, what, why, "refused");
        self.audit(&AuditEvent::Refusal { what: what.into(), why: why.into(), channel: None })
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more once the visit is over.
        let _ = self.door.events.send(event).await;
    }

    /// Starts what the visitor asked for, or what the key says instead.
    async fn launch(&mut self, id: ChannelId, asked: What, session: &mut Session) -> Result<(), Error> {
        let (Some(setup), Some(grant)) = (self.setups.remove(&id), &self.grant) else {
            return Ok(session.channel_failure(id)?);
        };
        let original = match &asked {
            What::Shell => None,
            What::Command(command) => command.to_str(),
        };
        let (what, original_command) = match grant.forced_command() {
            Some(forced) => (What::Command(forced.into()), original),
            None => (asked.clone(), None),
        };
        let terminal = setup.terminal.as_ref().map(|(pty, term)| (pty.name.as_str(), term.as_str()));
        let visit = Visit {
            peer: self.connection.peer,
            local: self.local,
            terminal,
            original_command,
            sent: &setup.sent,
            of_key: grant.environment(),
        };
        let environment = environment::build(&self.door.rules.environment, &self.door.rules.account, &visit);
        self.audit(&self.start_event(setup.number, &asked, grant))?;
        let pty = setup.terminal.map(|(pty, _)| pty);
        match start::start(&self.door.reaper, &self.door.rules.account, &what, environment, pty) {
            Ok(program) => {
                session.channel_success(id)?;
                self.tell(Event::SessionStarted).await;
                self.open_room(id, setup.number, setup.channel, program, session);
                Ok(())
            }
            Err(error) => {
                self.refuse("session", &format!("{}: {error}", self.door.rules.account.shell.display()))?;
                Ok(session.channel_failure(id)?)
            }
        }
    }

    fn start_event(&self, channel: u32, asked: &What, grant: &Grant) -> AuditEvent {
        let forced = grant.forced_command().map(Said::from);
        match asked {
            What::Shell => AuditEvent::Shell { channel, program: self.door.rules.account.shell.as_os_str().as_bytes().into(), forced },
            What::Command(command) => AuditEvent::Exec { channel, command: command.as_bytes().into(), forced },
        }
    }

    fn open_room(&mut self, id: ChannelId, number: u32, channel: Channel<Msg>, program: start::Program, session: &Session) {
        let (control, controls) = mpsc::channel(CONTROLS);
        let gone = CancellationToken::new();
        let (read, write) = channel.split();
        let room = Room {
            channel: number,
            program,
            inbound: SessionInbound(read),
            outbound: SessionOutbound { channel: write, connection: session.handle() },
            control: controls,
            gone: gone.clone(),
            shutdown: self.door.shutdown.clone(),
            recorder: self.door.recorder.clone(),
            reaper: self.door.reaper.clone(),
            mask: self.door.rules.mask,
        };
        self.running.insert(id, Running { control, gone });
        let events = self.door.events.clone();
        tokio::spawn(async move {
            let ended = room.run().await;
            let _ = events.send(Event::SessionEnded(ended)).await; // The visit is over already.
        });
    }

    fn control(&self, id: ChannelId, control: Control) {
        if let Some(running) = self.running.get(&id) {
            // A flood's excess is dropped; its last word is lost only where the session is stuck anyway.
            let _ = running.control.try_send(control);
        }
    }

    fn forget(&mut self, id: ChannelId) {
        self.setups.remove(&id);
        if let Some(running) = self.running.remove(&id) {
            running.gone.cancel();
        }
    }
}

impl Handler for Visitor {
    type Error = Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        if is_sha1(offer.algorithm) {
            return Ok(Auth::reject());
        }
        Ok(self.probe(user, Offer::Key(offer.public_key.key_data())))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        if is_sha1(key.algorithm) {
            return Ok(Auth::reject());
        }
        self.authenticate(user, Offer::Key(key.public_key.key_data())).await
    }

    async fn auth_openssh_certificate(&mut self, user: &str, certificate: &Certificate) -> Result<Auth, Error> {
        self.authenticate(user, Offer::Certificate(certificate)).await
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Error> {
        if self.grant.is_none() {
            return Ok(());
        }
        match self.door.next_session() {
            Some(number) => {
                self.setups.insert(channel.id(), Setup { number, channel, terminal: None, sent: Vec::new() });
                reply.accept().await;
            }
            None => {
                let reason = format!("this visit has had its {} session(s)", self.door.rules.max_sessions);
                self.refuse("session", &reason)?;
                reply.reject(ChannelOpenFailure::Other { code: PROHIBITED, reason }).await;
            }
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("direct-tcpip", &format!("{host}:{port}: forwarding is not allowed"))?;
        let reason = "forwarding is not allowed here".into();
        reply.reject(ChannelOpenFailure::Other { code: PROHIBITED, reason }).await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Error> {
        self.forget(channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        modes: &[(Mode, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        let allowed = self.grant.as_ref().is_some_and(Grant::allows_pty);
        let Some(setup) = self.setups.get_mut(&id).filter(|setup| allowed && setup.terminal.is_none()) else {
            self.refuse("pty-req", "not permitted for this key")?;
            return Ok(session.channel_failure(id)?);
        };
        let (columns, rows) = pty::clamp_size(columns, rows);
        let number = setup.number;
        let term: String = term.chars().filter(|c| !c.is_control()).take(MAX_TERM).collect();
        match open_terminal(columns, rows, modes) {
            Ok(terminal) => setup.terminal = Some((terminal, term.clone())),
            Err(error) => {
                self.refuse("pty-req", &error.to_string())?;
                return Ok(session.channel_failure(id)?);
            }
        }
        self.audit(&AuditEvent::Pty { channel: number, term: term.into(), cols: columns.into(), rows: rows.into() })?;
        self.door.recorder.resize(number, columns, rows).inspect_err(|error| self.door.shutdown.request(error.clone().into()))?;
        Ok(session.channel_success(id)?)
    }

    async fn env_request(&mut self, id: ChannelId, name: &str, value: &str, session: &mut Session) -> Result<(), Error> {
        let accepted =
            environment::accepts(name, &self.door.rules.accept_env) && name.len() + value.len() <= MAX_ENV_BYTES && !value.contains('\0');
        match self.setups.get_mut(&id).filter(|setup| accepted && setup.sent.len() < MAX_ENV) {
            Some(setup) => {
                setup.sent.push((name.into(), value.into()));
                Ok(session.channel_success(id)?)
            }
            None => Ok(session.channel_failure(id)?),
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.launch(id, What::Shell, session).await
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        self.launch(id, What::Command(OsStr::from_bytes(command).into()), session).await
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        if self.grant.as_ref().is_some_and(|grant| grant.forced_command().is_some()) {
            return self.launch(id, What::Command(name.into()), session).await;
        }
        self.refuse("subsystem", &format!("{name}: there is no such subsystem"))?;
        Ok(session.channel_failure(id)?)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        let (columns, rows) = pty::clamp_size(columns, rows);
        self.control(id, Control::Resize(columns, rows));
        Ok(session.channel_success(id)?)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, session: &mut Session) -> Result<(), Error> {
        match signal_number(sig_name(&signal)) {
            Some((number, name)) => {
                self.control(id, Control::Signal(number, name));
                Ok(session.channel_success(id)?)
            }
            None => Ok(session.channel_failure(id)?),
        }
    }

    async fn x11_request(&mut self, id: ChannelId, _: bool, _: &str, _: &str, _: u32, session: &mut Session) -> Result<(), Error> {
        self.refuse("x11-req", "X11 forwarding is not allowed here")?;
        Ok(session.channel_failure(id)?)
    }

    async fn break_request(&mut self, id: ChannelId, length: u32, _: &mut Session) -> Result<bool, Error> {
        self.control(id, Control::Break(length));
        Ok(self.running.contains_key(&id))
    }

    async fn agent_request(&mut self, _: ChannelId, _: &mut Session) -> Result<bool, Error> {
        self.refuse("agent", "agent forwarding is not allowed here")?;
        Ok(false)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, _: &mut Session) -> Result<bool, Error> {
        self.refuse("tcpip-forward", &format!("{address}:{port}: forwarding is not allowed"))?;
        Ok(false)
    }
}

fn connect_event(peer: SocketAddr, local: SocketAddr) -> AuditEvent {
    // An IPv4 visitor of an IPv6 socket is an IPv4 visitor.
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port()).to_string();
    AuditEvent::Connect { peer: canonical(peer), local: canonical(local), claimed: None, client: None }
}

fn auth_event(user: &str, grant: &Grant) -> AuditEvent {
    AuditEvent::Auth {
        user: user.into(),
        method: "publickey".into(),
        key_type: Some(grant.algorithm().into()),
        fingerprint: grant.fingerprint().into(),
        comment: Some(grant.comment()).filter(|comment| !comment.is_empty()).map(Said::from),
        source: Some(format!("{}:{}", grant.source(), grant.line())),
        certificate: grant.certificate().map(|facts| CertificateOnRecord {
            id: facts.key_id.as_str().into(),
            serial: facts.serial,
            ca: facts.authority.clone(),
            principal: None,
        }),
    }
}

/// RSA with SHA-1 is broken; the same key signs with SHA-2.
fn is_sha1(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { hash: None })
}

fn open_terminal(columns: u16, rows: u16, modes: &[(Mode, u32)]) -> std::io::Result<Pty> {
    let terminal = pty::open()?;
    let modes: Vec<_> = modes.iter().map(|(mode, value)| (*mode as u8, *value)).collect();
    pty::set_modes(&terminal.slave, &modes)?;
    pty::resize(&terminal.master, columns, rows)?;
    Ok(terminal)
}

fn sig_name(signal: &Sig) -> &str {
    match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) => name,
    }
}
