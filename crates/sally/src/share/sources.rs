//! Reads the keys of a share again while it lives. A viewer whose key is gone has to leave; a key that is new waits for the host's word.
//!
//! A source that fails says nothing of its keys: its last good ones serve for 15 minutes, then no viewer joins until it can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sally_proto::authorized_keys::{Enforced, KeyRing};
use sally_proto::error::Fault;
use sally_proto::krl::Krl;
use tokio::sync::{mpsc, oneshot};

use crate::keys::{self, KeySource, Skipped};
use crate::net::network::NetworkSettings;

/// The time between two reads.
const INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The same while a source fails.
const AGAIN: Duration = Duration::from_secs(60);
/// How long the last good keys of a source serve that can't be read.
const STALE: Duration = Duration::from_secs(15 * 60);
/// How long a command waits for the result.
const PATIENCE: Duration = Duration::from_secs(8);
/// What a relay has to do with new keys.
const AT_RELAY: &str = "The relay learns of new keys when the share is started again: until then they join on the port alone";

/// Asks for the keys to be read again.
pub struct ReloadRequests {
    requests: mpsc::Sender<ReloadRequest>,
    /// Whether viewers come through a relay, which has to know their keys.
    has_relay: bool,
}

/// Asks once.
pub struct ReloadRequest {
    /// Whether new keys may join.
    pub adds: bool,
    answer: oneshot::Sender<String>,
}

impl ReloadRequests {
    /// Makes the asking end, and the end that is asked.
    pub fn new(has_relay: bool) -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (requests, receiver) = mpsc::channel(1);
        (Self { requests, has_relay }, receiver)
    }

    /// Has the keys read again; `adds`: new ones may join. Returns what has come of it.
    pub async fn ask(&self, adds: bool) -> String {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(ReloadRequest { adds, answer }).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(said)) if adds && self.has_relay => format!("{said}\n{AT_RELAY}"),
            Ok(said) => said.unwrap_or_default(),
            Err(_) => "the keys are being read: the status line or stderr of the share says what has come of it".into(),
        }
    }
}

impl ReloadRequest {
    /// Answers with what was said.
    pub fn answer(self, said: &[String]) {
        let said = if said.is_empty() { "the keys are the same".into() } else { said.join("\n") };
        let _ = self.answer.send(said); // The asker may have waited for too long.
    }
}

/// The keys that may join, as far as fingerprints tell.
#[derive(Clone, Debug, Default)]
pub struct AllowedKeys {
    plain: BTreeSet<String>,
    /// Whether there are certificate authorities, whose certificates are of any key.
    has_authorities: bool,
    /// Whether a source has failed for too long: no viewer joins.
    pub is_stale: bool,
}

impl AllowedKeys {
    fn of(ring: &KeyRing, is_stale: bool) -> Self {
        let plain = ring.unrevoked().filter(|(_, entry)| !entry.options().cert_authority);
        let plain = plain.map(|(_, entry)| entry.fingerprint().to_string()).collect();
        let has_authorities = ring.unrevoked().any(|(_, entry)| entry.options().cert_authority);
        Self { plain, has_authorities, is_stale }
    }

    /// Returns whether a key may be among them: it is, or it may have a certificate.
    pub fn may_include(&self, fingerprint: &str) -> bool {
        self.plain.contains(fingerprint) || self.has_authorities
    }
}

/// The keys that are gone from their sources.
#[derive(Debug, Default)]
pub struct GoneKeys {
    /// The source of each.
    keys: BTreeMap<String, String>,
    /// The source of an authority, if one is gone: the holder of a certificate logs in again if another authority vouches for it.
    authority: Option<String>,
    /// The keys that need no certificate.
    plain: BTreeSet<String>,
}

impl GoneKeys {
    /// Returns the source from which a key is gone, if it is.
    pub fn source_of(&self, fingerprint: &str) -> Option<&str> {
        let by_certificate = || self.authority.as_deref().filter(|_| !self.plain.contains(fingerprint));
        self.keys.get(fingerprint).map(String::as_str).or_else(by_certificate)
    }
}

/// The result of reading again.
pub struct KeyReload {
    /// The keys that may join now.
    pub keys: KeyRing,
    /// The same, as fingerprints.
    pub allowed: AllowedKeys,
    /// The keys whose viewers have to leave.
    pub gone: GoneKeys,
    /// What the host reads.
    pub said: Vec<String>,
}

/// The sources of a share's keys, and what may join of each.
pub struct ShareSources {
    read: Vec<ReadSource>,
    network: NetworkSettings,
    enforced: Enforced,
    /// The file of revoked keys, unless it can't be read again.
    revoked: Option<PathBuf>,
    revocations: Option<Krl>,
    revocations_fail: Option<Instant>,
    was_stale: bool,
}

struct ReadSource {
    source: KeySource,
    admitted: KeyRing,
    /// Since when it can't be read.
    fails: Option<Instant>,
    /// How many keys wait for the host's word, as it was said last.
    told: usize,
}

impl ShareSources {
    /// Reads every source for the first time. Returns all keys, and the lines that were passed over.
    ///
    /// # Errors
    /// As [`keys::load`] and [`keys::load_revoked`].
    pub async fn load(
        sources: Vec<KeySource>,
        network: NetworkSettings,
        enforced: Enforced,
        revoked: Option<PathBuf>,
    ) -> Result<(Self, KeyRing, Vec<Skipped>), Fault> {
        let (mut read, mut passed_over) = (Vec::new(), Vec::new());
        for source in sources {
            let (admitted, skipped) = keys::load(std::slice::from_ref(&source), &network, enforced).await?;
            passed_over.extend(skipped);
            read.push(ReadSource { source, admitted, fails: None, told: 0 });
        }
        let mut revocations = None;
        if let Some(file) = &revoked {
            let (list, skipped) = keys::load_revoked(file).await?;
            passed_over.extend(skipped);
            revocations = Some(list);
        }
        let sources = Self { read, network, enforced, revoked, revocations, revocations_fail: None, was_stale: false };
        let keys = sources.keys().ok_or(Fault::KeysUnnamed)?;
        Ok((sources, keys, passed_over))
    }

    /// Never reads the file of revoked keys again.
    pub fn keep_revocations(&mut self) {
        self.revoked = None;
    }

    /// Returns how long to wait before the next read.
    pub fn pause(&self) -> Duration {
        if self.failures().next().is_some() { AGAIN } else { INTERVAL }
    }

    fn failures(&self) -> impl Iterator<Item = Instant> {
        self.read.iter().filter_map(|read| read.fails).chain(self.revocations_fail)
    }

    /// Returns all keys that may join.
    fn keys(&self) -> Option<KeyRing> {
        let keys = self.read.iter().map(|read| read.admitted.clone()).reduce(KeyRing::and)?;
        Some(match &self.revocations {
            Some(revoked) => keys.less(revoked.clone()),
            None => keys,
        })
    }

    /// Reads every source again. `adds`: keys that are new may join.
    pub async fn reload(&mut self, now: Instant, adds: bool) -> Option<KeyReload> {
        let before = self.keys()?;
        let mut said = Vec::new();
        for read in &mut self.read {
            let loaded = keys::load(std::slice::from_ref(&read.source), &self.network, self.enforced).await;
            said.extend(read.take(loaded.map(|(ring, _)| ring), now, adds));
        }
        let authority = self.revoke(now, &mut said).await;
        let keys = self.keys()?;
        let is_stale = self.failures().any(|since| now.duration_since(since) >= STALE);
        if is_stale != std::mem::replace(&mut self.was_stale, is_stale) {
            let news = if is_stale { "No viewer can join: keys could not be read for 15 minutes" } else { "Viewers can join again" };
            said.push(news.into());
        }
        let allowed = AllowedKeys::of(&keys, is_stale);
        let gone = self.gone(&before, &allowed, authority);
        said.extend(gone.sentence());
        Some(KeyReload { keys, allowed, gone, said })
    }

    /// Reads the revoked keys again. Returns their file if certificates may be among those that are new.
    async fn revoke(&mut self, now: Instant, said: &mut Vec<String>) -> Option<String> {
        let file = self.revoked.as_ref()?;
        match keys::load_revoked(file).await {
            Ok((list, _)) => {
                self.revocations_fail = None;
                let differs = self.revocations.as_ref() != Some(&list);
                self.revocations = Some(list);
                differs.then(|| file.display().to_string())
            }
            Err(fault) => {
                if self.revocations_fail.is_none() {
                    said.push(failure(&fault));
                }
                self.revocations_fail.get_or_insert(now);
                None
            }
        }
    }

    fn gone(&self, before: &KeyRing, allowed: &AllowedKeys, mut authority: Option<String>) -> GoneKeys {
        let mut keys = BTreeMap::new();
        for (source, entry) in before.unrevoked() {
            let still = |read: &ReadSource| {
                let mut same = read.admitted.entries().filter(|(name, _)| *name == source);
                same.any(|(_, other)| other.key() == entry.key() && other.options().cert_authority == entry.options().cert_authority)
            };
            let is_revoked = !entry.options().cert_authority && !allowed.plain.contains(&entry.fingerprint().to_string());
            if !is_revoked && self.read.iter().any(still) {
                continue;
            }
            if entry.options().cert_authority {
                authority.get_or_insert_with(|| source.to_owned());
            } else {
                keys.insert(entry.fingerprint().to_string(), source.to_owned());
            }
        }
        GoneKeys { keys, authority, plain: allowed.plain.clone() }
    }
}

impl GoneKeys {
    fn sentence(&self) -> Option<String> {
        let sources: BTreeSet<_> = self.keys.values().map(String::as_str).collect();
        let sources: Vec<_> = sources.into_iter().collect();
        (!sources.is_empty()).then(|| format!("Keys gone from {}: {}. Their viewers are removed", sources.join(", "), self.keys.len()))
    }
}

impl ReadSource {
    /// Takes what was read. Returns what is news for the host.
    fn take(&mut self, loaded: Result<KeyRing, Fault>, now: Instant, adds: bool) -> Option<String> {
        let ring = match loaded {
            Ok(ring) => ring,
            Err(fault) => {
                let is_first = self.fails.is_none();
                self.fails.get_or_insert(now);
                return is_first.then(|| failure(&fault));
            }
        };
        self.fails = None;
        let known = ring.clone().within(&self.admitted);
        let new = ring.len() - known.len();
        self.admitted = if adds { ring } else { known };
        let told = std::mem::replace(&mut self.told, if adds { 0 } else { new });
        match (new, adds) {
            (0, _) => None,
            (_, true) => Some(format!("New keys in {}: {new}. They may join", self.source.name())),
            (_, false) if new == told => None,
            (_, false) => Some(format!("New keys in {}: {new}. They may not join before: sally share reload --add", self.source.name())),
        }
    }
}

fn failure(fault: &Fault) -> String {
    format!("{fault}; the last good keys serve for 15 minutes")
}

#[cfg(test)]
mod tests;
