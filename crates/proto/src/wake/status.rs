//! Whether a device is there, as it says itself: a hint for the wording of a refusal, never a reason for one.

use serde::{Deserialize, Serialize};

use super::message::VERSION;

/// The longest status that is read, in bytes.
pub const STATUS_MAX: usize = 512;
/// The longest of its texts.
const WORD_MAX: usize = 64;

/// There or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Connected to the broker.
    Online,
    /// The will of a connection that ended, or a farewell.
    Offline,
}

/// A retained status message; also the will. Not signed: who owns the broker can say what it likes, and only changes the wording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub v: u32,
    /// There or not.
    pub s: Presence,
    /// Which connection says so: random for each. A device that sees an `offline` with another's publishes its own again, since a take-over
    /// fires the old connection's will.
    pub sid: String,
    /// When that connection was made, or ended in good order, in Unix seconds.
    pub t: u64,
    /// The version of the agent.
    pub ver: String,
}

impl Status {
    /// Reads one; `None` for anything else, another major version included.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        if payload.len() > STATUS_MAX {
            return None;
        }
        let status: Self = serde_json::from_slice(payload).ok()?;
        let word = |text: &str| text.len() <= WORD_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        (status.v == VERSION && word(&status.sid) && word(&status.ver)).then_some(status)
    }

    /// As published.
    pub fn payload(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
