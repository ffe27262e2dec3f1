//! Reloads the keys when a file changes or on SIGHUP, in a task of its own, since a source may be slow.
//!
//! If a source can't be read any more, the last good keys serve for 15 minutes; then no client is admitted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sally_proto::backoff::{Backoff, Pace};
use sally_proto::error::Fault;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Relay;
use super::audit::RelayEvent;
use super::keys::{KeySet, KeySources, SourceVersions};
use super::run::note_keys;
use crate::keys::Skipped;
use crate::term;

/// The interval of looks at the key files.
const LOOK: Duration = Duration::from_secs(2);
/// The time for which the last good keys serve when a source can't be read.
const STALE_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The pace of reading all sources again while one fails and no file changes: a source may be a server that many relays ask.
const AGAIN: Pace = Pace { least: Duration::from_secs(5), most: Duration::from_secs(60), stable: Duration::MAX };

/// Reloads keys as files change.
#[derive(Debug)]
pub struct Reloader {
    sources: KeySources,
    /// The versions at the last look.
    seen: SourceVersions,
    /// The versions before the last read.
    tried: SourceVersions,
    failing: Option<ReloadFailure>,
}

#[derive(Debug)]
struct ReloadFailure {
    since: Instant,
    /// Whether the last good keys have been dropped.
    denied: bool,
    again: Instant,
    backoff: Backoff,
}

/// The result of a look at the sources.
#[derive(Debug)]
enum Reload {
    /// Nothing has changed.
    Same,
    /// New keys, and skipped lines.
    New(Box<KeySet>, Vec<Skipped>),
    /// The sources can't be read; the last good keys serve on.
    Stale(Fault),
    /// The sources couldn't be read for too long: no client is admitted.
    Nobody,
}

impl Reloader {
    /// Loads everything at the start, and keeps sources that can't be read again.
    ///
    /// # Errors
    /// As [`KeySources::load`].
    pub async fn load(mut sources: KeySources) -> Result<(Self, KeySet, Vec<Skipped>), Fault> {
        // The versions are taken before reading, so that a change meanwhile is noticed later.
        let seen = sources.look();
        sources.keep().await?;
        let (keys, skipped) = sources.load().await?;
        Ok((Self { sources, tried: seen.clone(), seen, failing: None }, keys, skipped))
    }

    /// Looks again. A changed file is read when it has been the same for two looks: it may still be being written.
    async fn look(&mut self, now: Instant, forced: bool) -> Reload {
        let seen = self.sources.look();
        let settled = seen == self.seen;
        self.seen = seen;
        let changed = settled && self.seen != self.tried;
        let due = self.failing.as_ref().is_some_and(|failing| failing.again <= now || failing.is_over(now));
        if !(forced || changed || due) {
            return Reload::Same;
        }
        self.tried.clone_from(&self.seen);
        match self.sources.read().await {
            Ok((set, skipped, _)) => {
                let news = forced || changed || self.failing.is_some();
                self.failing = None;
                if news { Reload::New(Box::new(set), skipped) } else { Reload::Same }
            }
            Err(fault) => self.fail(now, fault),
        }
    }

    fn fail(&mut self, now: Instant, fault: Fault) -> Reload {
        let first = self.failing.is_none();
        let failing =
            self.failing.get_or_insert_with(|| ReloadFailure { since: now, denied: false, again: now, backoff: Backoff::new(AGAIN) });
        failing.again = now + failing.backoff.pause(getrandom::u64().unwrap_or_default());
        if failing.is_over(now) {
            failing.denied = true;
            return Reload::Nobody;
        }
        if first { Reload::Stale(fault) } else { Reload::Same }
    }
}

impl ReloadFailure {
    /// Returns whether the last good keys have served for [`STALE_LIMIT`] and are still in use.
    fn is_over(&self, now: Instant) -> bool {
        !self.denied && now.duration_since(self.since) >= STALE_LIMIT
    }
}

/// Looks at the sources at intervals and whenever `wanted` is notified, as long as the relay runs.
pub(super) async fn watch(relay: Arc<Relay>, mut reloader: Reloader, wanted: Arc<Notify>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let forced = tokio::select! {
            () = wanted.notified() => true,
            _ = looks.tick() => false,
        };
        apply(&relay, reloader.look(Instant::now(), forced).await).await;
    }
}

async fn apply(relay: &Relay, reload: Reload) {
    match reload {
        Reload::Same => {}
        Reload::New(keys, skipped) => {
            relay.audit.skipped(&skipped).await;
            note_keys(&relay.audit, &keys).await;
            relay.replace_keys(*keys);
        }
        Reload::Stale(fault) => {
            term::fault(&fault);
            term::say("  the previous keys stay valid for 15 minutes");
            relay.audit.note(RelayEvent::KeysFailed { reason: fault.to_string() }).await;
        }
        Reload::Nobody => {
            term::say("The keys could not be read for 15 minutes: no client is accepted any more");
            relay.audit.note(RelayEvent::KeysFailed { reason: "not read for 15 minutes: no client is accepted".into() }).await;
            relay.replace_keys(KeySet::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::keys::KeySource;
    use crate::net::network::NetworkSettings;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbnqQ/SGC/OWnL4cQGxlZcFxxfCVx0mD+1MlF/Zdidu";

    fn sources(file: &Path) -> KeySources {
        KeySources { visitors: vec![], devices: vec![KeySource::File(file.into())], admins: vec![], network: NetworkSettings::default() }
    }

    /// Creates a file with one key, and its reloader.
    async fn start() -> (tempfile::TempDir, std::path::PathBuf, Reloader, Instant) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("devices");
        std::fs::write(&file, KEY).unwrap();
        let (reloader, _, _) = Reloader::load(sources(&file)).await.unwrap();
        (dir, file, reloader, Instant::now())
    }

    #[tokio::test]
    async fn a_changed_file_is_read_once_it_rests_and_a_missing_one_serves_for_a_while() {
        let (_dir, file, mut reloader, start) = start().await;
        assert!(matches!(reloader.look(start, false).await, Reload::Same));
        std::fs::write(&file, format!("{KEY}\n{KEY} again\n")).unwrap();
        assert!(matches!(reloader.look(start, false).await, Reload::Same), "it has only just changed");
        assert!(matches!(reloader.look(start, false).await, Reload::New(set, _) if set.counts()[1].1 == 2));
        assert!(matches!(reloader.look(start, false).await, Reload::Same));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(reloader.look(start, false).await, Reload::Same), "somebody may be replacing it");
        assert!(matches!(reloader.look(start, false).await, Reload::Stale(_)));
        let late = start + STALE_LIMIT;
        assert!(matches!(reloader.look(late, false).await, Reload::Nobody));
        assert!(matches!(reloader.look(late, false).await, Reload::Same));
        std::fs::write(&file, KEY).unwrap();
        assert!(matches!(reloader.look(late, false).await, Reload::Same), "it has only just come back");
        assert!(matches!(reloader.look(late, false).await, Reload::New(..)));
    }

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_loaded_is_read_again() {
        let (_dir, file, reloader, start) = start().await;
        // This simulates a write between the look and the reading.
        let mut reloader = Reloader { tried: vec![None], ..reloader };
        assert!(matches!(reloader.look(start, false).await, Reload::New(..)), "{}", file.display());
    }

    #[tokio::test]
    async fn a_server_that_fails_is_asked_less_and_less_often() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst); // The connection closes here.
            }
        });
        let (_dir, _, mut reloader, start) = start().await;
        reloader.sources.visitors.push(KeySource::Url {
            user: "u".into(),
            template: format!("https://127.0.0.1:{port}/{{user}}.keys"),
            rules: vec![],
        });
        (reloader.seen, reloader.tried) = (reloader.sources.look(), reloader.sources.look());
        assert!(matches!(reloader.look(start, true).await, Reload::Stale(_)));
        let first = asked.load(Ordering::SeqCst);
        assert!(first > 0, "it was asked");
        for second in 0..5 {
            assert!(matches!(reloader.look(start + Duration::from_secs(second), false).await, Reload::Same));
        }
        assert_eq!(asked.load(Ordering::SeqCst), first, "not at every look");
        for second in 5..300 {
            reloader.look(start + Duration::from_secs(second), false).await;
        }
        let often = asked.load(Ordering::SeqCst);
        assert!((5 * first..=12 * first).contains(&often), "{often} of {first}");
        // A forced reload doesn't wait for the pause.
        assert!(matches!(reloader.look(start + Duration::from_secs(300), true).await, Reload::Same));
        assert!(asked.load(Ordering::SeqCst) > often);
    }
}
