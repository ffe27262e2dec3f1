//! Reads and writes a device's status: a hint for the wording of a refusal, never a reason for one.

use serde::{Deserialize, Serialize};

use super::message::VERSION;

/// The longest status that is read, in bytes.
pub const STATUS_MAX: usize = 512;
/// The longest text in it, in bytes.
const WORD_MAX: usize = 64;

/// Whether the device is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DevicePresence {
    /// The device is connected to the broker.
    Online,
    /// The device's connection broke (a will), or the device has signed off.
    Offline,
}

/// A retained status message; also the will. Not signed: the broker's owner can change it, and changes only the wording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMessage {
    /// [`VERSION`].
    pub v: u32,
    /// Whether the device is online.
    pub s: DevicePresence,
    /// The connection's id: random for each. A device that sees an `offline` with another id publishes its own status again, because a
    /// take-over fires the old connection's will.
    pub sid: String,
    /// When that connection was made, or ended in good order, in Unix seconds.
    pub t: u64,
    /// The version of the agent.
    pub ver: String,
}

impl StatusMessage {
    /// Reads a status; `None` for anything else, another major version included.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        if payload.len() > STATUS_MAX {
            return None;
        }
        let status: Self = serde_json::from_slice(payload).ok()?;
        let word = |text: &str| text.len() <= WORD_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        (status.v == VERSION && word(&status.sid) && word(&status.ver)).then_some(status)
    }

    /// Returns the payload to publish.
    pub fn payload(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
