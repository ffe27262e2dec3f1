//! Keys are loaded again when a file changes, or when somebody says so: beside everything else, for a source may be slow.
//!
//! A source that can't be read any more leaves the last good keys in place for 15 minutes; then nobody comes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sally_proto::backoff::{Backoff, Pace};
use sally_proto::error::Fault;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Relay;
use super::audit::Event;
use super::keys::{KeySet, KeySources, Seen};
use super::run::note_keys;
use crate::keys::Skipped;
use crate::term;

/// How often the key files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long the last good keys serve when a source can't be read any more.
const STALE_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How often all sources are read again while one of them fails, and none has changed: one may be a server that is asked by many.
const AGAIN: Pace = Pace { least: Duration::from_secs(5), most: Duration::from_secs(60), stable: Duration::MAX };

/// Loads again as files change.
#[derive(Debug)]
pub struct Reloader {
    sources: KeySources,
    /// What the sources looked like at the last look.
    seen: Seen,
    /// What they looked like before they were last read.
    tried: Seen,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    /// Whether nobody is let in any more.
    denied: bool,
    again: Instant,
    backoff: Backoff,
}

/// What a look at the sources comes to.
#[derive(Debug)]
enum Reload {
    /// Nothing has changed.
    Same,
    /// New keys.
    New(Box<KeySet>, Vec<Skipped>),
    /// They can't be read; the last good ones serve on.
    Stale(Fault),
    /// They couldn't be read for too long: nobody comes in.
    Nobody,
}

impl Reloader {
    /// Loads everything, for a start, and keeps what can't be read again.
    ///
    /// # Errors
    /// As [`KeySources::load`].
    pub async fn load(mut sources: KeySources) -> Result<(Self, KeySet, Vec<Skipped>), Fault> {
        // Before anything is read: what changes meanwhile is noticed later.
        let seen = sources.look();
        sources.keep().await?;
        let (keys, skipped) = sources.load().await?;
        Ok((Self { sources, tried: seen.clone(), seen, failing: None }, keys, skipped))
    }

    /// Looks again. A file that changed is read when it has been the same for two looks: whoever writes it may be half-way.
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
        let failing = self.failing.get_or_insert_with(|| Failing { since: now, denied: false, again: now, backoff: Backoff::new(AGAIN) });
        failing.again = now + failing.backoff.pause(getrandom::u64().unwrap_or_default());
        if failing.is_over(now) {
            failing.denied = true;
            return Reload::Nobody;
        }
        if first { Reload::Stale(fault) } else { Reload::Same }
    }
}

impl Failing {
    /// Whether the last good keys have served for long enough, and serve still.
    fn is_over(&self, now: Instant) -> bool {
        !self.denied && now.duration_since(self.since) >= STALE_LIMIT
    }
}

/// Looks for as long as the relay runs, and whenever it is `wanted`.
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
            term::say("  the keys of before serve for 15 minutes");
            relay.audit.note(Event::KeysFailed { reason: fault.to_string() }).await;
        }
        Reload::Nobody => {
            term::say("The keys could not be read for 15 minutes: nobody is let in any more");
            relay.audit.note(Event::KeysFailed { reason: "not read for too long: nobody is let in".into() }).await;
            relay.replace_keys(KeySet::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::keys::Source;
    use crate::net::network::Network;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbnqQ/SGC/OWnL4cQGxlZcFxxfCVx0mD+1MlF/Zdidu";

    fn sources(file: &Path) -> KeySources {
        KeySources { visitors: vec![], devices: vec![Source::File(file.into())], admins: vec![], network: Network::default() }
    }

    /// A file with one key, and what looks at it.
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
        // As if it had been written between the look and the reading.
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
                count.fetch_add(1, Ordering::SeqCst); // And hangs up.
            }
        });
        let (_dir, _, mut reloader, start) = start().await;
        reloader.sources.visitors.push(Source::Url {
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
        // Somebody who mends it needn't wait.
        assert!(matches!(reloader.look(start + Duration::from_secs(300), true).await, Reload::Same));
        assert!(asked.load(Ordering::SeqCst) > often);
    }
}
