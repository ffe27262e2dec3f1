//! Carries one visitor to what they want to reach.

use sally_proto::host_port::HostPort;
use tokio_util::sync::CancellationToken;

use super::bundle::Ssh;
use super::session::{CROWDED, Sessions};
use super::tunnel::ServedPorts;
use crate::net::dial::Dialer;
use crate::net::splice::{ByteSink, ByteSource, Meter, SocketSink, SocketSource, splice};
use crate::tunnel::channel::ends;
use crate::tunnel::relay_client::IncomingChannel;

/// The port that leads to the device's SSH server.
const SSH: u16 = 22;

/// Carries a visitor to the port that they want to reach, or refuses them.
pub(super) async fn carry(visitor: IncomingChannel, ports: ServedPorts) {
    // The device checks the port itself: the relay may ask for one that isn't exposed.
    let Some(port) = u16::try_from(visitor.port()).ok().filter(|port| ports.exposed.contains(port)) else {
        tracing::warn!(port = visitor.port(), "the relay asks for a port that is not exposed");
        return;
    };
    let local = HostPort::loopback(port);
    let carried = match (port, &ports.ssh) {
        (SSH, Ssh::Session(sessions)) => to_session(visitor, sessions).await,
        (SSH, Ssh::At(to)) => to_socket(visitor, to).await,
        _ => to_socket(visitor, &local).await,
    };
    match carried {
        Ok((inward, outward)) => tracing::info!(port, inward, outward, "a visit ended"),
        Err(reason) => tracing::warn!(port, reason, "a visitor is refused"),
    }
}

async fn to_socket(visitor: IncomingChannel, to: &HostPort) -> Result<(u64, u64), String> {
    let tcp = Dialer::new().connect(to.host(), to.port()).await.map_err(|reason| format!("{to}: {reason}"))?;
    let (read, write) = tcp.into_split();
    Ok(join(visitor, SocketSource::new(read), SocketSink(write), &CancellationToken::new()).await)
}

async fn to_session(visitor: IncomingChannel, sessions: &Sessions) -> Result<(u64, u64), String> {
    let (stream, session) = sessions.begin(visitor.from()).await?;
    let (read, write) = stream.into_split();
    let carried = join(visitor, SocketSource::new(read), SocketSink(write), &session.cut).await;
    if session.cut.is_cancelled() {
        return Err(CROWDED.into());
    }
    // The session ends with its connection, and seals its record.
    let status = session.end().await?;
    tracing::info!(%status, "a session ended");
    Ok(carried)
}

/// Accepts a visitor, and carries both directions to their ends, or until `cut` is cancelled. Returns the bytes inward and outward.
async fn join(visitor: IncomingChannel, source: impl ByteSource, sink: impl ByteSink, cut: &CancellationToken) -> (u64, u64) {
    let (from_relay, to_relay, closer) = ends(visitor.accept().await);
    let (mut inward, mut outward) = (Meter::default(), Meter::default());
    let ended = cut.run_until_cancelled(splice((from_relay, to_relay), (source, sink), &mut inward, &mut outward)).await;
    closer.close().await;
    tracing::debug!(over = ?ended.and_then(Result::err), "carried");
    (inward.bytes(), outward.bytes())
}
