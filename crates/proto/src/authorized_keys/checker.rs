//! The one checker: what a visitor offers, in its circumstances, against the key ring.

use std::net::IpAddr;

use ssh_key::PublicKey;
use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;

use super::certificate::{self, Limits};
use super::grant::Grant;
use super::key;
use super::kinds::OptionKind;
use super::options::Options;
use super::pattern::{Verdict, match_from};
use super::ring::{Held, KeyRing};

/// What a visitor offers to prove possession of.
#[derive(Clone, Copy, Debug)]
pub enum Offer<'a> {
    /// A public key.
    Key(&'a KeyData),
    /// A certificate over one (PROTOCOL.certkeys).
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

/// The circumstances of an attempt: facts of ours, not the visitor's word.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where the connection comes from, as the kernel says. `None` where that is only somebody's claim (a relay's, an inetd's without a
    /// socket): then every `from=` and `source-address` denies.
    pub peer: Option<IpAddr>,
    /// The time, in Unix seconds.
    pub now: u64,
    /// Whom a certificate has to name where the authority's line has no `principals=`: `--user`, else the account that runs the process.
    /// NEVER the name that the visitor asked for. `None`: such lines deny.
    pub account: Option<&'a str>,
}

/// Why a visitor may not come in with what it offered; for the record and the audit log, not for the visitor.
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
    /// There is a `from=` or a `source-address`, and the peer's address is not known for certain.
    #[error("only certain addresses are permitted, and the peer's is not certain")]
    SourceUnproven,
    /// The line's `from=` holds something that is no address pattern: it denies everybody.
    #[error("the line's from= is not valid")]
    InvalidFrom,
    /// `principals=` on a line without `cert-authority`.
    #[error("principals= on a key that is no certificate authority's")]
    PrincipalsOnPlainKey,
    /// A host's certificate.
    #[error("not a user's certificate")]
    NotUserCertificate,
    /// A user's certificate where a host shows itself.
    #[error("not a host's certificate")]
    NotHostCertificate,
    /// On a list of what is revoked, by itself, its key or its authority.
    #[error("the certificate is revoked")]
    Revoked,
    /// On a list of what is revoked.
    #[error("the key is revoked")]
    KeyRevoked,
    /// What is revoked can't be known.
    #[error("the list of revoked keys can't be read")]
    RevocationsUnreadable,
    /// A fleet's certificate that doesn't permit forwarding is of no use to anybody.
    #[error("the certificate doesn't permit forwarding")]
    NoForwarding,
    /// A device's certificate names more than its device, or something that is no device's name.
    #[error("the certificate doesn't name exactly one device")]
    NotOneDevice,
    /// A visitor's certificate names something that is no pattern of device names.
    #[error("the certificate names something that is no pattern of device names")]
    NotAPattern,
    /// The certified key is of a type or size that isn't accepted; the reason follows.
    #[error("the key is not accepted: {0}")]
    KeyNotAccepted(String),
    /// The authority signed with an algorithm that isn't accepted (`ssh-rsa`, say, which is SHA-1), or that isn't its key's.
    #[error("the certificate's signature algorithm {0} is not accepted")]
    SignatureAlgorithm(String),
    /// The authority's signature is wrong.
    #[error("the certificate's signature is wrong")]
    CertificateSignature,
    /// Valid only later.
    #[error("the certificate is not yet valid")]
    CertificateNotYetValid,
    /// Valid no longer.
    #[error("the certificate has expired")]
    CertificateExpired,
    /// It names nobody.
    #[error("the certificate names no principal")]
    NoPrincipals,
    /// It names none of those that the line, or the account, wants.
    #[error("the certificate names none of the wanted principals")]
    WrongPrincipals,
    /// It has a critical option that isn't known.
    #[error("the certificate's critical option {0} is not known")]
    CriticalOption(String),
    /// One of its options has contents that make no sense.
    #[error("the certificate's option {0} is damaged")]
    CertificateCorrupt(String),
    /// The certificate's `force-command` is `internal-sftp` with a flag that isn't obeyed; which follows.
    #[error("the certificate's force-command is not obeyed here: {0}")]
    ForcedCommand(String),
    /// `command=` and the certificate's `force-command` are both there and not equal.
    #[error("command= and the certificate's force-command differ")]
    CommandsDiffer,
    /// It would need something that isn't enforced here.
    #[error("it would need {0}, which is not enforced here")]
    NotEnforced(OptionKind),
    /// What the fleet's authorities have certified and revoked can't be read.
    #[error("the fleet's files can't be read")]
    FleetUnreadable,
    /// A device that the fleet has no line for.
    #[error("the device is not in the fleet's list")]
    NotInFleet,
    /// A device that has been given a newer certificate.
    #[error("a newer certificate was made for the device")]
    Superseded,
    /// A security key's signature doesn't say that the key was touched.
    #[error("the security key was not touched")]
    NotTouched,
    /// A security key's signature doesn't say that its user was verified.
    #[error("the security key did not verify its user")]
    NotVerified,
}

impl KeyRing {
    /// Decides whether the holder of what is offered may come in, and what it may do: the first line that permits it, in the order of the
    /// sources, as sshd(8) does.
    ///
    /// It decides about the offer alone. Call it once more when the signature has been checked, with the time of then, and act on that
    /// grant only.
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

    /// Whether what is offered may be accepted, were it proven: the answer to a probe before the signature (RFC 4252 §7).
    pub fn may_accept(&self, offer: Offer<'_>, context: &Context<'_>) -> bool {
        self.authorize(offer, context).is_ok()
    }

    fn authorize_line(&self, held: &Held, certificate: Option<&Certificate>, context: &Context<'_>) -> Result<Grant, Denial> {
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
        Verdict::Matches => Ok(()),
        Verdict::Differs => Err(Denial::WrongSource),
        Verdict::Invalid => Err(Denial::InvalidFrom),
    }
}

/// sshd's rule: if both force a command, they have to be the same.
fn merge_commands(options: &Options, limits: &Limits) -> Result<Option<String>, Denial> {
    match (&options.command, &limits.command) {
        (Some(of_line), Some(of_certificate)) if of_line != of_certificate => Err(Denial::CommandsDiffer),
        (Some(command), _) | (None, Some(command)) => Ok(Some(command.clone())),
        (None, None) => Ok(None),
    }
}
