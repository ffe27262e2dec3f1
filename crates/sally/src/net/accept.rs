//! Runs the accept loop of every socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How long the loop pauses after accept(2) fails for want of descriptors, so that it doesn't spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until told to stop; the socket is closed when this returns. Calls `exhausted` when descriptors are used up, perhaps by waiting
/// connections.
pub(crate) async fn accept_each(
    listener: TcpListener,
    stop: &CancellationToken,
    mut each: impl FnMut(TcpStream, SocketAddr),
    exhausted: impl Fn(),
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => each(tcp, peer),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                if is_exhaustion(&error) {
                    exhausted();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Returns whether descriptors are used up.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
