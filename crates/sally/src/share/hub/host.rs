//! What the host decides: who is there, who may write, who has to leave.

use std::time::Instant;

use sally_proto::record::{AuditEvent, Via};
use sally_proto::share::ShareRole;
use tokio_util::sync::CancellationToken;

use super::people::release;
use super::{ShareHub, ShareState};
use crate::lock::lock;
use crate::share::person::Person;
use crate::share::viewer::READ_ONLY;
use crate::term;

/// A person as `sally share list` shows it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Listed {
    /// The number, which commands take.
    pub number: u32,
    /// The name.
    pub name: String,
    /// The source of the key; none for the local terminal.
    pub source: Option<String>,
    /// The key's fingerprint.
    pub fingerprint: Option<String>,
    /// The way on which the person has come.
    pub via: Via,
    /// What the person may do.
    pub role: ShareRole,
    /// The window's size: columns, rows.
    pub window: (u16, u16),
    /// Whether the person asks for the right to write.
    pub asks: bool,
}

impl ShareHub {
    /// Lists who is there.
    pub fn list(&self) -> Vec<Listed> {
        let listed = |person: &Person| Listed {
            number: person.joined.number,
            name: person.name.clone(),
            source: person.joined.source.clone(),
            fingerprint: person.joined.fingerprint.clone(),
            via: person.joined.via,
            role: person.rights.role(),
            window: (person.window.columns, person.window.rows),
            asks: person.asks,
        };
        lock(&self.state).people.values().map(listed).collect()
    }

    /// Makes a viewer one who writes, or one who only watches. What was typed and is not on the record is dropped. Holds before this
    /// returns.
    ///
    /// # Errors
    /// Why not.
    pub fn set_role(&self, number: u32, role: ShareRole) -> Result<(), String> {
        let mut state = lock(&self.state);
        let person = state.viewer(number)?;
        let mut rights = person.rights;
        match role {
            ShareRole::Write => {
                rights.promote().map_err(|error| error.to_string())?;
                // The rest of a sequence or a paste that was begun before is not typed.
                let _ = person.keyboard.leave();
            }
            ShareRole::Watch => rights.demote(),
        }
        let event = AuditEvent::Role { channel: number, role, by: self.rules.host.as_str().into() };
        self.recorder.audit(&event).map_err(|error| error.to_string())?;
        (person.rights, person.asks) = (rights, false);
        let ending = if role < ShareRole::Write { person.drop_input() } else { None };
        let notice = format!("{} may {role}", person.name);
        state.endings.extend(ending.map(|unit| (number, unit)));
        state.notice = Some((Instant::now(), notice));
        self.fit(&mut state);
        drop(state);
        self.typed.notify_one();
        self.room.notify_waiters();
        self.change();
        Ok(())
    }

    /// Ends every view of a viewer's key, and refuses the key from now on. Returns the key's fingerprint.
    ///
    /// # Errors
    /// Why not.
    pub fn kick(&self, number: u32) -> Result<Option<String>, String> {
        let mut state = lock(&self.state);
        let fingerprint = state.viewer(number)?.joined.fingerprint.clone();
        let event = AuditEvent::Kick { channel: number, by: self.rules.host.as_str().into() };
        self.recorder.audit(&event).map_err(|error| error.to_string())?;
        let mut endings = Vec::new();
        for person in state.people.values_mut().filter(|person| person.joined.fingerprint == fingerprint && !person.is_local()) {
            person.rights.demote();
            endings.extend(person.drop_input().map(|unit| (person.joined.number, unit)));
            person.leaves_because = Some("the host has removed you from the share".into());
            person.dismissed.cancel();
        }
        state.endings.extend(endings);
        state.kicked.extend(fingerprint.clone());
        drop(state);
        self.typed.notify_one();
        self.room.notify_waiters();
        Ok(fingerprint)
    }

    /// Lets a key that was kicked come again.
    ///
    /// # Errors
    /// It was not kicked.
    pub fn allow(&self, fingerprint: &str) -> Result<(), String> {
        let allowed = lock(&self.state).kicked.remove(fingerprint);
        allowed.then_some(()).ok_or_else(|| "that key is not among those that were kicked".into())
    }

    /// Notes that a viewer asks for the right to write. Returns what the viewer is told.
    pub(in crate::share) fn ask_to_write(&self, number: u32) -> String {
        let mut state = lock(&self.state);
        let Some(mut person) = state.people.remove(&number) else { return String::new() };
        let mut rights = person.rights;
        let told = match rights.promote() {
            Err(error) => error.to_string(),
            Ok(()) => {
                // Asked again, it is said only once.
                if !std::mem::replace(&mut person.asks, true) {
                    self.announce(&mut state, &person, &format!("asks to write: promote {number}"));
                }
                "the host is asked".into()
            }
        };
        state.people.insert(number, person);
        release(state);
        self.change();
        told
    }

    /// Says on the status line, and on stderr, what has happened to the share.
    pub fn notice(&self, what: &str) {
        lock(&self.state).notice = Some((Instant::now(), what.to_owned()));
        term::say(what);
        self.change();
    }

    /// Returns the name that stands in a border.
    pub(in crate::share) fn name(&self) -> &str {
        &self.rules.host
    }

    /// Returns what a person reads first.
    pub(in crate::share) fn welcome(&self, number: u32) -> String {
        let state = lock(&self.state);
        let Some(person) = state.people.get(&number) else { return String::new() };
        let may = if person.may_write() { "you may write" } else { READ_ONLY };
        let relay = if person.joined.via == Via::Jump { "; the relay can't read it" } else { "" };
        format!("{}'s terminal, recorded{relay}; {may}", self.rules.host)
    }

    /// Returns the token that is cancelled when a person has to leave, and afterwards the reason.
    pub(in crate::share) fn dismissal(&self, number: u32) -> (CancellationToken, Option<String>) {
        let state = lock(&self.state);
        let person = state.people.get(&number);
        person.map(|person| (person.dismissed.clone(), person.leaves_because.clone())).unwrap_or_default()
    }
}

impl ShareState {
    fn viewer(&mut self, number: u32) -> Result<&mut Person, String> {
        let person = self.people.get_mut(&number).filter(|person| !person.is_local());
        person.ok_or_else(|| format!("there is no viewer {number}"))
    }
}
