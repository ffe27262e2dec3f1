//! Lets people in and out.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use sally_proto::record::{AuditEvent, Join, Via};
use sally_proto::share::{Rights, ShareRole, SharedSize, Shown};
use sally_sys::pty::WindowSize;

use super::{Attendance, ShareHub, ShareState};
use crate::lock::lock;
use crate::record::RecordError;
use crate::share::person::{Joining, Person};
use crate::term;

/// The most of them with the same key.
pub(super) const VIEWERS_OF_KEY: usize = 4;

/// What a viewer reads whose key was kicked.
pub(super) const REMOVED: &str = "the host has removed this key from the share";

/// Returns the part of a window that a viewer is shown.
pub(in crate::share) fn shown(window: WindowSize) -> WindowSize {
    let most = SharedSize::MOST;
    WindowSize { columns: window.columns.min(most.cols), rows: window.rows.min(most.rows), ..window }
}

/// Returns where a key is from in one word: `github`, another host that keys were fetched from, or a file's name.
pub(super) fn short_source(source: &str) -> String {
    match source.split_once("://") {
        Some((_, rest)) => {
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            host.strip_suffix(".com").filter(|name| *name == "github").unwrap_or(host).to_owned()
        }
        None => {
            let file = source.rsplit_once(':').map_or(source, |(file, _line)| file);
            file.rsplit('/').next().unwrap_or_default().to_owned()
        }
    }
}

/// Why a person can't join.
#[derive(Debug)]
pub enum NotJoined {
    /// In words for that person.
    Refused(String),
    /// The record can't be written.
    Record(RecordError),
}

impl From<RecordError> for NotJoined {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// Releases the state, then prints what there is to say: stderr may take its time.
pub(super) fn release(mut state: MutexGuard<'_, ShareState>) {
    let unsaid = std::mem::take(&mut state.unsaid);
    drop(state);
    unsaid.iter().for_each(|line| term::say(line));
}

impl ShareHub {
    /// Lets a person in, once that is on the record.
    ///
    /// # Errors
    /// [`NotJoined`].
    pub fn join(&self, mut joining: Joining) -> Result<(), NotJoined> {
        let refused = |why: &str| Err(NotJoined::Refused(why.into()));
        let mut state = lock(&self.state);
        self.check_join(&state, &joining)?;
        let is_local = joining.via == Via::Local;
        if self.rules.approve && !is_local && !state.approved.remove(&joining.number) {
            return refused("the host has not let you in");
        }
        let rights = self.rights_of(&joining);
        let named = if is_local { state.host.clone() } else { state.names.join(&joining.name) };
        let Some(viewer) = named else { return refused("this share has had as many viewers as it can") };
        joining.window = shown(joining.window);
        self.recorder.audit(&AuditEvent::Join(Join {
            channel: joining.number,
            name: viewer.name.as_str().into(),
            fingerprint: joining.fingerprint.clone(),
            source: joining.source.clone(),
            via: joining.via,
            role: rights.role(),
            peer: joining.peer.clone(),
        }))?;
        let person = Person::new(joining, viewer, rights);
        if !is_local {
            state.visited = true;
            self.attendance.send_modify(|now| *now = Attendance { joined: now.joined + 1, here: now.here + 1 });
            self.announce(&mut state, &person, &format!("has joined, and may {}", rights.role()));
        }
        state.people.insert(person.joined.number, person);
        self.fit(&mut state);
        release(state);
        self.change();
        Ok(())
    }

    /// Checks that a person may come now.
    pub(super) fn check_join(&self, state: &ShareState, joining: &Joining) -> Result<(), NotJoined> {
        let refused = |why: &str| Err(NotJoined::Refused(why.into()));
        if let Some(over) = &state.over {
            return refused(&over.sentence());
        }
        if let Some(why) = joining.fingerprint.as_ref().and_then(|fingerprint| state.refusal(fingerprint)) {
            return refused(why);
        }
        if joining.via == Via::Local {
            return Ok(());
        }
        let viewers = || state.people.values().filter(|person| !person.is_local());
        if viewers().count() >= self.rules.viewers {
            return refused(&format!("this share is full ({})", self.rules.viewers));
        }
        if viewers().filter(|person| person.joined.fingerprint == joining.fingerprint).count() >= VIEWERS_OF_KEY {
            return refused(&format!("this key is here {VIEWERS_OF_KEY} times already"));
        }
        Ok(())
    }

    /// Returns the rights with which a person comes.
    pub(super) fn rights_of(&self, joining: &Joining) -> Rights {
        let share = if self.rules.read_only && joining.via != Via::Local { ShareRole::Watch } else { ShareRole::Write };
        Rights::new(joining.link, joining.limit, share)
    }

    /// Says of a person on the status line, or on stderr if the terminal is not shown here.
    pub(super) fn announce(&self, state: &mut ShareState, person: &Person, what: &str) {
        state.notice = Some((Instant::now(), format!("{} {what}", person.name)));
        if self.rules.announces {
            let source = person.joined.source.as_deref().map(short_source);
            let shown = Shown {
                name: &person.name,
                source: source.as_deref(),
                fingerprint: person.joined.fingerprint.as_deref(),
                as_relay_says: false,
            };
            state.unsaid.push(format!("{shown} {what}"));
        }
    }

    /// Lets a person go; `why` is for the record.
    pub fn leave(&self, number: u32, why: &str) {
        let mut state = lock(&self.state);
        let Some(mut person) = state.people.remove(&number) else { return };
        let ending = person.drop_input();
        state.endings.extend(ending.map(|unit| (number, unit)));
        if !person.is_local() {
            state.names.leave(person.named);
            self.attendance.send_modify(|now| now.here = now.here.saturating_sub(1));
            self.announce(&mut state, &person, "has left");
        }
        self.fit(&mut state);
        release(state);
        // If the record fails, the share ends for that reason.
        if let Err(error) = self.recorder.audit(&AuditEvent::Leave { channel: number, reason: why.into() }) {
            tracing::debug!(%error, "a viewer's leaving is not on the record");
        }
        self.typed.notify_one();
        self.change();
    }

    /// Waits until the last viewer has left, and for so long no other has joined. Cancel-safe.
    pub async fn deserted(&self, limit: Duration) {
        let mut attendance = self.attendance.subscribe();
        loop {
            // The sender is ours: there is no error.
            let Ok(joined) = attendance.wait_for(|now| now.joined > 0 && now.here == 0).await.map(|now| now.joined) else { return };
            let another = attendance.wait_for(|now| now.joined > joined);
            if tokio::time::timeout(limit, another).await.is_err() {
                return;
            }
        }
    }
}
