//! Connects out from here for the client: `direct-tcpip` (RFC 4254 section 7.2) and `direct-streamlocal@openssh.com` (OpenSSH's PROTOCOL).

use std::fmt;

use russh::Channel;
use russh::server::{ChannelOpenHandle, Msg};
use sally_proto::record::ForwardDirection;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use super::super::connection::{AuthenticatedClient, ClientConnection, ConnectionError};
use super::super::visits::Visits;
use super::{
    CONNECT_FAILED, CONNECTIONS, Forwards, NOT_ALLOWED, NOT_PERMITTED, PROHIBITED, RecordedForward, SHORTAGE, Socket, host_and_port,
    refusal,
};
use crate::net::dial::Dialer;
use crate::session::service::SessionService;
use crate::term;

/// The destination that the client asks for.
pub(in crate::ssh) enum ForwardTarget {
    /// A host, by name or address, and a port.
    Port(String, u32),
    /// A Unix socket of this machine.
    Path(String),
}

impl fmt::Display for ForwardTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(host, port) => f.write_str(&host_and_port(host, *port)),
            Self::Path(path) => f.write_str(path),
        }
    }
}

impl ForwardTarget {
    fn channel_type(&self) -> &'static str {
        match self {
            Self::Port(..) => "direct-tcpip",
            Self::Path(_) => "direct-streamlocal",
        }
    }

    async fn connect(&self, dialer: &Dialer) -> Result<Socket, String> {
        match self {
            Self::Port(host, port) => {
                let port = u16::try_from(*port).map_err(|_| "there is no such port")?;
                dialer.connect(host, port).await.map(Socket::Tcp)
            }
            Self::Path(path) => UnixStream::connect(path).await.map(Socket::Unix).map_err(|error| term::reason(&error)),
        }
    }
}

impl<V: Visits, S: SessionService> ClientConnection<V, S> {
    /// Answers a refusal at once, and the rest when the connection is made or has failed. `origin`: the address that connected to the
    /// client, as the client says.
    pub(in crate::ssh) async fn open_local(
        &mut self,
        target: ForwardTarget,
        origin: Option<String>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Result<(), ConnectionError> {
        let may = self.may_open(&target);
        let Some(AuthenticatedClient { forwards: Forwards { forwarder, .. }, .. }) = &self.client else { return Ok(()) };
        let slot = match may {
            Ok(()) => forwarder.slot().ok_or((SHORTAGE, format!("{CONNECTIONS} forwarded connections are open, which is the limit"))),
            Err(why) => Err((PROHIBITED, why.into())),
        };
        let slot = match slot {
            Ok(slot) => slot,
            Err((code, why)) => {
                self.refuse(target.channel_type(), &format!("{target}: {why}"))?;
                reply.reject(refusal(code, why)).await;
                return Ok(());
            }
        };
        let forward = forwarder.begin(ForwardDirection::Local, &target.to_string(), origin.as_deref())?;
        tokio::spawn(connect(forward, target, channel, reply, slot));
        Ok(())
    }

    fn may_open(&self, target: &ForwardTarget) -> Result<(), &'static str> {
        let grant = self.grant().filter(|_| self.server.shared.rules.allowed.local).ok_or(NOT_ALLOWED)?;
        let permitted = match target {
            ForwardTarget::Port(host, port) => u16::try_from(*port).is_ok_and(|port| grant.allows_open(host, port)),
            // A relative path would depend on our working directory.
            ForwardTarget::Path(path) => path.starts_with('/') && grant.allows_open_socket(),
        };
        permitted.then_some(()).ok_or(NOT_PERMITTED)
    }
}

async fn connect(
    forward: RecordedForward,
    target: ForwardTarget,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    _slot: OwnedSemaphorePermit,
) {
    match forward.unless_over(target.connect(forward.forwarder.shared.dialer())).await {
        Ok(Ok(socket)) => {
            if forward.opened().is_ok() {
                reply.accept().await;
                forward.carry(channel, socket).await;
            } else {
                forward.fail("not on the record");
            }
        }
        Ok(Err(why)) => {
            reply.reject(refusal(CONNECT_FAILED, why.clone())).await;
            forward.fail(format!("connect failed: {why}"));
        }
        Err(over) => forward.fail(over),
    }
}
