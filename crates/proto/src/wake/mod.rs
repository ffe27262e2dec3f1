//! Wakes a device: the signed envelope that a relay publishes, the device's checks, and the device's answer.
//!
//! The broker in between is not trusted: its owner can delay and drop, never open, redirect, forge or replay. Trust is in two keys, the
//! relay's wake key and the device's certificate, and each signs bytes that begin with its own domain.
//!
//! - `envelope`: bytes and a signature as one line of text
//! - `key`: the relay's wake key; the two that a device pins
//! - `message`: the content of a wake
//! - `checker`: every check that a device makes, in order
//! - `replay`: the wakes that were seen
//! - `acknowledgement`: the device's answer
//! - `topic`, `status`: the topics, and whether a device is online
//!
//! docs/wire.md describes the format in full.

mod acknowledgement;
mod checker;
mod envelope;
mod key;
mod message;
mod replay;
mod status;
mod topic;

pub use acknowledgement::{ACKNOWLEDGEMENT_MAX, Acknowledgement, DETAIL_MAX, NotAnswered, WakeAnswer};
pub use checker::{Clock, ClockReading, DIALS, LIFETIME, Pins, Reason, Rejected, SKEW, WakeChecker};
pub use key::{Kid, PINNED_MAX, WakeKey, WakeKeyError, WakeKeys};
pub use message::{ADDRESSES_MAX, Jti, RelayId, Ticket, VERSION, WAKE_MAX, Wake};
pub use replay::REMEMBERED;
pub use status::{DevicePresence, STATUS_MAX, StatusMessage};
pub use topic::{Prefix, Topic};

#[cfg(test)]
mod tests;
