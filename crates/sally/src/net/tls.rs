//! Configures TLS for every client and server: certificates, keys and roots are read only here.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sally_proto::error::Fault;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig, version};

use crate::lock::lock;
use crate::term;

/// Why TLS can't be configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is invalid or can't be read.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The library's error.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

impl TlsError {
    fn file(file: &Path, reason: impl ToString) -> Self {
        Self::File { file: file.to_owned(), reason: reason.to_string() }
    }

    /// Converts the error into the caller's fault for a file and a reason.
    pub fn into_fault(self, of_file: impl FnOnce(String, String) -> Fault) -> Fault {
        match self {
            Self::File { file, reason } => of_file(file.display().to_string(), reason),
            Self::Library(error) => Fault::Internal(error.to_string()),
        }
    }
}

/// A certificate with its private key, each in a PEM file.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The certificate, followed by the chain that signed it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl KeyPair {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        Ok((read_chain(&self.certificate)?, read_one(&self.key)?))
    }
}

/// The authorities that are trusted.
#[derive(Clone, Debug)]
pub enum Roots {
    /// The built-in ones of the public web.
    Web,
    /// The built-in ones and those of a file.
    WebAnd(PathBuf),
    /// Only those of a file.
    Only(PathBuf),
}

impl Roots {
    fn read(&self) -> Result<RootCertStore, TlsError> {
        let web = || RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let (mut store, file) = match self {
            Self::Web => return Ok(web()),
            Self::WebAnd(file) => (web(), file),
            Self::Only(file) => (RootCertStore::empty(), file),
        };
        for root in read_chain(file)? {
            store.add(root).map_err(|error| TlsError::file(file, error))?;
        }
        Ok(store)
    }
}

/// Configures a client that trusts these roots, and that shows its own certificate if it has one.
///
/// # Errors
/// [`TlsError`].
pub fn client(roots: &Roots, own: Option<&KeyPair>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots.read()?);
    match own {
        None => Ok(builder.with_no_client_auth()),
        Some(own) => {
            let (chain, key) = own.read()?;
            // The library also checks that certificate and key match.
            builder.with_client_auth_cert(chain, key).map_err(|error| TlsError::file(&own.key, error))
        }
    }
}

/// Configures a server for any client.
///
/// # Errors
/// [`TlsError`].
pub fn server(own: &KeyPair) -> Result<ServerConfig, TlsError> {
    let (chain, key) = own.read()?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| TlsError::file(&own.key, error))
}

/// Configures a server for clients with a certificate that this authority signed and didn't revoke.
///
/// # Errors
/// [`TlsError`].
pub fn server_for_certified(
    own: &KeyPair,
    authority: &Path,
    revoked: CertificateRevocationListDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let (chain, key) = own.read()?;
    let roots = Arc::new(Roots::Only(authority.to_owned()).read()?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).with_crls([revoked]).build();
    let verifier = verifier.map_err(|error| TlsError::file(authority, error))?;
    // TLS 1.3 only: before it, certificates, with the clients' names, are sent unencrypted.
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&version::TLS13])?;
    let config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key);
    let mut config = config.map_err(|error| TlsError::file(&own.certificate, error))?;
    // Resumption would skip the check of the certificate, and cost memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| TlsError::file(file, term::reason(&error)))
}

/// Returns the first item of its kind in a PEM file.
///
/// # Errors
/// [`TlsError::File`].
pub fn read_one<T: PemObject>(file: &Path) -> Result<T, TlsError> {
    T::from_pem_slice(&read(file)?).map_err(|error| TlsError::file(file, error))
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::file(file, "it has no certificate")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(TlsError::file(file, error)),
    }
}

/// A server's certificate, which can be read again, because certificates are short-lived.
pub struct ServerCertificate {
    files: KeyPair,
    shown: Mutex<Arc<ServerConfig>>,
}

impl ServerCertificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Fault::TlsInvalid`].
    pub fn load(files: KeyPair) -> Result<Self, Fault> {
        let shown = Mutex::new(Self::read(&files)?);
        Ok(Self { files, shown })
    }

    fn read(files: &KeyPair) -> Result<Arc<ServerConfig>, Fault> {
        server(files).map(Arc::new).map_err(|error| error.into_fault(|file, reason| Fault::TlsInvalid { file, reason }))
    }

    /// Reads the files again; if that fails, keeps the present certificate.
    pub fn reload(&self) {
        match Self::read(&self.files) {
            Ok(config) => *lock(&self.shown) = config,
            Err(fault) => {
                term::fault(&fault);
                term::say("  the previous certificate stays in use");
            }
        }
    }

    /// Returns the acceptor for the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&lock(&self.shown)).into()
    }
}
