//! Reads the key with which a relay signs wakes, and those that a device has pinned.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use ssh_key::public::KeyData;
use ssh_key::{PrivateKey, PublicKey};

/// How many wake keys a device pins: the current one and, during a rotation, the next.
pub const PINNED_MAX: usize = 2;

/// The id of a wake key: the first 8 bytes of the SHA-256 of its 32 public bytes, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kid(String);

impl Kid {
    fn of(key: &VerifyingKey) -> Self {
        let digest = Sha256::digest(key.as_bytes());
        Self(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns the 16 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says why a file gives no wake key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WakeKeyError {
    /// A line isn't an ed25519 key in OpenSSH's format: its number, from 1.
    #[error("line {0} is not an ed25519 key in OpenSSH's format")]
    NotAKey(usize),
    /// The file has no key.
    #[error("it has no key")]
    None,
    /// The file has more than [`PINNED_MAX`] keys.
    #[error("it holds more than {PINNED_MAX} keys")]
    TooMany,
    /// The private key is encrypted, or of another type.
    #[error("it is not an unencrypted ed25519 private key")]
    NotPrivate,
}

/// The private key, on a relay.
pub struct WakeKey {
    key: SigningKey,
    kid: Kid,
}

impl WakeKey {
    /// Takes an unencrypted ed25519 key.
    ///
    /// # Errors
    /// [`WakeKeyError::NotPrivate`].
    pub fn new(private: &PrivateKey) -> Result<Self, WakeKeyError> {
        let keypair = private.key_data().ed25519().ok_or(WakeKeyError::NotPrivate)?;
        let key = SigningKey::from_bytes(&keypair.private.to_bytes());
        let kid = Kid::of(&key.verifying_key());
        Ok(Self { key, kid })
    }

    /// Returns the key's id.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for WakeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WakeKey").field(&self.kid).finish()
    }
}

/// The public keys that a device has pinned: one or two.
#[derive(Clone, Debug)]
pub struct WakeKeys(Vec<(Kid, VerifyingKey)>);

impl WakeKeys {
    /// Reads a file of public keys, one per line; skips blank lines and those that begin with `#`.
    ///
    /// # Errors
    /// If a line is anything else, or there are none or too many.
    pub fn parse(text: &str) -> Result<Self, WakeKeyError> {
        let mut keys = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = PublicKey::from_openssh(line).ok().and_then(|key| verifying(key.key_data()));
            let key = key.ok_or(WakeKeyError::NotAKey(number))?;
            keys.push((Kid::of(&key), key));
        }
        match keys.len() {
            0 => Err(WakeKeyError::None),
            1..=PINNED_MAX => Ok(Self(keys)),
            _ => Err(WakeKeyError::TooMany),
        }
    }

    /// Returns the keys' ids.
    pub fn kids(&self) -> impl Iterator<Item = &Kid> {
        self.0.iter().map(|(kid, _)| kid)
    }

    pub(super) fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.iter().find(|(own, _)| own.as_str() == kid).map(|(_, key)| key)
    }
}

/// Converts an ed25519 key to one that checks signatures; `None` for other types, and for keys that fit more than one message.
pub(super) fn verifying(key: &KeyData) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(&key.ed25519()?.0).ok()?;
    (!key.is_weak()).then_some(key)
}

/// Returns whether a signature is the key's, by the strict rules: no other form of it is accepted.
pub(super) fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}
