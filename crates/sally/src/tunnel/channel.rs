//! A channel as a splice sees it.

use std::sync::Arc;

use bytes::Bytes;
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use crate::net::splice::{Deaf, Next, Over, Sink, Source};

/// From the other end of a channel that is spliced.
pub(crate) struct ChannelSource(ChannelReadHalf);

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
pub(crate) struct ChannelSink<M: From<(ChannelId, ChannelMsg)>>(Arc<ChannelWriteHalf<M>>);

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Sink for ChannelSink<M> {
    async fn deliver(&mut self, bytes: Bytes) -> Result<(), Deaf> {
        self.0.data_bytes(bytes).await.map_err(|_| Deaf)
    }

    async fn end(&mut self) -> Result<(), Deaf> {
        self.0.eof().await.map_err(|_| Deaf)
    }
}

/// Closes a channel when both ways have ended.
pub(crate) struct ChannelCloser<M: From<(ChannelId, ChannelMsg)>>(Arc<ChannelWriteHalf<M>>);

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> ChannelCloser<M> {
    /// Closes it; where the connection is gone, so is the channel.
    pub(crate) async fn close(self) {
        let _ = self.0.close().await;
    }
}

/// Both ends of a channel for a splice, and what closes it after.
pub(crate) fn ends<M>(channel: Channel<M>) -> (ChannelSource, ChannelSink<M>, ChannelCloser<M>)
where
    M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
{
    let (read, write) = channel.split();
    let write = Arc::new(write);
    (ChannelSource(read), ChannelSink(Arc::clone(&write)), ChannelCloser(write))
}
