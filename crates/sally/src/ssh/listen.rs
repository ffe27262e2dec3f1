//! The socket of a door, and whatever comes in through it or in its place.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use sally_proto::proxy_header::ProxyHeader;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::admission::{Connection, Gate};
use super::door::Door;
use super::proxy;
use super::stream::Wire;
use super::visitor::Error;
use crate::session::environment::Endpoint;
use crate::term;
use crate::tunnel::tenure::Tenure;

/// Connections the kernel may hold before we accept them.
pub(crate) const BACKLOG: u32 = 128;
/// A pause after accept(2) fails for want of descriptors, so that the loop doesn't spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What an accept loop is for.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Cancelled when nobody more is accepted.
    fn shut(&self) -> &CancellationToken;
    /// Who may be mid-authentication.
    fn gate(&self) -> &Arc<Gate>;
    /// The socket is closed, and everyone who wasn't authenticated is dropped.
    fn listener_closed(&self);
    /// Serves one connection to its end.
    fn connect(self: Arc<Self>, wire: Wire, local: Endpoint, connection: Arc<Connection>)
    -> impl Future<Output = Result<(), Error>> + Send;
}

/// How visitors come to a door.
pub enum Entrance {
    /// Through a socket.
    Port(TcpListener),
    /// Through a name on a relay.
    Name(Box<Tenure>),
    /// One of them is here already: a connection, where it comes from, and where it arrived.
    Here(Wire, Endpoint, Endpoint),
}

impl Entrance {
    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Port(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Name(..) | Self::Here(..) => None,
        }
    }

    /// The name on a relay, where there is one.
    pub fn name(&self) -> Option<&DeviceId> {
        match self {
            Self::Name(tenure) => Some(tenure.name()),
            Self::Port(..) | Self::Here(..) => None,
        }
    }

    /// Lets visitors come, until one is in or none can come any more.
    pub async fn serve(self, door: Arc<Door>) {
        match self {
            Self::Port(listener) => accept(listener, door).await,
            Self::Name(tenure) => take_in(*tenure, door).await,
            Self::Here(wire, peer, local) => serve_one(wire, peer, local, door).await,
        }
    }
}

/// Binds the door's socket: all addresses of both families, unless one is named.
///
/// # Errors
/// [`Fault::Bind`].
pub fn bind(address: Option<IpAddr>, port: u16) -> Result<TcpListener, Fault> {
    let fault = |error: io::Error| Fault::Bind { port, reason: term::reason(&error) };
    let bound = match address {
        Some(address) => bind_to(SocketAddr::new(address, port)),
        None => bind_all(port),
    };
    bound.map_err(fault)
}

/// Binds all addresses of both families: `::` takes IPv4 as well; where the kernel has no IPv6, IPv4 alone.
pub(crate) fn bind_all(port: u16) -> io::Result<TcpListener> {
    bind_to(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| match error.raw_os_error() {
        Some(libc_code) if no_ipv6(libc_code) => bind_to(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        _ => Err(error),
    })
}

fn no_ipv6(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT].iter().any(|errno| errno.raw_os_error() == code)
}

/// Binds one address.
pub(crate) fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    bind_with(address, BACKLOG)
}

/// The same, with room for so many connections that are not accepted yet.
pub(crate) fn bind_with(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Accepts until told to stop; the socket is closed when this returns. `exhausted` is called when descriptors are used up, which whoever
/// waits may have done.
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

/// Accepts until nobody more is to come; then the socket is closed, and everyone who isn't authenticated is dropped.
pub(crate) async fn accept<S: Serve>(listener: TcpListener, service: Arc<S>) {
    let shut = service.shut().clone();
    accept_each(listener, &shut, |tcp, peer| admit(tcp, peer, &service), || service.gate().make_room()).await;
    service.gate().dismiss();
    service.listener_closed();
}

/// Whether descriptors are used up.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn admit<S: Serve>(tcp: TcpStream, peer: SocketAddr, service: &Arc<S>) {
    let Some(connection) = service.gate().admit(Some(peer).into()) else { return };
    let local = tcp.local_addr().ok().into();
    match Wire::tcp(tcp) {
        Ok(wire) => drop(tokio::spawn(serve(wire, local, connection, Arc::clone(service)))),
        Err(error) => tracing::info!(peer = %connection.peer, %error, "connection ended"),
    }
}

/// Takes the visitors that a relay sends, until one is in; then the name is given up. Keeps the relay's connection, which carries the visit.
async fn take_in(mut tenure: Tenure, door: Arc<Door>) {
    let shut = door.shut().clone();
    loop {
        let visitor = tokio::select! {
            biased;
            () = shut.cancelled() => break,
            visitor = tenure.next() => visitor,
        };
        let stream = match visitor {
            Ok(stream) => stream,
            Err(fault) => {
                door.shutdown.request(fault);
                break;
            }
        };
        // Where a visitor comes from is only the relay's word.
        if let Some(connection) = door.gate.admit(Endpoint::UNKNOWN) {
            tokio::spawn(serve(Wire::Other(Box::new(stream)), Endpoint::UNKNOWN, connection, Arc::clone(&door)));
        }
    }
    tenure.close().await;
    door.gate.dismiss();
    door.listener_closed();
    tenure.lost().await;
}

/// Serves the one connection that there will be, in place of a socket's. When it ends, the visit is over.
async fn serve_one(wire: Wire, peer: Endpoint, local: Endpoint, door: Arc<Door>) {
    door.listener_closed();
    if let Some(connection) = door.gate.admit(peer) {
        serve(wire, local, connection, Arc::clone(&door)).await;
    }
    door.visitor_leaves();
}

async fn serve<S: Serve>(mut wire: Wire, mut local: Endpoint, mut connection: Connection, service: Arc<S>) {
    if connection.is_by_proxy() {
        match introduce(&mut wire, &mut connection).await {
            Some(ProxyHeader::Local) => {}
            Some(ProxyHeader::Proxied { server, .. }) => local = Some(server).into(),
            None => return,
        }
    }
    let connection = Arc::new(connection);
    let served = async {
        let ended = service.connect(wire, local, Arc::clone(&connection)).await;
        connection.ended(ended.as_ref().is_err_and(|error| error.is_garbage()));
        if let Err(error) = ended {
            tracing::info!(peer = %connection.peer, %error, "connection ended");
        }
    };
    tokio::join!(served, connection.grace());
}

/// A balancer says whom a connection is for; nothing where it doesn't, in time, or these are refused.
async fn introduce(wire: &mut Wire, connection: &mut Connection) -> Option<ProxyHeader> {
    match connection.before_deadline(proxy::read(wire)).await? {
        Ok(header @ ProxyHeader::Proxied { client, .. }) => connection.is_for(client).then_some(header),
        Ok(header @ ProxyHeader::Local) => Some(header),
        Err(error) => {
            tracing::info!(peer = %connection.peer, %error, "connection ended");
            None
        }
    }
}
