//! Authenticates clients, from an offered key to a visit.

use russh::keys::{Algorithm, Certificate};
use russh::server::{Auth, SecurityKeyPresence};
use sally_proto::authorized_keys::{Context, Grant, Offer};
use sally_proto::record::{AuditEvent, Certificate as CertificateOnRecord, UntrustedText};

use super::connection::{ClientConnection, ConnectionError, WORDS};
use super::visits::Visits;
use crate::clock::unix_time_or_expired;
use crate::net::endpoint::Endpoint;
use crate::session::service::SessionService;
use crate::term;

impl<V: Visits, S: SessionService> ClientConnection<V, S> {
    fn context(&self) -> Context<'_> {
        let rules = &self.server.shared.rules;
        Context {
            peer: self.connection.peer.ip(),
            now: unix_time_or_expired(),
            account: Some(rules.user.as_deref().unwrap_or(&rules.account)),
        }
    }

    fn user_may_log_in(&self, user: &str) -> bool {
        self.server.shared.rules.user.as_deref().is_none_or(|only| only == user)
    }

    /// Answers whether a key might be accepted, before the client has proved that it holds the key.
    pub(super) fn probe(&self, user: &str, offer: Offer<'_>) -> Auth {
        if self.client.is_some() || !self.user_may_log_in(user) {
            return self.turn_away(user, "only another user name is accepted");
        }
        match self.server.shared.keys().authorize(offer, &self.context()) {
            Ok(_) => Auth::Accept,
            Err(denial) => self.turn_away(user, denial),
        }
    }

    fn turn_away(&self, user: &str, why: impl std::fmt::Display) -> Auth {
        tracing::info!(peer = %self.connection.peer, user, "refused: {why}");
        self.connection.deny();
        Auth::reject()
    }

    /// Logs why a certificate outside its dates is refused; the library has refused it already.
    pub(super) fn turn_away_certificate(&self, user: &str, certificate: &Certificate) {
        if let Err(denial) = self.server.shared.keys().authorize(Offer::Certificate(certificate), &self.context()) {
            self.turn_away(user, denial);
        }
    }

    /// Authenticates a client whose signature was good: the checker decides, then the events are recorded, then the client is admitted.
    pub(super) async fn authenticate(
        &mut self,
        user: &str,
        offer: Offer<'_>,
        presence: Option<SecurityKeyPresence>,
    ) -> Result<Auth, ConnectionError> {
        let peer = self.connection.peer;
        if self.client.is_some() || !self.user_may_log_in(user) {
            return Ok(Auth::reject());
        }
        // A signature without flags counts as one without a touch.
        let flags = presence.map_or(0, |presence| presence.flags);
        let granted = self.server.shared.keys().authorize(offer, &self.context());
        let grant = match granted.and_then(|grant| grant.check_presence(flags).map(|()| grant)) {
            Ok(grant) => grant,
            Err(denial) => return Ok(self.turn_away(user, denial)),
        };
        self.audit(&connect_event(peer, self.local))?;
        self.audit(&auth_event(user, &grant))?;
        let may_forward = self.server.shared.rules.allowed.local && grant.allows_port_forwarding();
        match self.server.visits.admit(&self.connection, grant.fingerprint(), may_forward).await {
            Ok(visit) => {
                self.enter(grant, user, visit);
                Ok(Auth::Accept)
            }
            Err(why) => {
                self.refuse("visit", why.reason())?;
                self.connection.cut.cancel();
                Ok(Auth::reject())
            }
        }
    }
}

fn connect_event(peer: Endpoint, local: Endpoint) -> AuditEvent {
    AuditEvent::Connect { peer: peer.to_string(), local: local.to_string() }
}

fn auth_event(user: &str, grant: &Grant) -> AuditEvent {
    AuditEvent::Auth {
        user: (&*term::cut(user, WORDS)).into(),
        method: "publickey".into(),
        key_type: Some(grant.algorithm().into()),
        fingerprint: grant.fingerprint().into(),
        comment: Some(grant.comment()).filter(|comment| !comment.is_empty()).map(UntrustedText::from),
        source: Some(format!("{}:{}", grant.source(), grant.line())),
        certificate: grant.certificate().map(|facts| CertificateOnRecord {
            id: facts.key_id.as_str().into(),
            serial: facts.serial,
            ca: facts.authority.clone(),
        }),
    }
}

/// Returns whether an algorithm is RSA with SHA-1, which is broken; the same key can sign with SHA-2.
pub(super) fn is_sha1(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { hash: None })
}
