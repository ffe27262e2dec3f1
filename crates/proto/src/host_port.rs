//! Reads an address to connect to: `relay.example.com:2222`, `192.0.2.7:22`, `[2001:db8::7]:22`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest host name (RFC 1035).
const HOST_NAME_MAX: usize = 253;

/// A host, by name or address, and a port. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Says that a text isn't a host and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not HOST:PORT, as relay.example.com:2222 or [2001:db8::7]:2222")]
pub struct NotHostPort;

impl HostPort {
    /// Makes the address of a port on this machine, on IPv4's loopback.
    pub fn loopback(port: u16) -> Self {
        Self { host: "127.0.0.1".into(), port }
    }

    /// Returns the name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = NotHostPort;

    fn from_str(text: &str) -> Result<Self, NotHostPort> {
        let (host, port) = text.rsplit_once(':').ok_or(NotHostPort)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0).ok_or(NotHostPort)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().map_err(|_| NotHostPort)?.to_string(),
            None if is_name(host) => host.to_ascii_lowercase(),
            None => return Err(NotHostPort),
        };
        Ok(Self { host, port })
    }
}

/// Returns whether a text has labels of letters, digits, `-` and `_`, none of which looks like an option. IPv4 addresses are such texts.
fn is_name(text: &str) -> bool {
    let letters = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && letters(label);
    text.len() <= HOST_NAME_MAX && text.split('.').all(label)
}

impl TryFrom<String> for HostPort {
    type Error = NotHostPort;

    fn try_from(text: String) -> Result<Self, NotHostPort> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_dialled() {
        for (text, written) in [
            ("relay.example.com:2222", "relay.example.com:2222"),
            ("Relay.Example.COM:22", "relay.example.com:22"),
            ("192.0.2.7:1", "192.0.2.7:1"),
            ("[2001:DB8::7]:2222", "[2001:db8::7]:2222"),
            ("localhost:65535", "localhost:65535"),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_can_not() {
        for text in
            ["", "a", ":22", "a:", "a:0", "a:65536", "a:+22", "a b:22", "-oX:22", "a..b:22", "2001:db8::7:22", "[a]:22", "a/b:22", "u@h:22"]
        {
            assert_eq!(text.parse::<HostPort>(), Err(NotHostPort), "{text}");
        }
    }
}
