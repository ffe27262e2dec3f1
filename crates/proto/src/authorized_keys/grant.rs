//! Defines what a client may do after login. Only the checker makes a [`Grant`].

use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg};

use super::certificate::CertificateLimits;
use super::checker::Denial;
use super::line::displayable;
use super::options::{Options, TunDevice};
use super::permit::PermitRule;
use super::presence::UserPresence;
use super::ring::SourcedEntry;
use crate::sftp::SftpFlags;

/// The permission to log in, and its limits: the line's and the certificate's, whichever is narrower.
///
/// Its fields are private and it has no constructor: every holder got it from [`super::KeyRing::authorize`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    options: Options,
    algorithm: Algorithm,
    presence: UserPresence,
    fingerprint: String,
    comment: String,
    source: std::sync::Arc<str>,
    line: usize,
    certificate: Option<CertificateFacts>,
}

/// The facts that the record has of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// The authority's name for it, fit for a terminal.
    pub key_id: String,
    /// The serial number; 0 if the authority counts none.
    pub serial: u64,
    /// SHA-256 fingerprint of the authority's key.
    pub authority: String,
    /// The names in the certificate: never empty. Not made printable.
    pub principals: Vec<String>,
    /// The Unix second from which the certificate isn't valid any more.
    pub valid_before: u64,
}

impl Grant {
    /// Returns whether two grants permit the same, whatever lines they come from.
    pub fn permits_the_same(&self, other: &Self) -> bool {
        self.options == other.options && self.certificate == other.certificate
    }

    pub(super) fn of_key(held: &SourcedEntry) -> Self {
        Self::new(held, held.entry.key(), held.entry.options().clone(), held.entry.comment().to_owned())
    }

    /// Makes a grant of the line's options narrowed by the certificate's, as sshd's `sshauthopt_merge` does.
    pub(super) fn of_certificate(
        held: &SourcedEntry,
        certificate: &Certificate,
        limits: CertificateLimits,
        command: Option<String>,
    ) -> Self {
        let line = held.entry.options();
        let options = Options {
            port_forwarding: line.port_forwarding && limits.port_forwarding,
            agent_forwarding: line.agent_forwarding && limits.agent_forwarding,
            x11_forwarding: line.x11_forwarding && limits.x11_forwarding,
            pty: line.pty && limits.pty,
            user_rc: line.user_rc && limits.user_rc,
            touch_required: line.touch_required || !limits.no_touch_required,
            verify_required: line.verify_required || limits.verify_required,
            command,
            ..line.clone()
        };
        let key_id = displayable(certificate.key_id().as_bytes());
        let mut grant = Self::new(held, certificate.public_key(), options, key_id.clone());
        grant.certificate = Some(CertificateFacts {
            key_id,
            serial: certificate.serial(),
            authority: held.entry.fingerprint().to_string(),
            principals: certificate.valid_principals().to_vec(),
            valid_before: certificate.valid_before(),
        });
        grant
    }

    fn new(held: &SourcedEntry, key: &KeyData, options: Options, comment: String) -> Self {
        Self {
            presence: UserPresence::of(key, options.touch_required, options.verify_required),
            options,
            algorithm: key.algorithm(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            comment,
            source: held.source.clone(),
            line: held.entry.line(),
            certificate: None,
        }
    }

    /// Returns the command that replaces shell, command and subsystem (`command=`, `force-command`).
    pub fn forced_command(&self) -> Option<&str> {
        self.options.command.as_deref()
    }

    /// Returns the flags of the forced command, if it is `internal-sftp`, which permits SFTP and nothing else. Never an error in fact:
    /// such a line is rejected, and such a certificate logs no client in.
    pub fn sftp(&self) -> Option<Result<SftpFlags, String>> {
        self.forced_command().and_then(SftpFlags::of_command)
    }

    /// Returns whether the forced command is a program, which then runs whatever the client asks for.
    pub fn forces_program(&self) -> bool {
        self.forced_command().is_some() && self.sftp().is_none()
    }

    /// Returns whether the client may have a terminal.
    pub fn allows_pty(&self) -> bool {
        self.options.pty
    }

    /// Returns whether the client's agent may be forwarded.
    pub fn allows_agent_forwarding(&self) -> bool {
        self.options.agent_forwarding
    }

    /// Returns whether the client's display may be forwarded.
    pub fn allows_x11_forwarding(&self) -> bool {
        self.options.x11_forwarding
    }

    /// Returns whether anything may be forwarded, Unix sockets included; the rules say which ports.
    pub fn allows_port_forwarding(&self) -> bool {
        self.options.port_forwarding
    }

    /// Returns whether a connection to this host and port may be opened (`direct-tcpip`; `permitopen=`). Compares hosts letter by letter,
    /// as sshd does: a rule for `localhost` doesn't cover 127.0.0.1.
    pub fn allows_open(&self, host: &str, port: u16) -> bool {
        let rules = self.permit_open();
        self.allows_port_forwarding() && (rules.is_empty() || rules.iter().any(|rule| rule.matches_exactly(host, port)))
    }

    /// Returns whether this address and port may be bound (`tcpip-forward`; `permitlisten=`), the address as the client sent it, empty
    /// for all. Port 0 (any free one) needs a rule for any port.
    pub fn allows_listen(&self, host: &str, port: u16) -> bool {
        let rules = self.permit_listen();
        self.allows_port_forwarding() && (rules.is_empty() || rules.iter().any(|rule| rule.matches_pattern(host, port)))
    }

    /// Returns whether a connection to a Unix socket may be opened (`direct-streamlocal@openssh.com`): not if there are rules, because
    /// they name hosts and ports, not sockets. sshd ignores the rules here.
    pub fn allows_open_socket(&self) -> bool {
        self.allows_port_forwarding() && self.permit_open().is_empty()
    }

    /// Returns whether a Unix socket may be bound (`streamlocal-forward@openssh.com`), by the rule of [`Self::allows_open_socket`].
    pub fn allows_listen_socket(&self) -> bool {
        self.allows_port_forwarding() && self.permit_listen().is_empty()
    }

    /// Returns the `permitopen=` rules; none means no limit. A relay matches its names with [`PermitRule::matches_pattern`].
    pub fn permit_open(&self) -> &[PermitRule] {
        &self.options.permit_open
    }

    /// Returns the `permitlisten=` rules; none means no limit.
    pub fn permit_listen(&self) -> &[PermitRule] {
        &self.options.permit_listen
    }

    /// Returns the `environment=` pairs, each name once, in the order of the line. They override what the client sends, and are
    /// overridden by what describes the connection (`SSH_CLIENT` and so on), as in sshd.
    pub fn environment(&self) -> &[(String, String)] {
        &self.options.environment
    }

    /// Returns the tun device that `tunnel=` names, if any.
    pub fn tunnel(&self) -> Option<TunDevice> {
        self.options.tunnel
    }

    /// Returns whether a security key must be touched.
    pub fn touch_required(&self) -> bool {
        self.options.touch_required
    }

    /// Checks the flags byte of a security key's signature (PROTOCOL.u2f); for any other key there is nothing to check.
    ///
    /// # Errors
    /// [`Denial::NotTouched`] or [`Denial::NotVerified`].
    pub fn check_presence(&self, flags: u8) -> Result<(), Denial> {
        self.presence.check(flags)
    }

    /// Returns what a signature of a security key must say.
    pub fn presence(&self) -> UserPresence {
        self.presence
    }

    /// Returns the type of the client's key (`ssh-ed25519`); for a certificate, of the certified key.
    pub fn algorithm(&self) -> &str {
        self.algorithm.as_str()
    }

    /// Returns the SHA-256 fingerprint of the client's key (for a certificate, of the certified key), as `SHA256:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns the line's comment, or the certificate's key ID: printable, at most [`super::COMMENT_MAX`] bytes.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Returns the source of the permitting line, as the user named it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the permitting line's number in its source, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the facts of the certificate, if the client used one.
    pub fn certificate(&self) -> Option<&CertificateFacts> {
        self.certificate.as_ref()
    }

    /// Returns when the permission ends, in Unix seconds, if ever: at the line's `expiry-time` or the certificate's end, whichever is
    /// earlier. A session that began before continues, as with sshd, unless the caller ends it.
    pub fn expires(&self) -> Option<u64> {
        let certificate = self.certificate.as_ref().map(|facts| facts.valid_before).filter(|end| *end != u64::MAX);
        [self.options.expiry, certificate].into_iter().flatten().min()
    }
}
