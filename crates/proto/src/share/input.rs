//! Cuts what one person's terminal sends into units, and drops what no person has typed.
//!
//! Several people type into one terminal. A unit is what must reach the program in one piece: a character, the whole sequence of a key, a
//! paste between its marks. Terminals also send what no person typed, as answers to queries; here the program has one terminal, the share's
//! own screen, and anything else that has the form of an answer is dropped, of every person and of the local terminal.

use bytes::{Buf as _, BytesMut};

use super::mouse::MouseReport;
use super::sequence::{C1_IN_UTF8, ESC, InputToken, Rest, Unfinished, scan, scan_rest};
use crate::record::incomplete_tail;

#[cfg(test)]
mod tests;

/// How many calls of [`ShareKeyboard::flush`], 50 ms apart, the middle of a sequence is waited for: one second, as a network may need to send a
/// packet again. What has not come to its end by then is dropped.
const PATIENCE: u8 = 20;
/// The longest run of plain characters in one unit, in bytes.
const RUN_MAX: usize = 4096;
/// The longest piece of a paste in one unit, in bytes.
const PASTE_MAX: usize = 32 * 1024;
/// The forms of the mark that ends a paste.
const PASTE_END: [&[u8]; 2] = [b"\x1b[201~", b"\xc2\x9b201~"];

/// What reaches a program in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole character or sequence, or a run of plain characters that came together.
    Keys(Vec<u8>),
    /// The start of a bracketed paste: other people's units wait until its end.
    PasteStart,
    /// A piece of a paste, without its marks.
    Paste(Vec<u8>),
    /// The end of a bracketed paste.
    PasteEnd,
    /// A mouse report.
    Mouse(MouseReport),
}

impl Unit {
    /// Returns the bytes as a terminal sends them, with mouse reports as in mode 1006.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Keys(bytes) | Self::Paste(bytes) => bytes,
            Self::PasteStart => b"\x1b[200~".to_vec(),
            Self::PasteEnd => b"\x1b[201~".to_vec(),
            Self::Mouse(report) => report.to_sgr(),
        }
    }
}

/// One person's keyboard: bytes go in with [`ShareKeyboard::push`], units come out as from an iterator, which may return more after `None`.
///
/// **Time.** When [`ShareKeyboard::waits`] is true and 50 ms have passed without a byte, the caller calls [`ShareKeyboard::flush`], and again after
/// each further 50 ms.
///
/// **Answers.** No answer passes, however it is cut, if each of its pieces comes within 50 ms. A longer pause inside one is waited for up
/// to a second. One pause can't be told from typing: after a lone introducer, which is a key by itself (Escape, Alt+[). That key passes;
/// the rest is still dropped if it then comes without a second pause.
///
/// **Pastes.** The first `ESC [ 201 ~` ends a paste: whether the terminal or the pasted text sent it can't be seen here. It is guaranteed
/// that no [`Unit::Paste`] or series of them contains such a mark, so that a program sees a paste's end only where this type says that
/// it is. A terminal (or page) that pastes must take the mark out of the text; xterm and others do. What follows a mark in the text counts
/// as typed, and is written by the same person.
///
/// **Memory.** The bytes that were pushed and not yet taken, and at most some 400 of an unfinished sequence: the caller takes all
/// units before the next push.
#[derive(Debug, Default)]
pub struct ShareKeyboard {
    /// Whether this is the local terminal, whose focus reports pass.
    local: bool,
    pending: BytesMut,
    /// How many bytes at the front of `pending` a flush has passed on: they are kept to recognise the rest of an answer.
    passed: usize,
    /// What a flush has passed on and was not yet taken.
    flushed: Vec<u8>,
    mode: InputMode,
    /// How often in succession a flush found something unfinished.
    flushes: u8,
    /// Whether the unfinished sequence at the front belongs to a time before [`ShareKeyboard::leave`].
    left: bool,
    /// Whether a [`Unit::PasteStart`] was taken, and its end was not.
    in_paste: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InputMode {
    #[default]
    Keys,
    /// In an answer that is too long to be kept.
    Dropping(Rest),
    /// In a paste. `left`: its person has left, and the rest is dropped.
    Paste { left: bool },
}

/// What a step came to.
enum Step {
    Unit(Unit),
    Dropped,
    NeedsMore,
}

impl ShareKeyboard {
    /// Makes the keyboard of a viewer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the keyboard of the local terminal: only its focus reports pass, because the program has one focus.
    #[must_use]
    pub fn local() -> Self {
        Self { local: true, ..Self::default() }
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.flushes = 0;
    }

    /// Returns whether something unfinished is held, for which [`ShareKeyboard::flush`] is to be called after 50 ms. Nothing is waited for
    /// inside a paste: it goes on until its end, or until [`ShareKeyboard::leave`].
    #[must_use]
    pub fn waits(&self) -> bool {
        match self.mode {
            InputMode::Keys => self.pending.len() > self.passed && matches!(scan(&self.pending), InputToken::Unfinished(_)),
            InputMode::Dropping(_) => true,
            InputMode::Paste { .. } => false,
        }
    }

    /// Returns whether this person is in a paste, of which the start was taken and the end was not.
    #[must_use]
    pub fn in_paste(&self) -> bool {
        self.in_paste
    }

    /// Says that 50 ms have passed without a byte. A lone introducer becomes a key, half a character passes as it is; the middle of a
    /// sequence is dropped after a second.
    pub fn flush(&mut self) {
        if !self.waits() {
            return;
        }
        self.flushes = self.flushes.saturating_add(1);
        let over = self.flushes >= PATIENCE;
        match (self.mode, scan(&self.pending)) {
            (InputMode::Keys, InputToken::Unfinished(unfinished)) => {
                if self.left {
                    self.forget();
                } else if unfinished == Unfinished::MaybeKey || self.passed > 0 {
                    self.pass_on();
                } else if over {
                    self.forget();
                }
            }
            (InputMode::Dropping(_), _) if over => {
                self.mode = InputMode::Keys;
                self.forget();
            }
            _ => {}
        }
    }

    /// Ends this person's input, because they leave, are kicked or demoted: what was not taken is dropped. Returns the end of a paste whose
    /// start was taken, so that the program doesn't stay in it.
    ///
    /// The rest of a paste or of a sequence that comes later is dropped too: if the person stays to watch, their bytes are to be pushed
    /// all the same, so that nothing of that rest counts as typed when they may write again.
    pub fn leave(&mut self) -> Option<Unit> {
        let open = self.in_paste;
        while self.next().is_some() {}
        self.in_paste = false;
        match self.mode {
            InputMode::Paste { .. } => self.mode = InputMode::Paste { left: true },
            InputMode::Keys => self.left = self.pending.len() > self.passed,
            InputMode::Dropping(_) => {}
        }
        open.then_some(Unit::PasteEnd)
    }

    /// Passes on what is held. An introducer in it is kept, to recognise the rest of an answer.
    fn pass_on(&mut self) {
        let held = self.pending.split_off(self.passed);
        self.flushed.extend_from_slice(&held);
        if self.passed == 0 || matches!(held.first(), Some(&ESC | &C1_IN_UTF8)) {
            self.passed = held.len();
            self.pending = held;
        } else {
            self.forget();
        }
    }

    /// Drops what is held.
    fn forget(&mut self) {
        self.pending.clear();
        self.passed = 0;
        self.flushes = 0;
        self.left = false;
    }

    /// Removes so many bytes, and returns those of them that no flush has passed on.
    fn remove(&mut self, length: usize) -> BytesMut {
        let mut taken = self.pending.split_to(length.min(self.pending.len()));
        taken.advance(self.passed.min(taken.len()));
        self.passed = self.passed.saturating_sub(length);
        taken
    }

    fn keys(&mut self, length: usize) -> Step {
        let taken = self.remove(length);
        if taken.is_empty() { Step::Dropped } else { Step::Unit(Unit::Keys(taken.to_vec())) }
    }

    fn discard(&mut self, length: usize) -> Step {
        self.remove(length);
        Step::Dropped
    }

    /// Takes the next token.
    fn step(&mut self) -> Step {
        let token = scan(&self.pending);
        if matches!(token, InputToken::Unfinished(_)) {
            return Step::NeedsMore;
        }
        let left = std::mem::take(&mut self.left);
        match token {
            InputToken::PasteStart(length) => {
                self.remove(length);
                self.mode = InputMode::Paste { left };
                if left { Step::Dropped } else { Step::Unit(Unit::PasteStart) }
            }
            InputToken::TooLong(length, rest) => {
                self.mode = InputMode::Dropping(rest);
                self.discard(length)
            }
            InputToken::Plain(length) | InputToken::Key(length) | InputToken::Mouse(length, _) if left => self.discard(length),
            InputToken::Plain(_) => self.keys(plain_run(&self.pending)),
            InputToken::Key(length) => self.keys(length),
            InputToken::Mouse(length, report) => {
                self.remove(length);
                Step::Unit(Unit::Mouse(report))
            }
            InputToken::Focus(length) if self.local && !left => self.keys(length),
            // Alt+[ has passed, and one letter has come by itself: most likely a key.
            InputToken::Focus(length) if self.passed + 1 == length && !left => self.keys(length),
            // After an introducer that has passed as a key, this was typed.
            InputToken::Broken(length) if self.passed > 0 && !left => self.keys(length),
            InputToken::Focus(length) | InputToken::Answer(length) | InputToken::Broken(length) => self.discard(length),
            InputToken::Unfinished(_) => Step::NeedsMore,
        }
    }

    fn drop_rest(&mut self, rest: Rest) -> Step {
        let (length, ended) = scan_rest(rest, &self.pending);
        self.remove(length);
        if !ended {
            return Step::NeedsMore;
        }
        self.mode = InputMode::Keys;
        Step::Dropped
    }

    fn paste(&mut self, left: bool) -> Step {
        let (length, mark) = paste_text(&self.pending);
        match mark {
            _ if length > 0 => {
                let piece = self.remove(length);
                if left { Step::Dropped } else { Step::Unit(Unit::Paste(piece.to_vec())) }
            }
            Some(mark) => {
                self.remove(mark);
                self.mode = InputMode::Keys;
                if left { Step::Dropped } else { Step::Unit(Unit::PasteEnd) }
            }
            None => Step::NeedsMore,
        }
    }
}

impl Iterator for ShareKeyboard {
    type Item = Unit;

    /// Returns the next complete unit. `None`: there is none yet.
    fn next(&mut self) -> Option<Unit> {
        if !self.flushed.is_empty() {
            return Some(Unit::Keys(std::mem::take(&mut self.flushed)));
        }
        loop {
            let step = match self.mode {
                InputMode::Keys => self.step(),
                InputMode::Dropping(rest) => self.drop_rest(rest),
                InputMode::Paste { left } => self.paste(left),
            };
            match step {
                Step::Unit(unit) => {
                    match unit {
                        Unit::PasteStart => self.in_paste = true,
                        Unit::PasteEnd => self.in_paste = false,
                        _ => {}
                    }
                    return Some(unit);
                }
                Step::Dropped => {}
                Step::NeedsMore => return None,
            }
        }
    }
}

/// Returns the length of the plain characters at the front.
fn plain_run(bytes: &[u8]) -> usize {
    let mut run = 0;
    while run < RUN_MAX
        && let Some(rest) = bytes.get(run..)
        && let InputToken::Plain(length) = scan(rest)
    {
        run += length;
    }
    run
}

/// Returns the length of the pasted text at the front, up to an unfinished character or mark, and the length of the mark if one follows.
fn paste_text(bytes: &[u8]) -> (usize, Option<usize>) {
    let window = bytes.get(..PASTE_MAX).unwrap_or(bytes);
    for at in memchr::memchr2_iter(ESC, C1_IN_UTF8, window) {
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(mark) = PASTE_END.iter().find(|mark| rest.starts_with(mark)) {
            return (at, Some(mark.len()));
        }
        if PASTE_END.iter().any(|mark| mark.starts_with(rest)) {
            return (at, None);
        }
    }
    (window.len() - incomplete_tail(window), None)
}
