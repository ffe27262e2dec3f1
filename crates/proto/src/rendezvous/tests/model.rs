//! A relay whose clock a test moves, histories of what happens to it, and what must hold in each. The fuzzer's target `rendezvous` is this
//! file too: what it names comes from where it is included.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

/// Where devices dial, as the sentences say it.
pub(super) const ADDRESS: &str = "relay.example.com:2222";
/// The most that happens in a history, and a number that nobody has in it.
const END: u64 = 1000;
/// How many keys there are.
pub(super) const KEYS: u8 = 4;
/// When a history begins, in Unix seconds.
pub(super) const START: u64 = 1_800_000_000;

/// A relay with a clock that a test moves.
pub(super) struct Relay {
    pub(super) state: Rendezvous,
    pub(super) seconds: u64,
    random: u64,
}

/// So few that a history meets each of them.
const LIMITS: RendezvousLimits = RendezvousLimits {
    waiting: 7,
    waiting_per_device: 4,
    waiting_per_key: 4,
    waiting_per_key_and_device: 2,
    wakes_per_key: Rate { burst: 3, every: Duration::from_secs(60) },
    wakes_per_source: Rate { burst: 4, every: Duration::from_secs(30) },
};

impl Relay {
    pub(super) fn with(broker: Option<&str>, limits: RendezvousLimits) -> Self {
        let woken_to = broker.map(|address| address.parse().unwrap());
        let settings = RendezvousSettings { wake_deadline: WAKE_DEADLINE, linger: LINGER, woken_to, limits };
        Self { state: Rendezvous::new(settings), seconds: 0, random: 0 }
    }

    pub(super) fn on(&mut self, event: RendezvousEvent) -> Vec<Action> {
        let now = ClockReading { unix: START + self.seconds, monotonic: Duration::from_secs(self.seconds) };
        let random = &mut self.random;
        self.state.handle(event, now, &mut |bytes| {
            *random += 1;
            bytes[..8].copy_from_slice(&random.to_be_bytes());
        })
    }
}

pub(super) fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

/// A visit by a key that always comes from the same address.
pub(super) fn visit(key: u8, visitor: u64, device: &str, port: u16, wait: Option<u64>) -> RendezvousEvent {
    RendezvousEvent::Visit(VisitRequest {
        visitor: VisitorId(visitor),
        device: id(device),
        port,
        key: format!("SHA256:{key}"),
        source: std::net::IpAddr::from([192, 0, 2, key]).into(),
        wait: wait.map(Duration::from_secs),
    })
}

/// What happens next. Indexes are of what there is at that moment, the oldest first or the newest; what isn't there doesn't happen.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Visit { key: u8, device: u8, port: u8, wait: Option<u64> },
    Opened(usize),
    Left(usize),
    Answered { device: u8, wake: usize, answer: u8 },
    NotPublished { device: u8, wake: usize },
    DialledBack { device: u8, ticket: usize },
    Listening { tunnel: usize, device: u8, port: u8 },
    NotListening { tunnel: usize, device: u8, port: u8 },
    Standing { device: u8 },
    Gone(usize),
    Seen { device: u8, online: bool },
    After(u64),
}

type Offers = BTreeSet<(DeviceId, u16)>;

/// A visitor, as whoever watches sees them.
#[derive(Clone)]
struct Seen {
    key: u8,
    device: DeviceId,
    port: u16,
    /// Until when they said that they wait.
    waits_until: Option<u64>,
    /// Until when there has to be an answer.
    until: u64,
}

/// What somebody outside knows, and holds the machine to.
#[derive(Default)]
struct Watcher {
    /// Visitors without an answer.
    waiting: BTreeMap<u64, Seen>,
    /// Visitors with a channel: on which connection, and whether it was confirmed.
    inside: BTreeMap<u64, (Seen, u64, bool)>,
    /// Tickets, newest last: for whom, and whether shown.
    tickets: Vec<(Ticket, DeviceId, bool)>,
    wakes: Vec<(Jti, DeviceId)>,
    /// The keys of everybody who has come.
    keys: BTreeSet<u8>,
    /// Live connections: the device that they were woken as, what they offer.
    tunnels: BTreeMap<u64, (Option<DeviceId>, Offers)>,
}

impl Watcher {
    fn check(&mut self, actions: &[Action], seconds: u64) {
        let mut woken = BTreeSet::new();
        for action in actions {
            match action {
                Action::Publish { device, jti, ticket, .. } => {
                    assert!(woken.insert(device.clone()), "two wakes at once");
                    assert!(self.waiting.values().any(|visitor| visitor.device == *device), "a wake that nobody waits for");
                    assert!(self.wakes.iter().all(|(known, _)| known != jti), "a wake twice");
                    match self.tickets.iter().find(|(known, ..)| known == ticket) {
                        Some((_, of, shown)) => assert!(of == device && !shown, "a used ticket is published"),
                        None => self.tickets.push((*ticket, device.clone(), false)),
                    }
                    self.wakes.push((*jti, device.clone()));
                }
                Action::Open { visitor, tunnel, device, port } => {
                    let asked = self.waiting.remove(&visitor.0).filter(|asked| asked.device == *device && asked.port == *port);
                    let asked = asked.expect("a channel that a visitor waits for");
                    let (woken, offers) = &self.tunnels[&tunnel.0];
                    assert!(offers.contains(&(device.clone(), *port)), "a channel to what isn't offered");
                    assert!(woken.as_ref().is_none_or(|woken| woken == device), "the wrong device");
                    self.inside.insert(visitor.0, (asked, tunnel.0, false));
                }
                Action::Refuse(visitor, _) => assert!(self.waiting.remove(&visitor.0).is_some(), "a refusal that nobody waits for"),
                Action::Close(tunnel) => {
                    assert!(self.inside.values().all(|(_, through, _)| *through != tunnel.0), "closed under a visitor");
                    assert!(
                        self.tunnels.remove(&tunnel.0).is_some_and(|(woken, _)| woken.is_some()),
                        "a connection that isn't ours to close"
                    );
                }
                Action::Accept(_) | Action::Reject(_) | Action::Watch(_) | Action::Unwatch(_) => {}
            }
        }
        for (number, visitor) in &self.waiting {
            assert!(seconds < visitor.until, "visitor {number} waits for ever");
        }
        let spent = |rate: Rate| u64::from(rate.burst) + seconds / rate.every.as_secs();
        let most = self.keys.len() as u64 * spent(LIMITS.wakes_per_key).min(spent(LIMITS.wakes_per_source));
        assert!(self.wakes.len() as u64 <= most, "{} wakes, where {most} were to be had", self.wakes.len());
    }

    /// Those who wait as this one does, at the same device or anywhere.
    fn alike(&self, like: &Seen, at_the_device: bool) -> impl Iterator<Item = (&u64, &Seen)> {
        let (patient, device) = (like.waits_until.is_some(), at_the_device.then(|| like.device.clone()));
        self.waiting.iter().filter(move |(_, other)| {
            other.waits_until.is_some() == patient && device.as_ref().is_none_or(|device| other.device == *device)
        })
    }

    /// How many of a key wait as this one does.
    fn held(&self, like: &Seen, at_the_device: bool, key: u8) -> usize {
        self.alike(like, at_the_device).filter(|(_, other)| other.key == key).count()
    }

    /// Who was turned away for want of room when this newcomer came, who isn't among those who wait yet: nobody, or one with a reason.
    fn check_room(&self, number: u64, newcomer: &Seen, actions: &[Action]) {
        let crowded = |action: &Action| {
            if let Action::Refuse(visitor, Unreachable::Crowded(most)) = action { Some((visitor.0, *most)) } else { None }
        };
        let turned_away: Vec<_> = actions.iter().filter_map(crowded).collect();
        let room = |at_the_device, most| (self.alike(newcomer, at_the_device).count() < most, at_the_device);
        let full = [room(true, LIMITS.waiting_per_device), room(false, LIMITS.waiting)].into_iter().find(|(room, _)| !room);
        let own_share = self.held(newcomer, false, newcomer.key) >= LIMITS.waiting_per_key
            || self.held(newcomer, true, newcomer.key) >= LIMITS.waiting_per_key_and_device;
        let Some((_, at_the_device)) = full else {
            assert!(turned_away.is_empty() || (own_share && turned_away[0].0 == number), "turned away though there is room");
            return;
        };
        let most = (0..KEYS).map(|key| self.held(newcomer, at_the_device, key)).max().unwrap();
        let fullest = |key: u8| self.held(newcomer, at_the_device, key) == most;
        match turned_away[..] {
            // Its device is connected, where no limit holds; or it has woken too much.
            [] => {}
            [(visitor, _)] if visitor == number => assert!(own_share || fullest(newcomer.key), "a newcomer with less than others"),
            [(visitor, _)] => {
                let left = &self.waiting[&visitor];
                let more_patient =
                    self.alike(newcomer, at_the_device).any(|(_, other)| fullest(other.key) && other.waits_until > left.waits_until);
                let in_the_crowd = self.alike(newcomer, at_the_device).any(|(other, _)| *other == visitor);
                assert!(in_the_crowd && fullest(left.key) && !fullest(newcomer.key) && !more_patient, "the wrong one made room");
            }
            _ => panic!("{turned_away:?} made room for one"),
        }
    }

    /// Whether as many wait now as may, or no more than before.
    fn check_crowd(&self, newcomer: &Seen, before: usize) {
        let connected = self.tunnels.values().any(|(_, offers)| offers.iter().any(|(device, _)| *device == newcomer.device));
        let now = self.alike(newcomer, false).count();
        assert!(connected || now <= LIMITS.waiting.max(before), "{now} wait");
    }

    fn step(&mut self, relay: &mut Relay, number: u64, step: Step) {
        let name = |device: u8| id(&format!("cam-{device}"));
        let nth = |map: &BTreeMap<u64, _>, index: usize| map.keys().copied().nth(index);
        let event = match step {
            Step::Visit { key, device, port, wait } => return self.visit(relay, number, (key, &name(device), port.into()), wait),
            Step::Opened(index) => {
                let Some((visitor, inside)) = self.inside.iter_mut().nth(index) else { return };
                inside.2 = true;
                RendezvousEvent::Opened(VisitorId(*visitor))
            }
            Step::Left(index) => {
                let all: Vec<_> = self.waiting.keys().chain(self.inside.keys()).copied().collect();
                let Some(visitor) = all.get(index).copied() else { return };
                self.waiting.remove(&visitor);
                self.inside.remove(&visitor);
                RendezvousEvent::Left(VisitorId(visitor))
            }
            Step::Answered { device, wake, answer } => {
                let Some((jti, _)) = self.wakes.iter().rev().nth(wake).cloned() else { return };
                let answer =
                    [WakeAnswer::Ok, WakeAnswer::Busy, WakeAnswer::Clock, WakeAnswer::Denied, WakeAnswer::DialFailed][usize::from(answer)];
                RendezvousEvent::Answered(name(device), Acknowledgement::new("relay-1".parse().unwrap(), jti, START, answer, ""))
            }
            Step::NotPublished { device, wake } => {
                let Some((jti, _)) = self.wakes.iter().rev().nth(wake).cloned() else { return };
                RendezvousEvent::NotPublished(name(device), jti)
            }
            Step::DialledBack { device, ticket } => return self.dial_back(relay, number, &name(device), ticket),
            Step::Listening { tunnel, device, port } => {
                let Some(tunnel) = nth(&self.tunnels, tunnel) else { return };
                let (woken, offers) = self.tunnels.get_mut(&tunnel).unwrap();
                if woken.as_ref().is_none_or(|woken| *woken == name(device)) {
                    offers.insert((name(device), port.into()));
                }
                RendezvousEvent::Listening { tunnel: TunnelId(tunnel), device: name(device), port: port.into() }
            }
            Step::NotListening { tunnel, device, port } => {
                let Some(tunnel) = nth(&self.tunnels, tunnel) else { return };
                self.tunnels.get_mut(&tunnel).unwrap().1.remove(&(name(device), port.into()));
                RendezvousEvent::NotListening { tunnel: TunnelId(tunnel), device: name(device), port: port.into() }
            }
            Step::Standing { device } => {
                self.tunnels.insert(number, (None, BTreeSet::from([(name(device), 0)])));
                RendezvousEvent::Listening { tunnel: TunnelId(number), device: name(device), port: 0 }
            }
            Step::Gone(index) => {
                let Some(tunnel) = nth(&self.tunnels, index) else { return };
                self.tunnels.remove(&tunnel);
                self.broken(tunnel, relay.seconds);
                RendezvousEvent::Gone(TunnelId(tunnel))
            }
            Step::Seen { device, online } => {
                let presence = if online { DevicePresence::Online } else { DevicePresence::Offline };
                RendezvousEvent::Seen { device: name(device), presence, since: START + relay.seconds }
            }
            Step::After(seconds) => self.pass(relay, relay.seconds + seconds),
        };
        let actions = relay.on(event);
        self.check(&actions, relay.seconds);
    }

    fn visit(&mut self, relay: &mut Relay, number: u64, (key, device, port): (u8, &DeviceId, u16), wait: Option<u64>) {
        let until = relay.seconds + WAKE_DEADLINE.as_secs().max(wait.unwrap_or(0));
        let waits_until = wait.map(|wait| relay.seconds + wait);
        self.keys.insert(key);
        let newcomer = Seen { key, device: device.clone(), port, waits_until, until };
        let actions = relay.on(visit(key, number, device.as_str(), port, wait));
        self.check_room(number, &newcomer, &actions);
        let before = self.alike(&newcomer, false).count();
        self.waiting.insert(number, newcomer.clone());
        self.check(&actions, relay.seconds);
        self.check_crowd(&newcomer, before);
    }

    fn dial_back(&mut self, relay: &mut Relay, number: u64, device: &DeviceId, ticket: usize) {
        let Some((ticket, of, shown)) = self.tickets.iter().rev().nth(ticket).cloned() else { return };
        let wanted = self.waiting.values().any(|visitor| visitor.device == of);
        let actions = relay.on(RendezvousEvent::DialledBack { tunnel: TunnelId(number), device: device.clone(), ticket });
        if actions.contains(&Action::Accept(TunnelId(number))) {
            assert!(of == *device, "another device's ticket");
            assert!(!shown, "a ticket twice");
            assert!(wanted, "a ticket of somebody who isn't there");
            self.tickets.iter_mut().filter(|(known, ..)| *known == ticket).for_each(|entry| entry.2 = true);
            self.tunnels.insert(number, (Some(device.clone()), BTreeSet::new()));
        } else {
            assert!(actions.contains(&Action::Reject(TunnelId(number))));
        }
        self.check(&actions, relay.seconds);
    }

    /// Lets time pass as a relay does: it wakes up when the machine says. Returns the tick at the end.
    fn pass(&mut self, relay: &mut Relay, end: u64) -> RendezvousEvent {
        while let Some(next) = relay.state.deadline().map(|at| at.as_secs()).filter(|next| *next <= end) {
            relay.seconds = relay.seconds.max(next);
            let actions = relay.on(RendezvousEvent::Tick);
            self.check(&actions, relay.seconds);
            assert!(relay.state.deadline().is_none_or(|at| at.as_secs() > relay.seconds), "it asks for a tick that does nothing");
        }
        relay.seconds = end;
        RendezvousEvent::Tick
    }

    /// Whoever was before a door of it waits again, once; whoever was inside is out.
    fn broken(&mut self, tunnel: u64, seconds: u64) {
        let through: Vec<_> = self.inside.iter().filter(|(_, (_, through, _))| *through == tunnel).map(|(id, _)| *id).collect();
        for visitor in through {
            let Some((seen, _, confirmed)) = self.inside.remove(&visitor) else { continue };
            if !confirmed {
                let until = seen.waits_until.unwrap_or(0).max(seconds + WAKE_DEADLINE.as_secs());
                self.waiting.insert(visitor, Seen { until, ..seen });
            }
        }
    }
}

/// A whole history, to its end: everybody leaves, every connection that wasn't woken ends, and nothing is left behind.
pub(super) fn history(broker: bool, steps: impl IntoIterator<Item = Step>) {
    let mut relay = Relay::with(broker.then_some(ADDRESS), LIMITS);
    let mut watcher = Watcher::default();
    for (number, step) in (1..END).zip(steps) {
        watcher.step(&mut relay, number, step);
    }
    watcher.step(&mut relay, END, Step::After(500));
    assert!(watcher.waiting.is_empty());
    for visitor in watcher.inside.keys() {
        relay.on(RendezvousEvent::Left(VisitorId(*visitor)));
    }
    watcher.inside.clear();
    for tunnel in watcher.tunnels.iter().filter(|(_, (woken, _))| woken.is_none()).map(|(id, _)| *id).collect::<Vec<_>>() {
        watcher.tunnels.remove(&tunnel);
        relay.on(RendezvousEvent::Gone(TunnelId(tunnel)));
    }
    watcher.step(&mut relay, END, Step::After(500));
    assert!(relay.state.is_idle(), "{:?}", relay.state);
    for (ticket, device, _) in &watcher.tickets {
        let late = relay.on(RendezvousEvent::DialledBack { tunnel: TunnelId(END), device: device.clone(), ticket: *ticket });
        assert_eq!(late, [Action::Reject(TunnelId(END))], "a ticket is left behind");
    }
}
