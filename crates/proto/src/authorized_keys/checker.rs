//! Decides whether a client may log in: checks what it offers, and from where, against the key ring.

use std::net::IpAddr;

use ssh_key::PublicKey;
use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;

use super::certificate::{self, CertificateLimits};
use super::grant::Grant;
use super::key;
use super::kinds::OptionKind;
use super::options::Options;
use super::pattern::{PatternMatch, match_from};
use super::ring::{KeyRing, SourcedEntry};

/// What a client offers to prove possession of.
#[derive(Clone, Copy, Debug)]
pub enum Offer<'a> {
    /// A public key.
    Key(&'a KeyData),
    /// A certificate for a public key (PROTOCOL.certkeys).
    Certificate(&'a Certificate),
}

impl<'a> From<&'a KeyData> for Offer<'a> {
    fn from(key: &'a KeyData) -> Self {
        key.certificate().map_or(Self::Key(key), Self::Certificate)
    }
}

impl<'a> From<&'a PublicKey> for Offer<'a> {
    fn from(key: &'a PublicKey) -> Self {
        key.key_data().into()
    }
}

impl<'a> From<&'a Certificate> for Offer<'a> {
    fn from(certificate: &'a Certificate) -> Self {
        Self::Certificate(certificate)
    }
}

/// The circumstances of an attempt: facts that we know, not what the client claims.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where the connection comes from, as the kernel says. `None` if that is only another program's claim (a relay's, or an inetd's
    /// without a socket): then every `from=` and `source-address` denies.
    pub peer: Option<IpAddr>,
    /// The time, in Unix seconds.
    pub now: u64,
    /// The name that a certificate must have if the authority's line has no `principals=`: `--user`, else the account that runs the
    /// process. NEVER the name that the client asked for. `None`: such lines deny.
    pub account: Option<&'a str>,
}

/// Says why a client may not log in with what it offered; for the record and the audit log, not for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// No line has this key.
    #[error("no line has this key")]
    UnknownKey,
    /// No `cert-authority` line has the key that signed this certificate.
    #[error("no cert-authority line has the key that signed this certificate")]
    UnknownAuthority,
    /// The line's `expiry-time` has passed.
    #[error("the line's expiry-time has passed")]
    LineExpired,
    /// The peer's address is not among those of `from=` or `source-address`.
    #[error("the peer's address is not among those permitted")]
    WrongSource,
    /// There is a `from=` or a `source-address`, and the peer's address isn't known for certain.
    #[error("only certain addresses are permitted, and the peer's is not certain")]
    SourceUnproven,
    /// The line's `from=` has an element that isn't an address pattern: it denies every client.
    #[error("the line's from= is not valid")]
    InvalidFrom,
    /// A line without `cert-authority` has `principals=`.
    #[error("principals= on a key without cert-authority")]
    PrincipalsOnPlainKey,
    /// The certificate is a host's.
    #[error("not a user's certificate")]
    NotUserCertificate,
    /// A host has shown a user's certificate.
    #[error("not a host's certificate")]
    NotHostCertificate,
    /// The certificate is on a list of revoked ones, by itself, its key or its authority.
    #[error("the certificate is revoked")]
    Revoked,
    /// The key is on a list of revoked ones.
    #[error("the key is revoked")]
    KeyRevoked,
    /// The list of revoked keys can't be read.
    #[error("the list of revoked keys can't be read")]
    RevocationsUnreadable,
    /// A fleet's certificate doesn't permit forwarding, so it can't be used for anything.
    #[error("the certificate doesn't permit forwarding")]
    NoForwarding,
    /// A device's certificate has more names than the device's, or a name that no device can have.
    #[error("the certificate doesn't name exactly one device")]
    NotOneDevice,
    /// A visitor's certificate has a name that isn't a pattern of device names.
    #[error("the certificate has a principal that is not a pattern of device names")]
    NotAPattern,
    /// The certified key has a type or size that isn't accepted; holds the reason.
    #[error("the key is not accepted: {0}")]
    KeyNotAccepted(String),
    /// The authority signed with an algorithm that isn't accepted (for example `ssh-rsa`, which is SHA-1), or that doesn't fit its key.
    #[error("the certificate's signature algorithm {0} is not accepted")]
    SignatureAlgorithm(String),
    /// The authority's signature is wrong.
    #[error("the certificate's signature is wrong")]
    CertificateSignature,
    /// The certificate isn't valid yet.
    #[error("the certificate is not yet valid")]
    CertificateNotYetValid,
    /// The certificate has ended.
    #[error("the certificate has expired")]
    CertificateExpired,
    /// The certificate has no names.
    #[error("the certificate names no principal")]
    NoPrincipals,
    /// The certificate has none of the names that the line, or the account, requires.
    #[error("the certificate names none of the wanted principals")]
    WrongPrincipals,
    /// The certificate has an unknown critical option.
    #[error("the certificate's critical option {0} is not known")]
    CriticalOption(String),
    /// One of the certificate's options has invalid contents.
    #[error("the certificate's option {0} is damaged")]
    CertificateCorrupt(String),
    /// The certificate's `force-command` is `internal-sftp` with a flag that isn't obeyed; holds the flag.
    #[error("the certificate's force-command is not obeyed here: {0}")]
    ForcedCommand(String),
    /// The line's `command=` and the certificate's `force-command` differ.
    #[error("command= and the certificate's force-command differ")]
    CommandsDiffer,
    /// The key or certificate needs an option that isn't enforced here.
    #[error("it would need {0}, which is not enforced here")]
    NotEnforced(OptionKind),
    /// The fleet's authorities and revocations can't be read.
    #[error("the fleet's files can't be read")]
    FleetUnreadable,
    /// The fleet has no line for the device.
    #[error("the device is not in the fleet's list")]
    NotInFleet,
    /// The device has a newer certificate.
    #[error("a newer certificate was made for the device")]
    Superseded,
    /// The security key's signature doesn't say that the key was touched.
    #[error("the security key was not touched")]
    NotTouched,
    /// The security key's signature doesn't say that the user was verified.
    #[error("the security key did not verify its user")]
    NotVerified,
}

impl KeyRing {
    /// Decides whether the holder of what is offered may log in, and what it may do: by the first line that permits it, in the order of
    /// the sources, as sshd(8) does.
    ///
    /// It decides about the offer alone. Call it again when the signature has been checked, with the time of then, and act only on that
    /// grant.
    ///
    /// # Errors
    /// The reason of the first line that has the key, else [`Denial::UnknownKey`] or [`Denial::UnknownAuthority`].
    pub fn authorize(&self, offer: Offer<'_>, context: &Context<'_>) -> Result<Grant, Denial> {
        self.check_revoked(offer)?;
        let (key, certificate) = match offer {
            Offer::Key(key) => (key, None),
            Offer::Certificate(certificate) => (certificate.signature_key(), Some(certificate)),
        };
        let mut refusal = None;
        for held in self.lines_of(key).filter(|held| held.entry.options().cert_authority == certificate.is_some()) {
            match self.authorize_line(held, certificate, context) {
                Ok(grant) => return Ok(grant),
                Err(denial) => refusal = refusal.or(Some(denial)),
            }
        }
        Err(refusal.unwrap_or(if certificate.is_some() { Denial::UnknownAuthority } else { Denial::UnknownKey }))
    }

    fn authorize_line(&self, held: &SourcedEntry, certificate: Option<&Certificate>, context: &Context<'_>) -> Result<Grant, Denial> {
        let options = held.entry.options();
        check_line(options, context)?;
        let grant = match certificate {
            None => Grant::of_key(held),
            Some(certificate) => {
                let limits = certificate::check(certificate, self.enforced(), context)?;
                match &self.fleet {
                    Some(fleet) => certificate::check_device(certificate, &fleet.device, &fleet.revoked)?,
                    None => certificate::check_principals(certificate, options.principals.as_deref(), context.account)?,
                }
                let command = merge_commands(options, &limits)?;
                Grant::of_certificate(held, certificate, limits, command)
            }
        };
        let certified = certificate.map_or(held.entry.key(), Certificate::public_key);
        let touch_unenforced = grant.touch_required() && !self.enforced().contains(OptionKind::TouchRequired);
        if touch_unenforced && key::is_security_key(certified) {
            return Err(Denial::NotEnforced(OptionKind::TouchRequired));
        }
        Ok(grant)
    }
}

fn check_line(options: &Options, context: &Context<'_>) -> Result<(), Denial> {
    if options.expiry.is_some_and(|expiry| expiry < context.now) {
        return Err(Denial::LineExpired);
    }
    if options.principals.is_some() && !options.cert_authority {
        return Err(Denial::PrincipalsOnPlainKey);
    }
    let Some(from) = &options.from else { return Ok(()) };
    match match_from(from, context.peer.ok_or(Denial::SourceUnproven)?) {
        PatternMatch::Matches => Ok(()),
        PatternMatch::Differs => Err(Denial::WrongSource),
        PatternMatch::Invalid => Err(Denial::InvalidFrom),
    }
}

/// Merges two forced commands by sshd's rule: they must be equal.
fn merge_commands(options: &Options, limits: &CertificateLimits) -> Result<Option<String>, Denial> {
    match (&options.command, &limits.command) {
        (Some(of_line), Some(of_certificate)) if of_line != of_certificate => Err(Denial::CommandsDiffer),
        (Some(command), _) | (None, Some(command)) => Ok(Some(command.clone())),
        (None, None) => Ok(None),
    }
}
