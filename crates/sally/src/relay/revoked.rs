//! A relay's list of revoked keys: read again when it changes; while it can't be, nobody new is let in.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sally_proto::authorized_keys::{Denial, Offer};
use sally_proto::error::Fault;
use sally_proto::krl::Krl;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Relay;
use super::audit::Event;
use crate::keys::{Skipped, load_revoked};
use crate::lock::lock;
use crate::stamp::{self, Stamp};
use crate::term;

/// How often the file is looked at.
const REVOKED_LOOK: Duration = Duration::from_secs(2);

/// The list as it was read last.
#[derive(Debug)]
pub struct Revoked {
    /// Nothing where it could be read only once (a shell's `<(…)`).
    file: Option<PathBuf>,
    state: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    list: Arc<Krl>,
    /// Whether it could be read the last time.
    readable: bool,
    /// What the file looked like at the last look, and before it was last read: one that changes is read when it has been the same for two
    /// looks, for whoever writes it may be half-way.
    seen: Stamp,
    tried: Stamp,
}

/// What another look comes to.
#[derive(Debug)]
enum RevokedLook {
    /// Nothing has changed.
    Same,
    /// It was read anew; lines that are passed over.
    New(Vec<Skipped>),
    /// It can't be read: nobody new is let in until it can.
    Failed(Fault),
}

impl Revoked {
    /// Reads the list, where there is one, and gives the lines that are passed over.
    ///
    /// # Errors
    /// Those of [`load_revoked`].
    pub async fn load(file: Option<PathBuf>) -> Result<(Option<Self>, Vec<Skipped>), Fault> {
        let Some(file) = file else { return Ok((None, Vec::new())) };
        // Looked at before it is read: what changes meanwhile is seen at the next look.
        let seen = stamp::stamp(&file);
        let (list, skipped) = load_revoked(&file).await?;
        let state = Mutex::new(Read { list: Arc::new(list), readable: true, tried: seen, seen });
        Ok((Some(Self { file: file.is_file().then_some(file), state }), skipped))
    }

    fn state(&self) -> MutexGuard<'_, Read> {
        lock(&self.state)
    }

    /// Looks again; reads what has changed.
    async fn look(&self, forced: bool) -> RevokedLook {
        let Some(file) = &self.file else { return RevokedLook::Same };
        let seen = stamp::stamp(file);
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

    /// That what somebody new offers is not revoked, as far as can be known.
    ///
    /// # Errors
    /// Why they are not let in.
    pub(super) fn check_newcomer(&self, offer: Offer<'_>) -> Result<(), Denial> {
        if !self.state().readable {
            return Err(Denial::RevocationsUnreadable);
        }
        self.check(offer)
    }

    /// That what somebody was let in with is not revoked, by the last list that could be read.
    ///
    /// # Errors
    /// Why they go.
    pub(super) fn check(&self, offer: Offer<'_>) -> Result<(), Denial> {
        let list = Arc::clone(&self.state().list);
        list.check(offer)
    }
}

/// Looks for as long as the relay runs, and whenever it is `wanted`: beside everything else, for a file may be slow.
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
                term::say("  until it can be read nobody new is let in");
                relay.audit.note(Event::KeysFailed { reason: fault.to_string() }).await;
            }
        }
    }
}
