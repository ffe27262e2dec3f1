//! Waking a device: the signed envelope that a relay publishes, what a device checks of it, and what the device answers.
//!
//! The broker in between is not trusted: who owns it can delay and drop, never open, redirect, forge or replay. Trust is in two keys, the
//! relay's wake key and the device's certificate, and each signs bytes that begin with a domain of their own.
//!
//! - `envelope`: bytes and a signature as one line of text
//! - `key`: the relay's wake key; the two that a device pins
//! - `message`: what a wake says
//! - `gate`: every check that a device makes, in order
//! - `replay`: what was seen already
//! - `acknowledgement`: the device's answer
//! - `topic`, `status`: where all this is published, and whether a device is there
//!
//! docs/wire.md is the format in full.

mod acknowledgement;
mod envelope;
mod gate;
mod key;
mod message;
mod replay;
mod status;
mod topic;

pub use acknowledgement::{ACKNOWLEDGEMENT_MAX, Acknowledgement, Answer, DETAIL_MAX, NotAnswered};
pub use gate::{Clock, DIALS, Gate, LIFETIME, Moment, Pins, Reason, Rejected, SKEW};
pub use key::{Kid, PINNED_MAX, WakeKey, WakeKeyError, WakeKeys};
pub use message::{ADDRESSES_MAX, Jti, RelayId, Ticket, VERSION, WAKE_MAX, Wake};
pub use replay::REMEMBERED;
pub use status::{Presence, STATUS_MAX, Status};
pub use topic::{Prefix, Topic};

#[cfg(test)]
mod tests;
