//! Generates names for a relay, and recognises them without keeping a list: a client gets its name back after the relay has restarted.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::id::{DeviceId, NameKind};

/// Returns the prefix of what is signed for a name of this kind. It is never taken for anything else, and no kind's name for another's.
const fn prefix(kind: NameKind) -> &'static [u8] {
    match kind {
        NameKind::Plain => b"sally/name\0",
        NameKind::ReadOnly => b"sally/name/ro-\0",
    }
}

/// Generates names of 64 random bits and 64 bits of a MAC over these, their kind and a key: 128 bits for an attacker who guesses, and
/// bound to that kind and key. Each name is drawn by itself: nothing in one of a share's two names tells of the other.
#[derive(Clone)]
pub struct NameGenerator {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for NameGenerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NameGenerator")
    }
}

impl NameGenerator {
    /// Makes a generator; another one with the same secret recognises its names.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut key = [0; 64]; // A block of SHA-256, filled up as RFC 2104 does.
        key.iter_mut().zip(secret).for_each(|(to, from)| *to = *from);
        Self { mac: Hmac::new(&key.into()) }
    }

    /// Generates a name of this kind for the key with this fingerprint (`SHA256:…`).
    pub fn make(&self, kind: NameKind, random: [u8; 8], fingerprint: &str) -> DeviceId {
        let mac = self.over(kind, random, fingerprint).finalize().into_bytes();
        let mut bits = [0; 16];
        for (bit, byte) in bits.iter_mut().zip(random.into_iter().chain(mac)) {
            *bit = byte;
        }
        DeviceId::generated(kind, bits)
    }

    /// Returns whether a name was generated here for the key with this fingerprint.
    pub fn made(&self, name: &DeviceId, fingerprint: &str) -> bool {
        let Some((kind, bits)) = name.generated_from() else { return false };
        let Some((random, mac)) = bits.split_first_chunk::<8>() else { return false };
        self.over(kind, *random, fingerprint).verify_truncated_left(mac).is_ok()
    }

    fn over(&self, kind: NameKind, random: [u8; 8], fingerprint: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(prefix(kind));
        mac.update(&random);
        mac.update(fingerprint.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_known_again_for_its_key_alone(secret: [u8; 32], random: [u8; 8], bit in 0_usize..128, read_only: bool) {
            let kind = if read_only { NameKind::ReadOnly } else { NameKind::Plain };
            let generator = NameGenerator::new(&secret);
            let name = generator.make(kind, random, "SHA256:one");
            prop_assert!(name.looks_generated());
            prop_assert!(NameGenerator::new(&secret).made(&name, "SHA256:one"));
            prop_assert!(!generator.made(&name, "SHA256:other"));
            let mut other = secret;
            other[bit / 8 % 32] ^= 1;
            prop_assert!(!NameGenerator::new(&other).made(&name, "SHA256:one"));
            let (_, mut bits) = name.generated_from().unwrap();
            bits[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!generator.made(&DeviceId::generated(kind, bits), "SHA256:one"));
        }

        /// A viewer of one link who adds or takes away the prefix has a name that was never made.
        #[test]
        fn a_name_of_one_kind_makes_none_of_the_other(secret: [u8; 32], random: [u8; 8]) {
            let generator = NameGenerator::new(&secret);
            let [plain, read_only] = NameKind::ALL.map(|kind| generator.make(kind, random, "SHA256:one"));
            prop_assert!(!generator.made(&plain.read_only().unwrap(), "SHA256:one"));
            let stripped = read_only.as_str().strip_prefix(NameKind::ReadOnly.prefix()).unwrap();
            prop_assert!(stripped != plain.as_str() && !generator.made(&DeviceId::parse(stripped).unwrap(), "SHA256:one"));
        }
    }

    #[test]
    fn a_name_that_somebody_chose_was_not_made() {
        let generator = NameGenerator::new(&[7; 32]);
        for name in ["cam-17", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "zzzzzzzzzzzzzzzzzzzzzzzzzz", "ro-aaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(!generator.made(&DeviceId::parse(name).unwrap(), "SHA256:one"), "{name}");
        }
    }
}
