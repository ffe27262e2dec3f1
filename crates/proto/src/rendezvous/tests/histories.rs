//! Random histories, and what must hold in each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Visit { device: u8, port: u8, wait: Option<u64> },
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

fn step() -> impl Strategy<Value = Step> {
    let (device, port, index) = (0_u8..3, 0_u8..2, 0_usize..8);
    prop_oneof![
        4 => (device.clone(), port.clone(), proptest::option::of(1_u64..200)).prop_map(|(device, port, wait)| Step::Visit { device, port, wait }),
        2 => index.clone().prop_map(Step::Opened),
        2 => index.clone().prop_map(Step::Left),
        1 => (device.clone(), index.clone(), 0_u8..5).prop_map(|(device, wake, answer)| Step::Answered { device, wake, answer }),
        1 => (device.clone(), index.clone()).prop_map(|(device, wake)| Step::NotPublished { device, wake }),
        4 => (device.clone(), index.clone()).prop_map(|(device, ticket)| Step::DialledBack { device, ticket }),
        4 => (index.clone(), device.clone(), port.clone()).prop_map(|(tunnel, device, port)| Step::Listening { tunnel, device, port }),
        1 => (index.clone(), device.clone(), port).prop_map(|(tunnel, device, port)| Step::NotListening { tunnel, device, port }),
        1 => device.clone().prop_map(|device| Step::Standing { device }),
        1 => index.prop_map(Step::Gone),
        1 => (device, any::<bool>()).prop_map(|(device, online)| Step::Seen { device, online }),
        3 => (0_u64..70).prop_map(Step::After),
    ]
}

type Offers = BTreeSet<(DeviceId, u16)>;

/// What somebody outside knows, and holds the machine to.
#[derive(Default)]
struct Watcher {
    /// Visitors without an answer: device, port, and until when there has to be one.
    waiting: BTreeMap<u64, (DeviceId, u16, u64)>,
    /// Visitors with a door: through which connection, and whether it was confirmed.
    inside: BTreeMap<u64, (DeviceId, u16, u64, bool)>,
    reopened: BTreeSet<u64>,
    /// Tickets, newest last: for whom, and whether shown.
    tickets: Vec<(Ticket, DeviceId, bool)>,
    wakes: Vec<(Jti, DeviceId)>,
    /// Live connections: the device that they were woken as, what they offer.
    tunnels: BTreeMap<u64, (Option<DeviceId>, Offers)>,
}

impl Watcher {
    fn check(&mut self, actions: &[Action], seconds: u64) -> Result<(), TestCaseError> {
        let mut woken = BTreeSet::new();
        for action in actions {
            match action {
                Action::Publish { device, jti, ticket, .. } => {
                    prop_assert!(woken.insert(device.clone()), "two wakes at once");
                    prop_assert!(self.waiting.values().any(|(waited_for, ..)| waited_for == device), "a wake that nobody waits for");
                    prop_assert!(self.wakes.iter().all(|(known, _)| known != jti), "a wake twice");
                    match self.tickets.iter().find(|(known, ..)| known == ticket) {
                        Some((_, of, shown)) => prop_assert!(of == device && !shown, "a used ticket is published"),
                        None => self.tickets.push((*ticket, device.clone(), false)),
                    }
                    self.wakes.push((*jti, device.clone()));
                }
                Action::Open { visitor, tunnel, device, port } => {
                    let asked = self.waiting.remove(&visitor.0);
                    prop_assert!(asked.is_some_and(|(wanted, of, _)| wanted == *device && of == *port), "a door that nobody waits for");
                    let (woken, offers) = &self.tunnels[&tunnel.0];
                    prop_assert!(offers.contains(&(device.clone(), *port)), "a door to what isn't offered");
                    prop_assert!(woken.as_ref().is_none_or(|woken| woken == device), "the wrong device");
                    self.inside.insert(visitor.0, (device.clone(), *port, tunnel.0, false));
                }
                Action::Refuse(visitor, _) => prop_assert!(self.waiting.remove(&visitor.0).is_some(), "a refusal that nobody waits for"),
                Action::Close(tunnel) => {
                    prop_assert!(self.inside.values().all(|(_, _, through, _)| *through != tunnel.0), "closed under a visitor");
                    prop_assert!(
                        self.tunnels.remove(&tunnel.0).is_some_and(|(woken, _)| woken.is_some()),
                        "a connection that isn't ours to close"
                    );
                }
                Action::Accept(_) | Action::Reject(_) | Action::Watch(_) | Action::Unwatch(_) => {}
            }
        }
        for (visitor, (_, _, until)) in &self.waiting {
            prop_assert!(seconds < *until, "visitor {visitor} waits for ever");
        }
        Ok(())
    }

    fn step(&mut self, relay: &mut Relay, number: u64, step: Step) -> Result<(), TestCaseError> {
        let name = |device: u8| id(&format!("cam-{device}"));
        let nth = |map: &BTreeMap<u64, _>, index: usize| map.keys().copied().nth(index);
        let event = match step {
            Step::Visit { device, port, wait } => {
                let until = relay.seconds + WAKE_DEADLINE.as_secs().max(wait.unwrap_or(0));
                self.waiting.insert(number, (name(device), port.into(), until));
                visit(number, name(device).as_str(), port.into(), wait)
            }
            Step::Opened(index) => {
                let Some((visitor, inside)) = self.inside.iter_mut().nth(index) else { return Ok(()) };
                inside.3 = true;
                Event::Opened(VisitorId(*visitor))
            }
            Step::Left(index) => {
                let all: Vec<_> = self.waiting.keys().chain(self.inside.keys()).copied().collect();
                let Some(visitor) = all.get(index).copied() else { return Ok(()) };
                self.waiting.remove(&visitor);
                self.inside.remove(&visitor);
                Event::Left(VisitorId(visitor))
            }
            Step::Answered { device, wake, answer } => {
                let Some((jti, _)) = self.wakes.iter().rev().nth(wake).cloned() else { return Ok(()) };
                let answer = [Answer::Ok, Answer::Busy, Answer::Clock, Answer::Denied, Answer::DialFailed][usize::from(answer)];
                Event::Answered(name(device), Acknowledgement::new("relay-1".parse().unwrap(), jti, START, answer, ""))
            }
            Step::NotPublished { device, wake } => {
                let Some((jti, _)) = self.wakes.iter().rev().nth(wake).cloned() else { return Ok(()) };
                Event::NotPublished(name(device), jti)
            }
            Step::DialledBack { device, ticket } => {
                let Some((ticket, of, shown)) = self.tickets.iter().rev().nth(ticket).cloned() else { return Ok(()) };
                let wanted = self.waiting.values().any(|(waited_for, ..)| *waited_for == of);
                let actions = relay.on(Event::DialledBack { tunnel: TunnelId(number), device: name(device), ticket });
                if actions.contains(&Action::Accept(TunnelId(number))) {
                    prop_assert!(of == name(device), "another device's ticket");
                    prop_assert!(!shown, "a ticket twice");
                    prop_assert!(wanted, "a ticket of somebody who isn't there");
                    self.tickets.iter_mut().filter(|(known, ..)| *known == ticket).for_each(|entry| entry.2 = true);
                    self.tunnels.insert(number, (Some(name(device)), BTreeSet::new()));
                } else {
                    prop_assert!(actions.contains(&Action::Reject(TunnelId(number))));
                }
                return self.check(&actions, relay.seconds);
            }
            Step::Listening { tunnel, device, port } => {
                let Some(tunnel) = nth(&self.tunnels, tunnel) else { return Ok(()) };
                let (woken, offers) = self.tunnels.get_mut(&tunnel).unwrap();
                if woken.as_ref().is_none_or(|woken| *woken == name(device)) {
                    offers.insert((name(device), port.into()));
                }
                Event::Listening { tunnel: TunnelId(tunnel), device: name(device), port: port.into() }
            }
            Step::NotListening { tunnel, device, port } => {
                let Some(tunnel) = nth(&self.tunnels, tunnel) else { return Ok(()) };
                self.tunnels.get_mut(&tunnel).unwrap().1.remove(&(name(device), port.into()));
                Event::NotListening { tunnel: TunnelId(tunnel), device: name(device), port: port.into() }
            }
            Step::Standing { device } => {
                self.tunnels.insert(number, (None, BTreeSet::from([(name(device), 0)])));
                Event::Listening { tunnel: TunnelId(number), device: name(device), port: 0 }
            }
            Step::Gone(index) => {
                let Some(tunnel) = nth(&self.tunnels, index) else { return Ok(()) };
                self.tunnels.remove(&tunnel);
                self.broken(tunnel, relay.seconds);
                Event::Gone(TunnelId(tunnel))
            }
            Step::Seen { device, online } => {
                let presence = if online { Presence::Online } else { Presence::Offline };
                Event::Seen { device: name(device), presence, since: START + relay.seconds }
            }
            Step::After(seconds) => {
                // As a relay does: it wakes up when the machine says.
                let end = relay.seconds + seconds;
                while let Some(next) = relay.state.deadline().map(|at| at.as_secs()).filter(|next| *next <= end) {
                    relay.seconds = relay.seconds.max(next);
                    let actions = relay.on(Event::Tick);
                    self.check(&actions, relay.seconds)?;
                    prop_assert!(
                        relay.state.deadline().is_none_or(|at| at.as_secs() > relay.seconds),
                        "it asks for a tick that does nothing"
                    );
                }
                relay.seconds = end;
                Event::Tick
            }
        };
        let actions = relay.on(event);
        self.check(&actions, relay.seconds)
    }

    /// Whoever was before a door of it waits again, once; whoever was inside is out.
    fn broken(&mut self, tunnel: u64, seconds: u64) {
        let through: Vec<_> = self.inside.iter().filter(|(_, (_, _, through, _))| *through == tunnel).map(|(id, _)| *id).collect();
        for visitor in through {
            let Some((device, port, _, confirmed)) = self.inside.remove(&visitor) else { continue };
            if !confirmed {
                self.reopened.insert(visitor);
                // As patient as the most patient: their own wait is not remembered here.
                self.waiting.insert(visitor, (device, port, seconds + 208));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_a_promise(steps in proptest::collection::vec(step(), 1..80), broker in any::<bool>()) {
        let mut relay = if broker { Relay::new() } else { Relay::with(None) };
        let mut watcher = Watcher::default();
        for (number, step) in (1..).zip(steps) {
            watcher.step(&mut relay, number, step)?;
        }
        // Everybody leaves, every connection that wasn't woken ends: nothing is left behind.
        watcher.step(&mut relay, 1000, Step::After(500))?;
        prop_assert!(watcher.waiting.is_empty());
        for visitor in watcher.inside.keys() {
            relay.on(Event::Left(VisitorId(*visitor)));
        }
        watcher.inside.clear();
        for tunnel in watcher.tunnels.iter().filter(|(_, (woken, _))| woken.is_none()).map(|(id, _)| *id).collect::<Vec<_>>() {
            watcher.tunnels.remove(&tunnel);
            relay.on(Event::Gone(TunnelId(tunnel)));
        }
        watcher.step(&mut relay, 1001, Step::After(500))?;
        prop_assert!(relay.state.is_idle(), "{:?}", relay.state);
        for (ticket, device, _) in &watcher.tickets {
            let late = relay.on(Event::DialledBack { tunnel: TunnelId(2000), device: device.clone(), ticket: *ticket });
            prop_assert_eq!(late, [Action::Reject(TunnelId(2000))], "a ticket is left behind");
        }
    }
}
