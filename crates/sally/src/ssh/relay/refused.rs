//! Writes refused keys to the audit log: one line for each connection. It omits a plain key whose certificate is let in afterwards:
//! OpenSSH's client offers both, the plain key first, and no client was refused.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sally_proto::relay::Deed;

use crate::lock::lock;
use crate::relay::Relay;
use crate::relay::audit::Event;
use crate::relay::caller::Proven;
use crate::term;

/// Holds the refused keys of a connection.
pub(super) struct Refused {
    relay: Arc<Relay>,
    peer: SocketAddr,
    state: Mutex<State>,
}

enum State {
    /// No key was refused.
    Nothing,
    /// A plain key was refused, and its certificate may follow.
    Held(Line),
    /// The line is on the log.
    Written,
}

struct Line {
    user: String,
    key: String,
    reason: String,
}

impl Refused {
    pub(super) fn new(relay: &Arc<Relay>, peer: SocketAddr) -> Self {
        Self { relay: Arc::clone(relay), peer, state: Mutex::new(State::Nothing) }
    }

    /// Notes a refused key.
    pub(super) async fn key(&self, user: &str, proven: &Proven, reason: String) {
        let line = Line { user: term::excerpt(user), key: proven.fingerprint(), reason };
        let waits = matches!(proven, Proven::Key(_)) && self.relay.has_authorities();
        let now = self.change(|state| match (state, waits) {
            (State::Nothing, true) => (State::Held(line), None),
            // The reason against a certificate tells more than that its key alone isn't known.
            (State::Nothing | State::Held(_), false) => (State::Written, Some(line)),
            // There is more than one key: a certificate that follows explains only one of them.
            (State::Held(held), true) if held.key != line.key => (State::Written, Some(held)),
            (before @ (State::Held(_) | State::Written), _) => (before, None),
        });
        self.write(now).await;
    }

    /// Writes a refused key that still waits, unless `let_in`, the fingerprint of the key that was let in, is its own.
    pub(super) async fn settle(&self, let_in: Option<&str>) {
        let now = self.change(|state| match state {
            State::Held(line) if let_in == Some(line.key.as_str()) => (State::Written, None),
            State::Held(line) => (State::Written, Some(line)),
            before => (before, None),
        });
        self.write(now).await;
    }

    fn change(&self, with: impl FnOnce(State) -> (State, Option<Line>)) -> Option<Line> {
        let mut state = lock(&self.state);
        let (after, line) = with(std::mem::replace(&mut *state, State::Nothing));
        *state = after;
        line
    }

    async fn write(&self, line: Option<Line>) {
        let Some(Line { user, key, reason }) = line else { return };
        self.relay.metrics.refused("auth");
        // Nothing begins here: if the log can't say that it counts refusals, this one is written like all others.
        if let Ok(Some(_)) = self.relay.counted(Deed::RefusedKey, self.peer.ip()).await {
            return;
        }
        self.relay.audit.note(Event::AuthRefused { peer: self.peer.to_string(), user: user.into(), key: &key, reason }).await;
    }
}
