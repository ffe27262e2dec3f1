//! Lists every sentence with which a relay refuses a client. A visitor reads it after `channel 0: open failed: connect failed:`, a device
//! in the text of a DISCONNECT.

use crate::id::{DeviceId, NotADeviceId};
use crate::rendezvous::Unreachable;

/// Says why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key may not; this doesn't say whether the name exists.
    #[error("not permitted")]
    NotPermitted,
    /// The text isn't the name of a device.
    #[error("'{0}' is not the name of a device: {NotADeviceId}")]
    NotAName(String),
    /// The name is known, and no device holds it at the moment.
    #[error("{0} is not connected")]
    NotConnected(DeviceId),
    /// The device was woken without success, or could not be woken.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A device showed a ticket for which no visitor waits: it came late, or the ticket isn't ours.
    #[error("no visitor waits for this device with that ticket")]
    BadTicket,
    /// A connection that was made for a visit is no longer used.
    #[error("no visitor needs this connection any more")]
    Idle,
    /// No key may register the name; only for a key that might see it.
    #[error("{name} is not a known device{}", meant(.nearest.as_ref()))]
    Unknown {
        /// The name as asked for.
        name: DeviceId,
        /// The name that was probably meant.
        nearest: Option<DeviceId>,
    },
    /// The device offers other ports.
    #[error("{name} is connected and offers no port {port} (it offers {})", list(.offered))]
    NoSuchPort {
        /// The name.
        name: DeviceId,
        /// The port asked for.
        port: u16,
        /// The ports that it offers and that the visitor may reach.
        offered: Vec<u16>,
    },
    /// The device refused the channel.
    #[error("{0} is connected, but what it forwards to refuses the connection")]
    Refused(DeviceId),
    /// The device did not answer.
    #[error("{name} did not answer within {seconds} s")]
    NoAnswer {
        /// The name.
        name: DeviceId,
        /// How long it had, in seconds.
        seconds: u64,
    },
    /// The permission with which the connection logged in has ended.
    #[error("the permission of this key has expired")]
    Expired,
    /// A limit of the relay's is reached.
    #[error("too many {what}: the limit is {limit}")]
    TooMany {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The relay is draining.
    #[error("the relay is stopping: try again in a moment")]
    Stopping,
    /// The audit log can't be written, and nothing is done unrecorded.
    #[error("the audit log can't be written, and the relay does nothing unrecorded")]
    Unrecorded,
    /// A forward asks for neither a name nor an address.
    #[error("'{0}' can't be forwarded: neither a name nor an address with a port")]
    NotListenable(String),
    /// The key may not register this name.
    #[error("this key may not hold {0}")]
    NotYourName(String),
    /// The key may not bind this port.
    #[error("this key may not forward port {0}")]
    NotYourPort(u16),
    /// A live connection of another key holds it.
    #[error("{0} is held by another key")]
    OtherKey(String),
    /// A live connection of the same key holds it.
    #[error("{what} is held by a connection of the same key from {peer}, which is alive")]
    Alive {
        /// The name, or `port N`.
        what: String,
        /// The address of that connection.
        peer: String,
    },
    /// A line of the keys that a registration admits is refused.
    #[error("line {line} of the keys to admit is refused: {reason}")]
    NotAdmitted {
        /// The line's number in the request, from 1.
        line: usize,
        /// The reason.
        reason: String,
    },
    /// This connection has it already.
    #[error("{0} is already forwarded by this connection")]
    Already(String),
    /// The port can't be bound.
    #[error("port {port} can't be bound: {reason}")]
    Bind {
        /// The port.
        port: u16,
        /// The system's reason.
        reason: String,
    },
    /// The connection was replaced by a newer one of the same key.
    #[error("replaced by a newer connection of the same key from {0}")]
    Replaced(String),
    /// An operator ended the connection.
    #[error("ended by an administrator")]
    Kicked,
    /// The key is no longer in the files.
    #[error("this key is no longer permitted")]
    Revoked,
}

impl Refusal {
    /// Returns a word for counters and logs: stable.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotPermitted | Self::NotYourName(_) | Self::NotYourPort(_) => "not_permitted",
            Self::NotAName(_) | Self::NotListenable(_) => "not_a_name",
            Self::NotConnected(_) => "not_connected",
            Self::Unreachable(why) => why.word(),
            Self::BadTicket => "bad_ticket",
            Self::Idle => "idle",
            Self::Unknown { .. } => "unknown",
            Self::NoSuchPort { .. } => "no_such_port",
            Self::Refused(_) => "refused_by_device",
            Self::NoAnswer { .. } => "no_answer",
            Self::Expired => "expired",
            Self::TooMany { .. } => "too_many",
            Self::Stopping => "stopping",
            Self::Unrecorded => "unrecorded",
            Self::OtherKey(_) => "other_key",
            Self::Alive { .. } => "held",
            Self::NotAdmitted { .. } => "not_admitted",
            Self::Already(_) => "already",
            Self::Bind { .. } => "bind",
            Self::Replaced(_) => "replaced",
            Self::Kicked => "kicked",
            Self::Revoked => "revoked",
        }
    }
}

fn meant(nearest: Option<&DeviceId>) -> String {
    nearest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

fn list(ports: &[u16]) -> String {
    if ports.is_empty() { "none that you may reach".into() } else { ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_sentences() {
        let id = |text| DeviceId::parse(text).unwrap();
        let all = [
            Refusal::NotPermitted,
            Refusal::NotAName("cam.17".into()),
            Refusal::NotConnected(id("cam-17")),
            Refusal::Unknown { name: id("cam-71"), nearest: Some(id("cam-17")) },
            Refusal::Unknown { name: id("nas"), nearest: None },
            Refusal::NoSuchPort { name: id("cam-17"), port: 80, offered: vec![22, 443] },
            Refusal::NoSuchPort { name: id("cam-17"), port: 80, offered: vec![] },
            Refusal::Refused(id("cam-17")),
            Refusal::NoAnswer { name: id("cam-17"), seconds: 8 },
            Refusal::Expired,
            Refusal::TooMany { what: "channels on this connection", limit: 64 },
            Refusal::Stopping,
            Refusal::Unrecorded,
            Refusal::NotListenable("cam.17:22".into()),
            Refusal::NotYourName("cam-17:22".into()),
            Refusal::NotYourPort(2023),
            Refusal::OtherKey("cam-17".into()),
            Refusal::Alive { what: "port 2022".into(), peer: "192.0.2.7:51234".into() },
            Refusal::NotAdmitted { line: 3, reason: "option from is not enforced here".into() },
            Refusal::Already("cam-17:22".into()),
            Refusal::Bind { port: 2022, reason: "Address already in use".into() },
            Refusal::Replaced("192.0.2.7:51234".into()),
            Refusal::Kicked,
            Refusal::Revoked,
            Refusal::BadTicket,
            Refusal::Idle,
        ];
        let said: Vec<_> = all.iter().map(|refusal| format!("{:<18}{refusal}", refusal.word())).collect();
        insta::assert_snapshot!(said.join("\n"));
    }
}
