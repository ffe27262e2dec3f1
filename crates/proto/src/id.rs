//! Defines the names of devices, which appear in `ssh -J relay NAME`, in topics and in certificates.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const DEVICE_ID_MAX: usize = 64;
/// The length of a name that a relay generates: 128 bits at 5 bits per character.
const GENERATED: usize = 26;
/// RFC 4648's base 32 in lower case, which survives a client that lower-cases host names.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The name of a device on a relay: 1 to 64 of `a-z`, `0-9`, `_` and `-`, in lower case, because OpenSSH lower-cases what `-J` names. A
/// leading `-` is refused, because it would be an option on a command line; so is `localhost`, which is an address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(Arc<str>);

/// Says that a text isn't the name of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {DEVICE_ID_MAX} of a-z, 0-9, _ and -, and doesn't begin with -")]
pub struct NotADeviceId;

impl DeviceId {
    /// Reads a name as typed.
    ///
    /// # Errors
    /// [`NotADeviceId`].
    pub fn parse(text: &str) -> Result<Self, NotADeviceId> {
        let fits = (1..=DEVICE_ID_MAX).contains(&text.len()) && !text.starts_with('-');
        let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !fits || !letters || text.eq_ignore_ascii_case("localhost") {
            return Err(NotADeviceId);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Makes a name of 128 random bits: 26 characters that can't be guessed.
    pub fn generated(random: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(random);
        let digit = |at: usize| {
            let bits = number.checked_shr(u32::try_from(at.saturating_mul(5)).unwrap_or(u32::MAX)).unwrap_or(0);
            char::from(BASE32.get(usize::try_from(bits & 0x1f).unwrap_or(0)).copied().unwrap_or(b'a'))
        };
        Self((0..GENERATED).rev().map(digit).collect::<String>().into())
    }

    /// Returns the bits of a generated name; `None` for a name of another shape.
    pub fn generated_from(&self) -> Option<[u8; 16]> {
        if self.0.len() != GENERATED {
            return None;
        }
        let mut number = 0_u128;
        for byte in self.0.bytes() {
            let digit = BASE32.iter().position(|digit| *digit == byte)?;
            number = number.checked_mul(32)?.checked_add(u128::try_from(digit).ok()?)?;
        }
        Some(number.to_be_bytes())
    }

    /// Returns whether the name has the shape of a generated one.
    pub fn looks_generated(&self) -> bool {
        self.0.len() == GENERATED && self.0.bytes().all(|byte| BASE32.contains(&byte))
    }

    /// Returns the name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = NotADeviceId;

    fn from_str(text: &str) -> Result<Self, NotADeviceId> {
        Self::parse(text)
    }
}

impl TryFrom<String> for DeviceId {
    type Error = NotADeviceId;

    fn try_from(text: String) -> Result<Self, NotADeviceId> {
        Self::parse(&text)
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_matched_without_case() {
        assert_eq!(DeviceId::parse("CAM-17"), DeviceId::parse("cam-17"));
        assert_eq!(DeviceId::parse("cam_17").unwrap().as_str(), "cam_17");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(65);
        for text in ["", "-o", "cam.17", "cam 17", "c/m", "köln", "*", "127.0.0.1", "::1", "localhost", "LocalHost", "a\n", &long] {
            assert_eq!(DeviceId::parse(text), Err(NotADeviceId), "{text:?}");
        }
        assert!(DeviceId::parse(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn a_bad_name_in_json_is_an_error() {
        assert_eq!(serde_json::from_str::<DeviceId>("\"CAM-1\"").unwrap().to_string(), "cam-1");
        assert!(serde_json::from_str::<DeviceId>("\"cam/1\"").is_err());
    }

    #[test]
    fn a_generated_name_spells_its_bits() {
        assert_eq!(DeviceId::generated([0; 16]).as_str(), "a".repeat(26));
        assert_eq!(DeviceId::generated([0xff; 16]).as_str(), format!("h{}", "7".repeat(25)));
    }

    proptest! {
        #[test]
        fn generated_names_are_names_and_differ(one: [u8; 16], other: [u8; 16]) {
            let name = DeviceId::generated(one);
            prop_assert!(name.looks_generated());
            prop_assert_eq!(DeviceId::parse(name.as_str()), Ok(name.clone()));
            prop_assert_eq!(one == other, name == DeviceId::generated(other));
            prop_assert_eq!(name.generated_from(), Some(one));
        }

        #[test]
        fn any_text_is_a_name_or_refused(text in ".{0,80}") {
            if let Ok(name) = DeviceId::parse(&text) {
                prop_assert_eq!(name.as_str(), text.to_lowercase());
            }
        }
    }
}
