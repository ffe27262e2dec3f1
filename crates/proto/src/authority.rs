//! The certificate authorities of a fleet, one for each role, and what a certificate of each role has to be.
//!
//! No authority has two roles, so a certificate says by its authority what it is for: a device's never opens a visitor's door, a host's
//! logs nobody in. Everything that isn't understood is refused.

use std::net::IpAddr;

use ssh_key::certificate::{CertType, Certificate};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey};

use crate::authorized_keys::{
    Context, Denial, Enforced, Limits, OptionKind, Presence, check_certificate, check_signature, matches_pattern,
};
use crate::id::{DEVICE_ID_MAX, DeviceId};
use crate::krl::Krl;

/// What an authority certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Keys that devices authenticate to relays with.
    Device,
    /// Host keys, of relays and devices.
    Host,
    /// People.
    Visitor,
}

/// The authorities of one role, by their public keys: one, or more while one is being replaced.
#[derive(Clone, Debug)]
pub struct Authorities {
    role: Role,
    keys: Vec<KeyData>,
}

/// The file holds no authorities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// A line is no public key: its number, from 1.
    #[error("line {0} is no public key in OpenSSH's format")]
    NotAKey(usize),
    /// None at all.
    #[error("it holds no key")]
    None,
}

/// A visitor, as a certificate describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Patterns of the devices that they may reach: `cam-*`.
    pub patterns: Vec<String>,
    /// The certificate's key ID: who it was made for.
    pub key_id: String,
    /// Its serial number.
    pub serial: u64,
    /// When it ends, in Unix seconds; `u64::MAX` is never.
    pub valid_before: u64,
    /// What a signature of the certified key has to say, where that is a security key.
    pub presence: Presence,
}

impl Visitor {
    /// Whether they may reach a device.
    pub fn may_reach(&self, device: &DeviceId) -> bool {
        self.patterns.iter().any(|pattern| matches_pattern(pattern, device.as_str()))
    }
}

impl Authorities {
    /// Reads public keys, one a line; blank lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// Where a line is anything else, or there are none.
    pub fn parse(role: Role, text: &str) -> Result<Self, AuthoritiesError> {
        let mut keys = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = PublicKey::from_openssh(line).map_err(|_| AuthoritiesError::NotAKey(number))?;
            if key.key_data().is_certificate() {
                return Err(AuthoritiesError::NotAKey(number));
            }
            keys.push(key.key_data().clone());
        }
        if keys.is_empty() { Err(AuthoritiesError::None) } else { Ok(Self { role, keys }) }
    }

    /// What they certify.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Their public keys.
    pub fn keys(&self) -> &[KeyData] {
        &self.keys
    }

    /// Whether a key is among them.
    pub fn contains(&self, key: &KeyData) -> bool {
        self.keys.contains(key)
    }

    /// A device's certificate: exactly one name, forwarding permitted, nothing forced. Gives the name, and what a signature has to say.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn device(&self, certificate: &Certificate, krl: &Krl, peer: Option<IpAddr>, now: u64) -> Result<(DeviceId, Presence), Denial> {
        let presence = self.user(Role::Device, certificate, krl, peer, now)?;
        let name = match certificate.valid_principals() {
            [name] => DeviceId::parse(name).ok().filter(|id| id.as_str() == name).ok_or(Denial::NotOneDevice),
            _ => Err(Denial::NotOneDevice),
        };
        Ok((name?, presence))
    }

    /// A visitor's certificate: one pattern of device names at least, forwarding permitted, nothing forced.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn visitor(&self, certificate: &Certificate, krl: &Krl, peer: Option<IpAddr>, now: u64) -> Result<Visitor, Denial> {
        let presence = self.user(Role::Visitor, certificate, krl, peer, now)?;
        let patterns = certificate.valid_principals().to_vec();
        if patterns.is_empty() {
            return Err(Denial::NoPrincipals);
        }
        if !patterns.iter().all(|pattern| is_pattern(pattern)) {
            return Err(Denial::NotAPattern);
        }
        let key_id = certificate.key_id().to_owned();
        Ok(Visitor { patterns, key_id, serial: certificate.serial(), valid_before: certificate.valid_before(), presence })
    }

    /// A host's certificate, which has to name this host.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn host(&self, certificate: &Certificate, krl: &Krl, name: &str, now: u64) -> Result<(), Denial> {
        if certificate.cert_type() != CertType::Host {
            return Err(Denial::NotHostCertificate);
        }
        self.issued(Role::Host, certificate, krl)?;
        check_signature(certificate, now)?;
        if let Some((option, _)) = certificate.critical_options().iter().next() {
            return Err(Denial::CriticalOption(option.clone()));
        }
        match certificate.valid_principals() {
            [] => Err(Denial::NoPrincipals),
            names if names.iter().any(|own| own == name) => Ok(()),
            _ => Err(Denial::WrongPrincipals),
        }
    }

    fn issued(&self, role: Role, certificate: &Certificate, krl: &Krl) -> Result<(), Denial> {
        if self.role != role || !self.contains(certificate.signature_key()) {
            return Err(Denial::UnknownAuthority);
        }
        if krl.revokes(certificate) { Err(Denial::Revoked) } else { Ok(()) }
    }

    fn user(&self, role: Role, certificate: &Certificate, krl: &Krl, peer: Option<IpAddr>, now: u64) -> Result<Presence, Denial> {
        if certificate.cert_type() != CertType::User {
            return Err(Denial::NotUserCertificate);
        }
        self.issued(role, certificate, krl)?;
        // A relay gives no terminal, agent or display to anybody, and checks the source address and a security key's flags; more than that it
        // can't hold.
        use OptionKind::{AgentForwarding, From, PortForwarding, Pty, TouchRequired, UserRc, VerifyRequired, X11Forwarding};
        let enforced = Enforced::new(&[From, PortForwarding, Pty, AgentForwarding, X11Forwarding, UserRc, TouchRequired, VerifyRequired]);
        let limits: Limits = check_certificate(certificate, enforced, &Context { peer, now, account: None })?;
        if !limits.port_forwarding {
            return Err(Denial::NoForwarding);
        }
        Ok(Presence::of(certificate.public_key(), !limits.no_touch_required, limits.verify_required))
    }
}

/// Whether the text is a pattern of device names: what they are made of, and `*` and `?`. Nothing in it means anything to a shell that
/// matches it, or to a list.
pub fn is_pattern(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'?');
    (1..=DEVICE_ID_MAX).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(letter)
}

/// Whether two roles share an authority: its certificates would be good for both.
pub fn shared<'a>(one: &'a Authorities, other: &Authorities) -> Option<&'a KeyData> {
    one.keys.iter().find(|key| other.contains(key))
}

/// `SHA256:…` of an authority's key, for messages.
pub fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
#[path = "authority/tests.rs"]
mod tests;
