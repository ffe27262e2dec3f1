//! A refused key on the audit log: one line a connection. None for a plain key whose certificate is let in after it: OpenSSH's client shows
//! both, the plain key first, and nobody was refused.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sally_proto::relay::Deed;

use crate::lock::lock;
use crate::relay::Relay;
use crate::relay::audit::Event;
use crate::relay::caller::Proven;
use crate::term;

/// The refused keys of a connection.
pub(super) struct Refused {
    relay: Arc<Relay>,
    peer: SocketAddr,
    state: Mutex<State>,
}

enum State {
    /// No key was refused.
    Nothing,
    /// A plain key was, and its certificate may follow.
    Held(Line),
    /// It is on the log.
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

    /// A key is refused.
    pub(super) async fn key(&self, user: &str, proven: &Proven, reason: String) {
        let line = Line { user: term::excerpt(user), key: proven.fingerprint(), reason };
        let waits = matches!(proven, Proven::Key(_)) && self.relay.has_authorities();
        let now = self.change(|state| match (state, waits) {
            (State::Nothing, true) => (State::Held(line), None),
            // What is said of a certificate tells more than that its key alone isn't known.
            (State::Nothing | State::Held(_), false) => (State::Written, Some(line)),
            // More than one key: a certificate that follows explains but one of them.
            (State::Held(held), true) if held.key != line.key => (State::Written, Some(held)),
            (before @ (State::Held(_) | State::Written), _) => (before, None),
        });
        self.write(now).await;
    }

    /// Nobody follows any more but whoever has been let in with this key, if anybody was.
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
        // Nothing begins: where the log can't say that it counts, the line goes the way of all others.
        if let Ok(Some(_)) = self.relay.counted(Deed::RefusedKey, self.peer.ip()).await {
            return;
        }
        self.relay.audit.note(Event::AuthRefused { peer: self.peer.to_string(), user: user.into(), key: &key, reason }).await;
    }
}
