//! Sessions of Sally's own, for devices without an sshd: one `sally once` for each visitor, so that nothing of one visit outlives it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sally_proto::authorized_keys::Enforced;
use sally_proto::error::Fault;
use sally_proto::record::parse_size;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::bundle::invalid;
use crate::fleet::bundle::{host_key, visitors};
use crate::fleet::settings::Agent;
use crate::{keys, term};

/// Sessions that a visitor may have in one connection, as sshd's MaxSessions.
const SESSIONS: &str = "10";
/// A visit for which there is less room than this is not begun: it would end in mid-sentence.
const LEAST_ROOM: u64 = 64 << 10;

/// Records that are being written, and what each may become.
type Running = Mutex<BTreeMap<PathBuf, u64>>;

/// Where sessions come from, and where they are recorded.
#[derive(Debug)]
pub struct Sessions {
    bundle: PathBuf,
    records: PathBuf,
    most: u64,
    number: AtomicU32,
    running: Arc<Running>,
}

/// A session, and the room of its record, which is its own until this goes.
pub(super) struct Session {
    pub(super) child: Child,
    record: PathBuf,
    running: Arc<Running>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.record);
    }
}

impl Sessions {
    pub(super) fn new(bundle: &Path, settings: &Agent) -> Result<Self, Fault> {
        let file = bundle.join("agent.toml");
        if !cfg!(feature = "once") {
            return Err(invalid(&file, "serve = \"session\" needs a sally that was built with once".into()));
        }
        let most = parse_size(&settings.records_max).map_err(|_| invalid(&file, "records_max is no size such as 64K or 1G".into()))?;
        let records = bundle.join(&settings.records);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&records);
        made.map_err(|error| invalid(&records, term::reason(&error)))?;
        // Once before anybody comes: what would refuse every visitor is told now.
        host_key(bundle)?;
        visitors(bundle, Enforced::new(keys::ENFORCED))?;
        Ok(Self { bundle: bundle.to_owned(), records, most, number: AtomicU32::new(0), running: Arc::default() })
    }

    /// Begins a session; gives the near end of its connection.
    pub(super) fn begin(&self) -> Result<(UnixStream, Session), String> {
        let record = self.file();
        let room = self.make_room(&record).map_err(|error| format!("{}: {}", self.records.display(), term::reason(&error)))?;
        let reason = |error: std::io::Error| term::reason(&error);
        let (near, far) = std::os::unix::net::UnixStream::pair().map_err(reason)?;
        near.set_nonblocking(true).map_err(reason)?;
        let output = OwnedFd::from(far.try_clone().map_err(reason)?);
        let mut once = Command::new(std::env::current_exe().map_err(reason)?);
        once.args(["once", "--inetd", "--max-sessions", SESSIONS, "--record-limit", &room.to_string(), "--bundle"]).arg(&self.bundle);
        once.arg("--log").arg(&record).stdin(OwnedFd::from(far)).stdout(output).stderr(Stdio::inherit());
        // Not killed with us: when its connection is gone it ends what is left, and seals the record.
        let spawned = once.spawn();
        if spawned.is_err() {
            self.running().remove(&record);
        }
        let session = Session { child: spawned.map_err(reason)?, record, running: Arc::clone(&self.running) };
        Ok((UnixStream::from_std(near).map_err(reason)?, session))
    }

    fn file(&self) -> PathBuf {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.records.join(format!("{now}-{}-{number}.cast", std::process::id()))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<PathBuf, u64>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How large one more record may become: half of what is left and isn't promised to others, so that all keep to the limit together.
    fn make_room(&self, record: &Path) -> std::io::Result<u64> {
        let mut running = self.running();
        let mut taken: u64 = running.values().sum();
        for entry in std::fs::read_dir(&self.records)? {
            let entry = entry?;
            if !running.contains_key(&entry.path()) {
                taken = taken.saturating_add(entry.metadata()?.len());
            }
        }
        match self.most.saturating_sub(taken) {
            left if left >= LEAST_ROOM => {
                let room = (left / 2).max(LEAST_ROOM);
                running.insert(record.to_owned(), room);
                Ok(room)
            }
            _ => Err(std::io::Error::other(format!("the records take all of the {} bytes that they may", self.most))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_being_written_share_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().to_owned();
        let sessions = Sessions { bundle: records.clone(), records, most: 1 << 20, number: AtomicU32::new(0), running: Arc::default() };
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        assert_eq!(sessions.make_room(&first).unwrap(), 512 << 10);
        assert_eq!(sessions.make_room(&second).unwrap(), 256 << 10);
        // What one has written of its own is not taken twice.
        std::fs::write(&first, vec![0; 400 << 10]).unwrap();
        assert_eq!(sessions.make_room(&folder.path().join("3")).unwrap(), 128 << 10);
        let (mut all, mut more) = ((512 + 256 + 128) << 10, 4..);
        while let Ok(room) = sessions.make_room(&folder.path().join(more.next().unwrap().to_string())) {
            all += room;
        }
        assert!(all <= 1 << 20, "{all}");
        // A session that has ended takes what its record has become.
        sessions.running().clear();
        assert_eq!(sessions.make_room(&second).unwrap(), (624 << 10) / 2);
    }
}
