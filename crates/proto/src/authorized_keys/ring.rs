//! Holds the loaded keys of all sources.

use std::collections::HashMap;
use std::sync::Arc;

use ssh_key::public::KeyData;

use super::checker::{Denial, Offer};
use super::key;
use super::kinds::{Enforced, OptionKind};
use super::line::{KeyEntry, LineError, LineErrorKind, parse};
use super::permit::PermitRule;
use crate::error::KeyDefect;
use crate::id::DeviceId;
use crate::krl::Krl;

/// An entry and its source.
#[derive(Clone, Debug)]
pub(super) struct SourcedEntry {
    pub(super) entry: KeyEntry,
    pub(super) source: Arc<str>,
}

/// The keys that may log in, each with options that are all enforced: at least one, unless [`KeyRing::within`] has left none.
#[derive(Clone, Debug)]
pub struct KeyRing {
    held: Vec<SourcedEntry>,
    /// The places of each key in `held`: an offered key takes one look-up, however long the list.
    index: HashMap<KeyData, Vec<usize>>,
    enforced: Enforced,
    /// What is refused, even if a line accepts it.
    revoked: Option<Arc<Krl>>,
    /// The device of a fleet whose certificates are accepted.
    pub(super) fleet: Option<Arc<OfFleet>>,
}

/// What a fleet adds to its authorities: a certificate's principals are patterns of device names.
#[derive(Debug)]
pub(super) struct OfFleet {
    pub(super) device: DeviceId,
    pub(super) revoked: Krl,
}

impl KeyRing {
    /// Makes a key ring of a fleet's visitor authorities, one key per line: it accepts certificates that name this device by a pattern
    /// and aren't revoked.
    ///
    /// # Errors
    /// [`KeyDefect::Unparseable`] or [`KeyDefect::Empty`].
    pub fn of_fleet(source: &str, authorities: &str, device: DeviceId, revoked: Krl, enforced: Enforced) -> Result<Self, KeyDefect> {
        let line = |line: &str| match line.trim() {
            key if key.is_empty() || key.starts_with('#') => format!("{key}\n"),
            key => format!("cert-authority {key}\n"),
        };
        let lines: String = authorities.lines().map(line).collect();
        let fleet = Some(Arc::new(OfFleet { device, revoked }));
        Ok(Self { fleet, ..Self::read(source, lines.as_bytes(), enforced)? })
    }

    /// Begins a key ring. `enforced`: the kinds of options that the caller enforces.
    pub fn builder(enforced: Enforced) -> KeyRingBuilder {
        KeyRingBuilder { held: Vec::new(), enforced }
    }

    /// Reads a key ring of one source as a whole: for files that Sally writes, which have no line to skip.
    ///
    /// # Errors
    /// [`KeyDefect::Unparseable`] or [`KeyDefect::Empty`].
    pub fn read(source: &str, bytes: &[u8], enforced: Enforced) -> Result<Self, KeyDefect> {
        let mut builder = Self::builder(enforced);
        if let Some(error) = builder.add(source, bytes)?.into_iter().next() {
            return Err(error.into());
        }
        builder.build()
    }

    /// Returns the key ring with revocations: of plain keys, certificates and authorities.
    #[must_use]
    pub fn less(self, revoked: Krl) -> Self {
        Self { revoked: Some(Arc::new(revoked)), ..self }
    }

    /// Checks that an offer isn't revoked, even if a line accepts it.
    pub(super) fn check_revoked(&self, offer: Offer<'_>) -> Result<(), Denial> {
        self.revoked.as_ref().map_or(Ok(()), |list| list.check(offer))
    }

    /// Returns the kinds of options that the caller enforces.
    pub fn enforced(&self) -> Enforced {
        self.enforced
    }

    /// Returns how many keys there are.
    #[expect(clippy::len_without_is_empty, reason = "what is loaded is never empty")]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns every entry with the name of its source, in the order of the sources.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &KeyEntry)> {
        self.held.iter().map(|held| (&*held.source, &held.entry))
    }

    /// Returns the entries whose key isn't revoked.
    pub fn unrevoked(&self) -> impl Iterator<Item = (&str, &KeyEntry)> {
        self.entries().filter(|(_, entry)| self.check_revoked(Offer::Key(entry.key())).is_ok())
    }

    /// Returns whether a line is a certificate authority's.
    pub fn has_authorities(&self) -> bool {
        self.held.iter().any(|held| held.entry.options().cert_authority)
    }

    /// Returns the key ring with only those lines whose key and options another has too: perhaps none, and then no key is let in.
    #[must_use]
    pub fn within(self, known: &Self) -> Self {
        let is_known = |held: &SourcedEntry| known.lines_of(held.entry.key()).any(|line| line.entry.options() == held.entry.options());
        let held = self.held.into_iter().filter(is_known).collect();
        Self { fleet: self.fleet, revoked: self.revoked, ..Self::of(held, self.enforced) }
    }

    /// Joins two key rings of the same kind: the lines of this one, then those of the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let held = self.held.into_iter().chain(other.held).collect();
        Self { fleet: self.fleet, revoked: self.revoked.or(other.revoked), ..Self::of(held, self.enforced) }
    }

    fn of(held: Vec<SourcedEntry>, enforced: Enforced) -> Self {
        let mut index: HashMap<KeyData, Vec<usize>> = HashMap::new();
        for (at, held) in held.iter().enumerate() {
            index.entry(held.entry.key().clone()).or_default().push(at);
        }
        Self { held, index, enforced, revoked: None, fleet: None }
    }

    pub(super) fn lines_of(&self, key: &KeyData) -> impl Iterator<Item = &SourcedEntry> {
        self.index.get(key).into_iter().flatten().filter_map(|at| self.held.get(*at))
    }
}

/// Gathers sources into a [`KeyRing`].
#[derive(Clone, Debug)]
pub struct KeyRingBuilder {
    held: Vec<SourcedEntry>,
    enforced: Enforced,
}

impl KeyRingBuilder {
    /// Adds a source as a whole, and returns the lines that are skipped: valid ones whose keys are of a type that isn't supported. Report
    /// each. `source` is its name as the user gave it.
    ///
    /// # Errors
    /// [`KeyDefect::Unparseable`] with the first invalid line (an option that isn't enforced makes it invalid), [`KeyDefect::Empty`], or
    /// [`KeyDefect::Unsupported`] if every line is of an unsupported type.
    pub fn add(&mut self, source: &str, bytes: &[u8]) -> Result<Vec<LineError>, KeyDefect> {
        let (entries, errors) = self.sort(bytes);
        if let Some(error) = errors.iter().find(|error| !error.may_be_passed_over()) {
            return Err(error.clone().into());
        }
        if entries.is_empty() {
            return Err(errors
                .into_iter()
                .next()
                .map_or(KeyDefect::Empty, |LineError { line, reason, .. }| KeyDefect::Unsupported { line, reason }));
        }
        self.keep(source, entries);
        Ok(errors)
    }

    /// Adds a source that another organisation's server serves: keys without options only. An option, cert-authority included, fails the
    /// source. `rules`: limits each line as `permitopen=` would.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_bare(&mut self, source: &str, bytes: &[u8], rules: &[PermitRule]) -> Result<Vec<LineError>, KeyDefect> {
        for line in parse(bytes) {
            let (line, bare) = match line {
                Ok(entry) => (entry.line(), entry.options().kinds == Enforced::NONE),
                Err(error) => (error.line, error.kind != LineErrorKind::Unsupported { bare: false }),
            };
            if !bare {
                return Err(KeyDefect::Unparseable { line, reason: "has options: keys from this source must have none".into() });
            }
        }
        let before = self.held.len();
        let passed_over = self.add(source, bytes)?;
        let fetched = self.held.split_off(before);
        self.held.extend(fetched.into_iter().map(|held| SourcedEntry { entry: held.entry.only_for(rules), ..held }));
        Ok(passed_over)
    }

    /// Adds the valid lines of a source and returns the invalid ones: for servers that reload. Report and audit each.
    pub fn add_lenient(&mut self, source: &str, bytes: &[u8]) -> Vec<LineError> {
        let (entries, errors) = self.sort(bytes);
        self.keep(source, entries);
        errors
    }

    /// Returns how many keys there are so far.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns whether there is no key yet.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Builds the key ring.
    ///
    /// # Errors
    /// [`KeyDefect::Empty`] if no source had a key.
    pub fn build(self) -> Result<KeyRing, KeyDefect> {
        if self.held.is_empty() {
            return Err(KeyDefect::Empty);
        }
        Ok(KeyRing::of(self.held, self.enforced))
    }

    /// Splits a source into entries and lines that give none.
    fn sort(&self, bytes: &[u8]) -> (Vec<KeyEntry>, Vec<LineError>) {
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        for line in parse(bytes) {
            match line.and_then(|entry| check_enforced(entry, self.enforced)) {
                Ok(entry) => entries.push(entry),
                Err(error) => errors.push(error),
            }
        }
        (entries, errors)
    }

    fn keep(&mut self, source: &str, entries: Vec<KeyEntry>) {
        let source: Arc<str> = source.into();
        self.held.extend(entries.into_iter().map(|entry| SourcedEntry { entry, source: source.clone() }));
    }
}

/// Rejects an option that no caller would obey: it is never ignored.
fn check_enforced(entry: KeyEntry, enforced: Enforced) -> Result<KeyEntry, LineError> {
    let options = entry.options();
    let fail = |reason: String| LineError::damaged(entry.line(), reason);
    if let Some(kind) = enforced.lacks(options.kinds) {
        return Err(fail(format!("option {kind} is not enforced here")));
    }
    let touch = options.touch_required && !options.cert_authority && key::is_security_key(entry.key());
    if touch && !enforced.contains(OptionKind::TouchRequired) {
        return Err(fail("a security key must be touched, which is not checked here: put no-touch-required before it".into()));
    }
    Ok(entry)
}
