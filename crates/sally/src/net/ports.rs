//! Binds ports of this machine as a client asks (OpenSSH's `GatewayPorts clientspecified`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sally_proto::relay::Address;
use tokio::net::{TcpListener, TcpStream};

use super::bind::{BACKLOG, listen};

/// The loopback addresses, IPv4's first.
pub const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The largest values that Linux takes (tcp(7): MAX_TCP_KEEPIDLE, MAX_TCP_KEEPCNT).
const KEEPALIVE_TIME_MAX: Duration = Duration::from_secs(32_767);
const KEEPALIVE_COUNT_MAX: usize = 127;

/// Returns the most sockets that [`bind`] makes.
pub fn sockets(address: Address) -> usize {
    match address {
        Address::All | Address::Loopback => 2,
        Address::One(_) => 1,
    }
}

/// Binds a port: one socket for each family that is asked for.
///
/// # Errors
/// It is in use or may not be bound.
pub fn bind(address: Address, port: u16) -> io::Result<Vec<TcpListener>> {
    match address {
        Address::All => bind_free(&[Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], port),
        Address::Loopback => bind_free(&LOOPBACK, port),
        Address::One(ip) => bind_free(&[ip], port),
    }
}

/// Binds those of the addresses that are free, as sshd does, each for its own family; for port 0 all get the port of the first.
///
/// # Errors
/// The error of the first address, if none is free.
pub fn bind_free(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let (mut bound, mut failed): (Vec<TcpListener>, _) = (Vec::new(), None);
    for ip in addresses {
        let port = match bound.first() {
            Some(first) => first.local_addr()?.port(),
            None => port,
        };
        match listen(SocketAddr::new(*ip, port), BACKLOG, true) {
            Ok(socket) => bound.push(socket),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    match failed {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

/// Turns TCP keepalives on, at the intervals of a client's connection: no protocol on this connection could ask a silent peer.
///
/// # Errors
/// The connection is gone already.
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

    fn addresses(sockets: &[TcpListener]) -> Vec<String> {
        sockets.iter().map(|socket| socket.local_addr().unwrap().ip().to_string()).collect()
    }

    #[tokio::test]
    async fn a_port_is_bound_where_the_client_said() {
        let one = |text: &str| Address::One(text.parse().unwrap());
        let taken = bind(one("127.0.0.1"), 0).unwrap();
        let port = taken.first().unwrap().local_addr().unwrap().port();
        for address in [one("127.0.0.1"), one("0.0.0.0")] {
            assert_eq!(bind(address, port).unwrap_err().kind(), io::ErrorKind::AddrInUse, "{address:?}");
        }
        for (address, wanted) in [(Address::All, "::"), (Address::Loopback, "::1"), (one("::1"), "::1"), (one("::"), "::")] {
            assert_eq!(addresses(&bind(address, port).unwrap()), [wanted], "{address:?}");
        }
        drop(taken);
        // The ports are free again once the sockets are dropped.
        assert_eq!(addresses(&bind(Address::Loopback, port).unwrap()), ["127.0.0.1", "::1"]);
        let all = bind(Address::All, port).unwrap();
        assert_eq!(addresses(&all), ["0.0.0.0", "::"]);
        assert_eq!(bind(Address::Loopback, port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn any_port_is_the_same_one_of_both_families() {
        let sockets = bind(Address::Loopback, 0).unwrap();
        let ports: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert!(matches!(*ports, [one, other] if one == other), "{ports:?}");
    }
}
