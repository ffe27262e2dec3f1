//! Defines the content of a wake.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use ssh_key::Fingerprint;

use super::envelope::{self, WAKE_DOMAIN};
use super::key::WakeKey;
use crate::host_port::HostPort;
use crate::id::{DeviceId, NotADeviceId};

/// The major version that is written and read. Unknown fields are ignored; another major version is refused.
pub const VERSION: u32 = 1;
/// The longest envelope, in bytes: under 1 KB, so that the smallest broker and device accept it.
pub const WAKE_MAX: usize = 1023;
/// How many of the relay's addresses a wake names at most.
pub const ADDRESSES_MAX: usize = 4;

/// Random bytes in base64url, which can't be guessed.
macro_rules! random_text {
    ($name:ident, $bytes:literal) => {
        impl $name {
            /// Takes bytes that the caller has drawn.
            pub const fn new(random: [u8; $bytes]) -> Self {
                Self(random)
            }

            fn text(&self) -> String {
                URL_SAFE_NO_PAD.encode(self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotRandomText;

            fn from_str(text: &str) -> Result<Self, NotRandomText> {
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotRandomText)?;
                bytes.try_into().map(Self).map_err(|_| NotRandomText)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotRandomText;

            fn try_from(text: String) -> Result<Self, NotRandomText> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.text()
            }
        }
    };
}

/// Says that a text isn't this many bytes in base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the right number of bytes in base64url")]
pub struct NotRandomText;

/// The id of a wake: no device follows the same one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Jti([u8; 16]);

random_text!(Jti, 16);

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a device shows when it connects: valid once, for its device. It correlates; the device's key authorises.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ticket([u8; 32]);

random_text!(Ticket, 32);

impl Ticket {
    /// Returns the text for the global request `ticket@sally`.
    pub fn expose(&self) -> String {
        self.text()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

/// The name of a relay, in the grammar of a device's: its acknowledgements go to a topic of that name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelayId(DeviceId);

impl RelayId {
    /// Returns the name, in lower case.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for RelayId {
    type Err = NotADeviceId;

    fn from_str(text: &str) -> Result<Self, NotADeviceId> {
        DeviceId::parse(text).map(Self)
    }
}

impl From<DeviceId> for RelayId {
    fn from(name: DeviceId) -> Self {
        Self(name)
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Reads and writes `SHA256:…`, as OpenSSH does.
mod fingerprint {
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use ssh_key::Fingerprint;

    pub(super) fn serialize<S: Serializer>(fingerprint: &Fingerprint, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(fingerprint)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Fingerprint, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// The content of a wake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// [`VERSION`].
    pub v: u32,
    /// The id of the wake key that signs it.
    pub kid: String,
    /// The device that it is for.
    pub aud: DeviceId,
    /// The id of the wake.
    pub jti: Jti,
    /// When it was made, in Unix seconds.
    pub iat: u64,
    /// When it ends, in Unix seconds: [`super::LIFETIME`] later.
    pub exp: u64,
    /// The addresses to connect to, in the order to try: at most [`ADDRESSES_MAX`].
    pub relay: Vec<HostPort>,
    /// The fingerprint of the host key that must answer there.
    #[serde(with = "fingerprint")]
    pub hk: Fingerprint,
    /// The port that a visitor wants to reach on the device.
    pub svc: u16,
    /// The ticket to show there.
    pub tkt: Ticket,
    /// The relay that waits for the acknowledgement.
    pub rid: RelayId,
}

impl Wake {
    /// Returns the signed envelope. `None` if it would be longer than [`WAKE_MAX`] (long addresses).
    pub fn seal(&self, key: &WakeKey) -> Option<String> {
        let payload = serde_json::to_vec(self).ok()?;
        let signature = key.sign(&envelope::signed(WAKE_DOMAIN, &payload));
        Some(envelope::join(&[&payload, &signature])).filter(|text| text.len() <= WAKE_MAX)
    }
}
