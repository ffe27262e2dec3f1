//! Checks OpenSSH certificates, and reads what they permit (PROTOCOL.certkeys).
//!
//! ssh-key parses them and checks only the authority's signature and the dates; russh passes them on. The rest is here.

use crate::authority::is_pattern;
use crate::authorized_keys::matches_pattern;
use crate::id::DeviceId;
use crate::krl::Krl;
use std::net::IpAddr;

use ssh_key::certificate::{CertType, Certificate};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg};

use super::checker::{Context, Denial};
use super::key;
use super::kinds::{Enforced, OptionKind};
use super::line::quote;
use super::pattern::{PatternMatch, match_source_address};
use crate::sftp::SftpFlags;

/// What a valid certificate permits: nothing by default, and then what its extensions say.
#[derive(Debug, Default)]
pub(crate) struct CertificateLimits {
    pub(crate) command: Option<String>,
    pub(crate) port_forwarding: bool,
    pub(crate) agent_forwarding: bool,
    pub(crate) x11_forwarding: bool,
    pub(crate) pty: bool,
    pub(crate) user_rc: bool,
    pub(crate) no_touch_required: bool,
    pub(crate) verify_required: bool,
}

/// Checks everything of a certificate but its principals.
///
/// The caller has found the signing key among the authorities; this checks that the signature is that key's.
pub(crate) fn check(certificate: &Certificate, enforced: Enforced, context: &Context<'_>) -> Result<CertificateLimits, Denial> {
    if certificate.cert_type() != CertType::User {
        return Err(Denial::NotUserCertificate);
    }
    key::check(certificate.public_key()).map_err(Denial::KeyNotAccepted)?;
    check_signature(certificate, context.now)?;
    let mut limits = CertificateLimits::default();
    let mut carried = Enforced::NONE;
    for (name, value) in certificate.critical_options().iter() {
        carried = carried.with(take_critical(&mut limits, name, value, context.peer)?);
    }
    for (name, value) in certificate.extensions().iter() {
        take_extension(&mut limits, name, value)?;
    }
    let refused = [
        (limits.port_forwarding, OptionKind::PortForwarding),
        (limits.agent_forwarding, OptionKind::AgentForwarding),
        (limits.x11_forwarding, OptionKind::X11Forwarding),
        (limits.pty, OptionKind::Pty),
        (limits.user_rc, OptionKind::UserRc),
    ];
    let carried = refused.into_iter().filter(|(permitted, _)| !permitted).fold(carried, |set, (_, kind)| set.with(kind));
    enforced.lacks(carried).map_or(Ok(limits), |kind| Err(Denial::NotEnforced(kind)))
}

/// Checks the names in a certificate against those that the line requires or, if it names none, against the account.
pub(super) fn check_principals(certificate: &Certificate, wanted: Option<&str>, account: Option<&str>) -> Result<(), Denial> {
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(Denial::NoPrincipals);
    }
    let found = match wanted {
        // An empty name ends sshd's list.
        Some(list) => list.split(',').take_while(|name| !name.is_empty()).any(|name| principals.iter().any(|own| own == name)),
        None => account.is_some_and(|account| principals.iter().any(|own| own == account)),
    };
    if found { Ok(()) } else { Err(Denial::WrongPrincipals) }
}

/// Checks that a fleet's certificate includes this device, and isn't revoked.
pub(super) fn check_device(certificate: &Certificate, device: &DeviceId, revoked: &Krl) -> Result<(), Denial> {
    if revoked.revokes(certificate) {
        return Err(Denial::Revoked);
    }
    let patterns = certificate.valid_principals();
    match patterns.iter().any(|pattern| is_pattern(pattern) && matches_pattern(pattern, device.as_str())) {
        true => Ok(()),
        false if patterns.is_empty() => Err(Denial::NoPrincipals),
        false => Err(Denial::WrongPrincipals),
    }
}

/// Checks that the signature is its authority's, by an accepted algorithm, and checks the dates.
pub(crate) fn check_signature(certificate: &Certificate, now: u64) -> Result<(), Denial> {
    let authority = certificate.signature_key();
    let algorithm = certificate.signature().algorithm();
    let fits = match authority {
        KeyData::Rsa(_) => matches!(algorithm, Algorithm::Rsa { hash: Some(HashAlg::Sha256 | HashAlg::Sha512) }),
        other => algorithm == other.algorithm(),
    };
    if !fits {
        return Err(Denial::SignatureAlgorithm(quote(algorithm.as_str().as_bytes())));
    }
    if now < certificate.valid_after() {
        return Err(Denial::CertificateNotYetValid);
    }
    if now >= certificate.valid_before() {
        return Err(Denial::CertificateExpired);
    }
    certificate.validate_at(now, [&authority.fingerprint(HashAlg::Sha256)]).map_err(|_| Denial::CertificateSignature)
}

fn take_critical(limits: &mut CertificateLimits, name: &str, value: &str, peer: Option<IpAddr>) -> Result<OptionKind, Denial> {
    let corrupt = || Denial::CertificateCorrupt(quote(name.as_bytes()));
    match name {
        "force-command" if value.is_empty() => Err(corrupt()),
        "force-command" => {
            SftpFlags::of_command(value).transpose().map_err(Denial::ForcedCommand)?;
            limits.command = Some(value.to_owned());
            Ok(OptionKind::Command)
        }
        "source-address" => {
            let peer = peer.ok_or(Denial::SourceUnproven)?;
            match match_source_address(value, peer) {
                PatternMatch::Matches => Ok(OptionKind::From),
                PatternMatch::Differs => Err(Denial::WrongSource),
                PatternMatch::Invalid => Err(corrupt()),
            }
        }
        "verify-required" if value.is_empty() => {
            limits.verify_required = true;
            Ok(OptionKind::VerifyRequired)
        }
        "verify-required" => Err(corrupt()),
        _ => Err(Denial::CriticalOption(quote(name.as_bytes()))),
    }
}

fn take_extension(limits: &mut CertificateLimits, name: &str, value: &str) -> Result<(), Denial> {
    let flag = match name {
        "permit-port-forwarding" => &mut limits.port_forwarding,
        "permit-agent-forwarding" => &mut limits.agent_forwarding,
        "permit-X11-forwarding" => &mut limits.x11_forwarding,
        "permit-pty" => &mut limits.pty,
        "permit-user-rc" => &mut limits.user_rc,
        "no-touch-required" => &mut limits.no_touch_required,
        // PROTOCOL.certkeys: an unknown extension is no reason to refuse.
        _ => return Ok(()),
    };
    *flag = value.is_empty();
    if *flag { Ok(()) } else { Err(Denial::CertificateCorrupt(quote(name.as_bytes()))) }
}
