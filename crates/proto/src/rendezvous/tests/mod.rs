//! The machine, by stories and by random histories.

mod histories;
mod model;
mod sentences;
mod stories;

use std::time::Duration;

use model::{ADDRESS, Relay, START, id, visit};

use super::*;
use crate::wake::{ClockReading, WakeAnswer};

impl Relay {
    fn new() -> Self {
        Self::with(Some(ADDRESS), RendezvousLimits::default())
    }

    /// Lets time pass, and says so.
    fn after(&mut self, seconds: u64) -> Vec<Action> {
        self.seconds += seconds;
        self.on(RendezvousEvent::Tick)
    }

    fn visit(&mut self, visitor: u64, device: &str) -> Vec<Action> {
        self.on(visit(7, visitor, device, 22, None))
    }

    /// A visitor's first ask: the wake and its ticket.
    fn wake(&mut self, visitor: u64, device: &str) -> (Jti, Ticket) {
        published(&self.visit(visitor, device)).unwrap()
    }

    fn dial_back(&mut self, tunnel: u64, device: &str, ticket: Ticket) -> Vec<Action> {
        self.on(RendezvousEvent::DialledBack { tunnel: TunnelId(tunnel), device: id(device), ticket })
    }

    fn listening(&mut self, tunnel: u64, device: &str, port: u16) -> Vec<Action> {
        self.on(RendezvousEvent::Listening { tunnel: TunnelId(tunnel), device: id(device), port })
    }

    fn answered(&mut self, device: &str, jti: Jti, answer: WakeAnswer, detail: &str, clock: u64) -> Vec<Action> {
        let answer = Acknowledgement::new("relay-1".parse().unwrap(), jti, clock, answer, detail);
        self.on(RendezvousEvent::Answered(id(device), answer))
    }
}

fn published(actions: &[Action]) -> Option<(Jti, Ticket)> {
    actions.iter().find_map(|action| match action {
        Action::Publish { jti, ticket, .. } => Some((*jti, *ticket)),
        _ => None,
    })
}

fn opened(actions: &[Action]) -> Vec<u64> {
    let visitor = |action: &Action| if let Action::Open { visitor, .. } = action { Some(visitor.0) } else { None };
    actions.iter().filter_map(visitor).collect()
}

/// Visitor and sentence of each refusal.
fn refused(actions: &[Action]) -> Vec<(u64, String)> {
    let refusal = |action: &Action| if let Action::Refuse(visitor, why) = action { Some((visitor.0, why.to_string())) } else { None };
    actions.iter().filter_map(refusal).collect()
}
