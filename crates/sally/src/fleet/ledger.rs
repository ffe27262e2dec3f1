//! `ca/ledger`: what was certified and revoked, in order, as one JSON object per line. Lines are only appended. The valid certificates and
//! the lists for relays are derived from it.

use std::collections::BTreeMap;

use sally_proto::error::Fault;
use serde::{Deserialize, Serialize};

use super::{FleetFolder, files};
use crate::clock::unix_time_or_expired;

/// The major version of each line.
const VERSION: u32 = 1;

/// The kinds of holders of a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holder {
    /// A device: its key, its host key and its TLS certificate share the number.
    Device,
    /// A person.
    Visitor,
    /// A relay: its host key and its TLS certificate share the number.
    Relay,
}

/// An action in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "did")]
pub(super) enum LedgerAction {
    /// A certificate was issued.
    Certified {
        /// The serial number.
        serial: u64,
        /// The kind of holder.
        holder: Holder,
        /// The holder's name.
        name: String,
        /// The patterns of a visitor.
        #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "for")]
        patterns: Vec<String>,
        /// The end in Unix seconds, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
    /// The certificates with this number were revoked.
    Revoked {
        /// The serial number.
        serial: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct LedgerLine {
    v: u32,
    t: u64,
    #[serde(flatten)]
    action: LedgerAction,
}

/// The current state of a serial number.
#[derive(Clone, Debug)]
pub(super) struct LedgerEntry {
    pub(super) serial: u64,
    pub(super) holder: Holder,
    pub(super) name: String,
    pub(super) patterns: Vec<String>,
    /// The time of the certification, in Unix seconds.
    pub(super) since: u64,
    pub(super) until: Option<u64>,
    /// The time of the revocation, in Unix seconds.
    pub(super) revoked: Option<u64>,
}

/// The ledger. While this value lives, other processes can't write to the fleet.
pub(super) struct Ledger {
    entries: BTreeMap<u64, LedgerEntry>,
    revocations: u64,
    file: std::path::PathBuf,
    _lock: std::fs::File,
}

impl Ledger {
    /// Locks the fleet, and reads the ledger.
    pub(super) fn open(fleet: &FleetFolder) -> Result<Self, Fault> {
        let lock = files::lock(&fleet.root.join("ca"))?;
        let file = fleet.ca("ledger");
        let mut ledger = Self { entries: BTreeMap::new(), revocations: 0, file, _lock: lock };
        let text = files::read_text(&ledger.file)?;
        for (line, number) in text.lines().zip(1..) {
            let parsed: LedgerLine =
                serde_json::from_str(line).map_err(|error| super::invalid(&ledger.file, format!("line {number}: {error}")))?;
            if parsed.v != VERSION {
                return Err(super::invalid(&ledger.file, format!("line {number} is of version {}", parsed.v)));
            }
            ledger.take(parsed.t, parsed.action);
        }
        Ok(ledger)
    }

    fn take(&mut self, at: u64, action: LedgerAction) {
        match action {
            LedgerAction::Certified { serial, holder, name, patterns, until } => {
                self.entries.insert(serial, LedgerEntry { serial, holder, name, patterns, since: at, until, revoked: None });
            }
            LedgerAction::Revoked { serial } => {
                self.revocations = self.revocations.saturating_add(1);
                if let Some(entry) = self.entries.get_mut(&serial) {
                    entry.revoked = entry.revoked.or(Some(at));
                }
            }
        }
    }

    /// Returns the next unused serial number. Numbers begin at 1: sshd's revocation lists take 0 for none.
    pub(super) fn next_serial(&self) -> u64 {
        self.entries.last_key_value().map_or(1, |(last, _)| last.saturating_add(1))
    }

    /// Returns the number of revocations, from which the lists' own numbers derive.
    pub(super) fn revocations(&self) -> u64 {
        self.revocations
    }

    /// Appends an action before it is done: its number is used up even if the rest fails.
    pub(super) fn write(&mut self, action: LedgerAction) -> Result<(), Fault> {
        self.write_at(unix_time_or_expired(), action)
    }

    /// Appends an action at a given time, for one that contains a time derived from it.
    pub(super) fn write_at(&mut self, t: u64, action: LedgerAction) -> Result<(), Fault> {
        let line = LedgerLine { v: VERSION, t, action };
        let text = serde_json::to_string(&line).map_err(|error| Fault::Internal(error.to_string()))?;
        files::append(&self.file, &text, files::PRIVATE)?;
        self.take(t, line.action);
        Ok(())
    }

    /// Returns all entries, by serial number.
    pub(super) fn entries(&self) -> impl Iterator<Item = &LedgerEntry> {
        self.entries.values()
    }

    /// Returns the entries of a holder, newest last.
    pub(super) fn of<'a>(&'a self, holder: Holder, name: &'a str) -> impl Iterator<Item = &'a LedgerEntry> {
        self.entries().filter(move |entry| entry.holder == holder && entry.name == name)
    }
}
