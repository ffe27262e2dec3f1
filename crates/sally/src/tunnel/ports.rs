//! Ports of this machine, bound as the client said (OpenSSH's `GatewayPorts clientspecified`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sally_proto::relay::Address;
use tokio::net::{TcpListener, TcpStream};

use crate::ssh::listen::{bind_all, bind_to};

/// The most that Linux takes (tcp(7): MAX_TCP_KEEPIDLE, MAX_TCP_KEEPCNT).
const KEEPALIVE_TIME_MAX: Duration = Duration::from_secs(32_767);
const KEEPALIVE_COUNT_MAX: usize = 127;

/// Binds a port: one socket, or for `localhost` one a family.
///
/// # Errors
/// Where it is in use or may not be bound.
pub fn bind(address: Address, port: u16) -> io::Result<Vec<TcpListener>> {
    match address {
        Address::All => bind_all(port).map(|socket| vec![socket]),
        Address::One(ip) => bind_to(SocketAddr::new(ip, port)).map(|socket| vec![socket]),
        Address::Loopback => {
            let mut sockets = vec![bind_to(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))?];
            match bind_to(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)) {
                Ok(socket) => sockets.push(socket),
                // Half a port is somebody else's.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                // A machine without IPv6.
                Err(_) => {}
            }
            Ok(sockets)
        }
    }
}

/// Asks a silent other end for a sign of life, as a client's connection is asked: nobody speaks a protocol here that could.
///
/// # Errors
/// Where the connection is gone already.
pub fn keep_alive(tcp: &TcpStream, interval: Duration, count: usize) -> io::Result<()> {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
    let (interval, count) = (interval.min(KEEPALIVE_TIME_MAX), count.min(KEEPALIVE_COUNT_MAX));
    set_tcp_keepidle(tcp, interval)?;
    set_tcp_keepintvl(tcp, interval)?;
    set_tcp_keepcnt(tcp, u32::try_from(count).unwrap_or(u32::MAX))?;
    Ok(set_socket_keepalive(tcp, true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_bound_where_the_client_said() {
        let one = bind(Address::One("127.0.0.1".parse().unwrap()), 0).unwrap();
        let port = one.first().unwrap().local_addr().unwrap().port();
        for address in [Address::All, Address::Loopback, Address::One("0.0.0.0".parse().unwrap())] {
            assert_eq!(bind(address, port).unwrap_err().kind(), io::ErrorKind::AddrInUse, "{address:?}");
        }
        drop(one);
        let sockets = bind(Address::Loopback, port).unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap().ip().is_loopback()));
        // Free again once they are dropped.
        drop(sockets);
        bind(Address::All, port).unwrap();
    }
}
