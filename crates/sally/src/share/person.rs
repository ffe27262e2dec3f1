//! Keeps one person of a share: the role, and the input that waits for its turn.

use std::collections::VecDeque;

use sally_proto::record::Via;
use sally_proto::share::{MouseReport, NamedViewer, Rights, ShareKeyboard, ShareRole, Unit};
use sally_sys::pty::WindowSize;
use tokio_util::sync::CancellationToken;

use super::status::Prompt;

/// The most bytes of one person's input that wait, beyond which no more is read from that person.
pub(super) const WAITING: usize = 64 << 10;
/// The byte of Ctrl-C.
const INTERRUPT: u8 = 3;

/// A person who wants to join.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The number of the person's keyboard on the record.
    pub number: u32,
    /// A name for the person, from the key's source.
    pub name: String,
    /// The source of the key; none for the local terminal.
    pub source: Option<String>,
    /// The fingerprint of the key.
    pub fingerprint: Option<String>,
    /// The way on which the person comes.
    pub via: Via,
    /// The most that the source of the key allows.
    pub limit: ShareRole,
    /// The most that the link by which the person comes allows.
    pub link: ShareRole,
    /// The person's address, if it is known.
    pub peer: Option<String>,
    /// The size of the person's window.
    pub window: WindowSize,
}

/// What typing has come to, besides input for the program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Whether the host has typed Ctrl-C to the program.
    pub(super) interrupts: bool,
    /// The first byte of a key of a person who may not write.
    pub(super) watcher_key: Option<u8>,
    /// The commands that the host has typed to Sally.
    pub(super) commands: Vec<String>,
}

/// A part of the screen: the first column and row, and how many.
pub(super) type VisiblePart = ((usize, usize), (usize, usize));

/// A person who is there.
pub(super) struct Person {
    pub(super) joined: Joining,
    /// The name that no other person of this share has.
    pub(super) name: String,
    /// The number that the name was given with.
    pub(super) named: u32,
    pub(super) rights: Rights,
    /// The first column and row of the screen that the person sees, and how many.
    pub(super) part: VisiblePart,
    pub(super) window: WindowSize,
    pub(super) keyboard: ShareKeyboard,
    /// The host's commands to Sally; only the local terminal has it.
    pub(super) prompt: Option<Prompt>,
    /// Input in whole units.
    waiting: VecDeque<Unit>,
    /// Bytes in `waiting`.
    size: usize,
    /// Whether a paste of this person has begun at the program and not ended.
    pub(super) pasting: bool,
    /// Whether the person asks for the right to write.
    pub(super) asks: bool,
    /// Cancelled when the person has to leave; `leaves_because` says why.
    pub(super) dismissed: CancellationToken,
    pub(super) leaves_because: Option<String>,
}

impl Person {
    pub(super) fn new(joined: Joining, name: NamedViewer, rights: Rights) -> Self {
        let keyboard = if joined.via == Via::Local { ShareKeyboard::local() } else { ShareKeyboard::new() };
        Self {
            name: name.name,
            named: name.number,
            rights,
            part: VisiblePart::default(),
            window: joined.window,
            prompt: (joined.via == Via::Local).then(Prompt::default),
            keyboard,
            waiting: VecDeque::new(),
            size: 0,
            pasting: false,
            asks: false,
            dismissed: CancellationToken::new(),
            leaves_because: None,
            joined,
        }
    }

    pub(super) fn may_write(&self) -> bool {
        self.rights.role() >= ShareRole::Write
    }

    pub(super) fn is_local(&self) -> bool {
        self.joined.via == Via::Local
    }

    /// Takes what was typed, in whole units. A person who may not write has nothing that waits.
    pub(super) fn typed(&mut self, bytes: &[u8]) -> Heard {
        self.keyboard.push(bytes);
        self.collect()
    }

    /// Returns whether something unfinished is held, for which `settle` is to be called after 50 ms.
    pub(super) fn waits(&self) -> bool {
        self.keyboard.waits() || self.prompt.as_ref().is_some_and(Prompt::waits)
    }

    /// Takes an unfinished sequence as it is: its rest has not come in time.
    pub(super) fn settle(&mut self) -> Heard {
        self.keyboard.flush();
        let heard = self.collect();
        let prefix = self.prompt.as_mut().and_then(Prompt::settle);
        prefix.into_iter().for_each(|unit| self.keep(unit));
        heard
    }

    fn collect(&mut self) -> Heard {
        let mut heard = Heard::default();
        while let Some(unit) = self.keyboard.next() {
            if !self.may_write() {
                // Pastes and a terminal's answers are no keys, and are told apart from them whatever this person may do.
                if let Unit::Keys(keys) = &unit {
                    heard.watcher_key = heard.watcher_key.or(keys.first().copied());
                }
                continue;
            }
            let Some(prompt) = &mut self.prompt else {
                self.keep(unit);
                continue;
            };
            for unit in prompt.take(unit, &mut heard.commands) {
                heard.interrupts |= matches!(&unit, Unit::Keys(keys) if keys.contains(&INTERRUPT));
                self.keep(unit);
            }
        }
        heard
    }

    /// Keeps a unit until its turn.
    fn keep(&mut self, unit: Unit) {
        let unit = match unit {
            Unit::Mouse(report) => self.on_screen(report).map(Unit::Mouse),
            unit => Some(unit),
        };
        self.size += unit.as_ref().map_or(0, size_of);
        self.waiting.extend(unit);
    }

    /// Returns the report as of a terminal of the screen's size; none outside of what the person sees of it.
    fn on_screen(&self, report: MouseReport) -> Option<MouseReport> {
        let (from, count) = self.part;
        let at = |position: u16, from: usize, count: usize| {
            let inside = position.checked_sub(1).map(usize::from).filter(|inside| *inside < count)?;
            u16::try_from(inside + from + 1).ok()
        };
        Some(MouseReport { column: at(report.column, from.0, count.0)?, row: at(report.row, from.1, count.1)?, ..report })
    }

    pub(super) fn has_room(&self) -> bool {
        self.size < WAITING
    }

    pub(super) fn has_input(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the next unit.
    pub(super) fn next(&mut self) -> Option<Unit> {
        let unit = self.waiting.pop_front()?;
        self.size = self.size.saturating_sub(size_of(&unit));
        match unit {
            Unit::PasteStart => self.pasting = true,
            Unit::PasteEnd => self.pasting = false,
            _ => {}
        }
        Some(unit)
    }

    /// Drops all input that has not gone to the program. Returns the unit that ends a paste which the program has seen begin.
    pub(super) fn drop_input(&mut self) -> Option<Unit> {
        let _ = self.keyboard.leave();
        self.waiting.clear();
        self.size = 0;
        std::mem::take(&mut self.pasting).then_some(Unit::PasteEnd)
    }
}

/// Returns how many bytes a unit keeps in memory.
fn size_of(unit: &Unit) -> usize {
    match unit {
        Unit::Keys(bytes) | Unit::Paste(bytes) => bytes.len(),
        _ => 8,
    }
}
