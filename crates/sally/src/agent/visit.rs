//! One visitor, and what they reach.

use std::sync::Arc;

use bytes::Bytes;
use russh::ChannelWriteHalf;
use russh::client::Msg;
use sally_proto::host_port::HostPort;

use super::tunnel::Ways;
use crate::dial::Dialer;
use crate::ssh::channel::ChannelSource;
use crate::tunnel::link::Visitor;
use crate::tunnel::splice::{Deaf, Meter, Sink, SocketSink, SocketSource, splice};

/// The port of a device's name that leads to `to`.
const SSH: u16 = 22;

/// Carries a visitor to what they want to reach; whoever can't be is refused.
pub(super) async fn carry(visitor: Visitor, ways: Ways) {
    // The relay is held to what the device offers, whatever it was told.
    let Some(port) = u16::try_from(visitor.port()).ok().filter(|port| ways.exposed.contains(port)) else {
        tracing::warn!(port = visitor.port(), "the relay asks for a port that is not exposed");
        return;
    };
    let local = HostPort::loopback(port);
    let to = if port == SSH { &ways.to } else { &local };
    let tcp = match Dialer::new().connect(to.host(), to.port()).await {
        Ok(tcp) => tcp,
        Err(reason) => {
            tracing::warn!(%to, reason, "what a visitor wants is not there");
            return;
        }
    };
    let (from_relay, to_relay) = visitor.accept().await.split();
    let to_relay = Arc::new(to_relay);
    let (read, write) = tcp.into_split();
    let (mut inward, mut outward) = (Meter::default(), Meter::default());
    let relay = (ChannelSource(from_relay), ToRelay(Arc::clone(&to_relay)));
    let ended = splice(relay, (SocketSource::new(read), SocketSink(write)), &mut inward, &mut outward).await;
    let _ = to_relay.close().await; // Or the connection is gone, and the channel with it.
    tracing::info!(%to, inward = inward.bytes(), outward = outward.bytes(), over = ?ended.err(), "a visit ended");
}

/// To the visitor; the channel is closed when both ways have ended.
struct ToRelay(Arc<ChannelWriteHalf<Msg>>);

impl Sink for ToRelay {
    async fn deliver(&mut self, bytes: Bytes) -> Result<(), Deaf> {
        self.0.data_bytes(bytes).await.map_err(|_| Deaf)
    }

    async fn end(&mut self) -> Result<(), Deaf> {
        self.0.eof().await.map_err(|_| Deaf)
    }
}
