//! Brings visitors and devices together on a relay: visitors, wakes, tickets, devices that connect. `(state, event, now) → actions`.
//!
//! The machine reads no clock and sends nothing: it is told what happens, and says what to do. Events change facts; then `settle` draws
//! the conclusions from the facts alone, so that no order of events needs a case of its own.
//!
//! Invariants, which tests check with random histories:
//!
//! - A visitor gets one answer: a channel is opened, or it is refused with a sentence. It gets a second channel only if the first one
//!   broke before anything went through.
//! - A channel leads to the device and the port that were asked for.
//! - A ticket is valid once, for its device, and only while a visitor waits: when the last one has left or was answered, it is void.
//! - There is one wake at a time for a device, however many visitors wait; each counts for one key.
//! - No visitor waits longer than the deadline, or than it said that it would.
//! - Visitors who want in now and patient ones don't take each other's places; the visitor who makes room has the key with the most, and
//!   never the new visitor's.
//!
//! - `machine`: the facts, and how events change them
//! - `wake_limits`: which visitors may wait, and which one makes room
//! - `settle`: the conclusions
//! - `unreachable`: the sentences of refusal

mod machine;
mod settle;
mod unreachable;
mod wake_limits;

use std::time::Duration;

pub use machine::Rendezvous;
pub use unreachable::Unreachable;

use crate::admission::ClientSource;
use crate::host_port::HostPort;
use crate::id::DeviceId;
use crate::rate::Rate;
use crate::wake::{Acknowledgement, DevicePresence, Jti, Ticket};

/// The default time for a wake to bring a tunnel. The visitor's own ConnectTimeout runs meanwhile (Ansible: 10 s).
pub const WAKE_DEADLINE: Duration = Duration::from_secs(8);
/// The default time that a tunnel stays after its last visitor: a script's next command finds it.
pub const LINGER: Duration = Duration::from_secs(10);
/// The time that a new tunnel has to offer its ports, after its first.
pub const SETTLING: Duration = Duration::from_secs(2);
/// The least time between two wakes of one device.
pub const WAKE_GAP: Duration = Duration::from_secs(1);
/// How often a device is woken again for a waiting visitor: its status may be lost, and isn't trusted.
pub const RETRY: Duration = Duration::from_secs(60);
/// The longest time that a visitor may wait for a device.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How many visitors may wait at once, for all devices: each costs a channel and about a kilobyte. This and the following three limits
/// are for visitors who want in now, and apply again to visitors who said that they wait.
pub const WAITING_MAX: usize = 1024;
/// How many visitors may wait for one device.
pub const WAITING_PER_DEVICE: usize = 32;
/// How many visitors may wait with one key: a key that waits for a hundred devices leaves room for others.
pub const WAITING_PER_KEY: usize = 256;
/// How many visitors may wait with one key for one device.
pub const WAITING_PER_KEY_AND_DEVICE: usize = 16;
/// How many wakes one visitor's key may cause, repeated ones included: enough for Ansible with a hundred hosts.
pub const WAKES_PER_KEY: Rate = Rate { burst: 100, every: Duration::from_secs(1) };
/// How many wakes one source address may cause: several users behind one router.
pub const WAKES_PER_SOURCE: Rate = Rate { burst: 200, every: Duration::from_millis(500) };
/// How many keys and how many sources are counted at once.
pub const COUNTED_MAX: usize = 4096;

/// The number of a visitor's channel; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VisitorId(pub u64);

/// The number of a device's connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelId(pub u64);

/// The settings of a rendezvous.
#[derive(Clone, Debug)]
pub struct RendezvousSettings {
    /// The time for a wake to bring a tunnel.
    pub wake_deadline: Duration,
    /// The time that a woken tunnel stays after its last visitor.
    pub linger: Duration,
    /// The address at which devices connect; for the sentences. `None`: there is no broker, and no device is woken.
    pub woken_to: Option<HostPort>,
    /// The limits of waiting and waking.
    pub limits: RendezvousLimits,
}

/// The limits of waiting and waking: the constants above, or less for a test.
#[derive(Clone, Debug)]
pub struct RendezvousLimits {
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

impl Default for RendezvousLimits {
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

/// A visitor asks for a port of a device, which it may reach: that is decided already.
#[derive(Clone, Debug)]
pub struct VisitRequest {
    /// The channel that waits for an answer.
    pub visitor: VisitorId,
    /// The device.
    pub device: DeviceId,
    /// The port of it.
    pub port: u16,
    /// The fingerprint of the visitor's key, whose wakes are counted.
    pub key: String,
    /// The address that the visitor connects from.
    pub source: ClientSource,
    /// How long the visitor waits for a device that doesn't connect at once.
    pub wait: Option<Duration>,
}

/// The events.
#[derive(Clone, Debug)]
pub enum RendezvousEvent {
    /// A visitor asks for a device.
    Visit(VisitRequest),
    /// The device has confirmed a visitor's channel.
    Opened(VisitorId),
    /// A visitor has left, before or after its channel was open.
    Left(VisitorId),
    /// A wake could not be published.
    NotPublished(DeviceId, Jti),
    /// A device has acknowledged a wake.
    Answered(DeviceId, Acknowledgement),
    /// A device, authenticated as such, shows a ticket on its connection.
    DialledBack {
        /// The device's connection.
        tunnel: TunnelId,
        /// Who it is.
        device: DeviceId,
        /// The ticket.
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
    /// A connection offers a port no longer.
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
        /// Whether it is online.
        presence: DevicePresence,
        /// Since when, in Unix seconds.
        since: u64,
    },
    /// Time has passed.
    Tick,
}

/// The actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish a wake.
    Publish {
        /// The device to wake.
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
    /// Follow a device's status no longer.
    Unwatch(DeviceId),
    /// Open the visitor's channel through this connection.
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
    /// Refuse the visitor with this sentence.
    Refuse(VisitorId, Unreachable),
    /// Accept the ticket.
    Accept(TunnelId),
    /// Refuse the ticket, and end the connection.
    Reject(TunnelId),
    /// End the connection, which no visitor needs any more.
    Close(TunnelId),
}

#[cfg(test)]
mod tests;
