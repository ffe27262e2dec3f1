//! Answers a relay or a share whose client joins: checks the host key, keeps what it says, and refuses all that it opens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use sally_proto::host_port::HostPort;
use ssh_key::{Fingerprint, HashAlg};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::lock::lock;
use crate::term;
use crate::tunnel::relay_client::{HostTrust, words};

/// How long a server that refuses may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How much of the banners before a login is kept, in characters.
const BANNER: usize = 4096;

/// What a server has said.
#[derive(Debug, Default)]
pub(super) struct ServerWords {
    words: Mutex<Words>,
    /// Cancelled when the connection has ended.
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Words {
    wrong_key: Option<Fingerprint>,
    banner: String,
    refused: Option<String>,
    dismissed: Option<String>,
}

impl ServerWords {
    /// Returns the host key that was shown in place of the expected one.
    pub(super) fn wrong_key(&self) -> Option<Fingerprint> {
        lock(&self.words).wrong_key
    }

    /// Takes what the server said before the login.
    pub(super) fn banner(&self) -> String {
        std::mem::take(&mut lock(&self.words).banner)
    }

    /// Takes why the server refused a channel.
    pub(super) fn refused(&self) -> Option<String> {
        lock(&self.words).refused.take()
    }

    /// Returns why the connection ended, in the server's words if it said some; waits a moment for them.
    pub(super) async fn last(&self) -> Option<String> {
        let _ = timeout(LAST_WORDS, self.ended.cancelled()).await; // The server may say nothing.
        lock(&self.words).dismissed.clone()
    }
}

/// Answers a relay or a share: checks the host key, and refuses all that the server opens.
pub(super) struct ShareClientHandler {
    pub(super) trust: HostTrust,
    pub(super) host: HostPort,
    pub(super) said: Arc<ServerWords>,
}

impl Handler for ShareClientHandler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let knows = self.trust.knows(&self.host, key);
        if !knows {
            lock(&self.said.words).wrong_key = Some(key.fingerprint(HashAlg::Sha256));
        }
        Ok(knows)
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut Session) -> Result<(), russh::Error> {
        let mut said = lock(&self.said.words);
        let room = BANNER.saturating_sub(said.banner.chars().count());
        said.banner.extend(banner.chars().filter(|c| *c != '\r').take(room));
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        _: ChannelOpenFailure,
        description: &str,
        _: &str,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        lock(&self.said.words).refused = Some(term::excerpt(description));
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
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

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let words = match reason {
            DisconnectReason::ReceivedDisconnect(info) => term::excerpt(&info.message),
            DisconnectReason::Error(error) => words(&error),
        };
        lock(&self.said.words).dismissed.get_or_insert(words);
        self.said.ended.cancel();
        Ok(())
    }
}
