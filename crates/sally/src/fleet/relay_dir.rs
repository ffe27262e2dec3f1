//! Reads `FLEET/relay` for a relay, and rejects what must not be there.
//!
//! A relay has no authority's private key, and no authority has two roles: an attacker who controls a relay can't certify anyone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use sally_proto::authority::{Authorities, Role, fingerprint, shared};
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use sally_proto::krl::Krl;
use sally_proto::wake::WakeKey;
use ssh_key::certificate::Certificate;
use ssh_key::{HashAlg, PrivateKey};

pub use super::device::DeviceStanding;
use super::settings::FleetSettings;
use super::{authority_file, device, files, invalid, private_key, tls};
use crate::clock::unix_time_or_expired;
use crate::term;

/// The files of private keys that belong on a relay.
const OWN_KEYS: [&str; 4] = ["host_key", "wake_key", "wake_key.next", "tls.key"];
/// The largest file that is searched for private keys, in bytes: they are small, and the list of devices is not.
const KEY_FILE_MAX: u64 = 64 << 10;
/// The longest line of the list of devices, in bytes.
const LINE_MAX: usize = 512;

/// A device in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedDevice {
    /// Its newest serial number: an older one is refused.
    pub serial: u64,
    /// Whether it is part of the fleet.
    pub state: DeviceStanding,
}

/// The content of a relay's folder.
#[derive(Debug)]
pub struct RelayDir {
    /// The settings of the whole fleet.
    pub settings: FleetSettings,
    /// The authorities for devices.
    pub devices: Authorities,
    /// The authorities for host keys.
    pub hosts: Authorities,
    /// The authorities for visitors.
    pub visitors: Authorities,
    /// The host key that all relays of the fleet share.
    pub host_key: PrivateKey,
    /// Its certificate.
    pub host_certificate: Certificate,
    /// The key that signs wakes.
    pub wake_key: WakeKey,
    /// The key revocation list.
    pub krl: Krl,
    /// Every device that was ever added, by name.
    pub known: BTreeMap<DeviceId, ListedDevice>,
}

impl RelayDir {
    /// Reads and checks the folder.
    ///
    /// # Errors
    /// [`Fault::AuthorityExposed`] and [`Fault::TwoRoles`] for what a relay must not have; [`Fault::FleetInvalid`] for a missing,
    /// unreadable or invalid file.
    pub fn load(folder: &Path) -> Result<Self, Fault> {
        let settings = FleetSettings::load(&folder.join("fleet.toml"))?;
        let [devices, hosts, visitors] = [Role::Device, Role::Host, Role::Visitor].map(|role| authorities(folder, role));
        let (devices, hosts, visitors) = (devices?, hosts?, visitors?);
        one_role_each(&[&devices, &hosts, &visitors])?;
        refuse_authority_keys(folder, &[&devices, &hosts, &visitors])?;
        let host_key = private_key(&folder.join("host_key"))?;
        let wake_file = folder.join("wake_key");
        let wake_key = WakeKey::new(&private_key(&wake_file)?).map_err(|error| invalid(&wake_file, error))?;
        let krl = load_krl(folder)?;
        let host_certificate = host_certificate(folder, &host_key, &hosts, &krl, &settings)?;
        let known = load_devices(folder)?;
        Ok(Self { settings, devices, hosts, visitors, host_key, host_certificate, wake_key, krl, known })
    }

    /// Returns the host key's fingerprint `SHA256:…`, which is the `hk` of wakes.
    pub fn host_fingerprint(&self) -> ssh_key::Fingerprint {
        self.host_key.fingerprint(HashAlg::Sha256)
    }
}

/// Reads the key revocation list. If this fails, no certificate may be accepted.
///
/// # Errors
/// [`Fault::FleetInvalid`].
pub fn load_krl(folder: &Path) -> Result<Krl, Fault> {
    let file = folder.join("revoked");
    Krl::parse(&files::read(&file)?).map_err(|error| invalid(&file, error))
}

/// Reads the list of devices. The last line of each device counts.
///
/// # Errors
/// [`Fault::FleetInvalid`], with the line's number.
pub fn load_devices(folder: &Path) -> Result<BTreeMap<DeviceId, ListedDevice>, Fault> {
    let file = folder.join("devices");
    let open = fs::File::open(&file).map_err(|error| invalid(&file, term::reason(&error)))?;
    let mut known = BTreeMap::new();
    for (line, number) in BufReader::new(open).lines().zip(1_usize..) {
        let line = line.map_err(|error| invalid(&file, format!("line {number}: {}", term::reason(&error))))?;
        let parsed = if line.len() > LINE_MAX { None } else { serde_json::from_str::<device::DeviceLine>(&line).ok() };
        let Some(device::DeviceLine { v: device::VERSION, id, serial, state }) = parsed else {
            return Err(invalid(&file, format!("line {number} is not a device of version {}", device::VERSION)));
        };
        known.insert(id, ListedDevice { serial, state });
    }
    Ok(known)
}

fn authorities(folder: &Path, role: Role) -> Result<Authorities, Fault> {
    let file = folder.join(format!("{}.pub", authority_file(role)));
    Authorities::parse(role, &files::read_text(&file)?).map_err(|error| invalid(&file, error))
}

fn one_role_each(all: &[&Authorities]) -> Result<(), Fault> {
    for (index, one) in all.iter().enumerate() {
        for other in all.iter().skip(index.saturating_add(1)) {
            if let Some(key) = shared(one, other) {
                let [one, other] = [one, other].map(|authorities| format!("{}.pub", authority_file(authorities.role())));
                return Err(Fault::TwoRoles { key: fingerprint(key), one, other });
            }
        }
    }
    Ok(())
}

/// Searches the folder and its subfolders for private keys. Rejects one that isn't the relay's own, and an authority's under the name of an
/// own one.
fn refuse_authority_keys(folder: &Path, authorities: &[&Authorities]) -> Result<(), Fault> {
    let tls_authority = files::read_text(&folder.join("tls_ca.pem"))?;
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).map_err(|error| invalid(&current, term::reason(&error)))? {
            let entry = entry.map_err(|error| invalid(&current, term::reason(&error)))?;
            let (path, exposed) = (entry.path(), || Fault::AuthorityExposed { file: entry.path().display().to_string() });
            let facts = fs::metadata(&path).map_err(|error| invalid(&path, term::reason(&error)))?;
            if facts.is_dir() && !path.is_symlink() {
                folders.push(path);
                continue;
            }
            if !facts.is_file() || facts.len() > KEY_FILE_MAX {
                continue;
            }
            let content = files::read(&path)?;
            let text = String::from_utf8_lossy(&content);
            if !text.contains("PRIVATE KEY-----") {
                continue;
            }
            let own = current == folder && OWN_KEYS.iter().any(|name| path.file_name().is_some_and(|own| own == *name));
            let ssh = PrivateKey::from_openssh(&content).ok();
            let certifies = ssh.is_some_and(|key| authorities.iter().any(|of| of.contains(key.public_key().key_data())));
            if !own || certifies || tls::is_key_of(&text, &tls_authority) == Some(true) {
                return Err(exposed());
            }
        }
    }
    Ok(())
}

fn host_certificate(
    folder: &Path,
    key: &PrivateKey,
    hosts: &Authorities,
    krl: &Krl,
    settings: &FleetSettings,
) -> Result<Certificate, Fault> {
    let file = folder.join("host_key-cert.pub");
    let certificate = Certificate::from_openssh(files::read_text(&file)?.trim()).map_err(|error| invalid(&file, error))?;
    if certificate.public_key() != key.public_key().key_data() {
        return Err(invalid(&file, "it is not for host_key"));
    }
    for address in &settings.relay {
        hosts.host(&certificate, krl, address.host(), unix_time_or_expired()).map_err(|denial| invalid(&file, denial))?;
    }
    Ok(certificate)
}
