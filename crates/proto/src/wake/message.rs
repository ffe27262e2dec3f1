//! What a wake says.

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

/// The major version that is written and read. Fields that aren't known are passed over; another major version is refused.
pub const VERSION: u32 = 1;
/// The longest envelope, in bytes: under 1 KB, so that it fits what the smallest broker and device take.
pub const WAKE_MAX: usize = 1023;
/// How many addresses of the relay a wake names at most.
pub const ADDRESSES_MAX: usize = 4;

/// Random bytes in base64url: nobody guesses them.
macro_rules! random_text {
    ($name:ident, $bytes:literal) => {
        impl $name {
            /// From bytes that a caller has drawn.
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

/// Not so many bytes in base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the right number of bytes in base64url")]
pub struct NotRandomText;

/// Which wake: no device takes the same one twice.
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

/// What a device shows when it dials back: good once, for the device that it was made for. It correlates; the device's key authorises.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ticket([u8; 32]);

random_text!(Ticket, 32);

impl Ticket {
    /// As sent in the global request `ticket@sally`.
    pub fn expose(&self) -> String {
        self.text()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

/// A relay's own name, in the grammar of a device's: acknowledgements to it go to a topic of that name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelayId(DeviceId);

impl RelayId {
    /// The name, in small letters.
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

/// `SHA256:…`, as OpenSSH writes it.
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

/// What a wake says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// [`VERSION`].
    pub v: u32,
    /// Which wake key signs it.
    pub kid: String,
    /// The device that it is for.
    pub aud: DeviceId,
    /// Which wake it is.
    pub jti: Jti,
    /// When it was made, in Unix seconds.
    pub iat: u64,
    /// When it ends, in Unix seconds: [`super::LIFETIME`] later.
    pub exp: u64,
    /// Where to dial, in the order to try: at most [`ADDRESSES_MAX`].
    pub relay: Vec<HostPort>,
    /// The host key that has to answer there.
    #[serde(with = "fingerprint")]
    pub hk: Fingerprint,
    /// The port that a visitor wants to reach on the device.
    pub svc: u16,
    /// What to show there.
    pub tkt: Ticket,
    /// The relay that waits: whom to acknowledge to.
    pub rid: RelayId,
}

impl Wake {
    /// The signed envelope. `None` where it would be longer than [`WAKE_MAX`] (long addresses).
    pub fn seal(&self, key: &WakeKey) -> Option<String> {
        let payload = serde_json::to_vec(self).ok()?;
        let signature = key.sign(&envelope::signed(WAKE_DOMAIN, &payload));
        Some(envelope::join(&[&payload, &signature])).filter(|text| text.len() <= WAKE_MAX)
    }
}
