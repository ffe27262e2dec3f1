//! TLS for `/metrics` and `/healthz`: a certificate and its key, read again at SIGHUP, for certificates are short-lived.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sally_proto::error::Fault;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::term;

/// The files, in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, then those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a server shows.
pub struct Tls {
    files: Files,
    shown: Mutex<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Fault::TlsInvalid`].
    pub fn load(files: Files) -> Result<Self, Fault> {
        let shown = Mutex::new(Arc::new(read(&files)?));
        Ok(Self { files, shown })
    }

    /// Reads them again; what can't be read leaves what was shown before.
    pub(super) fn reload(&self) {
        match read(&self.files) {
            Ok(config) => *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config),
            Err(fault) => {
                term::fault(&fault);
                term::say("  the certificate of before is shown");
            }
        }
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn read(files: &Files) -> Result<ServerConfig, Fault> {
    let invalid = |file: &Path, reason: String| Fault::TlsInvalid { file: file.display().to_string(), reason };
    let certificates = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| invalid(&files.certificate, error.to_string()))?;
    if certificates.is_empty() {
        return Err(invalid(&files.certificate, "it holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| invalid(&files.key, error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| Fault::Internal(error.to_string()))?;
    // Which also checks that the two belong together.
    builder.with_no_client_auth().with_single_cert(certificates, key).map_err(|error| invalid(&files.key, error.to_string()))
}
