//! Draws the conclusions from the facts after each event, for each device concerned.

use std::collections::VecDeque;
use std::time::Duration;

use super::machine::{Rendezvous, Round, WaitingVisitor, WaitsFor};
use super::{Action, RETRY, Unreachable, VisitorId, WAKE_GAP};
use crate::id::DeviceId;
use crate::wake::{ClockReading, DevicePresence, Jti, Ticket};

/// How many channels may break before the visitor is refused.
const BREAKS_MAX: u8 = 1;
/// How many wakes of a round may still be answered.
const ANSWERABLE: usize = 2;

pub(super) struct Settling<'a> {
    pub(super) state: &'a mut Rendezvous,
    pub(super) now: ClockReading,
    pub(super) dice: &'a mut dyn FnMut(&mut [u8]),
    pub(super) actions: &'a mut Vec<Action>,
}

impl Settling<'_> {
    pub(super) fn run(&mut self, concerned: &[DeviceId]) {
        for device in concerned {
            if !self.waiting(device).is_empty() {
                self.state.devices.entry(device.clone()).or_default();
            }
            self.open_channels(device);
            self.answer_those_in_vain(device);
            self.keep_round(device);
            self.keep_watch(device);
        }
        self.keep_tunnels();
        self.state.devices.retain(|_, device| device.round.is_some() || device.current.is_some() || device.watched);
    }

    fn waiting(&self, device: &DeviceId) -> Vec<VisitorId> {
        let waiting = self.state.visitors.iter().filter(|(_, visitor)| visitor.device == *device && visitor.waits());
        waiting.map(|(id, _)| *id).collect()
    }

    /// Opens channels for visitors whose port is offered now.
    fn open_channels(&mut self, device: &DeviceId) {
        let Some(tunnel) = self.state.devices.get(device).and_then(|known| known.current) else { return };
        for id in self.waiting(device) {
            let (Some(visitor), Some(through)) = (self.state.visitors.get_mut(&id), self.state.tunnels.get(&tunnel)) else { continue };
            let port = visitor.port;
            if visitor.breaks > BREAKS_MAX || !through.offers.contains(&(device.clone(), port)) {
                continue;
            }
            visitor.stands = WaitsFor::Opening(tunnel);
            self.actions.push(Action::Open { visitor: id, tunnel, device: device.clone(), port });
        }
    }

    /// Refuses the visitors who wait in vain, or parks them if they said that they wait.
    fn answer_those_in_vain(&mut self, device: &DeviceId) {
        let now = self.now.monotonic;
        let again = now.saturating_add(self.state.settings.wake_deadline);
        // It connected while it was being woken, and may not have received the wake: it is woken again soon.
        let came = self.state.devices.get(device).is_some_and(|known| {
            let last = known.round.as_ref().and_then(|round| round.last_wake);
            matches!((known.status, last), (Some((DevicePresence::Online, since)), Some(last)) if last.unix <= since)
        });
        let retry = now.saturating_add(if came { WAKE_GAP } else { RETRY });
        for id in self.waiting(device) {
            let Some(visitor) = self.state.visitors.get(&id) else { continue };
            let patient = visitor.waits_until.is_some_and(|waits_until| now < waits_until);
            let (until, returns) = match visitor.stands {
                WaitsFor::Waiting(until) => (until, false),
                WaitsFor::Parked { .. } if !patient => (now, false),
                WaitsFor::Parked { retry, .. } if now >= retry => {
                    (visitor.waits_until.map_or(again, |waits_until| again.min(waits_until)), true)
                }
                _ => continue,
            };
            let why = self.in_vain(device, visitor, until);
            if returns && why.is_none() && !self.may_wake_again(device, id) {
                continue;
            }
            match (why, self.state.visitors.get_mut(&id)) {
                (Some(_), Some(visitor)) if patient => {
                    visitor.stands = WaitsFor::Parked { since: now, retry };
                    visitor.breaks = 0;
                }
                (Some(why), _) => {
                    self.state.visitors.remove(&id);
                    self.actions.push(Action::Refuse(id, why));
                }
                (None, Some(visitor)) => visitor.stands = WaitsFor::Waiting(until),
                (None, None) => {}
            }
        }
    }

    /// Returns whether a waiting visitor may have the device woken once more, if that is needed: it counts like its first wake. If it may
    /// not, the visitor waits until it may.
    fn may_wake_again(&mut self, device: &DeviceId, id: VisitorId) -> bool {
        let Rendezvous { visitors, devices, spent, settings, .. } = &mut *self.state;
        let (Some(visitor), Some(known)) = (visitors.get_mut(&id), devices.get_mut(device)) else { return false };
        if known.round.is_some() || known.prepaid || known.current.is_some() || settings.woken_to.is_none() {
            return true;
        }
        match (spent.take(&visitor.key, visitor.source, self.now.monotonic), &mut visitor.stands) {
            (Err(after), WaitsFor::Parked { retry, .. }) => {
                *retry = self.now.monotonic.saturating_add(after.max(WAKE_GAP));
                false
            }
            (counted, _) => {
                known.prepaid = counted.is_ok();
                true
            }
        }
    }

    /// Returns why it is in vain for this visitor to wait until then, if it is.
    fn in_vain(&self, device: &DeviceId, visitor: &WaitingVisitor, until: Duration) -> Option<Unreachable> {
        let now = self.now.monotonic;
        let known = self.state.devices.get(device)?;
        if visitor.breaks > BREAKS_MAX {
            return Some(Unreachable::Lost(device.clone()));
        }
        if let Some(tunnel) = known.current.and_then(|tunnel| self.state.tunnels.get(&tunnel)) {
            return (now >= tunnel.settled.min(until)).then(|| Unreachable::NoSuchPort { device: device.clone(), port: visitor.port });
        }
        if self.state.settings.woken_to.is_none() {
            return Some(Unreachable::NotConnected(device.clone()));
        }
        if let Some(failed) = known.round.as_ref().and_then(|round| round.failed.clone()) {
            return Some(failed);
        }
        (now >= until).then(|| self.no_answer(device))
    }

    /// Returns the sentence for a device that was woken and didn't connect; its status decides the wording.
    fn no_answer(&self, device: &DeviceId) -> Unreachable {
        let (named, within) = (device.clone(), self.state.settings.wake_deadline);
        let known = self.state.devices.get(device);
        let dials = known.and_then(|known| known.round.as_ref()).is_some_and(|round| round.dials && round.dialled.is_none());
        match (known.and_then(|known| known.status), &self.state.settings.woken_to) {
            (_, None) => Unreachable::NotConnected(named),
            (_, Some(relay)) if dials => {
                let detail = format!("no connection within {} s", within.as_secs());
                Unreachable::DialFailed { device: named, relay: relay.clone(), detail }
            }
            (Some((DevicePresence::Offline, since)), _) => Unreachable::Offline { device: named, since, now: self.now.unix },
            _ => Unreachable::NoAnswer { device: named, within },
        }
    }

    /// Keeps a wake pending while a visitor waits for an absent device; otherwise voids its ticket.
    fn keep_round(&mut self, device: &DeviceId) {
        let now = self.now.monotonic;
        let in_time = now.saturating_add(self.state.settings.wake_deadline);
        let first =
            self.state.visitors.values().find(|visitor| visitor.device == *device && matches!(visitor.stands, WaitsFor::Waiting(_)));
        let port = first.map(|visitor| visitor.port);
        let broker = self.state.settings.woken_to.is_some();
        let Rendezvous { visitors, devices, spent, .. } = &mut *self.state;
        let Some(known) = devices.get_mut(device) else { return };
        let Some(port) = port.filter(|_| known.current.is_none() && broker) else {
            (known.round, known.prepaid) = (None, false);
            return;
        };
        let rests_until = known.rests_until;
        let round = known.round.get_or_insert_with(|| Round::starting(rests_until.max(now)));
        // The visitors of the failed wake have been told; those who wait now have been parked.
        let failed = round.failed.take().is_some();
        if round.dialled.is_some() {
            // It is connected and must offer its port now: another wake would bring another connection.
            round.next_wake = in_time;
            return;
        }
        if round.ticket.is_none() && !round.wakes.is_empty() {
            // The connection that showed the ticket has ended.
            round.wakes.clear();
            round.dials = false;
            round.next_wake = rests_until.max(now);
        }
        if now < round.next_wake && !failed {
            return;
        }
        if !std::mem::take(&mut known.prepaid) {
            // The wake counts for one of the waiting visitors.
            let mut waiting =
                visitors.values().filter(|visitor| visitor.device == *device && matches!(visitor.stands, WaitsFor::Waiting(_)));
            let mut later = RETRY;
            let counted = waiting.any(|visitor| {
                let counted = spent.take(&visitor.key, visitor.source, now);
                counted.map_err(|after| later = later.min(after)).is_ok()
            });
            if !counted {
                round.next_wake = now.saturating_add(later.max(WAKE_GAP));
                return;
            }
        }
        let action = wake(round, device, port, self.dice);
        round.last_wake = Some(self.now);
        round.next_wake = in_time;
        self.actions.push(action);
    }

    fn keep_watch(&mut self, device: &DeviceId) {
        let waited_for = !self.waiting(device).is_empty() && self.state.settings.woken_to.is_some();
        let Some(known) = self.state.devices.get_mut(device) else { return };
        if waited_for != known.watched {
            self.actions.push(if waited_for { Action::Watch(device.clone()) } else { Action::Unwatch(device.clone()) });
            known.watched = waited_for;
            known.status.take_if(|_| !waited_for);
        }
    }

    /// Closes a woken connection when no visitor has used it for a while.
    fn keep_tunnels(&mut self) {
        let now = self.now.monotonic;
        let closes = now.saturating_add(self.state.settings.linger);
        let mut closed = Vec::new();
        for (id, tunnel) in &mut self.state.tunnels {
            let Some(device) = &tunnel.woken else { continue };
            let inside = |stands: WaitsFor| stands == WaitsFor::Opening(*id) || stands == WaitsFor::Inside(*id);
            let used = self.state.visitors.values().any(|visitor| inside(visitor.stands) || (visitor.device == *device && visitor.waits()));
            match tunnel.closes {
                _ if used => tunnel.closes = None,
                None => tunnel.closes = Some(closes),
                Some(at) if at <= now => closed.push((*id, device.clone())),
                Some(_) => {}
            }
        }
        for (id, device) in closed {
            self.state.tunnels.remove(&id);
            if let Some(known) = self.state.devices.get_mut(&device) {
                known.current.take_if(|current| *current == id);
            }
            self.actions.push(Action::Close(id));
        }
    }
}

impl Round {
    fn starting(at: Duration) -> Self {
        Self { ticket: None, wakes: VecDeque::new(), next_wake: at, last_wake: None, dialled: None, dials: false, failed: None }
    }
}

/// Sends one more wake of a round: a new wake, with the same ticket until a device has shown it, so that a slow device gets in with
/// either.
fn wake(round: &mut Round, device: &DeviceId, port: u16, dice: &mut dyn FnMut(&mut [u8])) -> Action {
    let (mut of_wake, mut of_ticket) = ([0; 16], [0; 32]);
    dice(&mut of_wake);
    dice(&mut of_ticket);
    let jti = Jti::new(of_wake);
    let ticket = round.ticket.unwrap_or(Ticket::new(of_ticket));
    round.ticket = Some(ticket);
    round.wakes.push_back(jti);
    round.wakes.drain(..round.wakes.len().saturating_sub(ANSWERABLE));
    Action::Publish { device: device.clone(), jti, ticket, port }
}
