//! Defines the clients of the broker, and which topics each may use.

use std::fmt;
use std::time::Duration;

use crate::id::DeviceId;
use crate::wake::{ACKNOWLEDGEMENT_MAX, STATUS_MAX, Topic, WAKE_MAX};

/// The name of relays: a device's name can't have a point, so no device is ever taken for a relay.
pub const RELAY_NAME: &str = "sally.relay";
/// The longest keepalive, whatever a client asks for (AWS IoT has the same): a client that is silent for 1.5 times as long is
/// disconnected. Without a limit, a connection that died without a word would be held for ever.
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(1200);

/// A connected client. It has one connection: a second one replaces the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokerClient {
    /// A device of the fleet.
    Device(DeviceId),
    /// A relay in another process, by the client identifier it chose: relays share one certificate.
    Relay(Box<str>),
    /// A relay in this process.
    Local(u32),
}

impl BrokerClient {
    /// Returns the client that a certificate's name means, with the client identifier of its CONNECT; `None` for an unknown name.
    pub fn named(name: &str, client_id: &str) -> Option<Self> {
        if name == RELAY_NAME {
            return Some(Self::Relay(client_id.into()));
        }
        // Topics are compared letter by letter: a name in capitals is not a device's.
        DeviceId::parse(name).ok().filter(|id| id.as_str() == name).map(Self::Device)
    }

    /// Returns the client that a client identifier means where there are no certificates: `sally.relay`, with anything behind another
    /// point, or a device.
    pub fn unproven(client_id: &str) -> Option<Self> {
        match client_id.strip_prefix(RELAY_NAME) {
            Some(rest) if rest.is_empty() || rest.starts_with('.') => Some(Self::Relay(client_id.into())),
            _ => Self::named(client_id, client_id),
        }
    }

    /// Returns whether the client may receive what is published to a topic.
    pub fn may_subscribe(&self, topic: &Topic) -> bool {
        match (self, topic) {
            (Self::Device(own), Topic::Wake(id) | Topic::Status(id)) => own == id,
            (Self::Device(_), Topic::Acknowledgement(_)) => false,
            (Self::Relay(_) | Self::Local(_), topic) => !matches!(topic, Topic::Wake(_)),
        }
    }

    /// Returns whether the client may publish this many bytes to a topic.
    pub fn may_publish(&self, topic: &Topic, retain: bool, size: usize) -> bool {
        match (self, topic) {
            (Self::Device(own), Topic::Status(id)) => own == id && size <= STATUS_MAX,
            (Self::Device(_), Topic::Acknowledgement(_)) => !retain && size <= ACKNOWLEDGEMENT_MAX,
            (Self::Relay(_) | Self::Local(_), Topic::Wake(_)) => !retain && size <= WAKE_MAX,
            _ => false,
        }
    }
}

impl fmt::Display for BrokerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => id.fmt(f),
            Self::Relay(id) => write!(f, "relay {:?}", &**id),
            Self::Local(_) => f.write_str("this relay"),
        }
    }
}

/// Returns how long a client with a keepalive of so many seconds may be silent (MQTT 3.1.1, section 3.1.2.10): at most for a keepalive of
/// `most`, which also applies to a client that asked for none.
pub fn keepalive(seconds: u16, most: Duration) -> Duration {
    let asked = match seconds {
        0 => most,
        seconds => Duration::from_secs(seconds.into()).min(most),
    };
    asked.saturating_add(asked / 2)
}
