//! Holds the host keys of a server: the main one, which is announced and seals the record, and others for clients that don't know its type.

use std::path::{Path, PathBuf};

use sally_proto::error::Fault;
use ssh_key::certificate::{CertType, Certificate};
use ssh_key::{Algorithm, PrivateKey};

use super::HostKey;
use crate::term;

/// The suffix that ssh-keygen gives to the file of a key's certificate.
const CERTIFICATE_SUFFIX: &str = "-cert.pub";

/// The host keys of one run; at least one.
#[derive(Clone, Debug)]
pub struct HostKeys {
    main: HostKey,
    others: Vec<HostKey>,
}

impl From<HostKey> for HostKeys {
    fn from(main: HostKey) -> Self {
        Self { main, others: Vec::new() }
    }
}

impl HostKeys {
    /// Makes a fresh key without a certificate.
    ///
    /// # Errors
    /// [`Fault::HostCertificateInvalid`] if a certificate is named all the same; [`Fault::Internal`].
    pub fn fresh(certificates: &[PathBuf]) -> Result<Self, Fault> {
        match certificates {
            [] => HostKey::fresh().map(Self::from),
            [file, ..] => Err(invalid(file, "it is for none of the host keys: name its key with --host-key")),
        }
    }

    /// Loads the keys of one or more files, with the certificates that are named, and those in files beside the keys.
    ///
    /// # Errors
    /// Those of [`HostKey::load`]; [`Fault::HostKeyInvalid`] for two keys of one type, of which no client would see the second;
    /// [`Fault::HostCertificateInvalid`].
    pub fn load(first: &Path, more: &[PathBuf], certificates: &[PathBuf]) -> Result<Self, Fault> {
        let mut files = vec![(first, HostKey::load(first)?)];
        for file in more {
            let key = HostKey::load(file)?;
            if files.iter().any(|(_, other)| algorithm(other) == algorithm(&key)) {
                let reason = format!("another host key of type {} is named before it", algorithm(&key));
                return Err(Fault::HostKeyInvalid { file: file.display().to_string(), reason });
            }
            files.push((file, key));
        }
        for (file, key) in &mut files {
            if let Some(certificate) = beside(file, key)? {
                certify(key, certificate);
            }
        }
        for file in certificates {
            let certificate = read(file)?;
            let own = files.iter_mut().find(|(_, key)| is_of(key, &certificate));
            let (_, key) = own.ok_or_else(|| invalid(file, "it is for none of the host keys"))?;
            certify(key, certificate);
        }
        let at = files.iter().position(|(_, key)| algorithm(key) == Algorithm::Ed25519).unwrap_or_default();
        let (_, main) = files.remove(at);
        Ok(Self { main, others: files.into_iter().map(|(_, key)| key).collect() })
    }

    /// Returns the main key.
    pub fn main(&self) -> &HostKey {
        &self.main
    }

    /// Returns all keys, the main one first.
    pub fn all(&self) -> impl Iterator<Item = &HostKey> {
        std::iter::once(&self.main).chain(&self.others)
    }

    /// Prints all keys to stderr.
    pub fn say(&self) {
        self.all().for_each(say);
    }

    /// Prints to stderr the keys that clients may see instead of the announced one.
    pub fn say_others(&self) {
        self.others.iter().for_each(say);
    }
}

fn say(key: &HostKey) {
    term::say(&format!("Host key: {} ({})", key.public_line(), key.fingerprint()));
}

fn algorithm(key: &HostKey) -> Algorithm {
    key.private().algorithm()
}

fn is_of(key: &HostKey, certificate: &Certificate) -> bool {
    certificate.public_key() == key.public().key_data()
}

fn certify(key: &mut HostKey, certificate: Certificate) {
    let private: PrivateKey = key.private().clone();
    *key = HostKey::certified(private, certificate);
}

/// Reads the certificate in the file beside a key, if it exists.
fn beside(file: &Path, key: &HostKey) -> Result<Option<Certificate>, Fault> {
    let mut name = file.as_os_str().to_owned();
    name.push(CERTIFICATE_SUFFIX);
    let beside = Path::new(&name);
    match std::fs::exists(beside) {
        Ok(false) => Ok(None),
        Ok(true) => {
            let certificate = read(beside)?;
            if is_of(key, &certificate) {
                Ok(Some(certificate))
            } else {
                Err(invalid(beside, "it is for another key than the one beside it"))
            }
        }
        Err(error) => Err(invalid(beside, &term::reason(&error))),
    }
}

fn read(file: &Path) -> Result<Certificate, Fault> {
    let text = std::fs::read_to_string(file).map_err(|error| invalid(file, &term::reason(&error)))?;
    let certificate = Certificate::from_openssh(text.trim()).map_err(|error| invalid(file, &error.to_string()))?;
    if certificate.cert_type() != CertType::Host {
        return Err(invalid(file, "it is a user's certificate: ssh-keygen -s makes a host's with -h"));
    }
    Ok(certificate)
}

fn invalid(file: &Path, reason: &str) -> Fault {
    Fault::HostCertificateInvalid { file: file.display().to_string(), reason: reason.into() }
}
