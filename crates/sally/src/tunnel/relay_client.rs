//! Connects to a relay, which sends visitors on the connection.
//!
//! The relay is trusted only to pass on connections: it opens `forwarded-tcpip` channels for what is listened on, and all else that it
//! opens is refused.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, AuthResult, ChannelOpenHandle, Config, DisconnectReason, Handle, Handler, Msg, Session};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{Channel, ChannelId, Disconnect, Preferred, cipher, compression};
use sally_proto::host_port::HostPort;
use sally_proto::relay::Refusal;
use ssh_key::certificate::Certificate;
use ssh_key::{Fingerprint, HashAlg, PrivateKey, PublicKey};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::host_key::known_hosts;
use crate::lock::lock;
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;
use crate::term;

/// The interval of keepalives to a silent relay, and how many may stay unanswered. The connection ends one interval after the last one:
/// after a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES_UNANSWERED: usize = 3;
/// How long a relay that refuses may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The most visitors that wait to be accepted; more are refused.
const WAITING: usize = 16;
/// The user name for the relay, which knows us by our key.
const USER: &str = "sally";

/// How a relay's host key is checked.
#[derive(Clone, Debug)]
pub enum HostTrust {
    /// This key only.
    Key(Box<PublicKey>),
    /// The key with this fingerprint.
    Fingerprint(Fingerprint),
    /// The keys that this file lists for the host.
    KnownHosts(PathBuf),
}

impl HostTrust {
    /// Returns whether this is the host key that `host` must have.
    pub(super) fn knows(&self, host: &HostPort, key: &PublicKey) -> bool {
        match self {
            Self::Key(expected) => expected.key_data() == key.key_data(),
            Self::Fingerprint(expected) => key.fingerprint(HashAlg::Sha256) == *expected,
            Self::KnownHosts(file) => {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                known_hosts::lists(&text, host.host(), host.port(), key)
            }
        }
    }
}

/// The identity that is proved to a relay.
#[derive(Debug)]
pub struct RelayIdentity {
    /// Its name in messages: `the key of FILE`.
    pub name: String,
    /// The private key.
    pub key: Arc<PrivateKey>,
    /// Its certificate, if an authority has signed one.
    pub certificate: Option<Certificate>,
}

/// Why a relay can't be reached, or refuses.
#[derive(Clone, Debug)]
pub struct NotRegistered {
    /// The relay's own words, if it gave some.
    pub reason: String,
    /// Whether another attempt is useless: the relay was reached, and one side refused.
    pub lasting: bool,
}

impl NotRegistered {
    pub(super) fn lasting(reason: String) -> Self {
        Self { reason, lasting: true }
    }
}

impl From<russh::Error> for NotRegistered {
    fn from(error: russh::Error) -> Self {
        Self { reason: words(&error), lasting: matches!(error, russh::Error::UnknownKey) }
    }
}

/// A visitor that the relay sends, and that waits for an answer.
pub struct IncomingChannel {
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    address: String,
    port: u32,
    from: Endpoint,
}

impl IncomingChannel {
    /// Returns the visitor's address, as the relay says.
    pub fn from(&self) -> Endpoint {
        self.from
    }

    /// Returns the name or address that the visitor asks for, as the relay says: as it was registered, if the relay is honest.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the port that the visitor asks for, as it was registered at the relay.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Lets the visitor in. Dropping the visitor refuses it.
    pub async fn accept(self) -> Channel<Msg> {
        self.reply.accept().await;
        self.channel
    }
}

/// Why the connection to the relay ended, once it has.
#[derive(Clone, Debug, Default)]
struct Lost {
    token: CancellationToken,
    why: Arc<Mutex<Option<String>>>,
    /// Whether the reason is in the relay's words.
    dismissed: Arc<AtomicBool>,
}

impl Lost {
    fn set(&self, why: String) {
        lock(&self.why).get_or_insert(why);
        self.token.cancel();
    }

    fn why(&self) -> Option<String> {
        lock(&self.why).clone()
    }
}

/// A connection to a relay.
pub struct RelayConnection {
    handle: Handle<RelayClientHandler>,
    visitors: mpsc::Receiver<IncomingChannel>,
    lost: Lost,
}

impl RelayConnection {
    /// Dials and authenticates.
    ///
    /// # Errors
    /// Why not: the relay's own words, if it gave some.
    pub async fn dial(relay: &HostPort, trust: HostTrust, identity: &RelayIdentity) -> Result<Self, NotRegistered> {
        let connected = Dialer::new().connect(relay.host(), relay.port()).await;
        let tcp = connected.map_err(|reason| NotRegistered { reason, lasting: false })?;
        let lost = Lost::default();
        let (sender, visitors) = mpsc::channel(WAITING);
        let answers = RelayClientHandler { trust, relay: relay.clone(), lost: lost.clone(), visitors: sender };
        let admitted = async {
            let mut handle = client::connect_stream(Arc::new(config()), tcp, answers).await?;
            let admitted = authenticate(&mut handle, identity).await?.success();
            Ok::<_, russh::Error>((handle, admitted))
        };
        match admitted.await {
            Ok((handle, true)) => Ok(Self { handle, visitors, lost }),
            Ok((_, false)) => Err(NotRegistered::lasting(format!("it doesn't accept {}", identity.name))),
            Err(error) => Err(said(&lost, error.into()).await),
        }
    }

    /// Makes a global request (RFC 4254 section 4), and returns the answer.
    ///
    /// # Errors
    /// The refusal, or why no answer came.
    pub async fn ask(&self, request: &str, data: &[u8]) -> Result<Vec<u8>, NotRegistered> {
        match self.handle.send_global_request(request, data, true).await {
            Ok(answer) => Ok(answer.as_deref().unwrap_or_default().to_vec()),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Registers a name's port, whose connections the relay then forwards to us.
    ///
    /// # Errors
    /// Why not.
    pub async fn listen(&self, name: &str, port: u16) -> Result<(), NotRegistered> {
        match self.handle.tcpip_forward(name, port.into()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Cancels the registration of a name's port.
    pub async fn stop_listening(&self, name: &str, port: u16) {
        let _ = self.handle.cancel_tcpip_forward(name, port.into()).await; // A relay that is gone has forgotten the registration.
    }

    /// Adds the relay's reason, which comes in a DISCONNECT, perhaps a little later.
    async fn refused(&self, error: russh::Error) -> NotRegistered {
        let denied = matches!(error, russh::Error::RequestDenied);
        let failed = said(&self.lost, error.into()).await;
        // A relay that stops dismisses its clients too, and may be back in a moment.
        let stops = failed.reason.contains(&Refusal::Stopping.to_string());
        NotRegistered { lasting: denied || (!stops && self.lost.dismissed.load(Ordering::Relaxed)), ..failed }
    }

    /// Returns the next visitor; `None` when the connection to the relay is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<IncomingChannel> {
        tokio::select! {
            biased;
            () = self.lost.token.cancelled() => None,
            visitor = self.visitors.recv() => visitor,
        }
    }

    /// Takes no more visitors: waiting ones are refused, present ones go on.
    pub fn close(&mut self) {
        self.visitors.close();
        while self.visitors.try_recv().is_ok() {}
    }

    /// Waits until the connection to the relay has ended; returns why. Cancel-safe.
    pub async fn lost(&self) -> String {
        self.lost.token.cancelled().await;
        self.lost.why().unwrap_or_default()
    }

    /// Returns the token that is cancelled when the connection to the relay has ended.
    pub fn over(&self) -> CancellationToken {
        self.lost.token.clone()
    }

    /// Ends the connection with a message.
    pub async fn leave(&self, words: &str) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, words, "en").await; // The connection may be gone already.
    }
}

/// Replaces the reason of a failure by the relay's last words, which explain it better.
async fn said(lost: &Lost, failed: NotRegistered) -> NotRegistered {
    let _ = tokio::time::timeout(LAST_WORDS, lost.token.cancelled()).await; // The relay may say nothing.
    NotRegistered { reason: lost.why().unwrap_or(failed.reason), ..failed }
}

async fn authenticate(handle: &mut Handle<RelayClientHandler>, identity: &RelayIdentity) -> Result<AuthResult, russh::Error> {
    if let Some(certificate) = &identity.certificate {
        return handle.authenticate_openssh_cert(USER, Arc::clone(&identity.key), certificate.clone()).await;
    }
    let hash = match identity.key.algorithm() {
        ssh_key::Algorithm::Rsa { .. } => handle.best_supported_rsa_hash().await?.flatten(),
        _ => None,
    };
    handle.authenticate_publickey(USER, PrivateKeyWithHashAlg::new(Arc::clone(&identity.key), hash)).await
}

pub(super) fn config() -> Config {
    Config {
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_UNANSWERED,
        nodelay: true,
        preferred: Preferred {
            // The first cipher that both sides know is used: the fastest is the first.
            cipher: vec![cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305].into(),
            compression: vec![compression::NONE].into(),
            ..Preferred::default()
        },
        ..Config::default()
    }
}

/// Returns an error's text for users.
pub(super) fn words(error: &russh::Error) -> String {
    match error {
        russh::Error::UnknownKey => "its host key is not the expected one".into(),
        russh::Error::RequestDenied => "it refuses the request".into(),
        russh::Error::Disconnect | russh::Error::SendError => "it closed the connection".into(),
        russh::Error::IO(error) => term::reason(error),
        other => other.to_string(),
    }
}

/// Answers a relay: refuses everything but visitors to what is listened on.
struct RelayClientHandler {
    trust: HostTrust,
    relay: HostPort,
    lost: Lost,
    visitors: mpsc::Sender<IncomingChannel>,
}

impl Handler for RelayClientHandler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let known = self.trust.knows(&self.relay, key);
        if !known {
            self.lost.set(format!("its host key {} is not known", key.fingerprint(HashAlg::Sha256)));
        }
        Ok(known)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        origin: &str,
        origin_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let from = origin.parse().ok().zip(u16::try_from(origin_port).ok()).map(|(ip, port)| SocketAddr::new(ip, port)).into();
        // Only our own names were registered. If no more visitors may wait, dropping the reply refuses this one.
        let _ = self.visitors.try_send(IncomingChannel { channel, reply, address: address.to_owned(), port, from });
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_session(&mut self, _: Channel<Msg>, _: ChannelOpenHandle, _: &mut Session) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn should_accept_unknown_server_channel(&mut self, _: ChannelId, _: &str) -> bool {
        false
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        self.lost.set(match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.lost.dismissed.store(true, Ordering::Relaxed);
                term::excerpt(&info.message)
            }
            DisconnectReason::Error(error) => words(&error),
        });
        Ok(())
    }
}
