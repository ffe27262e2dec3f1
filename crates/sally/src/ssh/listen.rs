//! The socket of a door: who may knock, and how many at once.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sally_proto::error::Fault;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::door::Door;
use crate::term;

/// From the first byte to an authenticated visitor: one total deadline, whatever trickles in meanwhile (sshd's LoginGraceTime is 120 s,
/// for passwords typed by hand; keys need no such time).
const LOGIN_GRACE: Duration = Duration::from_secs(30);
/// Connections that may be mid-authentication at once. When one more comes, the OLDEST goes: whoever stalls is whom it hits, while the
/// right visitor is through in a fraction of a second.
const WAITING: usize = 100;
/// Connections the kernel may hold before we accept them.
const BACKLOG: u32 = 128;
/// A pause after accept(2) fails for want of descriptors, so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds the door's socket: all addresses of both families, unless one is named.
///
/// # Errors
/// [`Fault::Bind`].
pub fn bind(address: Option<IpAddr>, port: u16) -> Result<TcpListener, Fault> {
    let fault = |error: io::Error| Fault::Bind { port, reason: term::reason(&error) };
    let bound = match address {
        Some(address) => bind_to(SocketAddr::new(address, port)),
        // `::` takes IPv4 as well; where the kernel has no IPv6, IPv4 alone.
        None => bind_to(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| match error.raw_os_error() {
            Some(libc_code) if no_ipv6(libc_code) => bind_to(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
            _ => Err(error),
        }),
    };
    bound.map_err(fault)
}

fn no_ipv6(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT].iter().any(|errno| errno.raw_os_error() == code)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the door is claimed or shut; then the socket is closed, and everyone who isn't the visitor is dropped.
pub async fn accept(listener: TcpListener, door: Arc<Door>) {
    let shut = door.shut().clone();
    let mut waiting = Waiting::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shut.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => waiting.admit(tcp, peer, &door),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    waiting.dismiss();
    door.listener_closed();
}

/// Connections that may still be mid-authentication, oldest first.
#[derive(Default)]
struct Waiting {
    connections: VecDeque<Arc<Connection>>,
}

impl Waiting {
    fn admit(&mut self, tcp: TcpStream, peer: SocketAddr, door: &Arc<Door>) {
        self.connections.retain(|connection| !connection.is_settled());
        if self.connections.len() >= WAITING
            && let Some(oldest) = self.connections.pop_front()
        {
            tracing::info!(peer = %oldest.peer, "too many are authenticating: the oldest is dropped");
            oldest.cut.cancel();
        }
        let connection = Arc::new(Connection { peer, cut: CancellationToken::new(), settled: CancellationToken::new() });
        self.connections.push_back(Arc::clone(&connection));
        tokio::spawn(serve(tcp, connection, Arc::clone(door)));
    }

    /// Drops everyone but the visitor.
    fn dismiss(&mut self) {
        for connection in self.connections.drain(..).filter(|connection| !connection.is_settled()) {
            connection.cut.cancel();
        }
    }
}

/// One connection, from its first byte.
pub(super) struct Connection {
    /// Where it comes from.
    pub(super) peer: SocketAddr,
    /// Cancelled to end it at once.
    pub(super) cut: CancellationToken,
    /// Cancelled when its authentication is over, well or badly: its deadline is lifted.
    pub(super) settled: CancellationToken,
}

impl Connection {
    fn is_settled(&self) -> bool {
        self.settled.is_cancelled() || self.cut.is_cancelled()
    }
}

async fn serve(tcp: TcpStream, connection: Arc<Connection>, door: Arc<Door>) {
    let peer = connection.peer;
    let deadline = {
        let connection = Arc::clone(&connection);
        async move {
            tokio::select! {
                () = connection.settled.cancelled() => {}
                () = tokio::time::sleep(LOGIN_GRACE) => {
                    tracing::info!(%peer, "not authenticated in time");
                    connection.cut.cancel();
                }
            }
        }
    };
    let (ended, ()) = tokio::join!(door.connect(tcp, Arc::clone(&connection)), deadline);
    if let Err(error) = ended {
        tracing::info!(%peer, %error, "connection ended");
    }
}
