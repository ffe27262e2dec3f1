//! Computes the digests of a record: of its chain, of its streams, and of the data of files and forwards.

use sha2::{Digest as _, Sha256};

/// The algorithm of a record's digests. Each has its own version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestName {
    /// BLAKE3, as `b3sum` computes it: format 2. It takes a third of SHA-256's time, or less.
    #[default]
    Blake3,
    /// SHA-256, as `sha256sum` computes it: format 1, for users who must have it.
    Sha256,
}

impl DigestName {
    /// Returns the version of the record's format that has this digest.
    pub const fn format(self) -> &'static str {
        match self {
            Self::Blake3 => "2",
            Self::Sha256 => "1",
        }
    }

    /// Returns the name in a record's header and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
        }
    }

    /// Starts a digest over nothing yet.
    pub fn start(self) -> RunningDigest {
        match self {
            Self::Blake3 => RunningDigest::Blake3(Box::default()),
            Self::Sha256 => RunningDigest::Sha256(Sha256::new()),
        }
    }
}

/// A digest over the bytes so far; more may follow.
#[derive(Clone, Debug)]
pub enum RunningDigest {
    /// 1.9 KB, so it is boxed.
    Blake3(Box<blake3::Hasher>),
    /// About 100 bytes.
    Sha256(Sha256),
}

impl RunningDigest {
    /// Adds more bytes. BLAKE3 hashes up to sixteen KiB of one call in parallel: the longer the piece, the faster.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of everything so far, in hex.
    pub fn hex(&self) -> String {
        match self {
            Self::Blake3(hasher) => hex(hasher.finalize().as_bytes()),
            Self::Sha256(hasher) => hex(&hasher.clone().finalize()),
        }
    }

    /// Returns the digest as the two fields of an audit event, of which one is set: `sha256` and `blake3`.
    pub fn fields(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Blake3(_) => (None, Some(self.hex())),
            Self::Sha256(_) => (Some(self.hex()), None),
        }
    }
}

/// Writes bytes as lower-case hex, without the formatting machinery, because each write has a hash.
fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble });
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shows_what_its_tool_shows() {
        for (name, empty, abc) in [
            (
                DigestName::Sha256,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                DigestName::Blake3,
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
        ] {
            let mut digest = name.start();
            assert_eq!(digest.hex(), empty);
            digest.update(b"ab");
            digest.update(b"c");
            assert_eq!(digest.hex(), abc, "{name:?}");
            assert_eq!(digest.hex(), abc, "asking changes nothing");
        }
    }
}
