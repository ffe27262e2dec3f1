//! Defines one end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One end of a client's connection, as the kernel knows it; without an address for a pipe, or if only another party vouches for the
/// address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(Option<SocketAddr>);

impl Endpoint {
    /// An unknown end.
    pub const UNKNOWN: Self = Self(None);

    /// Returns its address. The address of an IPv4 client on an IPv6 socket is an IPv4 address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.map(|address| address.ip().to_canonical())
    }

    /// Returns address and port, if known.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0
    }

    /// Returns address and port as in sshd's `SSH_CONNECTION`, which has four words even if they are unknown.
    pub(crate) fn words(&self) -> (String, u16) {
        self.0.map_or_else(|| ("UNKNOWN".into(), u16::MAX), |address| (address.ip().to_canonical().to_string(), address.port()))
    }
}

impl From<Option<SocketAddr>> for Endpoint {
    fn from(address: Option<SocketAddr>) -> Self {
        Self(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_not_known_is_said_as_sshd_does() {
        assert_eq!((Endpoint::UNKNOWN.words(), Endpoint::UNKNOWN.ip()), (("UNKNOWN".into(), 65535), None));
        assert_eq!(Endpoint::UNKNOWN.to_string(), "unknown");
        let mapped = Endpoint::from(Some("[::ffff:192.0.2.7]:50000".parse().unwrap()));
        assert_eq!(mapped.to_string(), "192.0.2.7:50000");
    }
}
