//! Reads the rules of `permitopen=` and `permitlisten=`: a host and a port.

use std::fmt;

use super::pattern::{HOST_MAX, matches_pattern};

/// A rule: a host (an address, a name, or a pattern, as the caller uses the rule) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRule {
    host: String,
    port: Option<u16>,
}

impl PermitRule {
    /// Reads `HOST:PORT` or `[HOST]:PORT`; the port is a number from 1, or `*`.
    pub(super) fn parse_open(text: &str) -> Result<Self, String> {
        let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']').ok_or("a [ without its ]")?;
            (host, rest.strip_prefix(':').ok_or("no port after the host")?)
        } else {
            text.split_once(':').ok_or("not HOST:PORT")?
        };
        // sshd splits at / as well, and then refuses.
        if host.contains('/') && !text.starts_with('[') {
            return Err("a host has no / in it".into());
        }
        if host.len() > HOST_MAX {
            return Err(format!("a host of more than {HOST_MAX} bytes"));
        }
        Ok(Self { host: host.to_owned(), port: parse_port(port)? })
    }

    /// Reads what [`Self::parse_open`] reads, or a bare port for any host.
    pub(super) fn parse_listen(text: &str) -> Result<Self, String> {
        if text.contains(':') { Self::parse_open(text) } else { Ok(Self { host: "*".into(), port: parse_port(text)? }) }
    }

    /// Returns the host as written, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port; `None` is any.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns whether the rule is for this host, letter by letter, or for any host (`*`), as sshd does for permitopen.
    pub fn matches_exactly(&self, host: &str, port: u16) -> bool {
        self.matches_port(port) && (self.host == "*" || self.host == host)
    }

    /// Returns whether the rule's host, as a pattern of `*` and `?`, matches the host in lower case, as sshd does for permitlisten, and a
    /// relay for its own names.
    pub fn matches_pattern(&self, host: &str, port: u16) -> bool {
        self.matches_port(port) && matches_pattern(&self.host, &host.to_ascii_lowercase())
    }

    fn matches_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

/// Reads a rule as `permitopen=` has it.
impl std::str::FromStr for PermitRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse_open(text)
    }
}

impl fmt::Display for PermitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = self.host.contains([':', '/', '[']);
        let (open, close) = if bracketed { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:", self.host)?;
        match self.port {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("*"),
        }
    }
}

fn parse_port(text: &str) -> Result<Option<u16>, String> {
    if text == "*" {
        return Ok(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(Some(port)),
        _ => Err("a port is a number from 1 to 65535, or *".into()),
    }
}
