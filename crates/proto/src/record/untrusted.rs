//! Holds untrusted text for a record.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Untrusted text, byte for byte: a JSON string if it is UTF-8, else `{"base64":"…"}`.
///
/// Serialising escapes every control character, so that the text can't end a line or begin another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UntrustedText(pub Vec<u8>);

impl UntrustedText {
    /// Returns the text, with what isn't UTF-8 replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<&str> for UntrustedText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for UntrustedText {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<Vec<u8>> for UntrustedText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for UntrustedText {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Display for UntrustedText {
    /// Writes the text made printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_text().escape_debug())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UntrustedForm {
    Text(String),
    Bytes { base64: String },
}

impl Serialize for UntrustedText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => UntrustedForm::Bytes { base64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for UntrustedText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match UntrustedForm::deserialize(deserializer)? {
            UntrustedForm::Text(text) => Ok(Self(text.into_bytes())),
            UntrustedForm::Bytes { base64 } => STANDARD.decode(base64).map(Self).map_err(serde::de::Error::custom),
        }
    }
}
