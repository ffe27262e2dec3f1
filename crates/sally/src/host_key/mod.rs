//! Makes or reads the host key of a server: fresh for each run, or the user's own file.
//!
//! - `keys`: several host keys, with their certificates
//! - `known_hosts`: looks up keys in a known_hosts file

pub mod keys;
pub(crate) mod known_hosts;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sally_proto::error::Fault;
use sha2::Sha256;
use ssh_key::certificate::Certificate;
use ssh_key::encoding::Encode as _;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey};

use crate::private_key::{self, KeyError};

/// The host key of one run.
#[derive(Clone)]
pub struct HostKey {
    private: PrivateKey,
    certificate: Option<Certificate>,
}

impl HostKey {
    /// Makes a fresh ed25519 key, which exists only in this process.
    ///
    /// # Errors
    /// [`Fault::Internal`] if the system has no randomness.
    pub fn fresh() -> Result<Self, Fault> {
        let mut seed = [0_u8; 32];
        getrandom::fill(&mut seed).map_err(|error| Fault::Internal(format!("no randomness: {error}")))?;
        Ok(Self { private: PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&seed)), certificate: None })
    }

    /// Reads an unencrypted private key in OpenSSH's format.
    ///
    /// # Errors
    /// [`Fault::HostKeyInvalid`] if it can't be read, is encrypted, or is of a type that no client should see.
    pub fn load(file: &Path) -> Result<Self, Fault> {
        Self::of(private_key::read(file), &file.display().to_string())
    }

    /// Parses an unencrypted private key in OpenSSH's format; errors call the file `name`.
    ///
    /// # Errors
    /// As [`HostKey::load`].
    pub fn parse(text: &[u8], name: &str) -> Result<Self, Fault> {
        Self::of(private_key::parse(text), name)
    }

    fn of(read: Result<PrivateKey, KeyError>, name: &str) -> Result<Self, Fault> {
        let invalid = |reason: String| Fault::HostKeyInvalid { file: name.to_owned(), reason };
        let private = read.map_err(|error| match error {
            KeyError::Pem => Fault::HostKeyPem { file: name.to_owned() },
            other => invalid(other.to_string()),
        })?;
        match private.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(Self { private, certificate: None }),
            other => Err(invalid(format!("a host key can't be of type {other}"))),
        }
    }

    /// Joins a key and its certificate.
    pub fn certified(private: PrivateKey, certificate: Certificate) -> Self {
        Self { private, certificate: Some(certificate) }
    }

    /// Returns the certificate, if there is one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Returns the private key as a file's text.
    ///
    /// # Errors
    /// [`Fault::Internal`] if it can't be encoded.
    pub fn text(&self) -> Result<Vec<u8>, Fault> {
        let text = self.private.to_openssh(LineEnding::LF).map_err(|error| Fault::Internal(error.to_string()))?;
        Ok(text.as_bytes().to_vec())
    }

    /// Writes the key to a new file that only its owner can read.
    ///
    /// # Errors
    /// The file can't be created, or exists.
    pub fn keep(&self, file: &Path) -> std::io::Result<()> {
        let text = self.private.to_openssh(LineEnding::LF).map_err(std::io::Error::other)?;
        let mut kept = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        kept.write_all(text.as_bytes())?;
        kept.sync_all()
    }

    /// Returns the public key as in known_hosts: type and base64, no comment.
    pub fn public_line(&self) -> String {
        let mut public = self.public();
        public.set_comment("");
        // Only a key whose type has no name can't be encoded, and load() refuses those.
        public.to_openssh().unwrap_or_default()
    }

    /// Derives a secret for another purpose, which only a holder of this key can derive.
    ///
    /// # Errors
    /// [`Fault::Internal`] if the key can't be encoded.
    pub fn derive(&self, purpose: &str) -> Result<[u8; 32], Fault> {
        let key = self.private.key_data().encode_vec().map_err(|error| Fault::Internal(error.to_string()))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| Fault::Internal(error.to_string()))?;
        mac.update(purpose.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// Returns the fingerprint as ssh-keygen -l prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.private.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Returns the public half.
    pub fn public(&self) -> PublicKey {
        self.private.public_key().clone()
    }

    /// Returns the private half, for the handshake and the seal.
    pub fn private(&self) -> &PrivateKey {
        &self.private
    }
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HostKey").field(&self.fingerprint()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_is_one_line_without_comment() {
        let line = HostKey::fresh().unwrap().public_line();
        assert_eq!(line.split(' ').count(), 2, "{line}");
        assert!(line.starts_with("ssh-ed25519 AAAA"), "{line}");
    }

    #[test]
    fn an_encrypted_key_is_refused() {
        let key = HostKey::fresh().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let encrypted = key.private().encrypt(&mut ssh_key::rand_core::UnwrapErr(getrandom::SysRng), "secret").unwrap();
        std::fs::write(&file, encrypted.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        assert!(matches!(HostKey::load(&file), Err(Fault::HostKeyInvalid { .. })));
    }
}
