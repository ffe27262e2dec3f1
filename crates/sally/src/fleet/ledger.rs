//! `ca/ledger`: what was certified and revoked, in order; one JSON object a line, only ever added to. What is valid now follows from it, and
//! so do the lists that a relay gets.

use std::collections::BTreeMap;

use sally_proto::error::Fault;
use serde::{Deserialize, Serialize};

use super::{Fleet, files};
use crate::clock::unix_time_or_expired;

/// The major version of each line.
const VERSION: u32 = 1;

/// Whom a serial number was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holder {
    /// A device: its key, its host key, its TLS certificate, all of one number.
    Device,
    /// A person.
    Visitor,
    /// A relay: its host key, its TLS certificate.
    Relay,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "did")]
pub(super) enum Deed {
    /// Certified somebody.
    Certified {
        /// The number.
        serial: u64,
        /// What they are.
        holder: Holder,
        /// Who they are.
        name: String,
        /// A visitor's patterns.
        #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "for")]
        patterns: Vec<String>,
        /// When it ends, in Unix seconds, if ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
    /// Revoked what has this number.
    Revoked {
        /// The number.
        serial: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    t: u64,
    #[serde(flatten)]
    deed: Deed,
}

/// One that was certified, as it stands now.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) serial: u64,
    pub(super) holder: Holder,
    pub(super) name: String,
    pub(super) patterns: Vec<String>,
    /// When it was certified.
    pub(super) since: u64,
    pub(super) until: Option<u64>,
    /// When it was revoked.
    pub(super) revoked: Option<u64>,
}

/// The ledger, and with it the right to write to the fleet while this lives.
pub(super) struct Ledger {
    entries: BTreeMap<u64, Entry>,
    revocations: u64,
    file: std::path::PathBuf,
    _lock: std::fs::File,
}

impl Ledger {
    /// Reads it, and holds others off.
    pub(super) fn open(fleet: &Fleet) -> Result<Self, Fault> {
        let lock = files::lock(&fleet.root.join("ca"))?;
        let file = fleet.ca("ledger");
        let mut ledger = Self { entries: BTreeMap::new(), revocations: 0, file, _lock: lock };
        let text = files::read_text(&ledger.file)?;
        for (line, number) in text.lines().zip(1..) {
            let parsed: Line =
                serde_json::from_str(line).map_err(|error| super::invalid(&ledger.file, format!("line {number}: {error}")))?;
            if parsed.v != VERSION {
                return Err(super::invalid(&ledger.file, format!("line {number} is of version {}", parsed.v)));
            }
            ledger.take(parsed.t, parsed.deed);
        }
        Ok(ledger)
    }

    fn take(&mut self, at: u64, deed: Deed) {
        match deed {
            Deed::Certified { serial, holder, name, patterns, until } => {
                self.entries.insert(serial, Entry { serial, holder, name, patterns, since: at, until, revoked: None });
            }
            Deed::Revoked { serial } => {
                self.revocations = self.revocations.saturating_add(1);
                if let Some(entry) = self.entries.get_mut(&serial) {
                    entry.revoked = entry.revoked.or(Some(at));
                }
            }
        }
    }

    /// The number that nobody has had. They begin at 1: sshd's lists take 0 for none.
    pub(super) fn next_serial(&self) -> u64 {
        self.entries.last_key_value().map_or(1, |(last, _)| last.saturating_add(1))
    }

    /// How many revocations there were: the lists' own numbers rise with it.
    pub(super) fn revocations(&self) -> u64 {
        self.revocations
    }

    /// Writes down what is about to be done: a number is used up even where the rest fails.
    pub(super) fn write(&mut self, deed: Deed) -> Result<(), Fault> {
        self.write_at(unix_time_or_expired(), deed)
    }

    /// The same, of a moment that is in the deed too.
    pub(super) fn write_at(&mut self, t: u64, deed: Deed) -> Result<(), Fault> {
        let line = Line { v: VERSION, t, deed };
        let text = serde_json::to_string(&line).map_err(|error| Fault::Internal(error.to_string()))?;
        files::append(&self.file, &text, files::PRIVATE)?;
        self.take(t, line.deed);
        Ok(())
    }

    /// Everything that was certified, by number.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What somebody has been certified, newest last.
    pub(super) fn of<'a>(&'a self, holder: Holder, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries().filter(move |entry| entry.holder == holder && entry.name == name)
    }
}
