//! Adapts an SSH channel to what sessions read and write.

use std::sync::Mutex;

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::OwnedSemaphorePermit;

use crate::lock::lock;
use crate::net::activity::Activity;
use crate::session::{Disconnected, Ending, Inbound, Input, Outbound, OutputStream};
use sally_proto::signal;

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// Splits a session channel into its two ends. `permit`: its permit among the sessions, held until the exit status is sent.
pub(super) fn ends(
    channel: Channel<Msg>,
    connection: Handle,
    activity: &Activity,
    permit: Option<OwnedSemaphorePermit>,
) -> (SessionInbound, SessionOutbound) {
    let (read, write) = channel.split();
    let outbound = SessionOutbound { permit: Mutex::new(permit), channel: write, connection, activity: activity.clone() };
    (SessionInbound { channel: read, activity: activity.clone() }, outbound)
}

/// The end that reads from the client.
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
                // The handler answers requests, in their order; extended data towards a server has no meaning.
                _ => {}
            }
        }
    }
}

/// The end that writes to the client.
pub(super) struct SessionOutbound {
    /// The permit among the sessions: released before the client hears of the end, so that its next session gets it.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    channel: ChannelWriteHalf<Msg>,
    connection: Handle,
    activity: Activity,
}

impl Outbound for SessionOutbound {
    async fn deliver(&self, stream: OutputStream, bytes: Bytes) -> Result<(), Disconnected> {
        let sent = match stream {
            OutputStream::Stdout => self.channel.data_bytes(bytes).await,
            OutputStream::Stderr => self.channel.extended_data_bytes(STDERR, bytes).await,
        };
        // Only after the send: output that waits for a client that doesn't read is no activity.
        self.activity.touch();
        sent.map_err(|_| Disconnected)
    }

    async fn finish(&self, ending: Ending) -> Result<(), Disconnected> {
        let id = self.channel.id();
        match ending {
            Ending::Exited(status) => self.connection.exit_status_request(id, u32::from(status)).await,
            Ending::Signalled { signal, core } => {
                let name = Sig::Custom(signal::name(signal));
                self.connection.exit_signal_request(id, name, core, String::new(), String::new()).await
            }
        }
        .map_err(|()| Disconnected)?;
        drop(lock(&self.permit).take());
        self.channel.eof().await.map_err(|_| Disconnected)?;
        self.channel.close().await.map_err(|_| Disconnected)
    }
}
