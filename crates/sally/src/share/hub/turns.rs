//! Decides whose input is next. A whole key, character or paste of one person is never cut by another's.

use std::time::{Duration, Instant};

use sally_proto::share::Unit;

use super::ShareState;

/// The most input, in bytes, that goes to the program in one piece.
const PIECE: usize = 4 << 10;
/// How long a paste may keep others' input waiting, and how many bytes of it.
const PASTE: (Duration, usize) = (Duration::from_secs(5), 1 << 20);
/// The number of the terminal itself on the record.
const TERMINAL: u32 = 0;

impl ShareState {
    pub(super) fn drop_others_input(&mut self, host: u32) {
        for (number, person) in &mut self.people {
            if *number != host {
                self.endings.extend(person.drop_input().map(|unit| (*number, unit)));
            }
        }
        self.paste = self.paste.filter(|(number, ..)| *number == host);
    }

    /// Takes the next input; without one, returns how long a paste still keeps others waiting.
    pub(super) fn take_input(&mut self) -> (Option<(u32, Vec<u8>)>, Option<Duration>) {
        if !self.replies.is_empty() {
            return (Some((TERMINAL, std::mem::take(&mut self.replies))), None);
        }
        loop {
            let holder = self.holder();
            if let Some((number, unit)) = self.endings.pop_front() {
                return (Some((number, unit.into_bytes())), None);
            }
            let whose = match holder {
                Some((number, left)) if self.people.get(&number).is_some_and(|person| !person.has_input()) => {
                    return (None, Some(left).filter(|left| !left.is_zero()));
                }
                Some((number, _)) => Some(number),
                None => self.whose_turn(),
            };
            let Some(whose) = whose else { return (None, None) };
            // What a person may not type any more is left out, and the next one's turn comes.
            if let Some(input) = self.take_from(whose) {
                return (Some(input), None);
            }
        }
    }

    /// Returns whose paste others have to wait for, and for how long. A paste that has kept others waiting for too long is ended.
    fn holder(&mut self) -> Option<(u32, Duration)> {
        let (number, since, size) = self.paste?;
        let others_wait = self.people.iter().any(|(other, person)| *other != number && person.has_input());
        let left = PASTE.0.saturating_sub(since.elapsed());
        let Some(person) = self.people.get_mut(&number).filter(|person| person.pasting) else {
            self.paste = None;
            return None;
        };
        if !others_wait || (!left.is_zero() && size < PASTE.1) {
            return Some((number, left));
        }
        // Its rest would be typed among others' keys: it is dropped.
        self.endings.extend(person.drop_input().map(|unit| (number, unit)));
        self.notice = Some((Instant::now(), format!("the paste of {} kept others waiting: its rest is dropped", person.name)));
        self.paste = None;
        None
    }

    /// Returns whose input is next: the host's, else that of the next person in turn.
    fn whose_turn(&self) -> Option<u32> {
        let waiting = || self.people.iter().filter(|(_, person)| person.has_input());
        let host = waiting().find(|(_, person)| person.is_local());
        let next = || waiting().find(|(number, _)| **number > self.turn).or_else(|| waiting().next());
        host.or_else(next).map(|(number, _)| *number)
    }

    fn take_from(&mut self, number: u32) -> Option<(u32, Vec<u8>)> {
        self.turn = number;
        let person = self.people.get_mut(&number)?;
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some(unit) = person.next() else { break };
            // The one place that decides who may type.
            if !person.may_write() {
                continue;
            }
            let ends = matches!(unit, Unit::PasteEnd);
            if matches!(unit, Unit::PasteStart) {
                self.paste = Some((number, Instant::now(), 0));
            }
            match unit {
                Unit::Mouse(report) => piece.extend(
                    self.screen.mouse().and_then(|(_, sgr)| if sgr { Some(report.to_sgr()) } else { report.to_x10() }).unwrap_or_default(),
                ),
                unit => piece.extend(unit.into_bytes()),
            }
            if ends {
                self.paste = None;
                break;
            }
        }
        if let Some((_, _, size)) = &mut self.paste {
            *size += piece.len();
        }
        (!piece.is_empty()).then_some((number, piece))
    }
}
