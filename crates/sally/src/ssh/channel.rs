//! A channel as the room sees it.

use std::sync::Mutex;

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::OwnedSemaphorePermit;

use crate::lock::lock;
use crate::net::activity::Activity;
use crate::session::{Ending, Gone, Inbound, Input, Outbound, Stream};
use sally_proto::signal;

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// The two ends of a session channel. `seat`: its place among the sessions, until its ending is said.
pub(super) fn ends(
    channel: Channel<Msg>,
    connection: Handle,
    activity: &Activity,
    seat: Option<OwnedSemaphorePermit>,
) -> (SessionInbound, SessionOutbound) {
    let (read, write) = channel.split();
    let outbound = SessionOutbound { seat: Mutex::new(seat), channel: write, connection, activity: activity.clone() };
    (SessionInbound { channel: read, activity: activity.clone() }, outbound)
}

/// From the visitor.
pub(super) struct SessionInbound {
    channel: ChannelReadHalf,
    activity: Activity,
}

impl Inbound for SessionInbound {
    async fn next(&mut self) -> Option<Input> {
        loop {
            match self.channel.wait().await? {
                ChannelMsg::Data { data } => {
                    self.activity.touch();
                    return Some(Input::Data(data));
                }
                ChannelMsg::Eof => return Some(Input::Eof),
                ChannelMsg::Close => return None,
                // Requests are answered by the handler, in their order; extended data towards a server means nothing.
                _ => {}
            }
        }
    }
}

/// To the visitor.
pub(super) struct SessionOutbound {
    /// Its place among the sessions: free before the visitor hears of the end, so that the next one finds it.
    seat: Mutex<Option<OwnedSemaphorePermit>>,
    channel: ChannelWriteHalf<Msg>,
    connection: Handle,
    activity: Activity,
}

impl Outbound for SessionOutbound {
    async fn deliver(&self, stream: Stream, bytes: Bytes) -> Result<(), Gone> {
        let sent = match stream {
            Stream::Stdout => self.channel.data_bytes(bytes).await,
            Stream::Stderr => self.channel.extended_data_bytes(STDERR, bytes).await,
        };
        // Only now: what waits for a visitor who doesn't read is nobody's activity.
        self.activity.touch();
        sent.map_err(|_| Gone)
    }

    async fn finish(&self, ending: Ending) -> Result<(), Gone> {
        let id = self.channel.id();
        match ending {
            Ending::Exited(status) => self.connection.exit_status_request(id, u32::from(status)).await,
            Ending::Signalled { signal, core } => {
                let name = Sig::Custom(signal::name(signal));
                self.connection.exit_signal_request(id, name, core, String::new(), String::new()).await
            }
        }
        .map_err(|()| Gone)?;
        drop(lock(&self.seat).take());
        self.channel.eof().await.map_err(|_| Gone)?;
        self.channel.close().await.map_err(|_| Gone)
    }
}
