//! Lets others use the connection of a client at a relay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{Channel, Disconnect};
use tokio_util::sync::CancellationToken;

use super::channel::{ChannelCloser, ChannelSink, ChannelSource, ends};

/// How long sending a DISCONNECT with its text may take before the connection is cut.
const GOODBYE: Duration = Duration::from_secs(1);

/// A channel of a client's connection, to splice and then to close.
pub(crate) struct PeerChannel {
    pub(crate) ends: (ChannelSource, ChannelSink<Msg>),
    pub(crate) closer: PeerChannelCloser,
}

/// Closes a channel of a line.
pub(crate) type PeerChannelCloser = ChannelCloser<Msg>;

impl From<Channel<Msg>> for PeerChannel {
    fn from(channel: Channel<Msg>) -> Self {
        let (source, sink, closer) = ends(channel);
        Self { ends: (source, sink), closer }
    }
}

/// Why a channel could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// The client refused.
    Refused,
    /// The client did not answer in time.
    NoAnswer,
    /// The connection is gone.
    Gone,
}

/// A connection that channels can be opened on.
#[derive(Clone, Debug)]
pub struct PeerHandle {
    handle: Handle,
    heard: Arc<AtomicU64>,
    cut: CancellationToken,
}

impl PeerHandle {
    /// Makes a handle. `heard` counts what the connection has received; `cut` ends it at once.
    pub fn new(handle: Handle, heard: Arc<AtomicU64>, cut: CancellationToken) -> Self {
        Self { handle, heard, cut }
    }

    /// Opens a `forwarded-tcpip` channel (RFC 4254 section 7.2), with the address byte for byte as the client gave it in its
    /// `tcpip-forward`.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub(crate) async fn open(&self, address: &str, port: u16, originator: SocketAddr, within: Duration) -> Result<PeerChannel, NotOpened> {
        let from = originator.ip().to_canonical().to_string();
        let opening = self.handle.channel_open_forwarded_tcpip(address, port.into(), from, originator.port().into());
        match tokio::time::timeout(within, opening).await {
            Ok(Ok(channel)) => Ok(channel.into()),
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => Err(NotOpened::Refused),
            Ok(Err(_)) => Err(NotOpened::Gone),
            Err(_) => Err(NotOpened::NoAnswer),
        }
    }

    /// Asks whether the client is alive. Any byte that arrives meanwhile counts as an answer: a busy line may answer slowly.
    pub async fn answers(&self, within: Duration) -> bool {
        let before = self.heard.load(Ordering::Relaxed);
        match tokio::time::timeout(within, self.handle.send_ping()).await {
            Ok(answered) => answered.is_ok(),
            Err(_) => self.heard.load(Ordering::Relaxed) != before && !self.cut.is_cancelled(),
        }
    }

    /// Waits until the connection is over. Cancel-safe.
    pub(crate) async fn gone(&self) {
        self.cut.cancelled().await;
    }

    /// Ends the connection with a message for the client's user.
    pub fn dismiss(&self, words: &str) {
        let (line, words) = (self.clone(), words.to_owned());
        tokio::spawn(async move {
            let goodbye = line.handle.disconnect(Disconnect::ByApplication, words, "en".into());
            let said = tokio::time::timeout(GOODBYE, goodbye).await;
            if matches!(said, Ok(Ok(()))) {
                let _ = tokio::time::timeout(GOODBYE, line.cut.cancelled()).await; // Usually the client closes it first.
            }
            line.cut.cancel();
        });
    }
}
