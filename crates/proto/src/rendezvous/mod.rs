//! Who waits for whom on a relay: visitors, wakes, tickets, dial-backs. `(state, event, now) → actions`.
//!
//! The machine neither reads a clock nor sends anything: what happens is told to it, and it says what to do. Events change facts; then
//! `settle` draws the conclusions from the facts alone, so that no order of events needs a case of its own.
//!
//! Invariants, held by tests over random histories:
//!
//! - A visitor gets one answer: its door opens, or it is refused with a sentence. It gets another door only where the first one broke away
//!   before anything went through.
//! - A door leads to the device that was asked for, and to the port.
//! - A ticket opens once, for its device, and only while somebody waits: when the last one has left or was answered it is gone.
//! - There is one wake at a time for a device, whoever waits; each counts as a key's.
//! - Nobody waits longer than the deadline, or than they said they would.
//! - Who wants in now and who is patient take no place of each other; who makes room has the fullest key, and never the newcomer's.
//!
//! - `machine`: the facts, and what each event changes of them
//! - `places`: who may wait, and who makes room
//! - `settle`: the conclusions
//! - `unreachable`: the sentences of refusal

mod machine;
mod places;
mod settle;
mod unreachable;

use std::time::Duration;

pub use machine::Rendezvous;
pub use unreachable::Unreachable;

use crate::admission::Source;
use crate::host_port::HostPort;
use crate::id::DeviceId;
use crate::rate::Rate;
use crate::wake::{Acknowledgement, Jti, Presence, Ticket};

/// How long a wake has to bring a tunnel, unless set otherwise. The visitor's own ConnectTimeout runs meanwhile (Ansible: 10 s).
pub const WAKE_DEADLINE: Duration = Duration::from_secs(8);
/// How long a tunnel stays after its last visitor, unless set otherwise: a script's next command finds it.
pub const LINGER: Duration = Duration::from_secs(10);
/// How long a fresh tunnel has to offer its ports, after its first.
pub const SETTLING: Duration = Duration::from_secs(2);
/// The least time between two wakes of one device.
pub const WAKE_GAP: Duration = Duration::from_secs(1);
/// How often a device is woken again for somebody who waits for it: its status may be lost, and is not trusted.
pub const RETRY: Duration = Duration::from_secs(60);
/// The longest that somebody may wait for a device.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How many may wait at once, for all devices: each costs a channel and about a kilobyte. This and the following three are for those who want
/// in now, and once more for those who said that they wait.
pub const WAITING_MAX: usize = 1024;
/// How many may wait for one device.
pub const WAITING_PER_DEVICE: usize = 32;
/// How many may wait with one visitor's key: one who waits for a hundred devices leaves room for others.
pub const WAITING_PER_KEY: usize = 256;
/// The same for one device.
pub const WAITING_PER_KEY_AND_DEVICE: usize = 16;
/// Wakes that one visitor's key may cause, those for whom it waits on among them: enough for Ansible with a hundred hosts.
pub const WAKES_PER_KEY: Rate = Rate { burst: 100, every: Duration::from_secs(1) };
/// Wakes that one source address may cause: several people behind one router.
pub const WAKES_PER_SOURCE: Rate = Rate { burst: 200, every: Duration::from_millis(500) };
/// How many keys and how many sources are counted at once.
pub const COUNTED_MAX: usize = 4096;

/// A visitor's channel, as its owner numbers it; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VisitorId(pub u64);

/// A device's connection, as its owner numbers it; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelId(pub u64);

/// What a relay is set to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a wake has to bring a tunnel.
    pub wake_deadline: Duration,
    /// How long a tunnel that a wake brought stays after its last visitor.
    pub linger: Duration,
    /// Where devices dial; for the sentences. `None`: there is no broker, and nobody is woken.
    pub woken_to: Option<HostPort>,
    /// How many may wait, and be woken.
    pub limits: Limits,
}

/// How many may wait, and be woken: the constants above, or less for a test.
#[derive(Clone, Debug)]
pub struct Limits {
    /// As [`WAITING_MAX`].
    pub waiting: usize,
    /// As [`WAITING_PER_DEVICE`].
    pub waiting_per_device: usize,
    /// As [`WAITING_PER_KEY`].
    pub waiting_per_key: usize,
    /// As [`WAITING_PER_KEY_AND_DEVICE`].
    pub waiting_per_key_and_device: usize,
    /// As [`WAKES_PER_KEY`].
    pub wakes_per_key: Rate,
    /// As [`WAKES_PER_SOURCE`].
    pub wakes_per_source: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: WAITING_MAX,
            waiting_per_device: WAITING_PER_DEVICE,
            waiting_per_key: WAITING_PER_KEY,
            waiting_per_key_and_device: WAITING_PER_KEY_AND_DEVICE,
            wakes_per_key: WAKES_PER_KEY,
            wakes_per_source: WAKES_PER_SOURCE,
        }
    }
}

/// Somebody asks for a port of a device, which they may reach: that is decided already.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The channel that waits for an answer.
    pub visitor: VisitorId,
    /// The device.
    pub device: DeviceId,
    /// The port of it.
    pub port: u16,
    /// Fingerprint of the visitor's key: whose wakes are counted.
    pub key: String,
    /// Where the visitor comes from.
    pub source: Source,
    /// How long they wait for a device that doesn't come at once.
    pub wait: Option<Duration>,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody asks for a device.
    Visit(Visit),
    /// A visitor's door has opened: the device has confirmed the channel.
    Opened(VisitorId),
    /// A visitor is gone, before or after the door opened.
    Left(VisitorId),
    /// A wake could not be published.
    NotPublished(DeviceId, Jti),
    /// A device has acknowledged a wake.
    Answered(DeviceId, Acknowledgement),
    /// A device, authenticated as such, shows a ticket on its connection.
    DialledBack {
        /// Its connection.
        tunnel: TunnelId,
        /// Who it is.
        device: DeviceId,
        /// What it shows.
        ticket: Ticket,
    },
    /// A connection offers a port of a device, which it may: that is decided already. The newest to do so is used.
    Listening {
        /// The connection.
        tunnel: TunnelId,
        /// The device.
        device: DeviceId,
        /// The port.
        port: u16,
    },
    /// A connection offers it no longer.
    NotListening {
        /// The connection.
        tunnel: TunnelId,
        /// The device.
        device: DeviceId,
        /// The port.
        port: u16,
    },
    /// A connection has ended.
    Gone(TunnelId),
    /// A device's status was published.
    Seen {
        /// The device.
        device: DeviceId,
        /// There or not.
        presence: Presence,
        /// Since when, in Unix seconds.
        since: u64,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish a wake.
    Publish {
        /// For whom.
        device: DeviceId,
        /// Which wake it is.
        jti: Jti,
        /// The ticket in it.
        ticket: Ticket,
        /// The port in it.
        port: u16,
    },
    /// Follow a device's status.
    Watch(DeviceId),
    /// Follow it no longer.
    Unwatch(DeviceId),
    /// Open the visitor's door through this connection.
    Open {
        /// The visitor.
        visitor: VisitorId,
        /// The connection.
        tunnel: TunnelId,
        /// The device.
        device: DeviceId,
        /// The port.
        port: u16,
    },
    /// Tell the visitor why not.
    Refuse(VisitorId, Unreachable),
    /// The ticket is good.
    Accept(TunnelId),
    /// The ticket is not: end the connection.
    Reject(TunnelId),
    /// Nobody needs the connection any more: end it.
    Close(TunnelId),
}

#[cfg(test)]
mod tests;
