//! Passes connections that come in here to the client: `tcpip-forward` (RFC 4254 section 7.1) and `streamlocal-forward@openssh.com`
//! (OpenSSH's PROTOCOL).

use std::time::Duration;

use russh::Channel;
use russh::server::{Handle, Msg};
use sally_proto::record::ForwardDirection;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::connection::{AuthenticatedClient, ClientConnection, ConnectionError};
use super::super::visits::Visits;
use super::listener::{ForwardOrigin, ListenAddress, Listener};
use super::{Forwarder, LISTENERS, NOT_ALLOWED, NOT_PERMITTED, RecordedForward, Socket};
use crate::net::accept::ACCEPT_PAUSE;
use crate::record::RecordError;
use crate::session::service::SessionService;

/// How long the client may take to answer that a connection came: it connects onwards, and TCP gives up after some two minutes.
const ANSWER_LIMIT: Duration = Duration::from_secs(150);

/// A task that accepts connections. It ends by [`Listening::stop`], or with the visit.
pub(in crate::ssh) struct Listening {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Listening {
    /// Ends the task. When this returns, the socket is closed.
    pub(in crate::ssh) async fn stop(self) {
        self.stop.cancel();
        // The task can only have ended.
        let _ = self.task.await;
    }
}

impl<V: Visits, S: SessionService> ClientConnection<V, S> {
    /// Begins to listen; returns the port, or 0 for a Unix socket. `None` if it is refused.
    pub(in crate::ssh) async fn listen(&mut self, place: ListenAddress, connection: Handle) -> Result<Option<u32>, ConnectionError> {
        let (listener, port) = match self.may_listen(&place).and_then(|()| place.bind()) {
            Ok(bound) => bound,
            Err(why) => {
                self.refuse(place.request(), &format!("{}: {why}", place.wanted()))?;
                return Ok(None);
            }
        };
        let place = match place {
            ListenAddress::Port(address, _) => ListenAddress::Port(address, port),
            path @ ListenAddress::Path(_) => path,
        };
        let Some(AuthenticatedClient { forwards, .. }) = &mut self.client else { return Ok(None) };
        let inward = Inward { direction: ForwardDirection::Remote, target: listener.name(), towards: Towards::Place(place.clone()) };
        let listening = forwards.forwarder.serve(listener, inward, connection, CancellationToken::new())?;
        forwards.listening.insert(place, listening);
        Ok(Some(port))
    }

    /// Stops listening; connections that came through it go on. Returns false if nothing listens there.
    pub(in crate::ssh) async fn unlisten(&mut self, place: &ListenAddress) -> bool {
        match self.client.as_mut().and_then(|client| client.forwards.listening.remove(place)) {
            // This takes a moment: the task only closes its sockets.
            Some(listening) => listening.stop().await,
            None => return false,
        }
        true
    }

    fn may_listen(&self, place: &ListenAddress) -> Result<(), String> {
        let client = self.client.as_ref().filter(|_| self.server.shared.rules.allowed.remote).ok_or(NOT_ALLOWED)?;
        let AuthenticatedClient { grant, forwards, .. } = client;
        let permitted = match place {
            ListenAddress::Port(address, port) => u16::try_from(*port).is_ok_and(|port| grant.allows_listen(address, port)),
            ListenAddress::Path(path) => path.starts_with('/') && grant.allows_listen_socket(),
        };
        if !permitted {
            return Err(NOT_PERMITTED.into());
        }
        if forwards.listening.contains_key(place) {
            return Err("it is listened on already".into());
        }
        if forwards.listening.len() >= LISTENERS {
            return Err(format!("{LISTENERS} ports and sockets are open, which is the limit"));
        }
        Ok(())
    }
}

/// Where connections that come in lead.
#[derive(Clone)]
pub(super) struct Inward {
    pub(super) direction: ForwardDirection,
    /// The place that they come in at, for the record.
    pub(super) target: String,
    pub(super) towards: Towards,
}

/// The kind of channel that carries them.
#[derive(Clone)]
pub(super) enum Towards {
    /// `forwarded-tcpip` or `forwarded-streamlocal@openssh.com`, with the place as the client named it.
    Place(ListenAddress),
    /// `auth-agent@openssh.com`.
    Agent,
}

impl Towards {
    async fn open(&self, connection: &Handle, origin: &ForwardOrigin) -> Result<Channel<Msg>, russh::Error> {
        match (self, origin) {
            (Self::Place(ListenAddress::Port(address, port)), ForwardOrigin::Peer(peer)) => {
                let (ip, from) = (peer.ip().to_string(), u32::from(peer.port()));
                connection.channel_open_forwarded_tcpip(address.as_str(), *port, ip, from).await
            }
            (Self::Place(ListenAddress::Path(path) | ListenAddress::Port(path, _)), _) => {
                connection.channel_open_forwarded_streamlocal(path.as_str()).await
            }
            (Self::Agent, _) => connection.channel_open_agent().await,
        }
    }
}

impl Forwarder {
    /// Records the forward, and accepts until `stop`.
    pub(super) fn serve(
        &self,
        listener: Listener,
        inward: Inward,
        connection: Handle,
        stop: CancellationToken,
    ) -> Result<Listening, RecordError> {
        let forward = self.begin(inward.direction, &inward.target, None)?;
        let task = tokio::spawn(accept(forward, listener, inward, connection, stop.clone()));
        Ok(Listening { stop, task })
    }
}

async fn accept(forward: RecordedForward, listener: Listener, inward: Inward, connection: Handle, stop: CancellationToken) {
    let forwarder = forward.forwarder.clone();
    let reason = loop {
        // When all slots are taken, one connection is accepted and waits here for a slot; later ones wait in the kernel.
        let next = async { (listener.accept().await, forwarder.slots.clone().acquire_owned().await) };
        let (accepted, slot) = tokio::select! {
            biased;
            over = forwarder.over() => break over,
            () = stop.cancelled() => break "cancelled".into(),
            next = next => next,
        };
        match (accepted, slot) {
            (Ok((socket, origin)), Ok(slot)) => {
                if let Err(error) = offer(&forwarder, &inward, &connection, (socket, origin), slot) {
                    break error.to_string();
                }
            }
            (Err(error), _) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (_, Err(closed)) => break closed.to_string(),
        }
    };
    drop(listener);
    forward.fail(reason);
}

/// Asks the client to take a connection that came in.
fn offer(
    forwarder: &Forwarder,
    inward: &Inward,
    connection: &Handle,
    (socket, origin): (Socket, ForwardOrigin),
    slot: OwnedSemaphorePermit,
) -> Result<(), RecordError> {
    let forward = forwarder.begin(inward.direction, &inward.target, origin.on_record().as_deref())?;
    let (towards, connection) = (inward.towards.clone(), connection.clone());
    tokio::spawn(async move {
        let _slot = slot;
        let opened = forward.unless_over(tokio::time::timeout(ANSWER_LIMIT, towards.open(&connection, &origin))).await;
        match opened {
            Ok(Ok(Ok(channel))) => match forward.opened() {
                Ok(()) => forward.carry(channel, socket).await,
                Err(error) => forward.fail(error.to_string()),
            },
            Ok(Ok(Err(error))) => forward.fail(format!("the visitor did not take it: {error}")),
            Ok(Err(_)) => forward.fail("the visitor did not answer"),
            Err(over) => forward.fail(over),
        }
    });
    Ok(())
}
