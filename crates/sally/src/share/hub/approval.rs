//! Keeps viewers waiting until the host lets them in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sally_proto::record::{Approval, AuditEvent};
use sally_proto::share::{ShareRole, Shown};
use tokio::sync::oneshot;

use super::people::{VIEWERS_OF_KEY, release, short_source};
use super::{NotJoined, ShareHub};
use crate::lock::lock;
use crate::share::person::Joining;

/// The most who wait at once.
const WAITING: usize = 16;
/// How long each may wait.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// A viewer who waits for the host, as the hub knows it.
pub(super) struct WaitingViewer {
    name: String,
    fingerprint: Option<String>,
    role: ShareRole,
    answer: oneshot::Sender<bool>,
}

/// A viewer who waits for the host, until this is dropped.
pub struct ApprovalWait {
    hub: Arc<ShareHub>,
    number: u32,
    until: Instant,
    answer: oneshot::Receiver<bool>,
}

impl ApprovalWait {
    /// Waits for the host's answer; without one in time, returns nothing. Cancel-safe.
    pub(in crate::share) async fn answer(&mut self) -> Option<bool> {
        tokio::time::timeout_at(self.until.into(), &mut self.answer).await.ok()?.ok()
    }
}

impl Drop for ApprovalWait {
    fn drop(&mut self) {
        self.hub.stop_waiting(self.number);
    }
}

impl ShareHub {
    /// Asks the host to let a viewer in, if the host wants to be asked. The viewer may join once the answer is yes.
    ///
    /// # Errors
    /// [`NotJoined`].
    pub(in crate::share) fn ask_to_join(self: &Arc<Self>, joining: &Joining) -> Result<Option<ApprovalWait>, NotJoined> {
        if !self.rules.approve {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        self.check_join(&state, joining)?;
        let of_key = state.waiting.values().filter(|waiting| waiting.fingerprint == joining.fingerprint).count();
        if of_key >= VIEWERS_OF_KEY {
            return Err(NotJoined::Refused(format!("this key waits {VIEWERS_OF_KEY} times already")));
        }
        if state.waiting.len() >= WAITING {
            return Err(NotJoined::Refused(format!("{WAITING} viewers wait for the host already")));
        }
        // A name as it would be after the join: it can't be mistaken for another's, or do anything to a terminal.
        let Some(named) = state.names.join(&joining.name) else { return Err(NotJoined::Refused("too many viewers have come".into())) };
        state.names.leave(named.number);
        let (name, role) = (named.name, self.rights_of(joining).role());
        let source = joining.source.as_deref().map(short_source);
        let fingerprint = joining.fingerprint.as_deref();
        let shown = Shown { name: &name, source: source.as_deref(), fingerprint, as_relay_says: false };
        if self.rules.announces {
            state.unsaid.push(format!("{shown} asks to join, and may then {role}: approve {}", joining.number));
        }
        let (sender, answer) = oneshot::channel();
        let waiting = WaitingViewer { name, fingerprint: joining.fingerprint.clone(), role, answer: sender };
        state.waiting.insert(joining.number, waiting);
        release(state);
        self.change();
        Ok(Some(ApprovalWait { hub: Arc::clone(self), number: joining.number, until: Instant::now() + PATIENCE, answer }))
    }

    /// Lets a viewer in who waits, or doesn't. That is on the record first.
    ///
    /// # Errors
    /// Why not.
    pub fn answer(&self, number: u32, approved: bool) -> Result<String, String> {
        let mut state = lock(&self.state);
        let waiting = state.waiting.remove(&number).ok_or_else(|| format!("no viewer {number} waits"))?;
        // Without its sender, the viewer who waits is refused.
        self.record_answer(number, &waiting, approved, true).map_err(|error| error.to_string())?;
        if approved {
            state.approved.insert(number);
        }
        let _ = waiting.answer.send(approved); // The viewer may have left just now.
        drop(state);
        self.change();
        Ok(format!("{} {}", waiting.name, if approved { "may join" } else { "may not join" }))
    }

    fn record_answer(&self, number: u32, waiting: &WaitingViewer, approved: bool, by_host: bool) -> Result<(), crate::record::RecordError> {
        self.recorder.audit(&AuditEvent::Approve(Approval {
            channel: number,
            name: waiting.name.as_str().into(),
            fingerprint: waiting.fingerprint.clone(),
            role: waiting.role,
            approved,
            by: by_host.then(|| self.rules.host.as_str().into()),
        }))
    }

    /// Forgets a viewer who has joined, or waits no more.
    fn stop_waiting(&self, number: u32) {
        let mut state = lock(&self.state);
        state.approved.remove(&number);
        let Some(waiting) = state.waiting.remove(&number) else { return };
        // If the record fails, the share ends for that reason.
        if let Err(error) = self.record_answer(number, &waiting, false, false) {
            tracing::debug!(%error, "a wait that has ended is not on the record");
        }
        drop(state);
        self.change();
    }

    /// Lists who waits: number and name.
    pub(in crate::share) fn waiting(&self) -> Vec<(u32, String)> {
        lock(&self.state).waiting.iter().map(|(number, waiting)| (*number, waiting.name.clone())).collect()
    }
}

impl super::ShareState {
    /// Returns what the status line says as long as a viewer waits.
    pub(super) fn question(&self) -> Option<String> {
        self.waiting.first_key_value().map(|(number, waiting)| format!("{} asks to join: approve {number}", waiting.name))
    }
}
