//! Joins a share as a client: dials it, through a relay or directly, checks its host key, logs in, and opens a terminal on it.

mod handler;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, Config, Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use sally_proto::error::exit;
use sally_proto::host_port::HostPort;
use sally_proto::share::JoinLink;
use sally_sys::pty::WindowSize;
use ssh_key::Fingerprint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use self::handler::{ServerWords, ShareClientHandler};
use super::client_keys::{ClientKeys, KeyVerdict};
use super::relay_client::{HostTrust, config, words};
use crate::net::dial::Dialer;
use crate::term;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long a login may take: an agent may ask its user, or wait for a touch. As sshd's LoginGraceTime.
const LOGIN: Duration = Duration::from_secs(120);
/// How long opening a channel and the answers to its requests may take: a relay may wake a device meanwhile.
const OPENING: Duration = Duration::from_secs(60);
/// How long leaving may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// The port of a share's name at a relay.
const PORT: u16 = 22;
/// The most bytes of the share that wait for this terminal.
const WINDOW: u32 = 256 << 10;

/// Why a share can't be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// It can't be reached, or the connection broke.
    Unreachable(String),
    /// The relay's host key is not known.
    RelayHostKey(Fingerprint),
    /// The relay refuses the keys: it knows a viewer's by the share, while that is connected.
    RelayRefuses,
    /// The relay refuses the name, in its own words.
    NameRefused(String),
    /// The share's host key is not the link's.
    ShareHostKey(Fingerprint),
    /// The share refuses the keys.
    ShareRefuses,
    /// The agent has not signed, as one that is locked.
    Agent,
    /// The share refuses a terminal.
    NoTerminal,
}

impl JoinError {
    /// Returns whether another attempt is useless for a viewer who was there already.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::RelayHostKey(_) | Self::ShareHostKey(_) | Self::ShareRefuses | Self::NoTerminal => true,
            Self::Unreachable(_) | Self::RelayRefuses | Self::NameRefused(_) | Self::Agent => false,
        }
    }

    /// Returns whether the relay or the agent refuses, which may ask a person each time.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::RelayRefuses | Self::NameRefused(_) | Self::Agent)
    }
}

impl std::fmt::Display for JoinError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(reason) => f.write_str(reason),
            Self::RelayHostKey(key) => write!(f, "the relay's host key {key} is not known"),
            Self::RelayRefuses => f.write_str("the relay accepts none of the keys"),
            Self::NameRefused(reason) => write!(f, "the relay says: {reason}"),
            Self::ShareHostKey(key) => write!(f, "its host key is {key}"),
            Self::ShareRefuses => f.write_str("the share accepts none of the keys"),
            Self::Agent => f.write_str("the agent has not signed"),
            Self::NoTerminal => f.write_str("what answers doesn't give a terminal"),
        }
    }
}

/// The terminal to join with.
#[derive(Clone, Debug)]
pub struct TerminalRequest {
    /// Its name, `$TERM`.
    pub term: String,
    /// Its size.
    pub size: WindowSize,
}

/// Joins a share, and joins it again.
pub struct ShareDialer {
    link: JoinLink,
    relay: HostTrust,
    keys: ClientKeys,
    /// The keys that the relay and the share accepted: they are offered first.
    accepted: (usize, usize),
}

/// A share that is joined: its output and its input.
pub struct ShareSession {
    /// What the share sends.
    pub output: ShareOutput,
    /// What the share is sent.
    pub input: ShareInput,
}

/// What comes from a share.
#[derive(Debug)]
pub enum ShareEvent {
    /// Bytes for the terminal.
    Data(Bytes),
    /// The share ended for this viewer, with this status.
    Ended(u8),
    /// The connection is lost: why.
    Lost(String),
}

impl ShareDialer {
    /// Makes a dialer. `relay`: how the relay's host key is checked.
    pub fn new(link: JoinLink, relay: HostTrust, keys: ClientKeys) -> Self {
        Self { link, relay, keys, accepted: (0, 0) }
    }

    /// Joins. The banners of relay and share are printed if `shows_banners`.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(&mut self, terminal: &TerminalRequest, shows_banners: bool) -> Result<ShareSession, JoinError> {
        let address = self.link.address.clone();
        let tcp = Dialer::new().connect(address.host(), address.port()).await.map_err(JoinError::Unreachable)?;
        let share = HostTrust::Fingerprint(self.link.host_key);
        let Some(name) = self.link.name.clone() else {
            let mut hop = Hop::connect(tcp, share, &address, JoinError::ShareHostKey).await?;
            self.accepted.1 = hop.log_in(&self.keys, self.accepted.1, shows_banners, JoinError::ShareRefuses).await?;
            return hop.open(terminal, None).await;
        };
        let mut relay = Hop::connect(tcp, self.relay.clone(), &address, JoinError::RelayHostKey).await?;
        self.accepted.0 = relay.log_in(&self.keys, self.accepted.0, shows_banners, JoinError::RelayRefuses).await?;
        let opening = relay.handle.channel_open_direct_tcpip(name.as_str(), PORT.into(), "127.0.0.1", 0);
        let channel = match within(OPENING, opening).await {
            Ok(channel) => channel,
            Err(JoinError::Unreachable(reason)) => {
                let refused = relay.said.refused();
                return Err(refused.map_or(JoinError::Unreachable(reason), JoinError::NameRefused));
            }
            Err(error) => return Err(error),
        };
        let mut hop = Hop::connect(channel.into_stream(), share, &address, JoinError::ShareHostKey).await?;
        self.accepted.1 = hop.log_in(&self.keys, self.accepted.1, shows_banners, JoinError::ShareRefuses).await?;
        hop.open(terminal, Some(relay.handle)).await
    }
}

/// Does one step in a limited time.
async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, russh::Error>>) -> Result<T, JoinError> {
    match timeout(limit, step).await {
        Ok(done) => done.map_err(|error| JoinError::Unreachable(words(&error))),
        Err(_) => Err(JoinError::Unreachable(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// A connection to the relay or to the share.
struct Hop {
    handle: Handle<ShareClientHandler>,
    said: Arc<ServerWords>,
}

impl Hop {
    async fn connect<S>(stream: S, trust: HostTrust, host: &HostPort, wrong: fn(Fingerprint) -> JoinError) -> Result<Self, JoinError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let said = Arc::<ServerWords>::default();
        let handler = ShareClientHandler { trust, host: host.clone(), said: Arc::clone(&said) };
        let config = Config { window_size: WINDOW, ..config() };
        let connected = within(HANDSHAKE, client::connect_stream(Arc::new(config), stream, handler)).await;
        let wrong_key = said.wrong_key();
        match (connected, wrong_key) {
            (_, Some(key)) => Err(wrong(key)),
            (Ok(handle), None) => Ok(Self { handle, said }),
            (Err(JoinError::Unreachable(reason)), None) => Err(JoinError::Unreachable(said.last().await.unwrap_or(reason))),
            (Err(error), None) => Err(error),
        }
    }

    /// Logs in; returns the place of the key that was accepted.
    async fn log_in(&mut self, keys: &ClientKeys, first: usize, shows_banner: bool, refused: JoinError) -> Result<usize, JoinError> {
        let logged_in = within(LOGIN, keys.log_in(&mut self.handle, first)).await;
        let banner = self.said.banner();
        if shows_banner && !banner.is_empty() {
            term::say(banner.trim_end());
        }
        match logged_in {
            Ok(KeyVerdict::Accepted(place)) => Ok(place),
            Ok(KeyVerdict::Refused) => Err(refused),
            Ok(KeyVerdict::Unsigned) => Err(JoinError::Agent),
            Err(JoinError::Unreachable(reason)) => Err(JoinError::Unreachable(self.said.last().await.unwrap_or(reason))),
            Err(error) => Err(error),
        }
    }

    /// Opens a terminal. `relay` is the connection that carries this one.
    async fn open(self, terminal: &TerminalRequest, relay: Option<Handle<ShareClientHandler>>) -> Result<ShareSession, JoinError> {
        let mut channel = within(OPENING, self.handle.channel_open_session()).await?;
        let (columns, rows, pixels) = (terminal.size.columns.into(), terminal.size.rows.into(), terminal.size.pixels);
        let asking = async {
            channel.request_pty(true, &terminal.term, columns, rows, pixels.0.into(), pixels.1.into(), &[]).await?;
            channel.request_shell(true).await?;
            let mut granted = 0;
            while granted < 2 {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => granted += 1,
                    Some(ChannelMsg::Failure) => return Ok(false),
                    None | Some(ChannelMsg::Close) => return Err(russh::Error::Disconnect),
                    Some(_) => {}
                }
            }
            Ok(true)
        };
        if !within(OPENING, asking).await? {
            return Err(JoinError::NoTerminal);
        }
        let (read, write) = channel.split();
        let output = ShareOutput { read, status: None, said: Arc::clone(&self.said) };
        Ok(ShareSession { output, input: ShareInput { handle: self.handle, write, _relay: relay } })
    }
}

/// What a share sends.
pub struct ShareOutput {
    read: ChannelReadHalf,
    status: Option<u8>,
    said: Arc<ServerWords>,
}

impl ShareOutput {
    /// Returns what comes next. Cancel-safe.
    pub async fn next(&mut self) -> ShareEvent {
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => return ShareEvent::Data(data),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(u8::try_from(exit_status).unwrap_or(exit::CONNECTION)),
                Some(ChannelMsg::ExitSignal { .. }) => self.status = Some(exit::CONNECTION),
                None | Some(ChannelMsg::Close) => {
                    let Some(status) = self.status else {
                        return ShareEvent::Lost(self.said.last().await.unwrap_or_else(|| "the connection ended".into()));
                    };
                    return ShareEvent::Ended(status);
                }
                Some(_) => {}
            }
        }
    }
}

/// What a share is sent.
pub struct ShareInput {
    handle: Handle<ShareClientHandler>,
    write: ChannelWriteHalf<Msg>,
    /// The connection to the relay ends with this.
    _relay: Option<Handle<ShareClientHandler>>,
}

impl ShareInput {
    /// Sends what was typed; waits while the share takes nothing. What a lost connection takes is gone.
    pub async fn send(&self, typed: Bytes) {
        let _ = self.write.data_bytes(typed).await; // The output says that the connection is lost.
    }

    /// Tells the size of the window.
    pub async fn resize(&self, size: WindowSize) {
        let pixels = size.pixels;
        let _ = self.write.window_change(size.columns.into(), size.rows.into(), pixels.0.into(), pixels.1.into()).await;
    }

    /// Returns whether the share answers in time.
    pub async fn answers(&self, limit: Duration) -> bool {
        timeout(limit, self.handle.send_ping()).await.is_ok_and(|sent| sent.is_ok() && !self.handle.is_closed())
    }

    /// Leaves.
    pub async fn leave(&self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "the viewer left", "en");
        let _ = timeout(GOODBYE, goodbye).await; // The share may be gone.
    }
}
