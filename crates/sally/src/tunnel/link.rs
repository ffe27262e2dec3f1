//! A connection to a relay, on which it sends visitors.
//!
//! The relay is trusted to reach us and with nothing else: it opens `forwarded-tcpip` channels for what we listen on, and whatever else it
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
use ssh_key::certificate::Certificate;
use ssh_key::{Fingerprint, HashAlg, PrivateKey, PublicKey};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::host_key::known_hosts;
use crate::lock::lock;
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;
use crate::term;

/// A relay that is silent is asked so often, at such intervals, and is gone one interval after the last question: a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES_UNANSWERED: usize = 3;
/// How long a relay that refuses may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Visitors that may wait for us to look; more are refused.
const WAITING: usize = 16;
/// The user that we say we are: a relay knows us by our key.
const USER: &str = "sally";

/// How a relay's host key is known.
#[derive(Clone, Debug)]
pub enum HostTrust {
    /// This key and no other.
    Key(Box<PublicKey>),
    /// The key with this fingerprint.
    Fingerprint(Fingerprint),
    /// Whatever this file lists for the host.
    KnownHosts(PathBuf),
}

/// What we prove to a relay.
#[derive(Debug)]
pub struct Identity {
    /// What to call it: `the key of FILE`.
    pub name: String,
    /// The private key.
    pub key: Arc<PrivateKey>,
    /// What an authority says of it, where one does.
    pub certificate: Option<Certificate>,
}

/// What went wrong towards a relay.
#[derive(Clone, Debug)]
pub struct NotHeld {
    /// The relay's own words where it gave some.
    pub reason: String,
    /// Whether it will be the same next time: the relay is there, and it, or we, said no.
    pub lasting: bool,
}

impl NotHeld {
    pub(super) fn lasting(reason: String) -> Self {
        Self { reason, lasting: true }
    }
}

impl From<russh::Error> for NotHeld {
    fn from(error: russh::Error) -> Self {
        Self { reason: words(&error), lasting: matches!(error, russh::Error::UnknownKey) }
    }
}

/// Somebody whom the relay sends, and who waits for an answer.
pub struct Visitor {
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    port: u32,
    from: Endpoint,
}

impl Visitor {
    /// Where they come from, which is the relay's word.
    pub fn from(&self) -> Endpoint {
        self.from
    }

    /// The port that they want to reach, as we gave it to the relay.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Lets them in. Whoever is dropped instead is refused.
    pub async fn accept(self) -> Channel<Msg> {
        self.reply.accept().await;
        self.channel
    }
}

/// Why the relay's connection ended, once it has.
#[derive(Clone, Debug, Default)]
struct Lost {
    token: CancellationToken,
    why: Arc<Mutex<Option<String>>>,
    /// Whether these are the other side's words.
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
pub struct Link {
    handle: Handle<Answers>,
    visitors: mpsc::Receiver<Visitor>,
    lost: Lost,
}

impl Link {
    /// Dials and authenticates.
    ///
    /// # Errors
    /// Why not: the relay's own words where it gave some.
    pub async fn dial(relay: &HostPort, trust: HostTrust, identity: &Identity) -> Result<Self, NotHeld> {
        let connected = Dialer::new().connect(relay.host(), relay.port()).await;
        let tcp = connected.map_err(|reason| NotHeld { reason, lasting: false })?;
        let lost = Lost::default();
        let (sender, visitors) = mpsc::channel(WAITING);
        let answers = Answers { trust, relay: relay.clone(), lost: lost.clone(), visitors: sender };
        let admitted = async {
            let mut handle = client::connect_stream(Arc::new(config()), tcp, answers).await?;
            let admitted = authenticate(&mut handle, identity).await?.success();
            Ok::<_, russh::Error>((handle, admitted))
        };
        match admitted.await {
            Ok((handle, true)) => Ok(Self { handle, visitors, lost }),
            Ok((_, false)) => Err(NotHeld::lasting(format!("it doesn't let in {}", identity.name))),
            Err(error) => Err(said(&lost, error.into()).await),
        }
    }

    /// A global request (RFC 4254 section 4) of our own; gives the answer.
    ///
    /// # Errors
    /// That it is refused, or why no answer came.
    pub async fn ask(&self, request: &str, data: &[u8]) -> Result<Vec<u8>, NotHeld> {
        match self.handle.send_global_request(request, data, true).await {
            Ok(answer) => Ok(answer.as_deref().unwrap_or_default().to_vec()),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// Has a name's port forwarded to us.
    ///
    /// # Errors
    /// Why not.
    pub async fn listen(&self, name: &str, port: u16) -> Result<(), NotHeld> {
        match self.handle.tcpip_forward(name, port.into()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// No longer.
    pub async fn stop_listening(&self, name: &str, port: u16) {
        let _ = self.handle.cancel_tcpip_forward(name, port.into()).await; // A relay that is gone has forgotten it.
    }

    /// A relay says why in a DISCONNECT, which may come a little later.
    async fn refused(&self, error: russh::Error) -> NotHeld {
        let denied = matches!(error, russh::Error::RequestDenied);
        let failed = said(&self.lost, error.into()).await;
        NotHeld { lasting: denied || self.lost.dismissed.load(Ordering::Relaxed), ..failed }
    }

    /// The next visitor; `None` when the relay's connection is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Visitor> {
        tokio::select! {
            biased;
            () = self.lost.token.cancelled() => None,
            visitor = self.visitors.recv() => visitor,
        }
    }

    /// Takes no more visitors: whoever waits is refused. Those that are in go on.
    pub fn close(&mut self) {
        self.visitors.close();
        while self.visitors.try_recv().is_ok() {}
    }

    /// Waits until the relay's connection has ended; says why. Cancel-safe.
    pub async fn lost(&self) -> String {
        self.lost.token.cancelled().await;
        self.lost.why().unwrap_or_default()
    }

    /// Cancelled when the relay's connection has ended.
    pub fn over(&self) -> CancellationToken {
        self.lost.token.clone()
    }

    /// Ends the connection with words of ours.
    pub async fn leave(&self, words: &str) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, words, "en").await; // Or it is gone already.
    }
}

/// What the relay said last explains it better than what failed.
async fn said(lost: &Lost, failed: NotHeld) -> NotHeld {
    let _ = tokio::time::timeout(LAST_WORDS, lost.token.cancelled()).await; // Perhaps it says nothing.
    NotHeld { reason: lost.why().unwrap_or(failed.reason), ..failed }
}

async fn authenticate(handle: &mut Handle<Answers>, identity: &Identity) -> Result<AuthResult, russh::Error> {
    if let Some(certificate) = &identity.certificate {
        return handle.authenticate_openssh_cert(USER, Arc::clone(&identity.key), certificate.clone()).await;
    }
    let hash = match identity.key.algorithm() {
        ssh_key::Algorithm::Rsa { .. } => handle.best_supported_rsa_hash().await?.flatten(),
        _ => None,
    };
    handle.authenticate_publickey(USER, PrivateKeyWithHashAlg::new(Arc::clone(&identity.key), hash)).await
}

fn config() -> Config {
    Config {
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_UNANSWERED,
        nodelay: true,
        preferred: Preferred {
            // The first that both know is taken: the fastest goes first.
            cipher: vec![cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305].into(),
            compression: vec![compression::NONE].into(),
            ..Preferred::default()
        },
        ..Config::default()
    }
}

/// An error in words for people.
fn words(error: &russh::Error) -> String {
    match error {
        russh::Error::UnknownKey => "its host key is not the one that is expected".into(),
        russh::Error::RequestDenied => "it refuses the request".into(),
        russh::Error::Disconnect | russh::Error::SendError => "it closed the connection".into(),
        russh::Error::IO(error) => term::reason(error),
        other => other.to_string(),
    }
}

/// What we answer a relay: no, but for visitors to what we listen on.
struct Answers {
    trust: HostTrust,
    relay: HostPort,
    lost: Lost,
    visitors: mpsc::Sender<Visitor>,
}

impl Handler for Answers {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let known = match &self.trust {
            HostTrust::Key(expected) => expected.key_data() == key.key_data(),
            HostTrust::Fingerprint(expected) => key.fingerprint(HashAlg::Sha256) == *expected,
            HostTrust::KnownHosts(file) => {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                known_hosts::lists(&text, self.relay.host(), self.relay.port(), key)
            }
        };
        if !known {
            self.lost.set(format!("its host key {} is not known", key.fingerprint(HashAlg::Sha256)));
        }
        Ok(known)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _: &str,
        port: u32,
        origin: &str,
        origin_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let from = origin.parse().ok().zip(u16::try_from(origin_port).ok()).map(|(ip, port)| SocketAddr::new(ip, port)).into();
        // Only names of our own were asked for. Where nobody has room for one more, dropping the reply refuses.
        let _ = self.visitors.try_send(Visitor { channel, reply, port, from });
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
                term::printable(&info.message)
            }
            DisconnectReason::Error(error) => words(&error),
        });
        Ok(())
    }
}
