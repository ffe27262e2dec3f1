//! Admits clients under TLS by a certificate of the fleet's authority that isn't revoked. The files are read again when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sally_proto::broker::{Standing, common_name};
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use tokio_rustls::rustls::pki_types::CertificateRevocationListDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};
use webpki::{BorrowedCertRevocationList, EndEntityCert};

use crate::file_version::{FileVersion, version_of};
use crate::fleet::relay_dir::{DeviceStanding, load_devices};
use crate::lock::lock;
use crate::net::tls::{KeyPair, TlsError, read_one, server_for_certified};

/// The files that are read, in the folder of a relay.
const FILES: [&str; 5] = ["tls.pem", "tls.key", "tls_ca.pem", "tls.crl", "devices"];

/// The version of each file.
type AccessVersions = [FileVersion; FILES.len()];

/// The files of a relay's folder that decide which clients are admitted.
#[derive(Debug)]
pub(super) struct AccessFiles {
    folder: PathBuf,
    current: Mutex<(AccessVersions, Option<Arc<ServerConfig>>)>,
}

/// The fleet's devices, and the revoked serial numbers.
pub(super) type FleetStandings = (BTreeMap<DeviceId, Standing>, BTreeSet<u64>);

impl AccessFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`].
    pub(super) fn open(folder: PathBuf) -> Result<(Self, FleetStandings), Fault> {
        let look = look_at(&folder);
        let (tls, fleet) = load(&folder)?;
        Ok((Self { folder, current: Mutex::new((look, Some(tls))) }, fleet))
    }

    /// Returns the TLS configuration; `None` if the files can't be read: no client is admitted then.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        lock(&self.current).1.clone()
    }

    /// Reads the files again if one has changed, if the last read failed, or if `forced`. Blocks.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`]: no new client is admitted until they can be read.
    pub(super) fn look(&self, forced: bool) -> Result<Option<FleetStandings>, Fault> {
        // The versions are taken before reading, so that a change meanwhile is read again.
        let now = look_at(&self.folder);
        let same = {
            let current = lock(&self.current);
            // A failed read is tried again: its cause may show in no version (a file's owner, a lack of resources).
            current.0 == now && current.1.is_some()
        };
        if same && !forced {
            return Ok(None);
        }
        let loaded = load(&self.folder);
        let mut current = lock(&self.current);
        let (tls, fleet) = match loaded {
            Ok((tls, fleet)) => (Some(tls), Ok(Some(fleet))),
            Err(fault) => (None, Err(fault)),
        };
        *current = (now, tls);
        fleet
    }
}

fn look_at(folder: &Path) -> AccessVersions {
    FILES.map(|name| version_of(&folder.join(name)))
}

fn load(folder: &Path) -> Result<(Arc<ServerConfig>, FleetStandings), Fault> {
    let [certificate, key, authority, crl, _] = FILES.map(|name| folder.join(name));
    let invalid = |error: TlsError| error.into_fault(|file, reason| Fault::FleetInvalid { file, reason });
    let list: CertificateRevocationListDer<'static> = read_one(&crl).map_err(invalid)?;
    let numbers = revoked(&list).map_err(|error| Fault::FleetInvalid { file: crl.display().to_string(), reason: error.to_string() })?;
    let config = server_for_certified(&KeyPair { certificate, key }, &authority, list).map_err(invalid)?;
    let standing =
        |device: crate::fleet::relay_dir::ListedDevice| Standing { serial: device.serial, active: device.state == DeviceStanding::Active };
    let devices = load_devices(folder)?.into_iter().map(|(id, device)| (id, standing(device))).collect();
    Ok((Arc::new(config), (devices, numbers)))
}

fn revoked(list: &[u8]) -> Result<BTreeSet<u64>, webpki::Error> {
    let list = BorrowedCertRevocationList::from_der(list)?;
    let numbers = (&list).into_iter().map(|entry| Ok(entry?.serial_number.to_vec())).collect::<Result<Vec<_>, webpki::Error>>()?;
    Ok(numbers.iter().filter_map(|number| serial(number)).collect())
}

/// Returns a serial number if it fits in 64 bits, as all that the fleet assigns.
fn serial(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    let mut number = [0; 8];
    number.get_mut(8_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(number))
}

/// Returns the name and serial number in a certificate that TLS has checked.
pub(super) fn identity(tls: &ServerConnection) -> Option<(String, u64)> {
    let certificate = EndEntityCert::try_from(tls.peer_certificates()?.first()?).ok()?;
    Some((common_name(certificate.subject())?.to_owned(), serial(certificate.serial())?))
}
