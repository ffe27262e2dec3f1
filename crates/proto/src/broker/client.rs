//! Who is connected, and what that lets them say and hear.

use std::fmt;
use std::time::Duration;

use crate::id::DeviceId;
use crate::wake::{ACKNOWLEDGEMENT_MAX, STATUS_MAX, Topic, WAKE_MAX};

/// The name of relays: the point can't be in a device's name, so that no device is ever taken for a relay.
pub const RELAY_NAME: &str = "sally.relay";
/// How long a client may be silent before 1.5 times as much has passed, whatever it asked for: AWS IoT's longest too. Without one, a connection
/// that died without a word would be held for ever.
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(1200);

/// Somebody who is connected. One connection each: a second one replaces the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// A device of the fleet.
    Device(DeviceId),
    /// A relay in another process, by the client identifier it chose: relays share one certificate.
    Relay(Box<str>),
    /// A relay in this process.
    Local(u32),
}

impl Client {
    /// Who a name means, with the client identifier that comes with it; `None` for nobody.
    pub fn named(name: &str, client_id: &str) -> Option<Self> {
        if name == RELAY_NAME {
            return Some(Self::Relay(client_id.into()));
        }
        // Topics matter by letter; a name in capitals is nobody's.
        DeviceId::parse(name).ok().filter(|id| id.as_str() == name).map(Self::Device)
    }

    /// Who a client identifier means where there are no certificates: `sally.relay`, with anything behind another point, or a device.
    pub fn unproven(client_id: &str) -> Option<Self> {
        match client_id.strip_prefix(RELAY_NAME) {
            Some(rest) if rest.is_empty() || rest.starts_with('.') => Some(Self::Relay(client_id.into())),
            _ => Self::named(client_id, client_id),
        }
    }

    /// Whether it may hear what is published there.
    pub fn may_subscribe(&self, topic: &Topic) -> bool {
        match (self, topic) {
            (Self::Device(own), Topic::Wake(id) | Topic::Status(id)) => own == id,
            (Self::Device(_), Topic::Acknowledgement(_)) => false,
            (Self::Relay(_) | Self::Local(_), topic) => !matches!(topic, Topic::Wake(_)),
        }
    }

    /// Whether it may publish so many bytes there.
    pub fn may_publish(&self, topic: &Topic, retain: bool, size: usize) -> bool {
        match (self, topic) {
            (Self::Device(own), Topic::Status(id)) => own == id && size <= STATUS_MAX,
            (Self::Device(_), Topic::Acknowledgement(_)) => !retain && size <= ACKNOWLEDGEMENT_MAX,
            (Self::Relay(_) | Self::Local(_), Topic::Wake(_)) => !retain && size <= WAKE_MAX,
            _ => false,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => id.fmt(f),
            Self::Relay(id) => write!(f, "relay {:?}", &**id),
            Self::Local(_) => f.write_str("this relay"),
        }
    }
}

/// How long a client that asked for a keepalive of so many seconds may be silent (MQTT 3.1.1, section 3.1.2.10); no longer than `most`, and that
/// for one that asked for none.
pub fn keepalive(seconds: u16, most: Duration) -> Duration {
    let asked = match seconds {
        0 => most,
        seconds => Duration::from_secs(seconds.into()).min(most),
    };
    asked.saturating_add(asked / 2)
}
