//! Private keys as files have them: OpenSSH's format, without a passphrase.

use std::path::Path;

use ssh_key::PrivateKey;

use crate::term;

/// Why a private key can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file can't be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is in a format of OpenSSL's.
    #[error("it is in PEM: convert it with ssh-keygen -p -N '' -f FILE")]
    Pem,
    /// Nobody is there to type a passphrase.
    #[error("it is protected by a passphrase")]
    Encrypted,
    /// It is no private key.
    #[error(transparent)]
    Unparseable(#[from] ssh_key::Error),
}

/// Reads a private key.
///
/// # Errors
/// Where it can't be used.
pub(crate) fn read(file: &Path) -> Result<PrivateKey, KeyError> {
    parse(&std::fs::read(file).map_err(|error| KeyError::Unreadable(term::reason(&error)))?)
}

/// Takes a private key from what a file has.
///
/// # Errors
/// Where it can't be used.
pub(crate) fn parse(text: &[u8]) -> Result<PrivateKey, KeyError> {
    if is_pem(text) {
        return Err(KeyError::Pem);
    }
    let key = PrivateKey::from_openssh(text)?;
    if key.is_encrypted() { Err(KeyError::Encrypted) } else { Ok(key) }
}

/// Whether a private key is in a format of OpenSSL's (`ssh-keygen -m PEM`, `openssl genpkey`): ssh-keygen makes it one of OpenSSH's own.
fn is_pem(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    text.starts_with(b"-----BEGIN ") && !text.starts_with(b"-----BEGIN OPENSSH ")
}
