//! A channel as the room sees it, and as a splice does.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};

use tokio::sync::OwnedSemaphorePermit;

use crate::net::activity::Activity;
use crate::net::splice::{Deaf, Next, Over, Sink, Source};
use crate::session::{Ending, Gone, Inbound, Input, Outbound, Stream, signal_name};

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254 section 5.2).
pub(super) const STDERR: u32 = 1;

/// From the visitor.
pub(super) struct SessionInbound {
    pub(super) channel: ChannelReadHalf,
    pub(super) activity: Activity,
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
    pub(super) seat: Mutex<Option<OwnedSemaphorePermit>>,
    pub(super) channel: ChannelWriteHalf<Msg>,
    pub(super) connection: Handle,
    pub(super) activity: Activity,
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
                let name = Sig::Custom(signal_name(signal));
                self.connection.exit_signal_request(id, name, core, String::new(), String::new()).await
            }
        }
        .map_err(|()| Gone)?;
        drop(self.seat.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.channel.eof().await.map_err(|_| Gone)?;
        self.channel.close().await.map_err(|_| Gone)
    }
}

/// From the other end of a channel that is spliced.
pub(crate) struct ChannelSource(pub(crate) ChannelReadHalf);

impl Source for ChannelSource {
    async fn next(&mut self) -> Next {
        loop {
            match self.0.wait().await {
                Some(ChannelMsg::Data { data }) => return Next::Data(data),
                Some(ChannelMsg::Eof) => return Next::End,
                Some(ChannelMsg::Close) | None => return Next::Over(Over::Closed),
                _ => {}
            }
        }
    }

    async fn over(&mut self) -> Over {
        while !matches!(self.0.wait().await, Some(ChannelMsg::Close) | None) {}
        Over::Closed
    }
}

/// To the other end of a channel that is spliced. Whoever spliced it closes the channel.
pub(crate) struct ChannelSink<M: From<(ChannelId, ChannelMsg)>>(pub(crate) ChannelWriteHalf<M>);

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Sink for ChannelSink<M> {
    async fn deliver(&mut self, bytes: Bytes) -> Result<(), Deaf> {
        self.0.data_bytes(bytes).await.map_err(|_| Deaf)
    }

    async fn end(&mut self) -> Result<(), Deaf> {
        self.0.eof().await.map_err(|_| Deaf)
    }
}
