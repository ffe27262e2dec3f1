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

/// The kinds of names that a relay generates. A share has one of each, so that its host learns by which of them a viewer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameKind {
    /// A name without a prefix.
    #[default]
    Plain,
    /// A name that begins with `ro-`: by it, viewers of a share only watch.
    ReadOnly,
}

impl NameKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Plain, Self::ReadOnly];

    /// Returns what the names of this kind begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::ReadOnly => "ro-",
        }
    }
}

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

    /// Makes a name of 128 random bits: the kind's prefix, and 26 characters that can't be guessed.
    pub fn generated(kind: NameKind, random: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(random);
        let digit = |at: usize| {
            let bits = number.checked_shr(u32::try_from(at.saturating_mul(5)).unwrap_or(u32::MAX)).unwrap_or(0);
            char::from(BASE32.get(usize::try_from(bits & 0x1f).unwrap_or(0)).copied().unwrap_or(b'a'))
        };
        let digits = (0..GENERATED).rev().map(digit);
        Self(kind.prefix().chars().chain(digits).collect::<String>().into())
    }

    /// Returns the kind and the bits of a generated name; `None` for a name of another shape.
    pub fn generated_from(&self) -> Option<(NameKind, [u8; 16])> {
        let (kind, digits) = self.kind_and_digits()?;
        let mut number = 0_u128;
        for byte in digits.bytes() {
            let digit = BASE32.iter().position(|digit| *digit == byte)?;
            number = number.checked_mul(32)?.checked_add(u128::try_from(digit).ok()?)?;
        }
        Some((kind, number.to_be_bytes()))
    }

    /// Returns whether the name has the shape of a generated one, of whichever kind.
    pub fn looks_generated(&self) -> bool {
        self.kind_and_digits().is_some_and(|(_, digits)| digits.bytes().all(|byte| BASE32.contains(&byte)))
    }

    /// Splits a name that is as long as a generated one. No name is of two kinds: each kind has a length of its own.
    fn kind_and_digits(&self) -> Option<(NameKind, &str)> {
        NameKind::ALL.into_iter().find_map(|kind| {
            let digits = self.0.strip_prefix(kind.prefix())?;
            (digits.len() == GENERATED).then_some((kind, digits))
        })
    }

    /// Returns whether the name begins as read-only ones do, generated or not.
    pub fn is_read_only(&self) -> bool {
        self.0.starts_with(NameKind::ReadOnly.prefix())
    }

    /// Returns the read-only name beside this one: `ro-NAME`.
    ///
    /// # Errors
    /// [`NotADeviceId`]: it is too long.
    pub fn read_only(&self) -> Result<Self, NotADeviceId> {
        Self::parse(&format!("{}{self}", NameKind::ReadOnly.prefix()))
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
        assert_eq!(DeviceId::generated(NameKind::Plain, [0; 16]).as_str(), "a".repeat(26));
        assert_eq!(DeviceId::generated(NameKind::Plain, [0xff; 16]).as_str(), format!("h{}", "7".repeat(25)));
        assert_eq!(DeviceId::generated(NameKind::ReadOnly, [0; 16]).as_str(), format!("ro-{}", "a".repeat(26)));
    }

    #[test]
    fn what_only_begins_like_a_generated_name_is_none() {
        let digits = "a".repeat(26);
        for text in ["ro-", &format!("ro-{digits}a"), &format!("rw-{digits}"), &format!("ro-ro-{digits}"), &format!("ro-{}8", &digits[1..])]
        {
            let name = DeviceId::parse(text).unwrap();
            assert!(!name.looks_generated() && name.generated_from().is_none(), "{text}");
        }
    }

    #[test]
    fn a_name_has_a_read_only_one_beside_it() {
        assert_eq!(DeviceId::parse("My-App").unwrap().read_only().unwrap().as_str(), "ro-my-app");
        assert_eq!(DeviceId::parse(&"a".repeat(62)).unwrap().read_only(), Err(NotADeviceId));
        assert!(DeviceId::parse("RO-app").unwrap().is_read_only() && !DeviceId::parse("rooster").unwrap().is_read_only());
    }

    proptest! {
        #[test]
        fn generated_names_are_names_and_differ(one: [u8; 16], other: [u8; 16]) {
            for kind in NameKind::ALL {
                let name = DeviceId::generated(kind, one);
                prop_assert!(name.looks_generated());
                prop_assert_eq!(DeviceId::parse(name.as_str()), Ok(name.clone()));
                prop_assert_eq!(one == other, name == DeviceId::generated(kind, other));
                prop_assert_eq!(name.generated_from(), Some((kind, one)));
            }
            prop_assert_ne!(DeviceId::generated(NameKind::Plain, one), DeviceId::generated(NameKind::ReadOnly, other));
        }

        #[test]
        fn any_text_is_a_name_or_refused(text in ".{0,80}") {
            if let Ok(name) = DeviceId::parse(&text) {
                prop_assert_eq!(name.as_str(), text.to_lowercase());
            }
        }
    }
}
