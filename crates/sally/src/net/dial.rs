//! Connects to a host over TCP, by its name.
//!
//! A static binary can't use the C library's resolver (it loads modules), so hickory resolves names: from /etc/hosts, then by the servers
//! of /etc/resolv.conf. `localhost` needs neither.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ServerOrderingStrategy};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::term;

/// How long finding a host and connecting to it may take, with all its addresses: users don't wait longer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// The longest that one name server may take to answer, so that a dead one leaves time for the next.
const NAME_SERVER_DEADLINE: Duration = Duration::from_secs(2);

/// Resolves the names of hosts, and connects to them.
#[derive(Debug)]
pub struct Dialer {
    /// The resolver, or why there is none; addresses need none.
    resolver: Result<TokioResolver, String>,
}

impl Dialer {
    /// Makes a dialer from /etc/resolv.conf; without that file it asks a server on this machine, as resolv.conf(5) says.
    #[expect(clippy::new_without_default, reason = "it reads files")]
    pub fn new() -> Self {
        let local = || {
            let servers = vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())];
            TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), TokioRuntimeProvider::default())
        };
        Self::with(TokioResolver::builder_tokio().unwrap_or_else(|_| local()))
    }

    fn with(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Self {
        // Servers are asked one by one in resolv.conf's order, as by the C library: the first may know names that the others deny, as those
        // of a container's network or of an office.
        let options = builder.options_mut();
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.num_concurrent_reqs = 1;
        options.timeout = options.timeout.min(NAME_SERVER_DEADLINE);
        Self { resolver: builder.build().map_err(|error| error.to_string()) }
    }

    /// Connects to a host (a name, or an address without brackets). It tries the addresses in turn, each for its share of the remaining
    /// time, so that a dead one leaves some for the next. Turns Nagle's algorithm off.
    ///
    /// # Errors
    /// Why not, if possible in the system's words; those of the last address that was tried.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let deadline = Instant::now() + CONNECT_DEADLINE;
        let found = timeout_at(deadline, self.resolve(host)).await;
        let addresses = found.unwrap_or_else(|_| Err("the name could not be resolved in time".into()))?;
        let mut failure = String::from("the name has no address");
        for (index, address) in addresses.iter().enumerate() {
            let rest = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / rest;
            match timeout(share, TcpStream::connect(SocketAddr::new(*address, port))).await {
                Ok(Ok(stream)) => return undelayed(stream).map_err(|error| term::reason(&error)),
                Ok(Err(error)) => failure = term::reason(&error),
                Err(_) => failure = "no answer".into(),
            }
        }
        Err(failure)
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let resolver = self.resolver.as_ref().map_err(|error| format!("no names can be resolved: {error}"))?;
        let found = resolver.lookup_ip(host).await.map_err(|error| match error.is_nx_domain() || error.is_no_records_found() {
            true => "the name can't be resolved: there is no such host".to_owned(),
            false => format!("the name can't be resolved: {error}"),
        })?;
        Ok(found.iter().collect())
    }
}

fn undelayed(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server that answers every name with 127.0.0.1, after a while; or denies them all, at once.
    async fn name_server(address: &str, knows: bool) -> NameServerConfig {
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        let mut config = NameServerConfig::udp(address.parse().unwrap());
        config.connections[0].port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, peer) = socket.recv_from(&mut query).await.unwrap();
                // RFC 1035 section 4: id, flags, counts; the question, whose name ends with a zero, then type and class.
                let end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
                let address = knows && query[end - 3] == 1;
                let flags = if knows { 0x80 } else { 0x83 };
                let mut answer = [&query[..2], &[0x81, flags, 0, 1, 0, address.into(), 0, 0, 0, 0], &query[12..end]].concat();
                if address {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
                }
                if knows {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        config
    }

    #[tokio::test]
    async fn the_first_name_server_is_believed_before_the_second() {
        let servers = vec![name_server("127.0.0.2", true).await, name_server("127.0.0.3", false).await];
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let dialer = Dialer::with(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()));
        for name in ["relay", "broker", "relay.example.com"] {
            assert_eq!(dialer.resolve(name).await.unwrap(), [Ipv4Addr::LOCALHOST], "{name}");
        }
    }

    #[tokio::test]
    async fn a_name_and_an_address_are_dialled_and_a_refusal_has_the_systems_words() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1"] {
            assert!(Dialer::new().connect(host, port).await.unwrap().nodelay().unwrap(), "{host}");
        }
        drop(listener);
        assert_eq!(Dialer::new().connect("127.0.0.1", port).await.unwrap_err(), "Connection refused");
    }
}
