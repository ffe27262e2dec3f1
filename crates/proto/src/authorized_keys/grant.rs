//! What a visitor may do, once let in. Only the checker makes one.

use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg};

use super::certificate::Limits;
use super::checker::Denial;
use super::key;
use super::line::displayable;
use super::options::{Options, Tunnel};
use super::permit::PermitRule;
use super::presence::Presence;
use super::ring::Held;
use crate::sftp::SftpFlags;

/// The permission to come in, and its limits: the line's, and the certificate's where there is one, whichever is narrower.
///
/// Its fields are private and it has no constructor: whoever holds one got it from [`super::KeyRing::authorize`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    options: Options,
    algorithm: Algorithm,
    security_key: bool,
    presence: Presence,
    fingerprint: String,
    comment: String,
    source: std::sync::Arc<str>,
    line: usize,
    certificate: Option<CertificateFacts>,
}

/// What the record says of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// The authority's name for it, fit for a terminal.
    pub key_id: String,
    /// Its serial number; 0 where the authority counts none.
    pub serial: u64,
    /// SHA-256 fingerprint of the authority's key.
    pub authority: String,
    /// The names in it: never empty. Not made fit for a terminal.
    pub principals: Vec<String>,
    /// The Unix second from which it isn't valid any more.
    pub valid_before: u64,
}

impl Grant {
    /// Whether both say the same, wherever the lines stand that they come from.
    pub fn permits_the_same(&self, other: &Self) -> bool {
        self.options == other.options && self.certificate == other.certificate
    }

    pub(super) fn of_key(held: &Held) -> Self {
        Self::new(held, held.entry.key(), held.entry.options().clone(), held.entry.comment().to_owned())
    }

    /// The line's options narrowed by the certificate's, as sshd's `sshauthopt_merge` does.
    pub(super) fn of_certificate(held: &Held, certificate: &Certificate, limits: Limits, command: Option<String>) -> Self {
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

    fn new(held: &Held, key: &KeyData, options: Options, comment: String) -> Self {
        Self {
            presence: Presence::of(key, options.touch_required, options.verify_required),
            options,
            algorithm: key.algorithm(),
            security_key: key::is_security_key(key),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            comment,
            source: held.source.clone(),
            line: held.entry.line(),
            certificate: None,
        }
    }

    /// The command that replaces shell, command and subsystem (`command=`, `force-command`).
    pub fn forced_command(&self) -> Option<&str> {
        self.options.command.as_deref()
    }

    /// What the flags of that command say, where it is `internal-sftp`: SFTP and nothing else. Never an error in fact: such a line is none,
    /// and such a certificate lets nobody in.
    pub fn sftp(&self) -> Option<Result<SftpFlags, String>> {
        self.forced_command().and_then(SftpFlags::of_command)
    }

    /// Whether a terminal may be had.
    pub fn allows_pty(&self) -> bool {
        self.options.pty
    }

    /// Whether the visitor's agent may be reached.
    pub fn allows_agent_forwarding(&self) -> bool {
        self.options.agent_forwarding
    }

    /// Whether the visitor's display may be reached.
    pub fn allows_x11_forwarding(&self) -> bool {
        self.options.x11_forwarding
    }

    /// Whether anything at all may be forwarded, Unix sockets included; which ports, the rules say.
    pub fn allows_port_forwarding(&self) -> bool {
        self.options.port_forwarding
    }

    /// Whether `~/.ssh/rc` may run.
    pub fn allows_user_rc(&self) -> bool {
        self.options.user_rc
    }

    /// Whether a connection to this host and port may be opened (`direct-tcpip`; `permitopen=`). Hosts are compared letter by letter, as
    /// sshd does: a rule for `localhost` says nothing about 127.0.0.1.
    pub fn allows_open(&self, host: &str, port: u16) -> bool {
        let rules = self.permit_open();
        self.allows_port_forwarding() && (rules.is_empty() || rules.iter().any(|rule| rule.matches_exactly(host, port)))
    }

    /// Whether this address and port may be listened on (`tcpip-forward`; `permitlisten=`), the address as the visitor sent it, empty
    /// for all. Port 0 (any that is free) needs a rule for any port.
    pub fn allows_listen(&self, host: &str, port: u16) -> bool {
        let rules = self.permit_listen();
        self.allows_port_forwarding() && (rules.is_empty() || rules.iter().any(|rule| rule.matches_pattern(host, port)))
    }

    /// Whether a Unix socket may be connected to (`direct-streamlocal@openssh.com`). Rules that name hosts and ports name no sockets: where
    /// there are any, none may. sshd passes over the rules here.
    pub fn allows_open_socket(&self) -> bool {
        self.allows_port_forwarding() && self.permit_open().is_empty()
    }

    /// Whether a Unix socket may be listened on (`streamlocal-forward@openssh.com`), as [`Self::allows_open_socket`] has it.
    pub fn allows_listen_socket(&self) -> bool {
        self.allows_port_forwarding() && self.permit_listen().is_empty()
    }

    /// The `permitopen=` rules; none means no limit of their own. A relay matches its names with [`PermitRule::matches_pattern`].
    pub fn permit_open(&self) -> &[PermitRule] {
        &self.options.permit_open
    }

    /// The `permitlisten=` rules; none means no limit of their own.
    pub fn permit_listen(&self) -> &[PermitRule] {
        &self.options.permit_listen
    }

    /// `environment=` pairs, each name once, in the order of the line. They go after what the visitor sends, and before what describes
    /// the connection (`SSH_CLIENT` and so on), as in sshd.
    pub fn environment(&self) -> &[(String, String)] {
        &self.options.environment
    }

    /// `tunnel=`: the tun device to use, if there are to be any.
    pub fn tunnel(&self) -> Option<Tunnel> {
        self.options.tunnel
    }

    /// Whether a security key has to have been touched.
    pub fn touch_required(&self) -> bool {
        self.options.touch_required
    }

    /// Whether a security key has to have verified its user.
    pub fn verify_required(&self) -> bool {
        self.options.verify_required
    }

    /// Checks the flags byte of a security key's signature (PROTOCOL.u2f); for any other key there is nothing to check.
    ///
    /// # Errors
    /// [`Denial::NotTouched`] or [`Denial::NotVerified`].
    pub fn check_presence(&self, flags: u8) -> Result<(), Denial> {
        self.presence.check(flags)
    }

    /// What a signature has to say of the person at a security key.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// Whether the key is a security key, so that [`Self::check_presence`] has something to check.
    pub fn is_security_key(&self) -> bool {
        self.security_key
    }

    /// The type of the visitor's key (`ssh-ed25519`); for a certificate, of the certified key.
    pub fn algorithm(&self) -> &str {
        self.algorithm.as_str()
    }

    /// SHA-256 fingerprint of the visitor's key (for a certificate, of the certified key), as `SHA256:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The line's comment, or the certificate's key ID: fit for a terminal, at most [`super::COMMENT_MAX`] bytes.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The source that the permitting line came from, as the user named it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The permitting line's number in its source, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The certificate, where it was one.
    pub fn certificate(&self) -> Option<&CertificateFacts> {
        self.certificate.as_ref()
    }

    /// When the permission ends, in Unix seconds, if ever: the line's `expiry-time`, the certificate's end, whichever is earlier. A
    /// session that began before goes on, with sshd as here; for a caller that wants it otherwise.
    pub fn expires(&self) -> Option<u64> {
        let certificate = self.certificate.as_ref().map(|facts| facts.valid_before).filter(|end| *end != u64::MAX);
        [self.options.expiry, certificate].into_iter().flatten().min()
    }
}
