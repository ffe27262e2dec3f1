//! Adapts an SSH channel to a splice.

use std::sync::Arc;

use bytes::Bytes;
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use crate::net::splice::{ByteSink, ByteSource, ConnectionOver, SinkClosed, SourceRead};

/// The source of a channel's bytes.
pub(crate) struct ChannelSource(ChannelReadHalf);

impl ByteSource for ChannelSource {
    async fn next(&mut self) -> SourceRead {
        loop {
            match self.0.wait().await {
                Some(ChannelMsg::Data { data }) => return SourceRead::Data(data),
                Some(ChannelMsg::Eof) => return SourceRead::End,
                Some(ChannelMsg::Close) | None => return SourceRead::Over(ConnectionOver::Closed),
                _ => {}
            }
        }
    }

    async fn over(&mut self) -> ConnectionOver {
        while !matches!(self.0.wait().await, Some(ChannelMsg::Close) | None) {}
        ConnectionOver::Closed
    }
}

/// The sink of a channel's bytes. Doesn't close the channel: its [`ChannelCloser`] does, after the splice.
pub(crate) struct ChannelSink<M: From<(ChannelId, ChannelMsg)>>(Arc<ChannelWriteHalf<M>>);

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> ByteSink for ChannelSink<M> {
    async fn deliver(&mut self, bytes: Bytes) -> Result<(), SinkClosed> {
        self.0.data_bytes(bytes).await.map_err(|_| SinkClosed)
    }

    async fn end(&mut self) -> Result<(), SinkClosed> {
        self.0.eof().await.map_err(|_| SinkClosed)
    }
}

/// Closes a channel when both ways have ended.
pub(crate) struct ChannelCloser<M: From<(ChannelId, ChannelMsg)>>(Arc<ChannelWriteHalf<M>>);

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> ChannelCloser<M> {
    /// Closes the channel; waits while the connection takes nothing. If the connection is gone, so is the channel.
    pub(crate) async fn close(self) {
        let _ = self.0.close().await;
    }
}

/// Splits a channel into source and sink for a splice, and the closer for afterwards.
pub(crate) fn ends<M>(channel: Channel<M>) -> (ChannelSource, ChannelSink<M>, ChannelCloser<M>)
where
    M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
{
    let (read, write) = channel.split();
    let write = Arc::new(write);
    (ChannelSource(read), ChannelSink(Arc::clone(&write)), ChannelCloser(write))
}
