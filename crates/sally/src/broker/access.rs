//! Who is let in under TLS: by a certificate of the fleet's authority that isn't revoked. Read anew when its files change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sally_proto::broker::{Standing, common_name};
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, version};
use webpki::{BorrowedCertRevocationList, EndEntityCert};

use crate::fleet::relay_dir::{State, load_devices};
use crate::stamp::{Stamp, stamp};
use crate::term;

/// What is read, in the folder of a relay.
const FILES: [&str; 5] = ["tls.pem", "tls.key", "tls_ca.pem", "tls.crl", "devices"];

/// What each file looks like.
type Look = [Stamp; FILES.len()];

/// The files of a relay's folder that say who is let in.
#[derive(Debug)]
pub(super) struct Access {
    folder: PathBuf,
    current: Mutex<(Look, Option<Arc<ServerConfig>>)>,
}

/// What the fleet says of its devices.
pub(super) type Fleet = (BTreeMap<DeviceId, Standing>, BTreeSet<u64>);

impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`].
    pub(super) fn open(folder: PathBuf) -> Result<(Self, Fleet), Fault> {
        let look = look_at(&folder);
        let (tls, fleet) = load(&folder)?;
        Ok((Self { folder, current: Mutex::new((look, Some(tls))) }, fleet))
    }

    /// What TLS is to be spoken with; `None` where the files can't be read: nobody is let in then.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Reads the files again where one has changed. Blocks.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`]: nobody new is let in until they can be read.
    pub(super) fn look(&self, forced: bool) -> Result<Option<Fleet>, Fault> {
        // Before they are read: what changes meanwhile is read again.
        let now = look_at(&self.folder);
        let same = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            // What couldn't be read is tried again: a file's owner or the system's mood shows in no stamp.
            current.0 == now && current.1.is_some()
        };
        if same && !forced {
            return Ok(None);
        }
        let loaded = load(&self.folder);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (tls, fleet) = match loaded {
            Ok((tls, fleet)) => (Some(tls), Ok(Some(fleet))),
            Err(fault) => (None, Err(fault)),
        };
        *current = (now, tls);
        fleet
    }
}

fn look_at(folder: &Path) -> Look {
    FILES.map(|name| stamp(&folder.join(name)))
}

fn load(folder: &Path) -> Result<(Arc<ServerConfig>, Fleet), Fault> {
    let [certificate, key, authority, crl, _] = FILES.map(|name| folder.join(name));
    let invalid = |file: &Path, reason: String| Fault::FleetInvalid { file: file.display().to_string(), reason };
    let read = |file: &Path| fs::read(file).map_err(|error| invalid(file, term::reason(&error)));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&certificate)?).collect();
    let chain = chain.map_err(|error| invalid(&certificate, error.to_string()))?;
    let own_key = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|error| invalid(&key, error.to_string()))?;
    let list = CertificateRevocationListDer::from_pem_slice(&read(&crl)?).map_err(|error| invalid(&crl, error.to_string()))?;
    let revoked = revoked(&list).map_err(|error| invalid(&crl, error.to_string()))?;

    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&read(&authority)?) {
        let root = root.map_err(|error| invalid(&authority, error.to_string()))?;
        roots.add(root).map_err(|error| invalid(&authority, error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).with_crls([list]).build();
    let verifier = verifier.map_err(|error| invalid(&authority, error.to_string()))?;
    // 1.3 alone: before it, certificates, with devices' names, go over the wire for everybody to read.
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&version::TLS13]);
    let config = config.map_err(|error| Fault::Internal(error.to_string()))?.with_client_cert_verifier(verifier);
    let mut config = config.with_single_cert(chain, own_key).map_err(|error| invalid(&certificate, error.to_string()))?;
    // A resumed session is a certificate that isn't looked at again, and memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;

    let standing = |device: crate::fleet::relay_dir::Device| Standing { serial: device.serial, active: device.state == State::Active };
    let devices = load_devices(folder)?.into_iter().map(|(id, device)| (id, standing(device))).collect();
    Ok((Arc::new(config), (devices, revoked)))
}

fn revoked(list: &[u8]) -> Result<BTreeSet<u64>, webpki::Error> {
    let list = BorrowedCertRevocationList::from_der(list)?;
    let numbers = (&list).into_iter().map(|entry| Ok(entry?.serial_number.to_vec())).collect::<Result<Vec<_>, webpki::Error>>()?;
    Ok(numbers.iter().filter_map(|number| serial(number)).collect())
}

/// A serial number of ours: the fleet counts them.
fn serial(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    let mut number = [0; 8];
    number.get_mut(8_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(number))
}

/// The name and serial number in a certificate that TLS has checked.
pub(super) fn identity(tls: &ServerConnection) -> Option<(String, u64)> {
    let certificate = EndEntityCert::try_from(tls.peer_certificates()?.first()?).ok()?;
    Some((common_name(certificate.subject())?.to_owned(), serial(certificate.serial())?))
}
