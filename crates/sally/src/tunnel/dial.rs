//! The far side of a tunnel: dial a relay, prove who we are, hold a name, and take the visitors that it sends.
//!
//! The relay is trusted to reach us and with nothing else: it opens `forwarded-tcpip` channels for the name that we hold, and whatever else it
//! opens is refused.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, Config, DisconnectReason, Handle, Handler, Msg, Session};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{Channel, ChannelId, ChannelStream, Preferred, cipher, compression};
use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use sally_proto::relay::NAME_REQUEST;
use ssh_key::{PrivateKey, PublicKey};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dial::Dialer;
use crate::record::known_hosts;
use crate::term;

/// The port of the name: the one that `ssh -J relay NAME` asks for.
const PORT: u16 = 22;
/// How long a relay has from the first byte to the name.
const LIMIT: Duration = Duration::from_secs(30);
/// A relay that answers nothing for 15 s × 3 is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES_UNANSWERED: usize = 3;
/// How long a relay that refuses may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Visitors that may wait for us to look; more are refused.
const WAITING: usize = 16;

/// How a relay's host key is known.
#[derive(Clone, Debug)]
pub enum HostTrust {
    /// This key and no other.
    Key(Box<PublicKey>),
    /// Whatever this file lists for the host.
    KnownHosts(PathBuf),
}

/// Which relay, and as whom.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The relay.
    pub relay: HostPort,
    /// How its host key is known.
    pub trust: HostTrust,
    /// Our key: an unencrypted OpenSSH private key.
    pub identity: PathBuf,
    /// The name to hold; the relay makes one where there is none.
    pub name: Option<DeviceId>,
}

/// A name that we hold on a relay, for as long as this lives.
pub struct Registration {
    name: DeviceId,
    handle: Handle<Answers>,
    visitors: mpsc::Receiver<Channel<Msg>>,
    lost: Lost,
}

/// Why a name can't be held.
#[derive(Clone, Debug)]
pub struct NotHeld {
    /// The relay's own words where it gave some.
    pub reason: String,
    /// Whether it will be the same next time: the relay is there, and it, or we, said no.
    pub lasting: bool,
}

impl NotHeld {
    fn lasting(reason: String) -> Self {
        Self { reason, lasting: true }
    }
}

impl From<russh::Error> for NotHeld {
    fn from(error: russh::Error) -> Self {
        Self { reason: words(&error), lasting: matches!(error, russh::Error::UnknownKey) }
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
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.token.cancel();
    }

    async fn said_within(&self, limit: Duration) -> Option<String> {
        let _ = tokio::time::timeout(limit, self.token.cancelled()).await; // Perhaps it says nothing.
        self.why()
    }

    /// Whether the other side ended it with words, and not the network.
    async fn dismissed_within(&self, limit: Duration) -> bool {
        self.said_within(limit).await.is_some() && self.dismissed.load(Ordering::Relaxed)
    }

    fn why(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Dial {
    /// Dials, authenticates and registers. `admitted`: bare keys (lines of authorized_keys) that may reach the name beside the relay's own
    /// visitors.
    ///
    /// # Errors
    /// Why not.
    pub async fn register(&self, admitted: &str) -> Result<Registration, NotHeld> {
        let timed = tokio::time::timeout(LIMIT, self.register_in_any_time(admitted)).await;
        timed.unwrap_or_else(|_| Err(NotHeld { reason: format!("no answer within {} s", LIMIT.as_secs()), lasting: false }))
    }

    async fn register_in_any_time(&self, admitted: &str) -> Result<Registration, NotHeld> {
        let key = read_identity(&self.identity).map_err(NotHeld::lasting)?;
        let connected = Dialer::new().connect(self.relay.host(), self.relay.port()).await;
        let tcp = connected.map_err(|reason| NotHeld { reason, lasting: false })?;
        let lost = Lost::default();
        let (sender, visitors) = mpsc::channel(WAITING);
        let answers = Answers { trust: self.trust.clone(), relay: self.relay.clone(), lost: lost.clone(), visitors: sender };
        let registered = self.register_on(tcp, key, answers, admitted).await;
        let (name, handle) = match registered {
            Ok(registered) => registered,
            // What the relay said last explains it better than what failed.
            Err(failed) => return Err(NotHeld { reason: lost.said_within(LAST_WORDS).await.unwrap_or(failed.reason), ..failed }),
        };
        Ok(Registration { name, handle, visitors, lost })
    }

    async fn register_on(
        &self,
        tcp: TcpStream,
        key: PrivateKey,
        answers: Answers,
        admitted: &str,
    ) -> Result<(DeviceId, Handle<Answers>), NotHeld> {
        let lost = answers.lost.clone();
        // Said first, or that we hang up then would be the reason.
        let no = |reason: String| {
            lost.set(reason.clone());
            NotHeld::lasting(reason)
        };
        let mut handle = client::connect_stream(Arc::new(config()), tcp, answers).await?;
        let hash = match key.algorithm() {
            ssh_key::Algorithm::Rsa { .. } => handle.best_supported_rsa_hash().await?.flatten(),
            _ => None,
        };
        let proven = handle.authenticate_publickey("sally", PrivateKeyWithHashAlg::new(Arc::new(key), hash)).await?;
        if !proven.success() {
            return Err(no(format!("it doesn't let in the key of {}", self.identity.display())));
        }
        let name = match ask_for_name(&handle, self.name.as_ref(), admitted).await {
            Ok(name) => name,
            Err(error) => {
                let refused = matches!(error, russh::Error::RequestDenied) || lost.dismissed_within(LAST_WORDS).await;
                return Err(NotHeld { lasting: refused, ..error.into() });
            }
        };
        let name = DeviceId::parse(&name).map_err(|_| no("it gave a name that is none".into()))?;
        if self.name.as_ref().is_some_and(|wanted| *wanted != name) {
            return Err(no(format!("it gave the name {name} and not the one that was asked for")));
        }
        handle.tcpip_forward(name.as_str(), PORT.into()).await?;
        Ok((name, handle))
    }
}

fn read_identity(file: &Path) -> Result<PrivateKey, String> {
    let invalid = |reason: String| format!("the key of {} can't be used: {reason}", file.display());
    let text = std::fs::read(file).map_err(|error| invalid(term::reason(&error)))?;
    let key = PrivateKey::from_openssh(&text).map_err(|error| invalid(error.to_string()))?;
    if key.is_encrypted() { Err(invalid("it is protected by a passphrase".into())) } else { Ok(key) }
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

async fn ask_for_name(handle: &Handle<Answers>, wanted: Option<&DeviceId>, admitted: &str) -> Result<String, russh::Error> {
    let mut data = Vec::new();
    for text in [wanted.map_or("", DeviceId::as_str), admitted] {
        data.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    let answer = handle.send_global_request(NAME_REQUEST, &data, true).await?;
    Ok(String::from_utf8_lossy(answer.as_deref().unwrap_or_default()).into_owned())
}

/// An error in words for people.
fn words(error: &russh::Error) -> String {
    match error {
        russh::Error::UnknownKey => "its host key is not the one that is expected".into(),
        russh::Error::RequestDenied => "it refuses the name".into(),
        russh::Error::Disconnect | russh::Error::SendError => "it closed the connection".into(),
        russh::Error::IO(error) => term::reason(error),
        other => other.to_string(),
    }
}

impl Registration {
    /// The name that we hold.
    pub fn name(&self) -> &DeviceId {
        &self.name
    }

    /// The next visitor; `None` when the relay's connection is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<ChannelStream<Msg>> {
        tokio::select! {
            biased;
            () = self.lost.token.cancelled() => None,
            visitor = self.visitors.recv() => visitor.map(Channel::into_stream),
        }
    }

    /// Takes no more visitors: the name is given up, and whoever waits is refused. Those that are in go on.
    pub async fn close(&mut self) {
        self.visitors.close();
        while let Ok(waiting) = self.visitors.try_recv() {
            drop(waiting.into_stream()); // Which closes it.
        }
        let _ = self.handle.cancel_tcpip_forward(self.name.as_str(), PORT.into()).await; // A relay that is gone has forgotten it.
    }

    /// Waits until the relay's connection has ended; says why. Cancel-safe.
    pub async fn lost(&self) -> String {
        self.lost.token.cancelled().await;
        self.lost.why().unwrap_or_default()
    }
}

/// What we answer a relay: no, but for visitors to our name.
struct Answers {
    trust: HostTrust,
    relay: HostPort,
    lost: Lost,
    visitors: mpsc::Sender<Channel<Msg>>,
}

impl Handler for Answers {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let known = match &self.trust {
            HostTrust::Key(expected) => expected.key_data() == key.key_data(),
            HostTrust::KnownHosts(file) => {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                known_hosts::lists(&text, self.relay.host(), self.relay.port(), key)
            }
        };
        if !known {
            self.lost.set(format!("its host key {} is not known", key.fingerprint(ssh_key::HashAlg::Sha256)));
        }
        Ok(known)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // Only one name was asked for. Where nobody has room for one more, dropping the reply refuses.
        if let Ok(place) = self.visitors.try_reserve() {
            reply.accept().await;
            place.send(channel);
        }
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
