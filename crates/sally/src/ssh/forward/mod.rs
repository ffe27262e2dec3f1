//! Forwards connections: what `--allow` opens, as far as the user's key permits it.
//!
//! Each forward is recorded before any of it happens; its bytes are counted and hashed before they are delivered; it ends with the visit.
//!
//! - `local`: `ssh -L`, `-D`, `-W`: connects out from here for the client
//! - `remote`: `ssh -R`: passes connections that come in here to the client
//! - `listener`: the sockets for `remote` and `agent`
//! - `agent`: `ssh -A`: forwards the user's agent to a session

mod agent;
mod listener;
mod local;
mod remote;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use russh::server::Msg;
use russh::{Channel, ChannelOpenFailure};
use sally_proto::record::{AuditEvent, ForwardDirection};
use sally_proto::visit::{Part, VisitEvent};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub(super) use agent::AgentSocket;
pub(super) use listener::ListenAddress;
pub(super) use local::ForwardTarget;
pub(super) use remote::Listening;

use super::server::ServerState;
use crate::net::splice::{Meter, SocketSink, SocketSource, splice};
use crate::record::{RecordError, Recorder};
use crate::session::visit::Visit;
use crate::tunnel::channel::ends;

/// The most forwarded connections at once, including those about to open: a browser through `ssh -D` keeps some dozens. Each may hold a
/// window of the client's bytes.
const CONNECTIONS: usize = 128;
/// The most ports and sockets listened on at once for the client: a user has no need for more `-R`.
const LISTENERS: usize = 16;
/// `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED`, `SSH_OPEN_CONNECT_FAILED` and `SSH_OPEN_RESOURCE_SHORTAGE` (RFC 4254 section 5.1), which the
/// library sends without a text.
pub(super) const PROHIBITED: u32 = 1;
pub(super) const CONNECT_FAILED: u32 = 2;
pub(super) const SHORTAGE: u32 = 4;

/// The refusal if `--allow` doesn't open it.
const NOT_ALLOWED: &str = "forwarding is not allowed here";
/// The refusal if the options of the key or of the certificate forbid it.
const NOT_PERMITTED: &str = "not permitted for this key";

/// What `--allow` opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Connections from here for the client.
    pub local: bool,
    /// Ports and sockets here that lead to the client.
    pub remote: bool,
    /// The user's agent.
    pub agent: bool,
}

/// The forwards of one connection.
pub(super) struct Forwards {
    forwarder: Forwarder,
    listening: HashMap<ListenAddress, Listening>,
}

impl Forwards {
    pub(super) fn new(shared: Arc<ServerState>, visit: Arc<Visit>) -> Self {
        let (slots, gone) = (Arc::new(Semaphore::new(CONNECTIONS)), visit.gone().child_token());
        let forwarder = Forwarder { shared, visit, slots, gone, why_gone: "the visitor left" };
        Self { forwarder, listening: HashMap::new() }
    }

    /// Ends all forwards of the connection, which is over.
    pub(super) fn end(&self) {
        self.forwarder.gone.cancel();
    }
}

/// The state that the tasks of one connection's forwards share.
#[derive(Clone)]
struct Forwarder {
    shared: Arc<ServerState>,
    visit: Arc<Visit>,
    slots: Arc<Semaphore>,
    /// Cancelled when the connection or session that the forwards belong to is over.
    gone: CancellationToken,
    why_gone: &'static str,
}

impl Forwarder {
    /// Returns a permit for one more connection, if there is one.
    fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Records a forward, before any of it happens.
    fn begin(&self, direction: ForwardDirection, target: &str, origin: Option<&str>) -> Result<RecordedForward, RecordError> {
        let id = self.shared.next_forward();
        self.audit(&AuditEvent::Forward { id, direction, target: target.into(), origin: origin.map(Into::into) })?;
        self.visit.note(VisitEvent::Began(Part::Forward));
        Ok(RecordedForward { id, began: Instant::now(), forwarder: self.clone(), recorder: self.shared.recorder.clone() })
    }

    fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.visit.audit(&self.shared.recorder, event)
    }

    /// Waits until no forward may go on; returns why. Cancel-safe.
    async fn over(&self) -> String {
        tokio::select! {
            biased;
            fault = self.visit.stopped() => fault.to_string(),
            () = self.gone.cancelled() => self.why_gone.into(),
        }
    }
}

/// A forward that is on the record. Its holder must call [`RecordedForward::end`].
struct RecordedForward {
    id: u64,
    began: Instant,
    forwarder: Forwarder,
    /// The recorder: if a task panics while it holds this, the record is broken off.
    recorder: Recorder,
}

impl RecordedForward {
    /// Does `work`; returns why not, if forwards have to stop first.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            biased;
            over = self.forwarder.over() => Err(over),
            done = work => Ok(done),
        }
    }

    fn opened(&self) -> Result<(), RecordError> {
        self.forwarder.audit(&AuditEvent::ForwardOpen { id: self.id })
    }

    /// Carries bytes between a channel and a socket until both ways have ended.
    async fn carry(self, channel: Channel<Msg>, socket: Socket) {
        match socket {
            Socket::Tcp(stream) => self.join(channel, stream.into_split()).await,
            Socket::Unix(stream) => self.join(channel, stream.into_split()).await,
        }
    }

    async fn join<R, W>(self, channel: Channel<Msg>, (reader, writer): (R, W))
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let (source, sink, closer) = ends(channel);
        let socket = (SocketSource::new(reader), SocketSink(writer));
        let meter = || Meter::hashing(self.recorder.digest()).watched(self.forwarder.visit.activity.clone());
        let (mut received, mut sent) = (meter(), meter());
        let reason = match self.unless_over(splice((source, sink), socket, &mut received, &mut sent)).await {
            Ok(Ok(())) => None,
            Ok(Err(over)) => Some(over.to_string()),
            Err(over) => Some(over),
        };
        // If the connection is over or stuck, there is nothing to close.
        let _ = self.unless_over(closer.close()).await;
        self.end(&sent, &received, reason);
    }

    /// Ends a forward that carried no bytes.
    fn fail(self, reason: impl Into<String>) {
        self.end(&Meter::default(), &Meter::default(), Some(reason.into()));
    }

    /// Records the end, then tells the visit.
    fn end(self, sent: &Meter, received: &Meter, reason: Option<String>) {
        let Self { id, began, forwarder, .. } = self;
        let ((sent_sha256, sent_blake3), (received_sha256, received_blake3)) = (sent.digest(), received.digest());
        let event = AuditEvent::ForwardEnd {
            id,
            sent: sent.bytes(),
            received: received.bytes(),
            sent_sha256,
            sent_blake3,
            received_sha256,
            received_blake3,
            lasted: u64::try_from(began.elapsed().as_millis()).ok(),
            reason,
        };
        // A failed record ends the visit: `audit` has asked for that.
        let _ = forwarder.audit(&event);
        forwarder.visit.note(VisitEvent::ForwardEnded);
    }
}

/// The local side of a forwarded connection.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub(super) fn refusal(code: u32, reason: impl Into<String>) -> ChannelOpenFailure {
    ChannelOpenFailure::Other { code, reason: reason.into() }
}

/// Formats host and port as a user types them: an IPv6 address in brackets.
pub(super) fn host_and_port(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
