//! A relay's list of revoked keys. It is read again when it changes; while it can't be read, no new client is admitted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sally_proto::authorized_keys::{Denial, Offer};
use sally_proto::error::Fault;
use sally_proto::krl::Krl;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Relay;
use super::audit::RelayEvent;
use crate::file_version::{self, FileVersion};
use crate::keys::{Skipped, load_revoked};
use crate::lock::lock;
use crate::term;

/// The interval of looks at the file.
const REVOKED_LOOK: Duration = Duration::from_secs(2);

/// The list as last read.
#[derive(Debug)]
pub struct RelayRevocations {
    /// The file, or `None` if it could be read only once (a shell's `<(…)`).
    file: Option<PathBuf>,
    state: Mutex<RevocationsRead>,
}

#[derive(Debug)]
struct RevocationsRead {
    list: Arc<Krl>,
    /// Whether the last read succeeded.
    readable: bool,
    /// The file's versions at the last look and before the last read. A changed file is read when it has been the same for two looks: it may
    /// still be being written.
    seen: FileVersion,
    tried: FileVersion,
}

/// The result of another look.
#[derive(Debug)]
enum RevokedLook {
    /// Nothing has changed.
    Same,
    /// It was read again; the skipped lines.
    New(Vec<Skipped>),
    /// It can't be read: no new client is admitted until it can.
    Failed(Fault),
}

impl RelayRevocations {
    /// Reads the list, if there is one, and returns the skipped lines.
    ///
    /// # Errors
    /// Those of [`load_revoked`].
    pub async fn load(file: Option<PathBuf>) -> Result<(Option<Self>, Vec<Skipped>), Fault> {
        let Some(file) = file else { return Ok((None, Vec::new())) };
        // The version is taken before reading: a change meanwhile is seen at the next look.
        let seen = file_version::version_of(&file);
        let (list, skipped) = load_revoked(&file).await?;
        let state = Mutex::new(RevocationsRead { list: Arc::new(list), readable: true, tried: seen, seen });
        Ok((Some(Self { file: file.is_file().then_some(file), state }), skipped))
    }

    fn state(&self) -> MutexGuard<'_, RevocationsRead> {
        lock(&self.state)
    }

    /// Looks at the file again, and reads it if it has changed, if the last read failed, or if `forced`.
    async fn look(&self, forced: bool) -> RevokedLook {
        let Some(file) = &self.file else { return RevokedLook::Same };
        let seen = file_version::version_of(file);
        {
            let mut state = self.state();
            let settled = seen == state.seen;
            state.seen = seen;
            if !forced && state.readable && !(settled && seen != state.tried) {
                return RevokedLook::Same;
            }
            state.tried = seen;
        }
        match load_revoked(file).await {
            Ok((list, skipped)) => {
                let mut state = self.state();
                (state.list, state.readable) = (Arc::new(list), true);
                RevokedLook::New(skipped)
            }
            Err(fault) => {
                let was_readable = std::mem::replace(&mut self.state().readable, false);
                if was_readable { RevokedLook::Failed(fault) } else { RevokedLook::Same }
            }
        }
    }

    /// Checks that a new client's key or certificate is not revoked, and that the list is readable.
    ///
    /// # Errors
    /// The reason why the client is rejected.
    pub(super) fn check_newcomer(&self, offer: Offer<'_>) -> Result<(), Denial> {
        if !self.state().readable {
            return Err(Denial::RevocationsUnreadable);
        }
        self.check(offer)
    }

    /// Checks that a connected client's key or certificate is not revoked, by the last list that could be read.
    ///
    /// # Errors
    /// The reason for disconnecting the client.
    pub(super) fn check(&self, offer: Offer<'_>) -> Result<(), Denial> {
        let list = Arc::clone(&self.state().list);
        list.check(offer)
    }
}

/// Looks at intervals and whenever `wanted` is notified, as long as the relay runs; in a task of its own, since a file may be slow.
pub(super) async fn watch_revoked(relay: Arc<Relay>, wanted: Arc<Notify>) {
    let Some(revoked) = &relay.revoked else { return };
    let mut looks = tokio::time::interval(REVOKED_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let forced = tokio::select! {
            () = wanted.notified() => true,
            _ = looks.tick() => false,
        };
        match revoked.look(forced).await {
            RevokedLook::Same => {}
            RevokedLook::New(skipped) => {
                tracing::info!("the list of revoked keys was read");
                relay.audit.skipped(&skipped).await;
                relay.dismiss_the_changed();
            }
            RevokedLook::Failed(fault) => {
                term::fault(&fault);
                term::say("  until it can be read, no new client is accepted");
                relay.audit.note(RelayEvent::KeysFailed { reason: fault.to_string() }).await;
            }
        }
    }
}
