//! Holds the facts, and changes them by events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::settle::Settling;
use super::wake_limits::WakesSpent;
use super::{
    Action, COUNTED_MAX, RendezvousEvent, RendezvousSettings, SETTLING, TunnelId, Unreachable, VisitRequest, VisitorId, WAIT_MAX, WAKE_GAP,
};
use crate::admission::ClientSource;
use crate::id::DeviceId;
use crate::rate::Buckets;
use crate::wake::{Acknowledgement, ClockReading, DevicePresence, Jti, Ticket, WakeAnswer};

/// What a visitor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// For an answer now, at most until this time.
    Waiting(Duration),
    /// For the device to connect, since `since`; it is woken again at `retry`.
    Parked { since: Duration, retry: Duration },
    /// For the channel that is being opened through this connection.
    Opening(TunnelId),
    /// For nothing: the visitor is connected.
    Inside(TunnelId),
}

#[derive(Clone, Debug)]
pub(super) struct WaitingVisitor {
    pub(super) device: DeviceId,
    pub(super) port: u16,
    pub(super) key: String,
    pub(super) source: ClientSource,
    pub(super) stands: WaitsFor,
    /// Until when the visitor waits for a device that doesn't connect at once; `None` for a visitor who wants in now.
    pub(super) waits_until: Option<Duration>,
    /// How many channels broke before they were open.
    pub(super) breaks: u8,
}

/// One wake, or several in a row for visitors who keep coming.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// The ticket, until a device has shown it.
    pub(super) ticket: Option<Ticket>,
    /// The wakes that may still be answered: the last and the one before.
    pub(super) wakes: VecDeque<Jti>,
    pub(super) next_wake: Duration,
    /// When the last wake was published, by both clocks.
    pub(super) last_wake: Option<ClockReading>,
    /// The connection that showed the ticket.
    pub(super) dialled: Option<TunnelId>,
    /// Whether the device has said that it connects.
    pub(super) dials: bool,
    /// What the device, or the broker, said instead.
    pub(super) failed: Option<Unreachable>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct DeviceState {
    pub(super) round: Option<Round>,
    /// The connection in use: the newest that offers a port.
    pub(super) current: Option<TunnelId>,
    /// The time before which no wake is sent.
    pub(super) rests_until: Duration,
    /// Whether the next wake has been counted already.
    pub(super) prepaid: bool,
    pub(super) status: Option<(DevicePresence, u64)>,
    pub(super) watched: bool,
}

#[derive(Clone, Debug)]
pub(super) struct TunnelState {
    /// The device whose ticket it showed: it may act only for this device, and is closed when no visitor needs it.
    pub(super) woken: Option<DeviceId>,
    pub(super) offers: BTreeSet<(DeviceId, u16)>,
    /// When it should offer all its ports.
    pub(super) settled: Duration,
    /// When it is closed, if no visitor uses it.
    pub(super) closes: Option<Duration>,
}

/// The state machine of the rendezvous.
#[derive(Debug)]
pub struct Rendezvous {
    pub(super) settings: RendezvousSettings,
    pub(super) visitors: BTreeMap<VisitorId, WaitingVisitor>,
    pub(super) devices: BTreeMap<DeviceId, DeviceState>,
    pub(super) tunnels: BTreeMap<TunnelId, TunnelState>,
    pub(super) spent: WakesSpent,
}

impl Rendezvous {
    /// Starts without visitors and connections.
    pub fn new(settings: RendezvousSettings) -> Self {
        let spent = WakesSpent {
            by_key: Buckets::new(settings.limits.wakes_per_key, COUNTED_MAX),
            by_source: Buckets::new(settings.limits.wakes_per_source, COUNTED_MAX),
        };
        Self { settings, visitors: BTreeMap::new(), devices: BTreeMap::new(), tunnels: BTreeMap::new(), spent }
    }

    /// Handles an event; returns the actions, in order. `dice` fills a buffer with random bytes that can't be guessed.
    pub fn handle(&mut self, event: RendezvousEvent, now: ClockReading, dice: &mut dyn FnMut(&mut [u8])) -> Vec<Action> {
        let mut actions = Vec::new();
        let concerned = self.take(event, now, &mut actions);
        Settling { state: self, now, dice, actions: &mut actions }.run(&concerned);
        actions
    }

    /// Returns when [`RendezvousEvent::Tick`] is due next, on the monotonic clock.
    pub fn deadline(&self) -> Option<Duration> {
        let visitors = self.visitors.values().filter_map(|visitor| match visitor.stands {
            WaitsFor::Waiting(until) => Some(self.settled(&visitor.device).map_or(until, |settled| until.min(settled))),
            WaitsFor::Parked { retry, .. } => Some(visitor.waits_until.map_or(retry, |until| until.min(retry))),
            WaitsFor::Opening(_) | WaitsFor::Inside(_) => None,
        });
        let wakes = self.devices.values().filter_map(|device| device.round.as_ref().map(|round| round.next_wake));
        let tunnels = self.tunnels.values().filter_map(|tunnel| tunnel.closes);
        visitors.chain(wakes).chain(tunnels).min()
    }

    /// Returns whether no visitor waits, no wake is pending and no connection is kept.
    pub fn is_idle(&self) -> bool {
        self.visitors.is_empty() && self.devices.is_empty() && self.tunnels.is_empty()
    }

    /// Returns how many visitors wait, and how many are connected or about to be.
    pub fn counts(&self) -> (usize, usize) {
        let waiting = self.visitors.values().filter(|visitor| visitor.waits()).count();
        (waiting, self.visitors.len().saturating_sub(waiting))
    }

    /// Returns when the connection that a device has now should offer all its ports.
    fn settled(&self, device: &DeviceId) -> Option<Duration> {
        self.tunnels.get(&self.devices.get(device)?.current?).map(|tunnel| tunnel.settled)
    }

    /// Changes the facts; returns the devices concerned.
    fn take(&mut self, event: RendezvousEvent, now: ClockReading, actions: &mut Vec<Action>) -> Vec<DeviceId> {
        match event {
            RendezvousEvent::Visit(visit) => self.visit(visit, now, actions),
            RendezvousEvent::Opened(visitor) => {
                if let Some(visitor) = self.visitors.get_mut(&visitor)
                    && let WaitsFor::Opening(tunnel) = visitor.stands
                {
                    visitor.stands = WaitsFor::Inside(tunnel);
                }
                Vec::new()
            }
            RendezvousEvent::Left(visitor) => self.visitors.remove(&visitor).map(|visitor| visitor.device).into_iter().collect(),
            RendezvousEvent::NotPublished(device, jti) => {
                self.fail(&device, jti, Unreachable::Broker);
                vec![device]
            }
            RendezvousEvent::Answered(device, answer) => {
                self.answer(&device, answer, now);
                vec![device]
            }
            RendezvousEvent::DialledBack { tunnel, device, ticket } => {
                let good = self.dial_back(tunnel, &device, ticket, now);
                actions.push(if good { Action::Accept(tunnel) } else { Action::Reject(tunnel) });
                vec![device]
            }
            RendezvousEvent::Listening { tunnel, device, port } => {
                self.listen(tunnel, &device, port, now);
                vec![device]
            }
            RendezvousEvent::NotListening { tunnel, device, port } => {
                self.stop_listening(tunnel, &device, port);
                vec![device]
            }
            RendezvousEvent::Gone(tunnel) => self.gone(tunnel, now),
            RendezvousEvent::Seen { device, presence, since } => {
                self.seen(&device, presence, since);
                vec![device]
            }
            RendezvousEvent::Tick => {
                let waited_for = self.visitors.values().filter(|visitor| visitor.waits()).map(|visitor| &visitor.device);
                let all: BTreeSet<_> = self.devices.keys().chain(waited_for).cloned().collect();
                all.into_iter().collect()
            }
        }
    }

    fn visit(&mut self, visit: VisitRequest, now: ClockReading, actions: &mut Vec<Action>) -> Vec<DeviceId> {
        if self.visitors.contains_key(&visit.visitor) {
            return Vec::new();
        }
        let mut concerned = vec![visit.device.clone()];
        match self.admit(&visit, now.monotonic) {
            Err(why) => {
                actions.push(Action::Refuse(visit.visitor, why));
                return Vec::new();
            }
            Ok(Some((leaves, why))) => {
                concerned.extend(self.visitors.remove(&leaves).map(|visitor| visitor.device));
                actions.push(Action::Refuse(leaves, why));
            }
            Ok(None) => {}
        }
        let VisitRequest { visitor, device, port, key, source, wait } = visit;
        let stands = WaitsFor::Waiting(now.monotonic.saturating_add(self.settings.wake_deadline));
        let waits_until = wait.map(|wait| now.monotonic.saturating_add(wait.min(WAIT_MAX)));
        self.devices.entry(device.clone()).or_default();
        self.visitors.insert(visitor, WaitingVisitor { device, port, key, source, stands, waits_until, breaks: 0 });
        concerned
    }

    fn round_of(&mut self, device: &DeviceId, jti: Jti) -> Option<&mut Round> {
        let round = self.devices.get_mut(device)?.round.as_mut()?;
        (round.wakes.contains(&jti) && round.dialled.is_none()).then_some(round)
    }

    fn fail(&mut self, device: &DeviceId, jti: Jti, why: Unreachable) {
        if let Some(round) = self.round_of(device, jti) {
            round.failed = Some(why);
        }
    }

    fn answer(&mut self, device: &DeviceId, answer: Acknowledgement, now: ClockReading) {
        let (jti, detail, named) = (answer.jti, answer.detail, device.clone());
        let why = match (answer.ans, self.settings.woken_to.clone()) {
            (WakeAnswer::Ok, _) | (_, None) => {
                if let Some(round) = self.round_of(device, jti) {
                    round.dials = true;
                }
                return;
            }
            (WakeAnswer::Busy, _) => Unreachable::Busy { device: named, detail },
            (WakeAnswer::Denied, _) => Unreachable::Denied { device: named, detail },
            (WakeAnswer::Clock, _) => Unreachable::Clock { device: named, seconds: answer.t.abs_diff(now.unix) },
            (WakeAnswer::DialFailed, Some(relay)) => Unreachable::DialFailed { device: named, relay, detail },
        };
        self.fail(device, jti, why);
    }

    fn dial_back(&mut self, tunnel: TunnelId, device: &DeviceId, ticket: Ticket, now: ClockReading) -> bool {
        let Some(round) = self.devices.get_mut(device).and_then(|known| known.round.as_mut()) else { return false };
        if round.ticket != Some(ticket) || self.tunnels.contains_key(&tunnel) {
            return false;
        }
        round.ticket = None;
        round.dialled = Some(tunnel);
        let settled = now.monotonic.saturating_add(self.settings.wake_deadline);
        self.tunnels.insert(tunnel, TunnelState { woken: Some(device.clone()), offers: BTreeSet::new(), settled, closes: None });
        true
    }

    fn listen(&mut self, tunnel: TunnelId, device: &DeviceId, port: u16, now: ClockReading) {
        let settled = now.monotonic.saturating_add(SETTLING);
        let standing = || TunnelState { woken: None, offers: BTreeSet::new(), settled, closes: None };
        let entry = self.tunnels.entry(tunnel).or_insert_with(standing);
        // A connection that was woken as one device can't act for another.
        if entry.woken.as_ref().is_some_and(|woken| woken != device) {
            return;
        }
        if entry.offers.is_empty() {
            entry.settled = settled;
        }
        entry.offers.insert((device.clone(), port));
        self.devices.entry(device.clone()).or_default().current = Some(tunnel);
    }

    fn stop_listening(&mut self, tunnel: TunnelId, device: &DeviceId, port: u16) {
        let Some(entry) = self.tunnels.get_mut(&tunnel) else { return };
        entry.offers.remove(&(device.clone(), port));
        let offered = entry.offers.iter().any(|(offered, _)| offered == device);
        if entry.offers.is_empty() && entry.woken.is_none() {
            self.tunnels.remove(&tunnel);
        }
        if !offered
            && let Some(known) = self.devices.get_mut(device)
            && known.current == Some(tunnel)
        {
            known.current = None;
        }
    }

    fn gone(&mut self, tunnel: TunnelId, now: ClockReading) -> Vec<DeviceId> {
        self.tunnels.remove(&tunnel);
        let mut concerned = Vec::new();
        for (id, device) in &mut self.devices {
            let used = device.current.take_if(|current| *current == tunnel).is_some();
            let dialled = device.round.as_mut().and_then(|round| round.dialled.take_if(|dialled| *dialled == tunnel)).is_some();
            if used || dialled {
                // A device that connects and breaks off must not be woken in a circle.
                device.rests_until = now.monotonic.saturating_add(WAKE_GAP);
                concerned.push(id.clone());
            }
        }
        let again = WaitsFor::Waiting(now.monotonic.saturating_add(self.settings.wake_deadline));
        self.visitors.retain(|_, visitor| visitor.stands != WaitsFor::Inside(tunnel));
        for visitor in self.visitors.values_mut().filter(|visitor| visitor.stands == WaitsFor::Opening(tunnel)) {
            visitor.stands = again;
            visitor.breaks = visitor.breaks.saturating_add(1);
            concerned.push(visitor.device.clone());
        }
        concerned
    }

    fn seen(&mut self, device: &DeviceId, presence: DevicePresence, since: u64) {
        let Some(known) = self.devices.get_mut(device) else { return };
        let came = presence == DevicePresence::Online && known.status != Some((presence, since));
        known.status = Some((presence, since));
        if !came {
            return;
        }
        // It connected after the wake, which it hasn't received then.
        if let Some(round) = known.round.as_mut()
            && round.dialled.is_none()
            && !round.dials
            && let Some(last) = round.last_wake.filter(|last| last.unix <= since)
        {
            round.next_wake = round.next_wake.min(last.monotonic.saturating_add(WAKE_GAP));
        }
        for visitor in self.visitors.values_mut().filter(|visitor| visitor.device == *device) {
            if let WaitsFor::Parked { since, retry } = &mut visitor.stands {
                *retry = (*retry).min(since.saturating_add(WAKE_GAP));
            }
        }
    }
}

impl WaitingVisitor {
    pub(super) fn waits(&self) -> bool {
        matches!(self.stands, WaitsFor::Waiting(_) | WaitsFor::Parked { .. })
    }
}
