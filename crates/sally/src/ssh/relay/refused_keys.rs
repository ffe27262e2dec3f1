//! Writes refused keys to the audit log: one line for each connection. It omits a plain key whose certificate is let in afterwards:
//! OpenSSH's client offers both, the plain key first, and no client was refused.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sally_proto::relay::UnauthenticatedAction;

use crate::lock::lock;
use crate::relay::Relay;
use crate::relay::audit::RelayEvent;
use crate::relay::client::Proven;
use crate::term;

/// Holds the refused keys of a connection.
pub(super) struct RefusedKeys {
    relay: Arc<Relay>,
    peer: SocketAddr,
    state: Mutex<RefusedState>,
}

enum RefusedState {
    /// No key was refused.
    Nothing,
    /// A plain key was refused, and its certificate may follow.
    Held(RefusedKey),
    /// The line is on the log.
    Written,
}

struct RefusedKey {
    user: String,
    key: String,
    reason: String,
}

impl RefusedKeys {
    pub(super) fn new(relay: &Arc<Relay>, peer: SocketAddr) -> Self {
        Self { relay: Arc::clone(relay), peer, state: Mutex::new(RefusedState::Nothing) }
    }

    /// Notes a refused key.
    pub(super) async fn key(&self, user: &str, proven: &Proven, reason: String) {
        let line = RefusedKey { user: term::excerpt(user), key: proven.fingerprint(), reason };
        let waits = matches!(proven, Proven::Key(_)) && self.relay.has_authorities();
        let now = self.change(|state| match (state, waits) {
            (RefusedState::Nothing, true) => (RefusedState::Held(line), None),
            // The reason against a certificate tells more than that its key alone isn't known.
            (RefusedState::Nothing | RefusedState::Held(_), false) => (RefusedState::Written, Some(line)),
            // There is more than one key: a certificate that follows explains only one of them.
            (RefusedState::Held(held), true) if held.key != line.key => (RefusedState::Written, Some(held)),
            (before @ (RefusedState::Held(_) | RefusedState::Written), _) => (before, None),
        });
        self.write(now).await;
    }

    /// Writes a refused key that still waits, unless `let_in`, the fingerprint of the key that was let in, is its own.
    pub(super) async fn settle(&self, let_in: Option<&str>) {
        let now = self.change(|state| match state {
            RefusedState::Held(line) if let_in == Some(line.key.as_str()) => (RefusedState::Written, None),
            RefusedState::Held(line) => (RefusedState::Written, Some(line)),
            before => (before, None),
        });
        self.write(now).await;
    }

    fn change(&self, with: impl FnOnce(RefusedState) -> (RefusedState, Option<RefusedKey>)) -> Option<RefusedKey> {
        let mut state = lock(&self.state);
        let (after, line) = with(std::mem::replace(&mut *state, RefusedState::Nothing));
        *state = after;
        line
    }

    async fn write(&self, line: Option<RefusedKey>) {
        let Some(RefusedKey { user, key, reason }) = line else { return };
        self.relay.metrics.refused("auth");
        // Nothing begins here: if the log can't say that it counts refusals, this one is written like all others.
        if let Ok(Some(_)) = self.relay.counted(UnauthenticatedAction::RefusedKey, self.peer.ip()).await {
            return;
        }
        self.relay.audit.note(RelayEvent::AuthRefused { peer: self.peer.to_string(), user: user.into(), key: &key, reason }).await;
    }
}
