//! Checks the certificate authorities of a fleet, one for each role, and the certificates of each role.
//!
//! No authority has two roles, so a certificate's authority says what it is for: a device's certificate never logs a visitor in, a host's
//! logs no client in. Everything that isn't understood is refused.

use std::net::IpAddr;

use ssh_key::certificate::{CertType, Certificate};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey};

use crate::authorized_keys::{
    CertificateLimits, Context, Denial, Enforced, OptionKind, UserPresence, check_certificate, check_signature, matches_pattern,
};
use crate::id::{DEVICE_ID_MAX, DeviceId};
use crate::krl::Krl;

/// The roles that an authority certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Keys with which devices authenticate to relays.
    Device,
    /// Host keys, of relays and devices.
    Host,
    /// Keys of visitors.
    Visitor,
}

/// The authorities of one role, by their public keys: one, or more while one is being replaced.
#[derive(Clone, Debug)]
pub struct Authorities {
    role: Role,
    keys: Vec<KeyData>,
}

/// Says why a file of authorities can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// A line isn't a public key: its number, from 1.
    #[error("line {0} is not a public key in OpenSSH's format")]
    NotAKey(usize),
    /// The file has no key.
    #[error("it has no key")]
    None,
}

/// A visitor, as a certificate describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedVisitor {
    /// Patterns of the devices that the visitor may reach: `cam-*`.
    pub patterns: Vec<String>,
    /// The certificate's key ID: the name that it was issued for.
    pub key_id: String,
    /// The certificate's serial number.
    pub serial: u64,
    /// The end of the certificate, in Unix seconds; `u64::MAX` is never.
    pub valid_before: u64,
    /// What a signature of the certified key must say, if that is a security key.
    pub presence: UserPresence,
}

impl CertifiedVisitor {
    /// Returns whether the visitor may reach a device.
    pub fn may_reach(&self, device: &DeviceId) -> bool {
        self.patterns.iter().any(|pattern| matches_pattern(pattern, device.as_str()))
    }
}

impl Authorities {
    /// Reads public keys, one per line; skips blank lines and those that begin with `#`.
    ///
    /// # Errors
    /// If a line is anything else, or no key is left.
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

    /// Returns the role that the authorities certify.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns their public keys.
    pub fn keys(&self) -> &[KeyData] {
        &self.keys
    }

    /// Returns whether a key is one of them.
    pub fn contains(&self, key: &KeyData) -> bool {
        self.keys.contains(key)
    }

    /// Checks a device's certificate: exactly one name, forwarding permitted, no forced command. Returns the name, and what a signature
    /// must say.
    ///
    /// # Errors
    /// Why the certificate is refused.
    pub fn device(&self, certificate: &Certificate, krl: &Krl, peer: Option<IpAddr>, now: u64) -> Result<(DeviceId, UserPresence), Denial> {
        let presence = self.user(Role::Device, certificate, krl, peer, now)?;
        let name = match certificate.valid_principals() {
            [name] => DeviceId::parse(name).ok().filter(|id| id.as_str() == name).ok_or(Denial::NotOneDevice),
            _ => Err(Denial::NotOneDevice),
        };
        Ok((name?, presence))
    }

    /// Checks a visitor's certificate: at least one pattern of device names, forwarding permitted, no forced command.
    ///
    /// # Errors
    /// Why the certificate is refused.
    pub fn visitor(&self, certificate: &Certificate, krl: &Krl, peer: Option<IpAddr>, now: u64) -> Result<CertifiedVisitor, Denial> {
        let presence = self.user(Role::Visitor, certificate, krl, peer, now)?;
        let patterns = certificate.valid_principals().to_vec();
        if patterns.is_empty() {
            return Err(Denial::NoPrincipals);
        }
        if !patterns.iter().all(|pattern| is_pattern(pattern)) {
            return Err(Denial::NotAPattern);
        }
        let key_id = certificate.key_id().to_owned();
        Ok(CertifiedVisitor { patterns, key_id, serial: certificate.serial(), valid_before: certificate.valid_before(), presence })
    }

    /// Checks a host's certificate, which must name this host.
    ///
    /// # Errors
    /// Why the certificate is refused.
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

    fn user(&self, role: Role, certificate: &Certificate, krl: &Krl, peer: Option<IpAddr>, now: u64) -> Result<UserPresence, Denial> {
        if certificate.cert_type() != CertType::User {
            return Err(Denial::NotUserCertificate);
        }
        self.issued(role, certificate, krl)?;
        // A relay gives no client a terminal, agent or display, and checks the source address and a security key's flags. It can't
        // enforce more than that.
        use OptionKind::{AgentForwarding, From, PortForwarding, Pty, TouchRequired, UserRc, VerifyRequired, X11Forwarding};
        let enforced = Enforced::new(&[From, PortForwarding, Pty, AgentForwarding, X11Forwarding, UserRc, TouchRequired, VerifyRequired]);
        let limits: CertificateLimits = check_certificate(certificate, enforced, &Context { peer, now, account: None })?;
        if !limits.port_forwarding {
            return Err(Denial::NoForwarding);
        }
        Ok(UserPresence::of(certificate.public_key(), !limits.no_touch_required, limits.verify_required))
    }
}

/// Returns whether a text is a pattern of device names: their characters, and `*` and `?`. None of them has a meaning for a shell that
/// matches it, or in a list.
pub fn is_pattern(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'?');
    (1..=DEVICE_ID_MAX).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(letter)
}

/// Returns the authority that two roles share, if any: its certificates would be valid for both.
pub fn shared<'a>(one: &'a Authorities, other: &Authorities) -> Option<&'a KeyData> {
    one.keys.iter().find(|key| other.contains(key))
}

/// Returns `SHA256:…` of an authority's key, for messages.
pub fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
#[path = "authority/tests.rs"]
mod tests;
