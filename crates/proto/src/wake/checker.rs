//! Checks a wake on a device before it connects, in order.

use std::time::Duration;

use serde::Deserialize;

use super::acknowledgement::{Acknowledgement, WakeAnswer};
use super::envelope::{self, WAKE_DOMAIN};
use super::key::{WakeKeys, verifies};
use super::message::{ADDRESSES_MAX, Jti, RelayId, VERSION, WAKE_MAX, Wake};
use super::replay::{NotNew, SeenWakes};
use crate::host_port::HostPort;
use crate::id::DeviceId;
use crate::rate::{Bucket, Rate};

/// How long a wake is valid, in seconds.
pub const LIFETIME: u64 = 30;
/// How far a device's clock may be behind the relay's, in seconds.
pub const SKEW: u64 = 60;
/// How often a device connects, whatever relay asks: enough for people and scripts, too little to harm the relay.
pub const DIALS: Rate = Rate { burst: 10, every: Duration::from_secs(6) };

/// Whether the device has a reliable clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The clock is reliable: times are checked.
    Checked,
    /// There is no reliable clock: a replay then costs one connection to a genuine relay, which refuses it.
    Absent,
}

/// What a device compares wakes with.
#[derive(Clone, Debug)]
pub struct Pins {
    /// The device's own name.
    pub id: DeviceId,
    /// The keys that may sign its wakes.
    pub keys: WakeKeys,
    /// The addresses that it may connect to.
    pub relays: Vec<HostPort>,
    /// Whether times are checked.
    pub clock: Clock,
    /// How many tunnels it may have at once.
    pub tunnels_max: usize,
}

/// The current time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// Unix seconds, for the dates of wakes.
    pub unix: u64,
    /// The time since any start, monotonic, for rates.
    pub monotonic: Duration,
}

/// Says why a wake isn't followed; for the device's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is longer than [`WAKE_MAX`], or not two parts of base64url, or no JSON object with a kid.
    #[error("it is not a wake")]
    NotAWake,
    /// It is signed by a key that isn't pinned.
    #[error("the wake key is not one of those pinned here")]
    UnknownKey,
    /// The signature isn't that key's over these bytes.
    #[error("the signature is wrong")]
    BadSignature,
    /// It has another major version.
    #[error("version {0} is not known here")]
    Version(u64),
    /// It is signed, and malformed.
    #[error("a field is missing or damaged")]
    Malformed,
    /// It is for another device.
    #[error("it is for another device")]
    WrongDevice,
    /// It was made later than now: the device's clock is behind by more than [`SKEW`] seconds.
    #[error("it was made {0} s later than now: the clock is behind")]
    Early(u64),
    /// It has ended: it was delayed, or the device's clock is ahead.
    #[error("it ended {0} s ago: it was delayed, or the clock is ahead")]
    Late(u64),
    /// It would be valid for longer than [`LIFETIME`].
    #[error("it would be valid for too long")]
    TooLong,
    /// It was seen before.
    #[error("it was seen before")]
    Replayed,
    /// It names no relay that is permitted here.
    #[error("it names no relay that is permitted here")]
    RelayNotAllowed,
    /// The rate limit, or the memory of what was seen, is used up.
    #[error("too many wakes")]
    TooMany,
    /// As many tunnels are open as is permitted.
    #[error("too many tunnels are open")]
    TunnelCap,
}

/// A wake that isn't followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The reason.
    pub reason: Reason,
    /// The answer to the relay, and which relay. `None` for a wake that isn't proven to be for this device, and for replays: they get no
    /// answer.
    pub answer: Option<(RelayId, Jti, WakeAnswer)>,
}

impl From<Reason> for Rejected {
    fn from(reason: Reason) -> Self {
        Self { reason, answer: None }
    }
}

impl Rejected {
    fn answering(wake: &Wake, reason: Reason, answer: WakeAnswer) -> Self {
        Self { reason, answer: Some((wake.rid.clone(), wake.jti, answer)) }
    }

    /// Returns the acknowledgement, if there is an answer.
    pub fn acknowledgement(&self, now: u64) -> Option<Acknowledgement> {
        let (relay, jti, answer) = self.answer.clone()?;
        Some(Acknowledgement::new(relay, jti, now, answer, &self.reason.to_string()))
    }
}

/// The part that is read before the signature is checked: only the key.
#[derive(Deserialize)]
struct WakeHead {
    kid: String,
}

#[derive(Deserialize)]
struct WakeVersion {
    v: u64,
}

/// The checks of a device, and what they remember.
#[derive(Clone, Debug)]
pub struct WakeChecker {
    pins: Pins,
    seen: SeenWakes,
    dials: Bucket,
    refusals: Bucket,
}

impl WakeChecker {
    /// Starts with no wake seen.
    pub fn new(pins: Pins) -> Self {
        Self { pins, seen: SeenWakes::default(), dials: Bucket::new(DIALS), refusals: Bucket::new(DIALS) }
    }

    /// Takes new pins (rotated keys); seen wakes stay seen.
    pub fn set_pins(&mut self, pins: Pins) {
        self.pins = pins;
    }

    /// Checks a message from the broker. The returned wake names only permitted relays.
    ///
    /// # Errors
    /// The first check that fails, in the order of docs/wire.md.
    pub fn admit(&mut self, text: &[u8], now: ClockReading, open_tunnels: usize) -> Result<Wake, Rejected> {
        self.check(text, now, open_tunnels).map_err(|rejected| {
            // The broker's owner can send old wakes for ever, and must not get a signature for each.
            let may_answer = rejected.answer.is_none() || self.refusals.take(now.monotonic).is_ok();
            if may_answer { rejected } else { rejected.reason.into() }
        })
    }

    fn check(&mut self, text: &[u8], now: ClockReading, open_tunnels: usize) -> Result<Wake, Rejected> {
        let mut wake = self.authentic(text)?;
        if wake.aud != self.pins.id {
            return Err(Reason::WrongDevice.into());
        }
        if wake.exp < wake.iat || wake.exp - wake.iat > LIFETIME {
            return Err(Reason::TooLong.into());
        }
        self.check_time(&wake, now.unix)?;
        let clock = (self.pins.clock == Clock::Checked).then_some(now.unix);
        match self.seen.remember(wake.jti, wake.exp, clock) {
            Ok(()) => {}
            Err(NotNew::Replayed) => return Err(Reason::Replayed.into()),
            Err(NotNew::Full) => return Err(Rejected::answering(&wake, Reason::TooMany, WakeAnswer::Busy)),
        }
        wake.relay.retain(|address| self.pins.relays.contains(address));
        if wake.relay.is_empty() {
            return Err(Rejected::answering(&wake, Reason::RelayNotAllowed, WakeAnswer::Denied));
        }
        if self.dials.take(now.monotonic).is_err() {
            return Err(Rejected::answering(&wake, Reason::TooMany, WakeAnswer::Busy));
        }
        if open_tunnels >= self.pins.tunnels_max {
            return Err(Rejected::answering(&wake, Reason::TunnelCap, WakeAnswer::Busy));
        }
        Ok(wake)
    }

    /// Checks key, signature and version: after this, the relay is the author.
    fn authentic(&self, text: &[u8]) -> Result<Wake, Reason> {
        let [payload, signature] = envelope::split(text, WAKE_MAX).ok_or(Reason::NotAWake)?;
        let head: WakeHead = serde_json::from_slice(&payload).map_err(|_| Reason::NotAWake)?;
        let key = self.pins.keys.find(&head.kid).ok_or(Reason::UnknownKey)?;
        if !verifies(key, &envelope::signed(WAKE_DOMAIN, &payload), &signature) {
            return Err(Reason::BadSignature);
        }
        let WakeVersion { v } = serde_json::from_slice(&payload).map_err(|_| Reason::Malformed)?;
        if v != u64::from(VERSION) {
            return Err(Reason::Version(v));
        }
        let wake: Wake = serde_json::from_slice(&payload).map_err(|_| Reason::Malformed)?;
        let sound = wake.hk.is_sha256() && wake.svc > 0 && wake.relay.len() <= ADDRESSES_MAX;
        if sound { Ok(wake) } else { Err(Reason::Malformed) }
    }

    fn check_time(&self, wake: &Wake, now: u64) -> Result<(), Rejected> {
        if self.pins.clock == Clock::Absent {
            return Ok(());
        }
        let reason = match (wake.iat.saturating_sub(SKEW).checked_sub(now), now.checked_sub(wake.exp)) {
            (Some(early @ 1..), _) => Reason::Early(early.saturating_add(SKEW)),
            (_, Some(late @ 1..)) => Reason::Late(late),
            _ => return Ok(()),
        };
        Err(Rejected::answering(wake, reason, WakeAnswer::Clock))
    }
}
