//! Computes the chain: one digest over every byte of the record, in each `h` line, and signed from time to time.

use ssh_key::encoding::{Decode, Encode};
use ssh_key::{PublicKey, SshSig};

use super::digest::DigestName;

/// The SSHSIG namespace of our signatures.
const NAMESPACE: &str = "sally-record";

/// What a signed `h` line states about the record up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// The record so far is as it was written.
    Checkpoint,
    /// The record is complete.
    Seal,
}

impl Seal {
    /// Returns the word in the line and in the signed text.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Seal => "seal",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "checkpoint" => Some(Self::Checkpoint),
            "seal" => Some(Self::Seal),
            _ => None,
        }
    }
}

/// Says why a signature could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host key could not sign the record: {0}")]
pub struct SignError(pub String);

/// Signs with the host key, which lives outside this crate.
pub trait Signer: Send {
    /// Returns the public key as it stands in the header: `ssh-ed25519 AAAA…`, without a comment.
    fn public_key(&self) -> String;

    /// Makes an SSHSIG over `message` in `namespace`.
    fn sign(&self, namespace: &str, message: &[u8]) -> Result<SshSig, SignError>;
}

/// Returns the text under a signature: format version, kind, the line's time, and the hash of everything before the line.
///
/// The time is in it because nothing else covers the bytes of the last line.
pub fn signed_text(digest: DigestName, seal: Seal, time: &str, hash: &str) -> String {
    format!("sally-record {} {} {time} {hash}\n", digest.format(), seal.word())
}

/// Asks `signer` for a signature, and returns it as it stands in the line: base64 of the SSHSIG blob.
pub(crate) fn sign(signer: &dyn Signer, digest: DigestName, seal: Seal, time: &str, hash: &str) -> Result<String, SignError> {
    use base64::Engine as _;
    let signature = signer.sign(NAMESPACE, signed_text(digest, seal, time, hash).as_bytes())?;
    let blob = signature.encode_vec().map_err(|error| SignError(error.to_string()))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(blob))
}

/// Returns whether `blob` (base64) is the signature of `key` over that text, in its one canonical form.
pub fn check_signature(key: &PublicKey, digest: DigestName, seal: Seal, time: &str, hash: &str, blob: &str) -> bool {
    use base64::Engine as _;
    let Ok(blob) = base64::engine::general_purpose::STANDARD.decode(blob) else { return false };
    let Ok(signature) = SshSig::decode(&mut blob.as_slice()) else { return false };
    // In another encoding it would be the same signature and another file: one changed byte must show.
    signature.version() == SshSig::VERSION
        && signature.encode_vec().is_ok_and(|again| again == blob)
        && signature.public_key() == key.key_data()
        && key.verify(NAMESPACE, signed_text(digest, seal, time, hash).as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_names_version_kind_time_and_hash() {
        assert_eq!(signed_text(DigestName::Sha256, Seal::Seal, "1.500000", "00ff"), "sally-record 1 seal 1.500000 00ff\n");
        assert_eq!(signed_text(DigestName::Blake3, Seal::Checkpoint, "1.500000", "00ff"), "sally-record 2 checkpoint 1.500000 00ff\n");
    }
}
