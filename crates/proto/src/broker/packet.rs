//! Defines the packets from clients, and the answers, as far as the broker uses them.

use bytes::Bytes;

use crate::wake::Topic;

/// A packet from a connected client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// PUBLISH. With an identifier it has QoS 1, and needs an acknowledgement.
    Publish {
        /// The topic.
        topic: String,
        /// The payload. It holds no more memory than its length.
        payload: Bytes,
        /// Whether the message is retained for later subscribers.
        retain: bool,
        /// The packet's identifier.
        id: Option<u16>,
    },
    /// PUBACK: the client has received a delivery.
    Acknowledged,
    /// SUBSCRIBE: the topics, and for each whether the client wants QoS 1.
    Subscribe(u16, Vec<(String, bool)>),
    /// UNSUBSCRIBE.
    Unsubscribe(u16, Vec<String>),
    /// PINGREQ.
    Ping,
    /// DISCONNECT: the client's will is void.
    Disconnect,
}

/// The immediate answer to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketAnswer {
    /// PUBACK.
    Published(u16),
    /// SUBACK: for each topic whether deliveries have QoS 1, or nothing if it is refused.
    Subscribed(u16, Vec<Option<bool>>),
    /// UNSUBACK.
    Unsubscribed(u16),
    /// PINGRESP.
    Pong,
    /// No answer.
    None,
}

/// A PUBLISH to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The topic.
    pub topic: Topic,
    /// The payload.
    pub payload: Bytes,
    /// Whether it was retained before the subscription.
    pub retain: bool,
    /// The packet's identifier, with QoS 1.
    pub id: Option<u16>,
}

/// Says why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client sent DISCONNECT: the only end that voids a will.
    Goodbye,
    /// The connection broke.
    Lost,
    /// The client was silent for 1.5 times its keepalive.
    Silent,
    /// The same client connected again.
    Replaced,
    /// The client doesn't read, or doesn't acknowledge.
    Slow,
    /// The client published to a topic that it may not use.
    Forbidden,
    /// The client sent something that isn't MQTT 3.1.1, or isn't supported here (QoS 2).
    Malformed,
    /// The client sends too many packets.
    TooOften,
    /// The client's certificate was revoked, or a newer one exists.
    Revoked,
    /// The listener ends.
    Stopping,
}

impl End {
    /// Returns a word for logs and counters.
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

/// Says why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRefusal {
    /// The certificate is revoked, or isn't the newest.
    Revoked,
    /// The client may not publish its will.
    Will,
    /// There is no place left.
    Full,
}

impl ConnectRefusal {
    /// Returns a word for logs and counters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Will => "will",
            Self::Full => "full",
        }
    }
}
