//! One end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One end of the visitor's connection, as the kernel says; nothing where that is no network's (a pipe), or only somebody's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(Option<SocketAddr>);

impl Endpoint {
    /// Not known.
    pub const UNKNOWN: Self = Self(None);

    /// Its address. An IPv4 visitor of an IPv6 socket is an IPv4 visitor.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.map(|address| address.ip().to_canonical())
    }

    /// Address and port, where they are known.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0
    }

    /// Address and port as sshd says them in `SSH_CONNECTION`, which has four words whatever is known.
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
