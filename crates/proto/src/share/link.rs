//! The link of `sally join`: where a share is, and the fingerprint of its host key.

use std::fmt;
use std::str::FromStr;

use ssh_key::Fingerprint;

use crate::host_port::HostPort;
use crate::id::DeviceId;

/// The port of a relay, unless the link says another.
const RELAY_PORT: u16 = 2222;
/// The port of a share that listens, unless the link says another.
const SSH_PORT: u16 = 22;
/// What a fingerprint begins with.
const SHA256: &str = "SHA256:";

/// A link: `NAME@RELAY[:PORT]#SHA256:…`, or `HOST[:PORT]#SHA256:…` of a share that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinLink {
    /// The share's name at the relay; `None` if the share listens at the address.
    pub name: Option<DeviceId>,
    /// The relay, or the share.
    pub address: HostPort,
    /// The fingerprint of the share's host key.
    pub host_key: Fingerprint,
}

/// Says what a link lacks. The text doesn't repeat the link: its name is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinLinkError {
    /// Nothing would prove that the share is the one of the link.
    #[error("it has no fingerprint of the share's host key")]
    NoFingerprint,
    /// The fingerprint can't be read.
    #[error("its fingerprint is not SHA256: and 43 characters")]
    Fingerprint,
    /// The address can't be read.
    #[error("it has no HOST or HOST:PORT before #")]
    Address,
    /// The name can't be read.
    #[error("what stands before @ is not the name of a share")]
    Name,
}

impl FromStr for JoinLink {
    type Err = JoinLinkError;

    fn from_str(text: &str) -> Result<Self, JoinLinkError> {
        let (place, fingerprint) = text.split_once('#').filter(|(_, print)| !print.is_empty()).ok_or(JoinLinkError::NoFingerprint)?;
        let host_key = Some(fingerprint).filter(|print| print.starts_with(SHA256)).and_then(|print| print.parse().ok());
        let host_key = host_key.ok_or(JoinLinkError::Fingerprint)?;
        let (name, address) = match place.rsplit_once('@') {
            Some((name, address)) => (Some(DeviceId::parse(name).map_err(|_| JoinLinkError::Name)?), address),
            None => (None, place),
        };
        let default = if name.is_some() { RELAY_PORT } else { SSH_PORT };
        let address = address.parse().or_else(|_| format!("{address}:{default}").parse()).map_err(|_| JoinLinkError::Address)?;
        Ok(Self { name, address, host_key })
    }
}

impl fmt::Display for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}@")?;
        }
        write!(f, "{}#{}", self.address, self.host_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINT: &str = "SHA256:1F0Xr0Q0n8EzEd3LTnRi6wAfVk5g0xBFyVJmJ8pTtLE";

    fn parse(place: &str) -> Result<JoinLink, JoinLinkError> {
        format!("{place}#{PRINT}").parse()
    }

    #[test]
    fn a_link_names_a_relay_or_a_host() {
        for (place, written) in [
            ("abc@relay.example.com", "abc@relay.example.com:2222"),
            ("ABC@relay:443", "abc@relay:443"),
            ("ro-abc@[2001:db8::7]:2022", "ro-abc@[2001:db8::7]:2022"),
            ("host.example.com", "host.example.com:22"),
            ("192.0.2.7:2022", "192.0.2.7:2022"),
            ("[2001:db8::7]", "[2001:db8::7]:22"),
        ] {
            let link = parse(place).unwrap();
            assert_eq!(link.to_string(), format!("{written}#{PRINT}"));
            assert_eq!(link.to_string().parse(), Ok(link));
        }
    }

    #[test]
    fn a_link_without_a_fingerprint_is_refused() {
        for text in ["abc@relay", "abc@relay:2222", "host:22#", "", "#"] {
            assert_eq!(text.parse::<JoinLink>(), Err(JoinLinkError::NoFingerprint), "{text}");
        }
        for print in [
            "SHA256:",
            "SHA256:short",
            "MD5:aa:bb",
            "1F0Xr0Q0n8EzEd3LTnRi6wAfVk5g0xBFyVJmJ8pTtLE",
            &format!("{PRINT}x"),
            &format!("x#{PRINT}"),
        ] {
            assert_eq!(format!("abc@relay#{print}").parse::<JoinLink>(), Err(JoinLinkError::Fingerprint), "{print}");
        }
    }

    #[test]
    fn what_is_no_address_or_no_name_is_refused() {
        for place in ["", "a b", "abc@", "abc@relay:0", "-oX", "abc@-oX", "2001:db8::7"] {
            assert_eq!(parse(place), Err(JoinLinkError::Address), "{place}");
        }
        for place in ["@relay", "a.b@relay", "-a@relay", "a@b@relay"] {
            assert_eq!(parse(place), Err(JoinLinkError::Name), "{place}");
        }
    }
}
