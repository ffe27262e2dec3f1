//! Fetching a device that isn't here: the pure machine of `sally_proto::rendezvous` is told what happens, and what it says is done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use sally_proto::relay::{Refusal, Slot};
use sally_proto::rendezvous::{Action, Event, Rendezvous, SETTLING, TunnelId, Unreachable, Visit, VisitorId};
use sally_proto::wake::{Acknowledgement, Jti, LIFETIME, Moment, Prefix, RelayId, Status, Ticket, Topic, VERSION, Wake};
use tokio::sync::{Notify, mpsc, watch};

use super::audit::Event as Audited;
use super::bus::Bus;
use super::caller::Caller;
use super::fleet::{self, Fleet};
use super::route::Opened;
use super::{Relay, rules};
use crate::broker::Broker;
use crate::clock::unix_time_or_expired;
use crate::lock::lock;
use crate::mqtt::client::Message;
use crate::mqtt::{Event as Heard, Unpublished};
use crate::term;

/// What waits to be written to the audit log; more is counted as lost there.
const NOTES: usize = 1024;
/// Wakes whose answers are awaited: those of some seconds.
const AWAITED: usize = 4096;
/// A device says that it dials, and then perhaps that it could not.
const ANSWERS: u8 = 2;

/// How devices are woken.
pub struct Wakes {
    /// The fleet whose devices these are.
    pub(crate) fleet: Fleet,
    settings: Settings,
    broker: Bus,
    /// The broker in this process, where there is one.
    pub(super) embedded: Option<Broker>,
    meeting: Mutex<Meeting>,
    /// When the machine wants to be told of the time may have changed.
    changed: Notify,
    began: Instant,
    notes: mpsc::Sender<Note>,
    /// Notes for which the queue had no room.
    unnoted: AtomicU64,
    /// Wakes that were published lately, and how many answers to each are still worth a line.
    awaited: Mutex<VecDeque<(Jti, u8)>>,
    /// Wakes published.
    pub(super) published: AtomicU64,
    /// Whether the broker is there.
    pub(super) broker_up: AtomicBool,
}

/// What a relay wakes devices with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This relay's own name in topics.
    pub id: RelayId,
    /// Where devices are told to dial.
    pub addresses: Vec<HostPort>,
    /// What stands before every topic.
    pub prefix: Prefix,
    /// For the machine.
    pub rendezvous: sally_proto::rendezvous::Settings,
}

/// What has still to be done when a relay with a fleet runs: the broker is followed, and notes are written.
pub struct Attendance {
    heard: mpsc::Receiver<Heard>,
    notes: mpsc::Receiver<Note>,
}

#[derive(Debug)]
struct Meeting {
    rendezvous: Rendezvous,
    /// What each waiting visitor was told last.
    doors: BTreeMap<VisitorId, watch::Sender<Option<Door>>>,
}

/// What a waiting visitor is told.
#[derive(Clone, Debug)]
enum Door {
    Open(TunnelId),
    Refused(Unreachable),
}

/// For the audit log: what was done about a device.
#[derive(Debug)]
struct Note {
    device: DeviceId,
    jti: Option<Jti>,
    what: &'static str,
    detail: String,
}

impl Wakes {
    /// `broker` is connected already, or will be; `embedded` is kept for as long as this lives.
    pub fn new(fleet: Fleet, settings: Settings, broker: (Bus, mpsc::Receiver<Heard>), embedded: Option<Broker>) -> (Self, Attendance) {
        let (notes, noted) = mpsc::channel(NOTES);
        let rendezvous = Rendezvous::new(settings.rendezvous.clone());
        let wakes = Self {
            fleet,
            settings,
            broker: broker.0,
            embedded,
            meeting: Mutex::new(Meeting { rendezvous, doors: BTreeMap::new() }),
            changed: Notify::new(),
            began: Instant::now(),
            notes,
            unnoted: AtomicU64::new(0),
            awaited: Mutex::default(),
            published: AtomicU64::new(0),
            broker_up: AtomicBool::new(false),
        };
        (wakes, Attendance { heard: broker.1, notes: noted })
    }

    fn meeting(&self) -> MutexGuard<'_, Meeting> {
        lock(&self.meeting)
    }

    fn now(&self) -> Moment {
        Moment { unix: unix_time_or_expired(), monotonic: self.began.elapsed() }
    }

    /// How many visitors wait for a device.
    pub(super) fn waiting(&self) -> usize {
        self.meeting().rendezvous.counts().0
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
        self.broker.publish(Message { topic, payload, retain: false })?;
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

    /// What a broker repeats, or has kept from another day, is on no log.
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

    /// What a message from the broker means, if anything. Anybody may have written it.
    fn understand(&self, topic: &str, payload: &[u8]) -> Option<Event> {
        match Topic::parse(topic, &self.settings.prefix)? {
            Topic::Status(device) => {
                let status = Status::parse(payload)?;
                Some(Event::Seen { device, presence: status.s, since: status.t })
            }
            Topic::Acknowledgement(relay) if relay == self.settings.id => {
                let dir = self.fleet.dir();
                // The certificate comes with it; which number is the newest, the list says.
                match Acknowledgement::open(payload, &relay, &dir.devices, &dir.krl, unix_time_or_expired()) {
                    Ok((device, serial, answer)) if fleet::current(&dir, &device, serial).is_ok() => {
                        if self.is_awaited(answer.jti) {
                            let said = format!("{} {}", answer.ans.word(), answer.detail);
                            self.note(&device, Some(answer.jti), "answered", said.trim_end().into());
                        }
                        Some(Event::Answered(device, answer))
                    }
                    Ok((device, serial, _)) => {
                        tracing::info!(%device, serial, "an acknowledgement of a device that is not in the fleet, or has a newer certificate");
                        None
                    }
                    Err(why) => {
                        tracing::info!(%why, "an acknowledgement that counts for nothing");
                        None
                    }
                }
            }
            Topic::Acknowledgement(_) | Topic::Wake(_) => None,
        }
    }
}

impl Relay {
    /// Tells the machine what happened, and does what it says. Whether a ticket was good, if that was the question.
    pub(crate) fn happen(&self, event: Event) -> bool {
        let Some(wakes) = &self.wakes else { return false };
        let mut accepted = false;
        let mut events = VecDeque::from([event]);
        let mut meeting = wakes.meeting();
        while let Some(event) = events.pop_front() {
            // A ticket that somebody could guess is none: without randomness nothing is published.
            let mut random = true;
            let mut dice = |bytes: &mut [u8]| random &= getrandom::fill(bytes).is_ok();
            let actions = meeting.rendezvous.handle(event, wakes.now(), &mut dice);
            for action in actions {
                match action {
                    Action::Publish { device, jti, ticket, port } => {
                        let published = if random { wakes.publish(&device, jti, ticket, port) } else { Err(Unpublished) };
                        let said = published.map_or_else(|error| error.to_string(), |()| String::new());
                        wakes.note(&device, Some(jti), if said.is_empty() { "woken" } else { "not woken" }, said);
                        if published.is_err() {
                            events.push_back(Event::NotPublished(device, jti));
                        }
                    }
                    Action::Watch(device) => wakes.broker.subscribe(wakes.status_topic(&device)),
                    Action::Unwatch(device) => wakes.broker.unsubscribe(&wakes.status_topic(&device)),
                    Action::Open { visitor, tunnel, .. } => meeting.tell(visitor, Door::Open(tunnel)),
                    Action::Refuse(visitor, why) => meeting.tell(visitor, Door::Refused(why)),
                    Action::Accept(_) => accepted = true,
                    Action::Reject(_) => accepted = false,
                    Action::Close(TunnelId(number)) => {
                        if let Some(caller) = self.caller(number) {
                            caller.line.dismiss(&Refusal::Idle.to_string());
                        }
                    }
                }
            }
        }
        drop(meeting);
        wakes.changed.notify_one();
        accepted
    }

    /// A device that has dialled back shows its ticket.
    pub(crate) fn show_ticket(&self, caller: &Caller, ticket: &[u8]) -> Result<(), Refusal> {
        let (Some(wakes), Some(device)) = (&self.wakes, caller.access.fleet_device()) else { return Err(Refusal::NotPermitted) };
        let ticket = std::str::from_utf8(ticket).ok().and_then(|text| text.parse::<Ticket>().ok()).ok_or(Refusal::BadTicket)?;
        let good = self.happen(Event::DialledBack { tunnel: TunnelId(caller.number), device: device.clone(), ticket });
        wakes.note(device, None, if good { "ticket taken" } else { "ticket refused" }, caller.peer.to_string());
        if good { Ok(()) } else { Err(Refusal::BadTicket) }
    }

    /// A visitor's way to a device of the fleet, which is fetched if it isn't here. They may reach it: that is decided.
    pub(super) async fn meet(
        self: &Arc<Self>,
        caller: &Caller,
        device: DeviceId,
        port: u16,
        wait: Option<Duration>,
    ) -> Result<Opened, Refusal> {
        let (sender, mut told) = watch::channel(None);
        let place = Place { relay: Arc::clone(self), visitor: VisitorId(self.number()) };
        let Some(wakes) = &self.wakes else { return Err(Refusal::NotConnected(device)) };
        wakes.meeting().doors.insert(place.visitor, sender);
        let key = caller.fingerprint.clone();
        let visit = Visit { visitor: place.visitor, device: device.clone(), port, key, source: caller.peer.ip().into(), wait };
        self.happen(Event::Visit(visit));
        let mut again = None;
        loop {
            let next = tokio::select! {
                changed = told.changed() => changed.ok().and_then(|()| told.borrow_and_update().clone()),
                () = caller.line.gone() => None,
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => None,
            };
            match next {
                None => return Err(Refusal::NotConnected(device)),
                Some(Door::Refused(why)) => return Err(why.into()),
                Some(Door::Open(tunnel)) => match self.open_to(caller, &device, port, tunnel).await {
                    Ok(opened) => {
                        self.happen(Event::Opened(place.visitor));
                        return Ok(opened.held(place));
                    }
                    // The connection broke away: the machine hears of it too, and finds another or says why not.
                    Err(Refusal::NotConnected(_)) => again = Some(SETTLING),
                    Err(other) => return Err(other),
                },
            }
        }
    }

    /// They may have waited for a day: that they may reach it is decided again.
    async fn open_to(self: &Arc<Self>, caller: &Caller, device: &DeviceId, port: u16, tunnel: TunnelId) -> Result<Opened, Refusal> {
        self.may_reach(caller, device, port)?;
        self.open(Slot::Name(device.clone(), port), tunnel.0, Some(caller), caller.peer).await
    }

    /// Follows the broker, the clock and the fleet's folder, for as long as the relay runs.
    pub(super) async fn attend(self: Arc<Self>, attendance: Attendance) {
        let Some(wakes) = &self.wakes else { return };
        let Attendance { mut heard, mut notes } = attendance;
        loop {
            let due = wakes.meeting().rendezvous.deadline().and_then(|due| wakes.began.checked_add(due));
            let tick = tokio::time::sleep_until(due.unwrap_or_else(|| Instant::now() + rules::FAR).into());
            tokio::select! {
                () = tick => drop(self.happen(Event::Tick)),
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
                // The first failure of a row is news; the others are for who looks closely.
                if wakes.broker_up.swap(false, Ordering::Relaxed) || wakes.published.load(Ordering::Relaxed) == 0 {
                    tracing::warn!(why, "no connection to the broker; trying again");
                }
            }
            Heard::Message { topic, payload } => {
                if let Some(event) = wakes.understand(&topic, &payload) {
                    self.happen(event);
                }
            }
        }
    }
}

impl Meeting {
    /// Whoever has left hears nothing.
    fn tell(&mut self, visitor: VisitorId, door: Door) {
        if let Some(waiting) = self.doors.get(&visitor) {
            waiting.send_replace(Some(door));
        }
    }
}

/// Somebody's place in the machine, until it is dropped.
pub(crate) struct Place {
    relay: Arc<Relay>,
    visitor: VisitorId,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(wakes) = &self.relay.wakes {
            wakes.meeting().doors.remove(&self.visitor);
        }
        self.relay.happen(Event::Left(self.visitor));
    }
}
