//! Hides generated names in logs: a reader of the log could use the name, or sell it.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::id::DeviceId;

/// The text before the hash: no device can have such a name, so neither is taken for the other.
const BEFORE: &str = "NAME~";
/// How many bytes of the hash are shown: enough to distinguish the names of a relay.
const SHOWN: usize = 6;

/// A text for logs and for readers who may not know a generated name: each name in it that has the shape of one is replaced by `NAME~`
/// and the first 12 hexadecimal digits of its SHA-256, however it was spelt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Veiled(String);

impl Veiled {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for Veiled {
    fn from(text: T) -> Self {
        Self(veil(text.as_ref()).into_owned())
    }
}

impl fmt::Display for Veiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DeviceId {
    /// Returns the name for logs and for readers who may not know it.
    pub fn veiled(&self) -> Veiled {
        self.as_str().into()
    }
}

fn veil(text: &str) -> Cow<'_, str> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let made = |word: &str| DeviceId::parse(word).is_ok_and(|name| name.looks_generated());
    if !text.split(|c| !of_a_name(c)).any(made) {
        return Cow::Borrowed(text);
    }
    let mut veiled = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c| !of_a_name(c)) {
        let word = piece.trim_end_matches(|c| !of_a_name(c));
        if made(word) {
            veiled.push_str(&hashed(&word.to_ascii_lowercase()));
            veiled.push_str(piece.get(word.len()..).unwrap_or_default());
        } else {
            veiled.push_str(piece);
        }
    }
    Cow::Owned(veiled)
}

fn hashed(name: &str) -> String {
    let digits = Sha256::digest(name.as_bytes()).iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{BEFORE}{digits}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::NameKind;

    const NAME: &str = "k3xq7gkf5r2yq4s6hzn2v5u7ta";

    #[test]
    fn a_made_name_is_hashed_and_nothing_else_is() {
        let hash = hashed(NAME);
        assert_eq!(hash, "NAME~d78c869d51f5");
        for (text, shown) in [
            (format!("{NAME}:22"), format!("{hash}:22")),
            (format!("-R {}?wait=60:22", NAME.to_uppercase()), format!("-R {hash}?wait=60:22")),
            (format!("'{NAME}','{NAME}'"), format!("'{hash}','{hash}'")),
            (format!("ro-{NAME}:22"), format!("{}:22", hashed(&format!("ro-{NAME}")))),
            (format!("a{NAME} {NAME}- {NAME}8"), format!("a{NAME} {NAME}- {NAME}8")),
            ("cam-17:22 is held by another key".into(), "cam-17:22 is held by another key".into()),
        ] {
            assert_eq!(Veiled::from(text).as_str(), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_shows_a_made_name(bits: [u8; 16], before in "[^a-zA-Z0-9_-]{0,3}", after in "([^a-zA-Z0-9_-].{0,9})?", upper: bool, read_only: bool) {
            let name = DeviceId::generated(if read_only { NameKind::ReadOnly } else { NameKind::Plain }, bits);
            let spelt = if upper { name.as_str().to_uppercase() } else { name.to_string() };
            let shown = Veiled::from(format!("{before}{spelt}{after}"));
            prop_assert_eq!(shown.as_str(), format!("{before}{}{}", name.veiled(), Veiled::from(after)));
        }
    }
}
