//! Wraps the stream of a connection with what the SSH library doesn't offer: it can be cut at any moment, and over TCP it acknowledges
//! quickly during the handshake.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How many reads turn delayed acknowledgements off again: the kernel forgets the setting, and a handshake with one command has about this
/// many reads. Delayed acknowledgements may cost 40 ms for each small packet.
const QUICK_READS: u32 = 40;

/// Any stream of bytes to read from and to write to.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The transport of a client's bytes.
pub enum Wire {
    /// A TCP connection, and how many of its reads will still be acknowledged at once.
    Tcp(TcpStream, u32),
    /// Another transport: two pipes, a Unix socket, a channel of another connection.
    Other(Box<dyn Duplex>),
}

impl Wire {
    /// Makes a transport of a TCP connection, without delays.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn tcp(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        Ok(Self::Tcp(tcp, QUICK_READS))
    }

    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        match self {
            Self::Tcp(tcp, _) => Pin::new(tcp),
            Self::Other(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Self::Tcp(tcp, quick_reads @ 1..) = &mut *self {
            *quick_reads -= 1;
            // Without this option (old kernels) the connection is only slower.
            let _ = set_tcp_quickack(tcp.as_fd(), true);
        }
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

/// A connection that [`CancellationToken::cancel`] ends at once, in any state of the library.
pub(crate) struct Guarded {
    wire: Wire,
    heard: Arc<AtomicU64>,
    cut: CancellationToken,
    cutting: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Guarded {
    pub(crate) fn new(wire: Wire, cut: CancellationToken) -> Self {
        Self { wire, heard: Arc::default(), cutting: Box::pin(cut.clone().cancelled_owned()), cut }
    }

    /// Returns the counter that grows whenever something arrives, as a sign of life.
    pub(crate) fn heard(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }

    /// Returns an error once the connection is cut; registers for the cut otherwise.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.cutting.as_mut().poll(cx).map(|()| io::ErrorKind::ConnectionAborted.into())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_cut(cx) {
            return Poll::Ready(Err(error));
        }
        let read = Pin::new(&mut self.wire).poll_read(cx, buffer);
        if read.is_ready() {
            self.heard.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The reader is always waiting and is woken by the cut; a writer only has to see it.
        if self.cut.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
