//! Binds listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sally_proto::error::Fault;
use tokio::net::{TcpListener, TcpSocket};

use crate::term;

/// How many connections the kernel holds before they are accepted.
pub(crate) const BACKLOG: u32 = 128;

/// Binds a socket to one address, or to all addresses of both families.
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

/// Binds all addresses of both families: `::` takes IPv4 too; if the kernel has no IPv6, IPv4 alone.
fn bind_all(port: u16) -> io::Result<TcpListener> {
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
fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    bind_with(address, BACKLOG)
}

/// Binds one address, with room for `backlog` connections that are not accepted yet.
pub(crate) fn bind_with(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    listen(address, backlog, false)
}

/// Binds one address. `one_family`: an IPv6 address takes no IPv4.
pub(super) fn listen(address: SocketAddr, backlog: u32, one_family: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, one_family)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}
