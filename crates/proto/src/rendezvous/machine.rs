//! Holds the facts, and changes them by events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::places::Spent;
use super::settle::Settling;
use super::{Action, COUNTED_MAX, Event, SETTLING, Settings, TunnelId, Unreachable, Visit, VisitorId, WAIT_MAX, WAKE_GAP};
use crate::admission::Source;
use crate::id::DeviceId;
use crate::rate::Buckets;
use crate::wake::{Acknowledgement, Answer, Jti, Moment, Presence, Ticket};

/// What a visitor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
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
pub(super) struct Visitor {
    pub(super) device: DeviceId,
    pub(super) port: u16,
    pub(super) key: String,
    pub(super) source: Source,
    pub(super) stands: Stands,
    /// Until when the visitor waits for a device that doesn't connect at once; `None` for a visitor who wants in now.
    pub(super) patience: Option<Duration>,
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
    pub(super) last_wake: Option<Moment>,
    /// The connection that showed the ticket.
    pub(super) dialled: Option<TunnelId>,
    /// Whether the device has said that it connects.
    pub(super) dials: bool,
    /// What the device, or the broker, said instead.
    pub(super) failed: Option<Unreachable>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Device {
    pub(super) round: Option<Round>,
    /// The connection in use: the newest that offers a port.
    pub(super) current: Option<TunnelId>,
    /// The time before which no wake is sent.
    pub(super) rests_until: Duration,
    /// Whether the next wake has been counted already.
    pub(super) prepaid: bool,
    pub(super) status: Option<(Presence, u64)>,
    pub(super) watched: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Tunnel {
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
    pub(super) settings: Settings,
    pub(super) visitors: BTreeMap<VisitorId, Visitor>,
    pub(super) devices: BTreeMap<DeviceId, Device>,
    pub(super) tunnels: BTreeMap<TunnelId, Tunnel>,
    pub(super) spent: Spent,
}

impl Rendezvous {
    /// Starts without visitors and connections.
    pub fn new(settings: Settings) -> Self {
        let spent = Spent {
            by_key: Buckets::new(settings.limits.wakes_per_key, COUNTED_MAX),
            by_source: Buckets::new(settings.limits.wakes_per_source, COUNTED_MAX),
        };
        Self { settings, visitors: BTreeMap::new(), devices: BTreeMap::new(), tunnels: BTreeMap::new(), spent }
    }

    /// Handles an event; returns the actions, in order. `dice` fills a buffer with random bytes that can't be guessed.
    pub fn handle(&mut self, event: Event, now: Moment, dice: &mut dyn FnMut(&mut [u8])) -> Vec<Action> {
        let mut actions = Vec::new();
        let concerned = self.take(event, now, &mut actions);
        Settling { state: self, now, dice, actions: &mut actions }.run(&concerned);
        actions
    }

    /// Returns when [`Event::Tick`] is due next, on the monotonic clock.
    pub fn deadline(&self) -> Option<Duration> {
        let visitors = self.visitors.values().filter_map(|visitor| match visitor.stands {
            Stands::Waiting(until) => Some(self.settled(&visitor.device).map_or(until, |settled| until.min(settled))),
            Stands::Parked { retry, .. } => Some(visitor.patience.map_or(retry, |until| until.min(retry))),
            Stands::Opening(_) | Stands::Inside(_) => None,
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
    fn take(&mut self, event: Event, now: Moment, actions: &mut Vec<Action>) -> Vec<DeviceId> {
        match event {
            Event::Visit(visit) => self.visit(visit, now, actions),
            Event::Opened(visitor) => {
                if let Some(visitor) = self.visitors.get_mut(&visitor)
                    && let Stands::Opening(tunnel) = visitor.stands
                {
                    visitor.stands = Stands::Inside(tunnel);
                }
                Vec::new()
            }
            Event::Left(visitor) => self.visitors.remove(&visitor).map(|visitor| visitor.device).into_iter().collect(),
            Event::NotPublished(device, jti) => {
                self.fail(&device, jti, Unreachable::Broker);
                vec![device]
            }
            Event::Answered(device, answer) => {
                self.answer(&device, answer, now);
                vec![device]
            }
            Event::DialledBack { tunnel, device, ticket } => {
                let good = self.dial_back(tunnel, &device, ticket, now);
                actions.push(if good { Action::Accept(tunnel) } else { Action::Reject(tunnel) });
                vec![device]
            }
            Event::Listening { tunnel, device, port } => {
                self.listen(tunnel, &device, port, now);
                vec![device]
            }
            Event::NotListening { tunnel, device, port } => {
                self.stop_listening(tunnel, &device, port);
                vec![device]
            }
            Event::Gone(tunnel) => self.gone(tunnel, now),
            Event::Seen { device, presence, since } => {
                self.seen(&device, presence, since);
                vec![device]
            }
            Event::Tick => {
                let waited_for = self.visitors.values().filter(|visitor| visitor.waits()).map(|visitor| &visitor.device);
                let all: BTreeSet<_> = self.devices.keys().chain(waited_for).cloned().collect();
                all.into_iter().collect()
            }
        }
    }

    fn visit(&mut self, visit: Visit, now: Moment, actions: &mut Vec<Action>) -> Vec<DeviceId> {
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
        let Visit { visitor, device, port, key, source, wait } = visit;
        let stands = Stands::Waiting(now.monotonic.saturating_add(self.settings.wake_deadline));
        let patience = wait.map(|wait| now.monotonic.saturating_add(wait.min(WAIT_MAX)));
        self.devices.entry(device.clone()).or_default();
        self.visitors.insert(visitor, Visitor { device, port, key, source, stands, patience, breaks: 0 });
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

    fn answer(&mut self, device: &DeviceId, answer: Acknowledgement, now: Moment) {
        let (jti, detail, named) = (answer.jti, answer.detail, device.clone());
        let why = match (answer.ans, self.settings.woken_to.clone()) {
            (Answer::Ok, _) | (_, None) => {
                if let Some(round) = self.round_of(device, jti) {
                    round.dials = true;
                }
                return;
            }
            (Answer::Busy, _) => Unreachable::Busy { device: named, detail },
            (Answer::Denied, _) => Unreachable::Denied { device: named, detail },
            (Answer::Clock, _) => Unreachable::Clock { device: named, seconds: answer.t.abs_diff(now.unix) },
            (Answer::DialFailed, Some(relay)) => Unreachable::DialFailed { device: named, relay, detail },
        };
        self.fail(device, jti, why);
    }

    fn dial_back(&mut self, tunnel: TunnelId, device: &DeviceId, ticket: Ticket, now: Moment) -> bool {
        let Some(round) = self.devices.get_mut(device).and_then(|known| known.round.as_mut()) else { return false };
        if round.ticket != Some(ticket) || self.tunnels.contains_key(&tunnel) {
            return false;
        }
        round.ticket = None;
        round.dialled = Some(tunnel);
        let settled = now.monotonic.saturating_add(self.settings.wake_deadline);
        self.tunnels.insert(tunnel, Tunnel { woken: Some(device.clone()), offers: BTreeSet::new(), settled, closes: None });
        true
    }

    fn listen(&mut self, tunnel: TunnelId, device: &DeviceId, port: u16, now: Moment) {
        let settled = now.monotonic.saturating_add(SETTLING);
        let standing = || Tunnel { woken: None, offers: BTreeSet::new(), settled, closes: None };
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

    fn gone(&mut self, tunnel: TunnelId, now: Moment) -> Vec<DeviceId> {
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
        let again = Stands::Waiting(now.monotonic.saturating_add(self.settings.wake_deadline));
        self.visitors.retain(|_, visitor| visitor.stands != Stands::Inside(tunnel));
        for visitor in self.visitors.values_mut().filter(|visitor| visitor.stands == Stands::Opening(tunnel)) {
            visitor.stands = again;
            visitor.breaks = visitor.breaks.saturating_add(1);
            concerned.push(visitor.device.clone());
        }
        concerned
    }

    fn seen(&mut self, device: &DeviceId, presence: Presence, since: u64) {
        let Some(known) = self.devices.get_mut(device) else { return };
        let came = presence == Presence::Online && known.status != Some((presence, since));
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
            if let Stands::Parked { since, retry } = &mut visitor.stands {
                *retry = (*retry).min(since.saturating_add(WAKE_GAP));
            }
        }
    }
}

impl Visitor {
    pub(super) fn waits(&self) -> bool {
        matches!(self.stands, Stands::Waiting(_) | Stands::Parked { .. })
    }
}
