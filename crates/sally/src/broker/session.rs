//! Carries a connected client's bytes to the hub and back. An idle client costs its socket, its place and this session; it has no buffer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use sally_proto::broker::{BrokerClient, End};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::mailbox::Mailbox;
use super::{BrokerState, codec};

/// The time in which a client whose connection ends may read what is unsent.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The bytes that are read at once: a packet of the longest kind, and what came with it.
const READ_MAX: usize = 8 << 10;
/// With so many bytes unsent, nothing more is read from a client, nor taken from its mailbox: it must read first.
const UNSENT_MAX: usize = 16 << 10;

thread_local! {
    /// One buffer for all connections of a thread: no data stays in it from one call to the next.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_MAX].into_boxed_slice());
}

/// A client's place in the hub, released however its connection ends.
#[derive(Debug)]
pub(super) struct HubMembership {
    pub(super) shared: Arc<BrokerState>,
    pub(super) client: BrokerClient,
    pub(super) connection: u64,
    pub(super) mailbox: Arc<Mailbox>,
}

impl HubMembership {
    fn end(&self, why: End) {
        // If the hub has ended it, the hub's reason counts.
        let why = self.mailbox.cut().unwrap_or(why);
        self.shared.counters.ended(why.word());
        tracing::debug!(client = %self.client, why = why.word(), "ended");
        self.shared.hub().gone(&self.client, self.connection, why);
    }
}

/// A connected client, until its connection ends.
pub(super) struct BrokerSession<S> {
    stream: S,
    place: HubMembership,
    /// An incomplete packet.
    partial: Vec<u8>,
    /// The bytes that the client has not taken yet.
    unsent: BytesMut,
    flushed: bool,
    ended: bool,
    /// The time for which the client may be silent.
    silence_limit: Duration,
    heard: Instant,
    silence: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> BrokerSession<S> {
    /// Creates a session. `partial` has been received already; `unsent` is to be sent first.
    pub(super) fn new(stream: S, place: HubMembership, partial: Vec<u8>, unsent: BytesMut, silence_limit: Duration) -> Self {
        let heard = Instant::now();
        let silence = Box::pin(tokio::time::sleep_until(later(heard, silence_limit)));
        Self { stream, place, partial, unsent, flushed: false, ended: false, silence_limit, heard, silence }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<Infallible, End>> {
        // These bytes came with the CONNECT.
        if !self.partial.is_empty() {
            let partial = std::mem::take(&mut self.partial);
            self.hear(&partial)?;
        }
        loop {
            // All three are polled, since each registers its own waker; sending comes first, because the others pause while much is unsent.
            let sent = self.poll_send(cx).map_err(|_| End::Lost)?;
            let mail = self.poll_mail(cx)?;
            let heard = self.poll_hear(cx)?;
            if mail.is_pending() && heard.is_pending() && (sent.is_pending() || self.unsent.is_empty()) {
                break;
            }
        }
        self.poll_silence(cx).map(Err)
    }

    fn poll_mail(&mut self, cx: &Context<'_>) -> Poll<Result<(), End>> {
        if self.unsent.len() >= UNSENT_MAX {
            return self.place.mailbox.poll_cut(cx).map(Err);
        }
        let deliveries = ready!(self.place.mailbox.poll(cx))?;
        self.place.shared.counters.delivered.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
        for delivery in deliveries {
            codec::write_delivery(delivery, &self.place.shared.prefix, &mut self.unsent);
        }
        self.flushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
            self.flushed = false;
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
            // This frees the memory too.
            self.unsent = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.unsent.len() >= UNSENT_MAX {
            return Poll::Pending;
        }
        READ.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)).map_err(|_| End::Lost)?;
            Poll::Ready(if read.filled().is_empty() { Err(End::Lost) } else { self.hear(read.filled()) })
        })
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), End> {
        if self.partial.is_empty() {
            let read = self.packets(bytes)?;
            self.partial = bytes.get(read..).unwrap_or_default().to_vec();
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let partial = std::mem::take(&mut self.partial);
        let read = self.packets(&partial)?;
        self.partial = if read == 0 { partial } else { partial.get(read..).unwrap_or_default().to_vec() };
        Ok(())
    }

    /// Handles every complete packet, and returns the number of bytes. A complete packet counts as a sign of life, a part of one doesn't.
    fn packets(&mut self, bytes: &[u8]) -> Result<usize, End> {
        let mut read = 0;
        let HubMembership { shared, client, connection, .. } = &self.place;
        while let Some((packet, length)) = codec::next(bytes.get(read..).unwrap_or_default()).map_err(|_| End::Malformed)? {
            read = read.saturating_add(length);
            self.heard = Instant::now();
            let published = matches!(packet, sally_proto::broker::Packet::Publish { .. });
            let answer = shared.hub().packet(client, *connection, packet, shared.since_start())?;
            shared.counters.published.fetch_add(published.into(), Ordering::Relaxed);
            codec::write_answer(answer, &mut self.unsent);
            self.flushed = false;
        }
        Ok(read)
    }

    /// Sends the answers given before the connection's end: above all that to a CONNECT that came together with what ends the connection
    /// (section 3.2).
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let said = match self.poll_send(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_shutdown(cx),
            other => other,
        };
        if said.is_ready() { Poll::Ready(()) } else { self.silence.as_mut().poll(cx) }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while self.silence.as_mut().poll(cx).is_ready() {
            // The timer is reset when it expires, not with each packet.
            let until = later(self.heard, self.silence_limit);
            if until <= Instant::now() {
                return Poll::Ready(End::Silent);
            }
            self.silence.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for BrokerSession<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ended {
            let Err(why) = ready!(self.poll_end(cx));
            self.ended = true;
            self.place.end(why);
            // A client that has gone, or doesn't read, gets nothing more.
            if matches!(why, End::Lost | End::Silent | End::Slow) {
                return Poll::Ready(());
            }
            self.silence.as_mut().reset(later(Instant::now(), LAST_WORDS));
        }
        self.poll_last_words(cx)
    }
}

impl<S> Drop for BrokerSession<S> {
    fn drop(&mut self) {
        if !self.ended {
            self.place.end(End::Lost);
        }
    }
}

fn later(from: Instant, by: Duration) -> Instant {
    from.checked_add(by).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// In addition to it, an idle client has its place in the hub, its socket, and a timer. 10,000 of them are measured by bench/broker.py.
    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<BrokerSession<TcpStream>>() <= 256, "{}", size_of::<BrokerSession<TcpStream>>());
    }
}
