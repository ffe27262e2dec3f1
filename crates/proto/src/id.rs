//! Names of devices: what a visitor types after `ssh -J relay`, a topic's middle, a certificate's principal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: that of a host name's label, and one more.
pub const ID_MAX: usize = 64;

/// A device's name: 1 to 64 of `a-z`, `0-9`, `_` and `-`, the first no `-`.
///
/// Capitals are taken and made small, as OpenSSH does with the name given to `-J`. So a name holds nothing that means something to a path, a
/// topic, a pattern or a shell, and can't be taken for an option.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

/// The text is no device's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device's name is 1 to 64 letters, digits, _ and -, and doesn't begin with -")]
pub struct NotAnId;

impl DeviceId {
    /// The name, in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !fits || text.starts_with('-') || text.is_empty() || text.len() > ID_MAX {
            return Err(NotAnId);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for DeviceId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
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
    use super::*;

    #[test]
    fn names_are_matched_without_case() {
        let typed: DeviceId = "Cam-17_B".parse().unwrap();
        assert_eq!(typed.as_str(), "cam-17_b");
        assert_eq!(typed, "cam-17_b".parse().unwrap());
    }

    #[test]
    fn nothing_that_means_something_elsewhere_is_a_name() {
        let long = "a".repeat(ID_MAX + 1);
        for text in ["", "-v", "a/b", "a+b", "#", "a b", "a.b", "cam*", "a\0", "größe", "..", "$x", "a\n", &long] {
            assert_eq!(text.parse::<DeviceId>(), Err(NotAnId), "{text:?}");
        }
        assert!("a".repeat(ID_MAX).parse::<DeviceId>().is_ok());
    }

    #[test]
    fn a_bad_name_in_json_is_an_error() {
        assert_eq!(serde_json::from_str::<DeviceId>("\"CAM-1\"").unwrap().to_string(), "cam-1");
        assert!(serde_json::from_str::<DeviceId>("\"cam/1\"").is_err());
    }
}
