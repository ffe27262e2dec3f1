//! Reads private keys from files: in OpenSSH's format, without a passphrase.

use std::path::Path;

use ssh_key::PrivateKey;

use crate::term;

/// Why a private key can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file can't be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is in one of OpenSSL's formats.
    #[error("it is in PEM: convert it with ssh-keygen -p -N '' -f FILE")]
    Pem,
    /// It needs a passphrase, which can't be typed here.
    #[error("it is protected by a passphrase")]
    Encrypted,
    /// It is no private key.
    #[error(transparent)]
    Unparseable(#[from] ssh_key::Error),
}

/// Reads a private key from a file.
///
/// # Errors
/// Why it can't be used.
pub(crate) fn read(file: &Path) -> Result<PrivateKey, KeyError> {
    parse(&std::fs::read(file).map_err(|error| KeyError::Unreadable(term::reason(&error)))?)
}

/// Parses a private key from a file's text.
///
/// # Errors
/// Why it can't be used.
pub(crate) fn parse(text: &[u8]) -> Result<PrivateKey, KeyError> {
    if is_pem(text) {
        return Err(KeyError::Pem);
    }
    let key = PrivateKey::from_openssh(text)?;
    if key.is_encrypted() { Err(KeyError::Encrypted) } else { Ok(key) }
}

/// Returns whether a private key is in one of OpenSSL's formats (`ssh-keygen -m PEM`, `openssl genpkey`), which ssh-keygen can convert.
fn is_pem(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    text.starts_with(b"-----BEGIN ") && !text.starts_with(b"-----BEGIN OPENSSH ")
}
