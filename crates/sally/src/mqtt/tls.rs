//! TLS towards a broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sally_proto::error::Fault;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where TLS towards a broker finds its files, each in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The fleet's own authority; those of the public web are believed beside it, since a broker may be somebody else's service.
    pub authority: PathBuf,
}

/// Reads the files.
///
/// # Errors
/// [`Fault::FleetInvalid`] with the file that can't be used.
pub fn client(files: &Files) -> Result<Arc<ClientConfig>, Fault> {
    let invalid = |file: &Path, reason: String| Fault::FleetInvalid { file: file.display().to_string(), reason };
    let read = |file: &Path| CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = |file: &Path| match read(file) {
        Ok(found) if found.is_empty() => Err(invalid(file, "it holds no certificate".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(invalid(file, error.to_string())),
    };
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for authority in certificates(&files.authority)? {
        roots.add(authority).map_err(|error| invalid(&files.authority, error.to_string()))?;
    }
    let own = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| invalid(&files.key, error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| Fault::Internal(error.to_string()))?;
    let config = builder.with_root_certificates(roots).with_client_auth_cert(own, key);
    Ok(Arc::new(config.map_err(|error| invalid(&files.key, error.to_string()))?))
}
