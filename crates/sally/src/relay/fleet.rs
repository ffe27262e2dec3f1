//! A relay's fleet: the clients that its authorities certify. The folder is read again when it changes; while it can't be read, no
//! certificate is accepted.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sally_proto::authority::CertifiedVisitor;
use sally_proto::authorized_keys::{Denial, UserPresence};
use sally_proto::backoff::{Backoff, Pace};
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use ssh_key::certificate::Certificate;

use super::Relay;
use super::audit::RelayEvent;
use super::metrics::Metrics;
use crate::file_version::{FileVersion, version_of};
use crate::fleet::relay_dir::{DeviceStanding, ListedDevice, RelayDir};
use crate::lock::lock;
use crate::term;

/// The files whose versions tell whether the folder has changed.
const FILES: [&str; 9] =
    ["fleet.toml", "devices", "revoked", "device_ca.pub", "host_ca.pub", "visitor_ca.pub", "host_key", "host_key-cert.pub", "wake_key"];

/// A client that a fleet's authority has certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A device, with its own name.
    Device {
        /// The name.
        id: DeviceId,
        /// The certificate's serial number.
        serial: u64,
        /// The end of the certificate, in Unix seconds.
        until: u64,
        /// The presence that a signature must prove, if the key is a security key.
        presence: UserPresence,
    },
    /// A person, with patterns of names.
    Visitor(CertifiedVisitor),
}

impl Member {
    /// Returns the end of the certificate, in Unix seconds.
    pub fn until(&self) -> u64 {
        match self {
            Self::Device { until, .. } => *until,
            Self::Visitor(visitor) => visitor.valid_before,
        }
    }

    /// Returns the certificate's serial number.
    pub fn serial(&self) -> u64 {
        match self {
            Self::Device { serial, .. } => *serial,
            Self::Visitor(visitor) => visitor.serial,
        }
    }

    /// Returns the presence that a signature of the certified key must prove.
    pub fn presence(&self) -> UserPresence {
        match self {
            Self::Device { presence, .. } => *presence,
            Self::Visitor(visitor) => visitor.presence,
        }
    }

    /// Returns the member's name, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Device { id, .. } => id.as_str(),
            Self::Visitor(visitor) => &visitor.key_id,
        }
    }

    /// Returns the member's role.
    pub fn role(&self) -> &'static str {
        match self {
            Self::Device { .. } => "device",
            Self::Visitor(_) => "visitor",
        }
    }
}

/// The pace of reading an unreadable folder again while its versions stay the same: the cause (the owner, the mode, the disk) shows in no
/// version.
const AGAIN: Pace = Pace { least: Duration::from_secs(2), most: Duration::from_secs(30), stable: Duration::MAX };

type FleetVersions = Vec<FileVersion>;

/// The fleet as last read.
#[derive(Debug)]
pub struct RelayFleet {
    folder: PathBuf,
    state: Mutex<FleetRead>,
    /// Held while reading, so that one thread reads at a time; the others then use what it has read.
    reading: Mutex<()>,
    /// The number of times that it was read.
    pub(super) reads: AtomicU64,
}

#[derive(Debug)]
struct FleetRead {
    dir: Arc<RelayDir>,
    look: FleetVersions,
    /// The last failure, if the last read failed.
    failing: Option<FleetReadFailure>,
}

#[derive(Debug)]
struct FleetReadFailure {
    /// The versions at that time, including the folder's own.
    look: (FleetVersions, FileVersion),
    again: Instant,
    backoff: Backoff,
}

impl FleetRead {
    /// Returns whether another read would have the same result, judging by the versions.
    fn is_settled(&self, look: &(FleetVersions, FileVersion)) -> bool {
        match &self.failing {
            None => self.look == look.0,
            Some(failing) => failing.look == *look && Instant::now() < failing.again,
        }
    }
}

/// The result of another look at the folder.
#[derive(Debug)]
pub enum Change {
    /// Nothing has changed.
    None,
    /// It was read again.
    Read,
    /// It can't be read: no certificate is accepted until it can.
    Failed(Fault),
}

impl RelayFleet {
    /// Reads the folder.
    ///
    /// # Errors
    /// Those of [`RelayDir::load`].
    pub fn load(folder: &Path) -> Result<Self, Fault> {
        // The versions are taken before reading: a change meanwhile is seen at the next look.
        let look = look_at(folder);
        let dir = Arc::new(RelayDir::load(folder)?);
        let state = Mutex::new(FleetRead { dir, look, failing: None });
        Ok(Self { folder: folder.to_owned(), state, reading: Mutex::default(), reads: AtomicU64::new(1) })
    }

    fn state(&self) -> MutexGuard<'_, FleetRead> {
        lock(&self.state)
    }

    /// Returns the folder as last read.
    pub fn dir(&self) -> Arc<RelayDir> {
        Arc::clone(&self.state().dir)
    }

    /// Looks at the folder again and reads it if it has changed, or if `forced`. Blocks while it reads.
    pub fn look(&self, forced: bool) -> Change {
        let _reading = lock(&self.reading);
        let look = (look_at(&self.folder), version_of(&self.folder));
        if !forced && self.state().is_settled(&look) {
            return Change::None;
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let loaded = RelayDir::load(&self.folder);
        let mut state = self.state();
        match loaded {
            Ok(dir) => {
                *state = FleetRead { dir: Arc::new(dir), look: look.0, failing: None };
                Change::Read
            }
            Err(fault) => {
                let before = state.failing.take();
                let news = before.is_none();
                let mut backoff = before.map_or_else(|| Backoff::new(AGAIN), |before| before.backoff);
                let again = Instant::now() + backoff.pause(getrandom::u64().unwrap_or_default());
                state.failing = Some(FleetReadFailure { look, again, backoff });
                if news { Change::Failed(fault) } else { Change::None }
            }
        }
    }

    /// Returns the member that a certificate certifies.
    ///
    /// # Errors
    /// The reason why the certificate is rejected.
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

    /// Returns whether a device is an active part of the fleet.
    pub fn has(&self, name: &DeviceId) -> bool {
        self.dir().known.get(name).is_some_and(|device| device.state == DeviceStanding::Active)
    }
}

/// Checks that a device's certificate is its newest: an older one may be on a discarded disk.
pub(super) fn current(dir: &RelayDir, id: &DeviceId, serial: u64) -> Result<(), Denial> {
    match dir.known.get(id) {
        None => Err(Denial::NotInFleet),
        Some(ListedDevice { state: DeviceStanding::Revoked, .. }) => Err(Denial::Revoked),
        Some(device) if serial < device.serial => Err(Denial::Superseded),
        Some(_) => Ok(()),
    }
}

fn look_at(folder: &Path) -> FleetVersions {
    FILES.iter().map(|name| version_of(&folder.join(name))).collect()
}

impl Relay {
    /// Looks at the fleet's folder, and disconnects clients whose role changed or whose certificate was revoked.
    pub(crate) async fn look_at_fleet(self: &Arc<Self>, forced: bool) {
        if self.wakes.is_none() {
            return;
        }
        if forced && let Some(broker) = self.wakes.as_ref().and_then(|wakes| wakes.embedded.as_ref()) {
            // Errors in the fleet's files are reported below.
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
                term::say("  until it can be read, no certificate is accepted");
                Metrics::count(&self.metrics.fleet_failures);
                self.audit.note(RelayEvent::KeysFailed { reason: fault.to_string() }).await;
            }
            Ok(Some(Change::None) | None) => {}
            // The relay must not go on with the old state if even looking fails.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
