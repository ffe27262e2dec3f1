//! A relay's fleet: whom its authorities vouch for. Its folder is read again when it changes; while it can't be, no certificate is good.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sally_proto::authority::Visitor;
use sally_proto::authorized_keys::{Denial, Presence};
use sally_proto::backoff::{Backoff, Pace};
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use ssh_key::certificate::Certificate;

use super::Relay;
use super::audit::Event;
use super::metrics::Metrics;
use crate::fleet::relay_dir::{Device, RelayDir, State};
use crate::lock::lock;
use crate::stamp::{Stamp, stamp};
use crate::term;

/// What is looked at to see whether the folder changed.
const FILES: [&str; 9] =
    ["fleet.toml", "devices", "revoked", "device_ca.pub", "host_ca.pub", "visitor_ca.pub", "host_key", "host_key-cert.pub", "wake_key"];

/// Somebody whom a fleet's authority vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A device, by its own name.
    Device {
        /// The name.
        id: DeviceId,
        /// Its certificate's number.
        serial: u64,
        /// When the certificate ends, in Unix seconds.
        until: u64,
        /// What a signature has to say, where the key is a security key.
        presence: Presence,
    },
    /// A person, by patterns of names.
    Visitor(Visitor),
}

impl Member {
    /// When the certificate ends, in Unix seconds.
    pub fn until(&self) -> u64 {
        match self {
            Self::Device { until, .. } => *until,
            Self::Visitor(visitor) => visitor.valid_before,
        }
    }

    /// The certificate's number.
    pub fn serial(&self) -> u64 {
        match self {
            Self::Device { serial, .. } => *serial,
            Self::Visitor(visitor) => visitor.serial,
        }
    }

    /// What a signature of the certified key has to say.
    pub fn presence(&self) -> Presence {
        match self {
            Self::Device { presence, .. } => *presence,
            Self::Visitor(visitor) => visitor.presence,
        }
    }

    /// Who it is, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Device { id, .. } => id.as_str(),
            Self::Visitor(visitor) => &visitor.key_id,
        }
    }

    /// What it is here.
    pub fn role(&self) -> &'static str {
        match self {
            Self::Device { .. } => "device",
            Self::Visitor(_) => "visitor",
        }
    }
}

/// How often a folder that can't be read is read again while nothing in it has changed: what is in the way (its owner, its mode, the disk) shows
/// in no stamp.
const AGAIN: Pace = Pace { least: Duration::from_secs(2), most: Duration::from_secs(30), stable: Duration::MAX };

type Look = Vec<Stamp>;

/// The fleet as it was read last.
#[derive(Debug)]
pub struct Fleet {
    folder: PathBuf,
    state: Mutex<Read>,
    /// One reads at a time; who comes meanwhile takes what that one has read.
    reading: Mutex<()>,
    /// How often it was read.
    pub(super) reads: AtomicU64,
}

#[derive(Debug)]
struct Read {
    dir: Arc<RelayDir>,
    look: Look,
    /// Why it could not be read the last time.
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    /// What it looked like, the folder itself included.
    look: (Look, Stamp),
    again: Instant,
    backoff: Backoff,
}

impl Read {
    /// Whether reading it again would come to the same, as far as can be seen.
    fn is_settled(&self, look: &(Look, Stamp)) -> bool {
        match &self.failing {
            None => self.look == look.0,
            Some(failing) => failing.look == *look && Instant::now() < failing.again,
        }
    }
}

/// What another look comes to.
#[derive(Debug)]
pub enum Change {
    /// Nothing has changed.
    None,
    /// It was read anew.
    Read,
    /// It can't be read: no certificate is good until it can.
    Failed(Fault),
}

impl Fleet {
    /// Reads the folder whole.
    ///
    /// # Errors
    /// Those of [`RelayDir::load`].
    pub fn load(folder: &Path) -> Result<Self, Fault> {
        // Looked at before it is read: what changes meanwhile is seen at the next look.
        let look = look_at(folder);
        let dir = Arc::new(RelayDir::load(folder)?);
        let state = Mutex::new(Read { dir, look, failing: None });
        Ok(Self { folder: folder.to_owned(), state, reading: Mutex::default(), reads: AtomicU64::new(1) })
    }

    fn state(&self) -> MutexGuard<'_, Read> {
        lock(&self.state)
    }

    /// As it was read last.
    pub fn dir(&self) -> Arc<RelayDir> {
        Arc::clone(&self.state().dir)
    }

    /// Looks again; reads what has changed. Blocks while it reads.
    pub fn look(&self, forced: bool) -> Change {
        let _reading = lock(&self.reading);
        let look = (look_at(&self.folder), stamp(&self.folder));
        if !forced && self.state().is_settled(&look) {
            return Change::None;
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let loaded = RelayDir::load(&self.folder);
        let mut state = self.state();
        match loaded {
            Ok(dir) => {
                *state = Read { dir: Arc::new(dir), look: look.0, failing: None };
                Change::Read
            }
            Err(fault) => {
                let before = state.failing.take();
                let news = before.is_none();
                let mut backoff = before.map_or_else(|| Backoff::new(AGAIN), |before| before.backoff);
                let again = Instant::now() + backoff.pause(getrandom::u64().unwrap_or_default());
                state.failing = Some(Failing { look, again, backoff });
                if news { Change::Failed(fault) } else { Change::None }
            }
        }
    }

    /// What a certificate makes somebody.
    ///
    /// # Errors
    /// Why nothing.
    pub fn authorize(&self, certificate: &Certificate, peer: IpAddr, now: u64) -> Result<Member, Denial> {
        let (dir, readable) = {
            let state = self.state();
            (Arc::clone(&state.dir), state.failing.is_none())
        };
        if !readable {
            return Err(Denial::FleetUnreadable);
        }
        match dir.visitors.visitor(certificate, &dir.krl, Some(peer), now) {
            Err(Denial::UnknownAuthority) => {}
            visitor => return visitor.map(Member::Visitor),
        }
        let (id, presence) = dir.devices.device(certificate, &dir.krl, Some(peer), now)?;
        current(&dir, &id, certificate.serial())?;
        Ok(Member::Device { id, serial: certificate.serial(), until: certificate.valid_before(), presence })
    }

    /// A device that is part of the fleet.
    pub fn has(&self, name: &DeviceId) -> bool {
        self.dir().known.get(name).is_some_and(|device| device.state == State::Active)
    }
}

/// Whether a device's certificate is its newest: an older one may be in a disk that was thrown away.
pub(super) fn current(dir: &RelayDir, id: &DeviceId, serial: u64) -> Result<(), Denial> {
    match dir.known.get(id) {
        None => Err(Denial::NotInFleet),
        Some(Device { state: State::Revoked, .. }) => Err(Denial::Revoked),
        Some(device) if serial < device.serial => Err(Denial::Superseded),
        Some(_) => Ok(()),
    }
}

fn look_at(folder: &Path) -> Look {
    FILES.iter().map(|name| stamp(&folder.join(name))).collect()
}

impl Relay {
    /// Looks at the fleet's folder; whoever is no longer what they were goes.
    pub(crate) async fn look_at_fleet(self: &Arc<Self>, forced: bool) {
        if self.wakes.is_none() {
            return;
        }
        if forced && let Some(broker) = self.wakes.as_ref().and_then(|wakes| wakes.embedded.as_ref()) {
            // What is wrong with the fleet's files is said below.
            let _ = broker.reload().await;
        }
        let relay = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || relay.wakes.as_ref().map(|wakes| wakes.fleet.look(forced))).await;
        match looked {
            Ok(Some(Change::Read)) => {
                tracing::info!("the fleet's folder was read");
                self.dismiss_the_changed();
            }
            Ok(Some(Change::Failed(fault))) => {
                term::fault(&fault);
                term::say("  until it can be read no certificate is let in");
                Metrics::count(&self.metrics.fleet_failures);
                self.audit.note(Event::KeysFailed { reason: fault.to_string() }).await;
            }
            Ok(Some(Change::None) | None) => {}
            // What can't even be looked at must not serve on as it was.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
