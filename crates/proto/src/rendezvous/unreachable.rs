//! Lists the sentences that say why a device can't be reached: a visitor reads them after `channel 0: open failed: connect failed:`.

use std::time::Duration;

use crate::calendar::utc_minute;
use crate::host_port::HostPort;
use crate::id::DeviceId;

/// Says why a device can't be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Its status is offline, and it did not answer.
    #[error("{device} is offline: last seen {} UTC ({} ago)", utc_minute(*since), span(now.saturating_sub(*since)))]
    Offline {
        /// The device.
        device: DeviceId,
        /// Since when, in Unix seconds.
        since: u64,
        /// The time of the sentence, in Unix seconds.
        now: u64,
    },
    /// There is no broker to wake it through.
    #[error("{0} is not connected")]
    NotConnected(DeviceId),
    /// It answered, and could not connect.
    #[error("{device} is awake but could not reach {relay} ({detail})")]
    DialFailed {
        /// The device.
        device: DeviceId,
        /// The address that it tried.
        relay: HostPort,
        /// What the device reports.
        detail: String,
    },
    /// It did not answer.
    #[error("{device} did not answer within {} s", within.as_secs())]
    NoAnswer {
        /// The device.
        device: DeviceId,
        /// How long it had.
        within: Duration,
    },
    /// The wake was not valid by its clock.
    #[error("{device}'s clock is {} off", span(*seconds))]
    Clock {
        /// The device.
        device: DeviceId,
        /// By how many seconds the clock is off.
        seconds: u64,
    },
    /// A limit of the device's is reached.
    #[error("{device} is awake but busy ({detail})")]
    Busy {
        /// The device.
        device: DeviceId,
        /// What the device reports.
        detail: String,
    },
    /// The device's settings forbid it.
    #[error("{device} is awake but refuses ({detail})")]
    Denied {
        /// The device.
        device: DeviceId,
        /// What the device reports.
        detail: String,
    },
    /// It is connected, and doesn't offer the port.
    #[error("{device} is connected and offers no port {port}")]
    NoSuchPort {
        /// The device.
        device: DeviceId,
        /// The port.
        port: u16,
    },
    /// Its connection broke twice while the channel was being opened.
    #[error("the connection to {0} broke while the channel was being opened")]
    Lost(DeviceId),
    /// The broker can't be reached.
    #[error("the broker is unreachable")]
    Broker,
    /// The visitor's key or address has caused too many wakes.
    #[error("too many devices were woken from here: try again in {} s", after.as_secs().max(1))]
    TooManyWakes {
        /// The time until the next wake is permitted.
        after: Duration,
    },
    /// Too many visitors wait already.
    #[error("too many are waiting: the limit is {0}")]
    Crowded(usize),
}

impl Unreachable {
    /// Returns a word for counters and logs: stable.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Offline { .. } => "offline",
            Self::NotConnected(_) => "not_connected",
            Self::DialFailed { .. } => "dial_failed",
            Self::NoAnswer { .. } => "no_answer",
            Self::Clock { .. } => "clock",
            Self::Busy { .. } => "busy",
            Self::Denied { .. } => "denied",
            Self::NoSuchPort { .. } => "no_such_port",
            Self::Lost(_) => "lost",
            Self::Broker => "broker",
            Self::TooManyWakes { .. } => "too_many_wakes",
            Self::Crowded(_) => "too_many",
        }
    }
}

/// Writes a span of time by its largest unit, for people.
fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit}")
}
