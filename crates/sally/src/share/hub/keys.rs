//! Decides whose key may still join after its source was read again.

use sally_proto::record::AuditEvent;

use super::people::REMOVED;
use super::{ShareHub, ShareState};
use crate::lock::lock;
use crate::share::sources::{AllowedKeys, GoneKeys};

/// What a viewer reads whose key is gone from its source.
pub(in crate::share) const KEY_GONE: &str = "this key is no longer among those that may join the share";
/// What a viewer reads who comes when the sources have failed for too long.
const STALE: &str = "no viewer can join now: the share could not read its keys again";

impl ShareHub {
    /// Takes the keys that may join from now on, and ends the views of those that are gone, each with its kick on the record.
    pub fn allow_keys(&self, allowed: AllowedKeys, gone: &GoneKeys) {
        let mut state = lock(&self.state);
        state.allowed = Some(allowed);
        let mut endings = Vec::new();
        for person in state.people.values_mut() {
            let Some(source) = person.joined.fingerprint.as_deref().and_then(|fingerprint| gone.source_of(fingerprint)) else { continue };
            let event = AuditEvent::Kick { channel: person.joined.number, by: source.into() };
            // A record that fails ends the share, for that reason.
            if let Err(error) = self.recorder.audit(&event) {
                tracing::debug!(%error, "a viewer's removal is not on the record");
            }
            person.rights.demote();
            endings.extend(person.drop_input().map(|unit| (person.joined.number, unit)));
            person.leaves_because = Some(KEY_GONE.into());
            person.dismissed.cancel();
        }
        state.endings.extend(endings);
        drop(state);
        self.typed.notify_one();
        self.room.notify_waiters();
        self.change();
    }

    /// Returns why a key is refused, if it is.
    pub(in crate::share) fn refusal(&self, fingerprint: &str) -> Option<&'static str> {
        lock(&self.state).refusal(fingerprint)
    }
}

impl ShareState {
    pub(super) fn refusal(&self, fingerprint: &str) -> Option<&'static str> {
        if self.kicked.contains(fingerprint) {
            return Some(REMOVED);
        }
        let allowed = self.allowed.as_ref()?;
        if !allowed.may_include(fingerprint) {
            return Some(KEY_GONE);
        }
        allowed.is_stale.then_some(STALE)
    }
}
