//! Wakes a device that isn't connected. Feeds events to the pure machine of `sally_proto::rendezvous`, and performs its actions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use sally_proto::relay::{Refusal, Slot};
use sally_proto::rendezvous::{Action, Rendezvous, RendezvousEvent, SETTLING, TunnelId, Unreachable, VisitRequest, VisitorId};
use sally_proto::wake::{Acknowledgement, ClockReading, Jti, LIFETIME, Prefix, RelayId, StatusMessage, Ticket, Topic, VERSION, Wake};
use tokio::sync::{Notify, mpsc, watch};

use super::audit::RelayEvent as Audited;
use super::bus::Bus;
use super::client::Client;
use super::fleet::{self, RelayFleet};
use super::route::Opened;
use super::{Relay, rules};
use crate::broker::Broker;
use crate::clock::unix_time_or_expired;
use crate::lock::lock;
use crate::mqtt::client::MqttMessage;
use crate::mqtt::{MqttEvent as Heard, Unpublished};
use crate::term;

/// The number of notes that may wait for the audit log; further ones are counted as lost there.
const NOTES: usize = 1024;
/// The number of wakes whose answers are awaited: those of some seconds.
const AWAITED: usize = 4096;
/// The answers to one wake: a device says that it dials, and then perhaps that it could not.
const ANSWERS: u8 = 2;

/// The state of waking devices.
pub struct Wakes {
    /// The fleet of these devices.
    pub(crate) fleet: RelayFleet,
    settings: WakeSettings,
    broker: Bus,
    /// The broker in this process, if there is one.
    pub(super) embedded: Option<Broker>,
    state: Mutex<WakeState>,
    /// Notified when the machine's next deadline may have changed.
    changed: Notify,
    began: Instant,
    notes: mpsc::Sender<Note>,
    /// The number of notes for which the queue had no room.
    unnoted: AtomicU64,
    /// Wakes published lately, and how many answers to each are still logged.
    awaited: Mutex<VecDeque<(Jti, u8)>>,
    /// The number of wakes published.
    pub(super) published: AtomicU64,
    /// Whether the broker is connected.
    pub(super) broker_up: AtomicBool,
}

/// The settings for waking devices.
#[derive(Clone, Debug)]
pub struct WakeSettings {
    /// This relay's name in topics.
    pub id: RelayId,
    /// The addresses that devices are told to dial.
    pub addresses: Vec<HostPort>,
    /// The prefix of every topic.
    pub prefix: Prefix,
    /// The machine's settings.
    pub rendezvous: sally_proto::rendezvous::RendezvousSettings,
}

/// The receivers that a running relay with a fleet must serve: the broker's events, and notes for the audit log.
pub struct WakeInputs {
    heard: mpsc::Receiver<Heard>,
    notes: mpsc::Receiver<Note>,
}

#[derive(Debug)]
struct WakeState {
    rendezvous: Rendezvous,
    /// The last answer to each waiting visitor.
    results: BTreeMap<VisitorId, watch::Sender<Option<WaitResult>>>,
}

/// The answer to a waiting visitor.
#[derive(Clone, Debug)]
enum WaitResult {
    Open(TunnelId),
    Refused(Unreachable),
}

/// A note for the audit log: what was done about a device.
#[derive(Debug)]
struct Note {
    device: DeviceId,
    jti: Option<Jti>,
    what: &'static str,
    detail: String,
}

impl Wakes {
    /// Creates the state. `broker` may still be connecting; `embedded` is kept as long as the state lives.
    pub fn new(
        fleet: RelayFleet,
        settings: WakeSettings,
        broker: (Bus, mpsc::Receiver<Heard>),
        embedded: Option<Broker>,
    ) -> (Self, WakeInputs) {
        let (notes, noted) = mpsc::channel(NOTES);
        let rendezvous = Rendezvous::new(settings.rendezvous.clone());
        let wakes = Self {
            fleet,
            settings,
            broker: broker.0,
            embedded,
            state: Mutex::new(WakeState { rendezvous, results: BTreeMap::new() }),
            changed: Notify::new(),
            began: Instant::now(),
            notes,
            unnoted: AtomicU64::new(0),
            awaited: Mutex::default(),
            published: AtomicU64::new(0),
            broker_up: AtomicBool::new(false),
        };
        (wakes, WakeInputs { heard: broker.1, notes: noted })
    }

    fn state(&self) -> MutexGuard<'_, WakeState> {
        lock(&self.state)
    }

    fn now(&self) -> ClockReading {
        ClockReading { unix: unix_time_or_expired(), monotonic: self.began.elapsed() }
    }

    /// Returns the number of visitors that wait for a device.
    pub(super) fn waiting(&self) -> usize {
        self.state().rendezvous.counts().0
    }

    fn note(&self, device: &DeviceId, jti: Option<Jti>, what: &'static str, detail: String) {
        if self.notes.try_send(Note { device: device.clone(), jti, what, detail }).is_err() {
            self.unnoted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn publish(&self, device: &DeviceId, jti: Jti, ticket: Ticket, port: u16) -> Result<(), Unpublished> {
        let dir = self.fleet.dir();
        let iat = unix_time_or_expired();
        let wake = Wake {
            v: VERSION,
            kid: dir.wake_key.kid().to_string(),
            aud: device.clone(),
            jti,
            iat,
            exp: iat.saturating_add(LIFETIME),
            relay: self.settings.addresses.clone(),
            hk: dir.host_fingerprint(),
            svc: port,
            tkt: ticket,
            rid: self.settings.id.clone(),
        };
        let payload = wake.seal(&dir.wake_key).ok_or(Unpublished)?;
        self.await_answers(jti);
        let topic = Topic::Wake(device.clone()).text(&self.settings.prefix);
        self.broker.publish(MqttMessage { topic, payload, retain: false })?;
        self.published.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn await_answers(&self, jti: Jti) {
        let mut awaited = lock(&self.awaited);
        if awaited.len() >= AWAITED {
            awaited.pop_front();
        }
        awaited.push_back((jti, ANSWERS));
    }

    /// Returns whether an answer is to be logged: repeated and old retained answers are not.
    fn is_awaited(&self, jti: Jti) -> bool {
        let mut awaited = lock(&self.awaited);
        match awaited.iter_mut().rev().find(|(published, _)| *published == jti) {
            Some((_, left @ 1..)) => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    fn status_topic(&self, device: &DeviceId) -> String {
        Topic::Status(device.clone()).text(&self.settings.prefix)
    }

    /// Returns the event that a message from the broker means, if any. The message may come from an attacker.
    fn understand(&self, topic: &str, payload: &[u8]) -> Option<RendezvousEvent> {
        match Topic::parse(topic, &self.settings.prefix)? {
            Topic::Status(device) => {
                let status = StatusMessage::parse(payload)?;
                Some(RendezvousEvent::Seen { device, presence: status.s, since: status.t })
            }
            Topic::Acknowledgement(relay) if relay == self.settings.id => {
                let dir = self.fleet.dir();
                // The message carries the certificate; the fleet's list has the newest serial number.
                match Acknowledgement::open(payload, &relay, &dir.devices, &dir.krl, unix_time_or_expired()) {
                    Ok((device, serial, answer)) if fleet::current(&dir, &device, serial).is_ok() => {
                        if self.is_awaited(answer.jti) {
                            let said = format!("{} {}", answer.ans.word(), answer.detail);
                            self.note(&device, Some(answer.jti), "answered", said.trim_end().into());
                        }
                        Some(RendezvousEvent::Answered(device, answer))
                    }
                    Ok((device, serial, _)) => {
                        let why = "its device is not in the fleet, or has a newer certificate";
                        tracing::info!(%device, serial, why, "an acknowledgement is ignored");
                        None
                    }
                    Err(why) => {
                        tracing::info!(%why, "an acknowledgement is ignored");
                        None
                    }
                }
            }
            Topic::Acknowledgement(_) | Topic::Wake(_) => None,
        }
    }
}

impl Relay {
    /// Gives the machine an event, and performs its actions. Returns whether a ticket was accepted, for an event with a ticket.
    pub(crate) fn apply(&self, event: RendezvousEvent) -> bool {
        let Some(wakes) = &self.wakes else { return false };
        let mut accepted = false;
        let mut events = VecDeque::from([event]);
        let mut state = wakes.state();
        while let Some(event) = events.pop_front() {
            // A guessable ticket is worthless: without randomness nothing is published.
            let mut random = true;
            let mut dice = |bytes: &mut [u8]| random &= getrandom::fill(bytes).is_ok();
            let actions = state.rendezvous.handle(event, wakes.now(), &mut dice);
            for action in actions {
                match action {
                    Action::Publish { device, jti, ticket, port } => {
                        let published = if random { wakes.publish(&device, jti, ticket, port) } else { Err(Unpublished) };
                        let said = published.map_or_else(|error| error.to_string(), |()| String::new());
                        wakes.note(&device, Some(jti), if said.is_empty() { "woken" } else { "not woken" }, said);
                        if published.is_err() {
                            events.push_back(RendezvousEvent::NotPublished(device, jti));
                        }
                    }
                    Action::Watch(device) => wakes.broker.subscribe(wakes.status_topic(&device)),
                    Action::Unwatch(device) => wakes.broker.unsubscribe(&wakes.status_topic(&device)),
                    Action::Open { visitor, tunnel, .. } => state.tell(visitor, WaitResult::Open(tunnel)),
                    Action::Refuse(visitor, why) => state.tell(visitor, WaitResult::Refused(why)),
                    Action::Accept(_) => accepted = true,
                    Action::Reject(_) => accepted = false,
                    Action::Close(TunnelId(number)) => {
                        if let Some(client) = self.client(number) {
                            client.line.dismiss(&Refusal::Idle.to_string());
                        }
                    }
                }
            }
        }
        drop(state);
        wakes.changed.notify_one();
        accepted
    }

    /// Checks the ticket of a device that has dialled back.
    pub(crate) fn show_ticket(&self, client: &Client, ticket: &[u8]) -> Result<(), Refusal> {
        let (Some(wakes), Some(device)) = (&self.wakes, client.access.fleet_device()) else { return Err(Refusal::NotPermitted) };
        let ticket = std::str::from_utf8(ticket).ok().and_then(|text| text.parse::<Ticket>().ok()).ok_or(Refusal::BadTicket)?;
        let good = self.apply(RendezvousEvent::DialledBack { tunnel: TunnelId(client.number), device: device.clone(), ticket });
        wakes.note(device, None, if good { "ticket taken" } else { "ticket refused" }, client.peer.to_string());
        if good { Ok(()) } else { Err(Refusal::BadTicket) }
    }

    /// Connects a visitor to a device of the fleet, and wakes it if it isn't connected. The caller has checked that the visitor may reach
    /// it.
    pub(super) async fn meet(
        self: &Arc<Self>,
        client: &Client,
        device: DeviceId,
        port: u16,
        wait: Option<Duration>,
    ) -> Result<Opened, Refusal> {
        let (sender, mut told) = watch::channel(None);
        let place = Waiter { relay: Arc::clone(self), visitor: VisitorId(self.number()) };
        let Some(wakes) = &self.wakes else { return Err(Refusal::NotConnected(device)) };
        wakes.state().results.insert(place.visitor, sender);
        let key = client.fingerprint.clone();
        let visit = VisitRequest { visitor: place.visitor, device: device.clone(), port, key, source: client.peer.ip().into(), wait };
        self.apply(RendezvousEvent::Visit(visit));
        let mut again = None;
        loop {
            let next = tokio::select! {
                changed = told.changed() => changed.ok().and_then(|()| told.borrow_and_update().clone()),
                () = client.line.gone() => None,
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => None,
            };
            match next {
                None => return Err(Refusal::NotConnected(device)),
                Some(WaitResult::Refused(why)) => return Err(why.into()),
                Some(WaitResult::Open(tunnel)) => match self.open_to(client, &device, port, tunnel).await {
                    Ok(opened) => {
                        self.apply(RendezvousEvent::Opened(place.visitor));
                        return Ok(opened.held(place));
                    }
                    // The connection has ended: the machine hears of it too, and finds another or gives a reason.
                    Err(Refusal::NotConnected(_)) => again = Some(SETTLING),
                    Err(other) => return Err(other),
                },
            }
        }
    }

    /// Opens a visit. Checks the permission again, since the visitor may have waited for a day.
    async fn open_to(self: &Arc<Self>, client: &Client, device: &DeviceId, port: u16, tunnel: TunnelId) -> Result<Opened, Refusal> {
        self.may_reach(client, device, port)?;
        self.open(Slot::Name(device.clone(), port), tunnel.0, Some(client), client.peer).await
    }

    /// Handles the broker's events and the machine's deadlines, and writes notes, for as long as the relay runs.
    pub(super) async fn attend(self: Arc<Self>, attendance: WakeInputs) {
        let Some(wakes) = &self.wakes else { return };
        let WakeInputs { mut heard, mut notes } = attendance;
        loop {
            let due = wakes.state().rendezvous.deadline().and_then(|due| wakes.began.checked_add(due));
            let tick = tokio::time::sleep_until(due.unwrap_or_else(|| Instant::now() + rules::FAR).into());
            tokio::select! {
                () = tick => drop(self.apply(RendezvousEvent::Tick)),
                () = wakes.changed.notified() => {}
                Some(note) = notes.recv() => {
                    let Note { device, jti, what, detail } = note;
                    let jti = jti.map(|jti| jti.to_string());
                    self.audit.have_lost(wakes.unnoted.swap(0, Ordering::Relaxed));
                    self.audit.note(Audited::Wake { device: device.as_str(), jti, what, detail: term::printable(&detail) }).await;
                }
                Some(told) = heard.recv() => self.hear(wakes, told),
            }
        }
    }

    fn hear(&self, wakes: &Wakes, told: Heard) {
        match told {
            Heard::Up => {
                wakes.broker_up.store(true, Ordering::Relaxed);
                tracing::info!("connected to the broker");
            }
            Heard::Down(why) => {
                // Only the first failure in a row is a warning.
                if wakes.broker_up.swap(false, Ordering::Relaxed) || wakes.published.load(Ordering::Relaxed) == 0 {
                    tracing::warn!(why, "no connection to the broker; trying again");
                }
            }
            Heard::Message { topic, payload } => {
                if let Some(event) = wakes.understand(&topic, &payload) {
                    self.apply(event);
                }
            }
        }
    }
}

impl WakeState {
    /// Answers a visitor, unless it has left.
    fn tell(&mut self, visitor: VisitorId, result: WaitResult) {
        if let Some(waiting) = self.results.get(&visitor) {
            waiting.send_replace(Some(result));
        }
    }
}

/// A visitor's place in the machine, until dropped.
pub(crate) struct Waiter {
    relay: Arc<Relay>,
    visitor: VisitorId,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(wakes) = &self.relay.wakes {
            wakes.state().results.remove(&self.visitor);
        }
        self.relay.apply(RendezvousEvent::Left(self.visitor));
    }
}
