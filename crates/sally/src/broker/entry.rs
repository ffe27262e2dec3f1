//! Handles a connection from its first byte to the answer to CONNECT, within one deadline. The memory that this needs is freed before the
//! session begins.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::ConnectReturnCode as Code;
use sally_proto::broker::{BrokerClient, Connect, ConnectRefusal, NotConnected, connect, keepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::mailbox::{DeliveryTarget, Mailbox};
use super::session::{BrokerSession, HubMembership};
use super::{BrokerState, access, codec};
use crate::term;

/// The most bytes that TLS buffers for a client that doesn't read: more than is ever unsent.
const TLS_BUFFER: usize = 32 << 10;
/// The bytes of a CONNECT that are read at once.
const READ: usize = 512;

/// The time in which a refused client can read the reason.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The bytes from the client that are discarded in that time: closing with unread bytes would discard the answer.
const THROWN_AWAY: usize = 64 << 10;

/// The reason why a client isn't admitted.
pub(super) struct TurnedAway {
    /// The word for counters.
    pub(super) word: &'static str,
    /// The detail for logs.
    pub(super) detail: String,
}

impl From<&'static str> for TurnedAway {
    fn from(word: &'static str) -> Self {
        Self { word, detail: String::new() }
    }
}

impl TurnedAway {
    fn because(word: &'static str, detail: impl ToString) -> Self {
        Self { word, detail: detail.to_string() }
    }
}

/// A session that runs until its connection ends.
pub(super) type SessionFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Admits a client, and returns its session.
///
/// # Errors
/// The reason why it isn't admitted.
pub(super) async fn enter(tcp: TcpStream, shared: &Arc<BrokerState>) -> Result<SessionFuture, TurnedAway> {
    tcp.set_nodelay(true).map_err(|_| "lost")?;
    let Some(access) = &shared.access else {
        let client = |connect: &Connect, _| BrokerClient::unproven(&connect.client_id).ok_or(Code::BadClientId);
        return introduce(tcp, shared, 0, client).await;
    };
    let tls = TlsAcceptor::from(access.tls().ok_or("no_revocation_list")?);
    let accepted = tls.accept_with(tcp, |connection| connection.set_buffer_limit(Some(TLS_BUFFER))).await;
    let stream = accepted.map_err(|error| TurnedAway::because("tls", error))?;
    let (name, serial) = access::identity(stream.get_ref().1).ok_or("no_name")?;
    let client = |connect: &Connect, connection| {
        // All relays have one name; a relay without a client identifier gets a unique one, so that it replaces no other.
        let id = if connect.client_id.is_empty() { format!("#{connection}") } else { connect.client_id.clone() };
        BrokerClient::named(&name, &id).ok_or(Code::NotAuthorized)
    };
    introduce(stream, shared, serial, client).await
}

/// Reads the CONNECT, identifies the client, and gives it its place in the hub.
async fn introduce<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    shared: &Arc<BrokerState>,
    serial: u64,
    who: impl FnOnce(&Connect, u64) -> Result<BrokerClient, Code>,
) -> Result<SessionFuture, TurnedAway> {
    let mut bytes = Vec::new();
    let (connect, length) = loop {
        match connect(&bytes) {
            Ok(Some(connect)) => break connect,
            Ok(None) => {}
            Err(fault @ NotConnected::Version) => {
                return refuse(stream, Code::RefusedProtocolVersion, TurnedAway::because("version", fault)).await;
            }
            Err(fault @ NotConnected::Identifier(_)) => {
                return refuse(stream, Code::BadClientId, TurnedAway::because("identifier", fault)).await;
            }
            Err(fault @ NotConnected::Malformed(_)) => return Err(TurnedAway::because("malformed", fault)),
        }
        let mut more = [0; READ];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return Err("lost".into()),
            Ok(read) => bytes.extend_from_slice(more.get(..read).unwrap_or_default()),
        }
    };
    let connection = shared.number();
    let client = match who(&connect, connection) {
        Ok(client) => client,
        Err(code) => {
            let detail = format!("no client may have the identifier '{}' here", term::excerpt(&connect.client_id));
            return refuse(stream, code, TurnedAway::because("nobody", detail)).await;
        }
    };
    if !shared.hub().knows(&client) {
        // It may have been added a moment ago. The task that looks at the files regularly reports errors in them.
        let _ = shared.look(false).await;
    }
    let silence_limit = keepalive(connect.keepalive, shared.limits.keepalive);
    let mailbox = Arc::new(Mailbox::default());
    let way = DeliveryTarget::to(&client, Arc::clone(&mailbox));
    let entered = shared.hub().connect(&client, connection, serial, connect.will, way);
    if let Err(why) = entered {
        let code = if why == ConnectRefusal::Full { Code::ServiceUnavailable } else { Code::NotAuthorized };
        return refuse(stream, code, TurnedAway::because(why.word(), term::one_line(&client.to_string()))).await;
    }
    shared.counters.entered.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%client, "connected");
    let mut unsent = BytesMut::with_capacity(4);
    codec::write_connack(Code::Success, &mut unsent);
    let rest = bytes.split_off(length);
    let place = HubMembership { shared: Arc::clone(shared), client, connection, mailbox };
    Ok(Box::pin(BrokerSession::new(stream, place, rest, unsent, silence_limit)))
}

/// Answers with the code, and closes the connection.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, code: Code, why: TurnedAway) -> Result<SessionFuture, TurnedAway> {
    let mut answer = BytesMut::new();
    codec::write_connack(code, &mut answer);
    let said = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(THROWN_AWAY as u64), &mut tokio::io::sink()).await
    };
    // The client is refused even if it doesn't take the answer.
    let _ = tokio::time::timeout(LAST_WORDS, said).await;
    Err(why)
}
