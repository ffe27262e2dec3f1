//! Loads authorized keys from files, stdin, the environment, or HTTPS. No source fails open.
//!
//! A source that is missing, unreadable, empty, too large, late, or has an invalid line stops the start: [`load`] returns all the keys of
//! all the sources, or the reason why there are none.

mod fetch;
mod local;
mod revoked;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sally_proto::authorized_keys::{Enforced, KeyRing, KeyRingBuilder, LineError, OptionKind, PermitRule};
use sally_proto::error::{Fault, KeyDefect};

use crate::net::network::NetworkSettings;

pub use fetch::{parse_template, url_of};
pub use local::lines_of_variable;
pub use revoked::load_revoked;

/// The template of GitHub's addresses for a user's keys.
pub const GITHUB: &str = "https://github.com/{user}.keys";

/// The `authorized_keys` options that every server enforces: any other stops the start, or skips the line when a server reloads. A relay
/// starts no program, terminal or display, so it obeys the options about them by itself; `command=` takes the console away.
pub const ENFORCED: &[OptionKind] = &[
    OptionKind::Restrict,
    OptionKind::CertAuthority,
    OptionKind::Principals,
    OptionKind::Command,
    OptionKind::Environment,
    OptionKind::From,
    OptionKind::ExpiryTime,
    OptionKind::Pty,
    OptionKind::PortForwarding,
    OptionKind::AgentForwarding,
    OptionKind::X11Forwarding,
    OptionKind::UserRc,
    OptionKind::PermitOpen,
    OptionKind::PermitListen,
    OptionKind::TouchRequired,
    OptionKind::VerifyRequired,
];

/// The largest file, or stdin, in bytes: some 50,000 keys. Read whole into memory.
pub const FILE_MAX: u64 = 16 * 1024 * 1024;

/// The largest answer of a server in bytes: a user's keys, not a page.
pub const ANSWER_MAX: usize = 64 * 1024;

/// How long stdin or a FIFO may take until its end.
pub const READ_DEADLINE: Duration = Duration::from_secs(60);

/// How long a server may take for everything: name, connection, redirects, the last byte.
pub const FETCH_DEADLINE: Duration = Duration::from_secs(20);

/// A source of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file, or anything else that can be opened and read to its end, such as a FIFO of a shell's `<(…)`.
    File(PathBuf),
    /// Standard input, read to its end.
    Stdin,
    /// A fleet's bundle, which says which keys may reach this device. It must be the only source.
    Bundle(PathBuf),
    /// The value of `AUTHORIZED_KEYS`: lines that end with newlines, or with a literal `\n` outside of quotes.
    Env(OsString),
    /// The bytes of a source that could be read only once.
    Kept {
        /// The source's name.
        name: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A server that publishes a user's keys over HTTPS: bare keys only.
    Url {
        /// The user; percent-escaped in the address.
        user: String,
        /// The address, with `{user}` in its path.
        template: String,
        /// The rules for its keys, as if each had `permitopen=`; without rules they may do whatever bare keys may.
        rules: Vec<PermitRule>,
    },
}

impl KeySource {
    /// Returns the name in errors and grants: as the user named it.
    pub fn name(&self) -> String {
        match self {
            Self::File(file) | Self::Bundle(file) => file.display().to_string(),
            Self::Stdin => "-".into(),
            Self::Env(_) => "AUTHORIZED_KEYS".into(),
            Self::Kept { name, .. } => name.clone(),
            Self::Url { user, template, .. } => url_of(template, user).unwrap_or_else(|_| template.clone()),
        }
    }

    async fn read(&self, network: &NetworkSettings, deadlines: SourceDeadlines) -> Result<Vec<u8>, KeyDefect> {
        match self {
            Self::Bundle(_) => Err(KeyDefect::Unreadable("a bundle is the only source where it is one".into())),
            Self::File(file) => local::read_file(file.clone(), deadlines.read).await,
            Self::Stdin => local::read_stdin(deadlines.read).await,
            Self::Env(value) => Ok(lines_of_variable(value)),
            Self::Kept { bytes, .. } => Ok(bytes.clone()),
            Self::Url { user, template, .. } => {
                let fetched = match url_of(template, user) {
                    Ok(url) => fetch::fetch(&url, network, deadlines.fetch).await,
                    Err(reason) => Err(reason),
                };
                fetched.map_err(KeyDefect::Unfetched)
            }
        }
    }
}

/// Reads the sources that can be read only once, stdin and special files (a shell's `<(…)`), and keeps their bytes, for servers that load
/// again. Stdin that is named twice is read once. `files`: whether that is so of every file, for a process that can't reach them later.
///
/// # Errors
/// [`Fault::KeysInvalid`] of the first that can't be read.
pub async fn keep<'a>(sources: impl Iterator<Item = &'a mut KeySource>, files: bool) -> Result<(), Fault> {
    let mut kept: Vec<(KeySource, Vec<u8>)> = Vec::new();
    for source in sources {
        let once = match source {
            KeySource::Stdin => true,
            KeySource::File(_) if files => true,
            KeySource::File(file) => std::fs::metadata(file).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()),
            KeySource::Env(_) | KeySource::Kept { .. } | KeySource::Url { .. } | KeySource::Bundle(_) => false,
        };
        if !once {
            continue;
        }
        let name = source.name();
        let bytes = match kept.iter().find(|(known, _)| known == source) {
            Some((_, bytes)) => bytes.clone(),
            None => {
                let read = source.read(&NetworkSettings::default(), DEADLINES).await;
                read.map_err(|defect| Fault::KeysInvalid { source_name: name.clone(), defect })?
            }
        };
        let read = std::mem::replace(source, KeySource::Kept { name, bytes: bytes.clone() });
        kept.push((read, bytes));
    }
    Ok(())
}

/// Loads every source, in order; returns the skipped lines too. `enforced`: the kinds of options that the caller enforces; a line with
/// another one stops the start.
///
/// # Errors
/// [`Fault::KeysUnnamed`] for no source at all, else [`Fault::KeysInvalid`] of the first source that fails.
pub async fn load(sources: &[KeySource], network: &NetworkSettings, enforced: Enforced) -> Result<(KeyRing, Vec<Skipped>), Fault> {
    if let [KeySource::Bundle(folder)] = sources {
        return Ok((crate::fleet::bundle::visitors(folder, enforced)?, Vec::new()));
    }
    load_within(sources, network, enforced, DEADLINES).await
}

/// The time limits of sources.
#[derive(Clone, Copy, Debug)]
struct SourceDeadlines {
    read: Duration,
    fetch: Duration,
}

const DEADLINES: SourceDeadlines = SourceDeadlines { read: READ_DEADLINE, fetch: FETCH_DEADLINE };

async fn load_within(
    sources: &[KeySource],
    network: &NetworkSettings,
    enforced: Enforced,
    deadlines: SourceDeadlines,
) -> Result<(KeyRing, Vec<Skipped>), Fault> {
    let whole = gather(sources, network, enforced, deadlines, |ring, name, bytes| ring.add(name, bytes)).await?;
    // Every source has given a key, so the ring is only empty if there was no source.
    Ok((whole.ring.ok_or(Fault::KeysUnnamed)?, whole.skipped))
}

/// Reads every source, in order, and passes its lines to `take`, which returns the skipped ones. Fetched keys must be bare.
async fn gather(
    sources: &[KeySource],
    network: &NetworkSettings,
    enforced: Enforced,
    deadlines: SourceDeadlines,
    take: impl Fn(&mut KeyRingBuilder, &str, &[u8]) -> Result<Vec<LineError>, KeyDefect>,
) -> Result<Lenient, Fault> {
    let mut ring = KeyRing::builder(enforced);
    let (mut skipped, mut empty) = (Vec::new(), None);
    for source in sources {
        let (name, before) = (source.name(), ring.len());
        let taken = match (source.read(network, deadlines).await, source) {
            (Ok(bytes), KeySource::Url { rules, .. }) => ring.add_bare(&name, &bytes, rules),
            (Ok(bytes), _) => take(&mut ring, &name, &bytes),
            (Err(defect), _) => Err(defect),
        };
        let errors = taken.map_err(|defect| Fault::KeysInvalid { source_name: name.clone(), defect })?;
        skipped.extend(errors.into_iter().map(|error| Skipped { source: name.clone(), line: error.line, reason: error.reason }));
        if ring.len() == before {
            empty.get_or_insert(name);
        }
    }
    Ok(Lenient { ring: ring.build().ok(), skipped, empty })
}

/// A skipped line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its source, as the user named it.
    pub source: String,
    /// Its number, from 1.
    pub line: usize,
    /// The reason, printable on a terminal.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: skipped: {}", self.source, self.line, self.reason)
    }
}

/// The result of sources whose invalid lines are skipped.
#[derive(Debug)]
pub struct Lenient {
    /// The keys, if there are any.
    pub ring: Option<KeyRing>,
    /// The skipped lines.
    pub skipped: Vec<Skipped>,
    /// The first source without a key.
    pub empty: Option<String>,
}

/// Loads as [`load`], for servers that reload: an invalid line is skipped and reported.
///
/// # Errors
/// [`Fault::KeysInvalid`] of the first source that can't be read.
pub async fn load_lenient(sources: &[KeySource], network: &NetworkSettings, enforced: Enforced) -> Result<Lenient, Fault> {
    gather(sources, network, enforced, DEADLINES, |ring, name, bytes| Ok(ring.add_lenient(name, bytes))).await
}

#[cfg(test)]
mod tests;
