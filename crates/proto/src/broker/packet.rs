//! What clients say, and what they are told, as far as the broker cares.

use bytes::Bytes;

use crate::wake::Topic;

/// What a connected client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// PUBLISH. With an identifier it is QoS 1, and wants an acknowledgement.
    Publish {
        /// Where.
        topic: String,
        /// What. It holds on to no more memory than it is long.
        payload: Bytes,
        /// Whether it is to be kept for whoever subscribes later.
        retain: bool,
        /// The packet's identifier.
        id: Option<u16>,
    },
    /// PUBACK: a delivery has arrived.
    Acknowledged,
    /// SUBSCRIBE: to which topics, and for each whether deliveries are wanted with QoS 1.
    Subscribe(u16, Vec<(String, bool)>),
    /// UNSUBSCRIBE.
    Unsubscribe(u16, Vec<String>),
    /// PINGREQ.
    Ping,
    /// DISCONNECT: its will is void.
    Disconnect,
}

/// What it is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// PUBACK.
    Published(u16),
    /// SUBACK: for each topic whether deliveries come with QoS 1, or nothing where it is refused.
    Subscribed(u16, Vec<Option<bool>>),
    /// UNSUBACK.
    Unsubscribed(u16),
    /// PINGRESP.
    Pong,
    /// Nothing.
    None,
}

/// A PUBLISH to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it was published.
    pub topic: Topic,
    /// What.
    pub payload: Bytes,
    /// Whether it was kept from before the subscription.
    pub retain: bool,
    /// Its identifier, with QoS 1.
    pub id: Option<u16>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It said goodbye: the one end that voids a will.
    Goodbye,
    /// It broke off.
    Lost,
    /// Nothing came for 1.5 times the keepalive.
    Silent,
    /// The same client came again.
    Replaced,
    /// It does not read, or does not acknowledge, what it is sent.
    Slow,
    /// What it published was not its to publish.
    Forbidden,
    /// What it sent is no MQTT 3.1.1, or none that is spoken here (QoS 2).
    Malformed,
    /// It says too much.
    TooOften,
    /// Its certificate was revoked, or there is a newer one.
    Revoked,
    /// The listener ends.
    Stopping,
}

impl End {
    /// A word for logs and counters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Replaced => "replaced",
            Self::Slow => "slow",
            Self::Forbidden => "forbidden",
            Self::Malformed => "malformed",
            Self::TooOften => "too_often",
            Self::Revoked => "revoked",
            Self::Stopping => "stopping",
        }
    }
}

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its certificate is revoked, or an older one than the newest.
    Revoked,
    /// Its will is not its to publish.
    Will,
    /// There is no place any more.
    Full,
}

impl Refused {
    /// A word for logs and counters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Will => "will",
            Self::Full => "full",
        }
    }
}
