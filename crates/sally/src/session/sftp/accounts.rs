//! Looks up the names of users and groups in /etc/passwd and /etc/group.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::session::account::entries;

/// The names of both files, which are read on first use: a session that only moves files never reads them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: Option<BTreeMap<u32, Vec<u8>>>,
    groups: Option<BTreeMap<u32, Vec<u8>>>,
}

impl Accounts {
    /// Returns the name of a user; empty if there is none.
    pub(super) fn user(&mut self, number: u32) -> &[u8] {
        name(&mut self.users, "/etc/passwd", number)
    }

    /// Returns the name of a group; empty if there is none.
    pub(super) fn group(&mut self, number: u32) -> &[u8] {
        name(&mut self.groups, "/etc/group", number)
    }
}

/// Returns the home directory of a user by name.
pub(super) fn home_of(user: &[u8]) -> Option<PathBuf> {
    let passwd = std::fs::read("/etc/passwd").ok()?;
    entries(&passwd).find(|entry| entry.name == user).and_then(|entry| entry.path(2))
}

fn name<'a>(names: &'a mut Option<BTreeMap<u32, Vec<u8>>>, file: &str, number: u32) -> &'a [u8] {
    let read = || {
        // Without the file there are no names.
        let text = std::fs::read(file).unwrap_or_default();
        // The first line of a number counts, as for getpwuid(3).
        let mut names = BTreeMap::new();
        for entry in entries(&text) {
            names.entry(entry.number).or_insert_with(|| entry.name.to_vec());
        }
        names
    };
    names.get_or_insert_with(read).get(&number).map(Vec::as_slice).unwrap_or_default()
}
