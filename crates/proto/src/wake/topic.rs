//! Names the topics of wakes, statuses and acknowledgements.

use std::fmt;
use std::str::FromStr;

use super::message::RelayId;
use crate::id::DeviceId;

/// How many slashes a prefix may have: AWS IoT allows 7 in a topic, and the longest of ours has 4 behind the prefix.
const PREFIX_SLASHES_MAX: usize = 3;
/// The longest prefix, in bytes: every broker allows topics of 256 bytes.
const PREFIX_MAX: usize = 128;

/// The prefix of every topic, by setting: nothing, or levels that end in a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

/// Says that a text can't be a prefix of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a topic prefix is up to {PREFIX_SLASHES_MAX} levels of letters, digits, _, - and ., with / between them")]
pub struct NotAPrefix;

impl FromStr for Prefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        let letters = |level: &str| level.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        let fits = text.len() < PREFIX_MAX && text.split('/').count() <= PREFIX_SLASHES_MAX;
        if fits && text.split('/').all(|level| !level.is_empty() && letters(level)) {
            Ok(Self(format!("{text}/")))
        } else {
            Err(NotAPrefix)
        }
    }
}

/// A topic of version 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Wakes for a device: QoS 1, not retained.
    Wake(DeviceId),
    /// A device's status: QoS 1, retained, also its will.
    Status(DeviceId),
    /// Acknowledgements for a relay: QoS 1, not retained.
    Acknowledgement(RelayId),
}

impl Topic {
    /// Returns the topic under a prefix.
    pub fn text(&self, prefix: &Prefix) -> String {
        format!("{}{self}", prefix.0)
    }

    /// Reads one of these topics; `None` for any other.
    pub fn parse(text: &str, prefix: &Prefix) -> Option<Self> {
        let mut levels = text.strip_prefix(&prefix.0)?.strip_prefix("sally/v1/")?.split('/');
        let topic = match (levels.next()?, levels.next()?, levels.next()) {
            ("r", relay, Some("ack")) => Self::Acknowledgement(relay.parse().ok()?),
            (id, "wake", None) => Self::Wake(DeviceId::parse(id).ok()?),
            (id, "status", None) => Self::Status(DeviceId::parse(id).ok()?),
            _ => return None,
        };
        // Topics are compared letter by letter: a name in capitals is not a device's.
        (levels.next().is_none() && topic.text(prefix) == text).then_some(topic)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wake(id) => write!(f, "sally/v1/{id}/wake"),
            Self::Status(id) => write!(f, "sally/v1/{id}/status"),
            Self::Acknowledgement(relay) => write!(f, "sally/v1/r/{relay}/ack"),
        }
    }
}
