//! Answers what a program asks its terminal. Viewers' terminals are never asked, and their answers never taken.

use std::fmt::Write as _;

use alacritty_terminal::vte::ansi::Rgb;

use super::function::{DYNAMIC, Query, ScreenMode};
use super::state::ScreenState;
use super::{Mouse, ScreenSize};

/// The most answers that wait, in bytes: a program that doesn't read them gets no more.
const REPLIES_MAX: usize = 4096;

impl ScreenState {
    pub(super) fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    pub(super) fn answer(&mut self, query: Query) {
        let answer = self.answer_to(query);
        if self.replies.len() + answer.len() <= REPLIES_MAX {
            self.replies.extend_from_slice(answer.as_bytes());
        }
    }

    fn answer_to(&self, query: Query) -> String {
        let ScreenSize { columns, rows } = self.size();
        match query {
            // A VT100 with advanced video, as xterm's relatives say of themselves.
            Query::Attributes => "\x1b[?1;2c".to_owned(),
            Query::SecondaryAttributes => "\x1b[>0;276;0c".to_owned(),
            Query::Status => "\x1b[0n".to_owned(),
            Query::Position(private) => {
                let (row, column) = self.at();
                let row = row - if self.is(ScreenMode::Origin) { self.region.0.min(row) } else { 0 };
                format!("\x1b[{}{};{}R", if private { "?" } else { "" }, row + 1, column + 1)
            }
            Query::Mode { number, private } => {
                let state = ScreenMode::from_number(number, private).map_or(0, |mode| if self.reports(mode) { 1 } else { 2 });
                format!("\x1b[{}{number};{state}$y", if private { "?" } else { "" })
            }
            Query::Size => format!("\x1b[8;{rows};{columns}t"),
            Query::Color(index) => self.color_report(index),
            Query::Unknown(prefix) => format!("\x1bP{prefix}\x1b\\"),
        }
    }

    fn reports(&self, mode: ScreenMode) -> bool {
        match mode {
            ScreenMode::MouseClick => self.mouse == Some(Mouse::Click),
            ScreenMode::MouseDrag => self.mouse == Some(Mouse::Drag),
            ScreenMode::MouseMotion => self.mouse == Some(Mouse::Motion),
            ScreenMode::Alternate | ScreenMode::AlternateOnly => self.is_alternate(),
            ScreenMode::SavedCursor => true,
            ScreenMode::Blink => self.is(mode) || self.cursor_style % 2 == 1,
            _ => self.is(mode),
        }
    }

    fn color_report(&self, index: usize) -> String {
        let Rgb { r, g, b } = self.color(index);
        let mut answer = "\x1b]".to_owned();
        let _ = if index < DYNAMIC { write!(answer, "4;{index}") } else { write!(answer, "{}", index - DYNAMIC + 10) };
        let _ = write!(answer, ";rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}\x1b\\");
        answer
    }

    /// Returns a color as the program set it, else xterm's: viewers' terminals have others, each its own.
    pub(super) fn color(&self, index: usize) -> Rgb {
        self.colors.get(&index).copied().unwrap_or_else(|| standard(index))
    }
}

/// xterm's first sixteen colors.
const FIRST: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];

/// Returns xterm's color of an index: the first sixteen, a cube, a ramp of grays, and the default colors, light on dark.
pub(super) fn standard(index: usize) -> Rgb {
    let step = |level: usize| if level == 0 { 0 } else { u8::try_from(55 + 40 * level).unwrap_or(255) };
    let (r, g, b) = match index {
        0..=15 => FIRST.get(index).copied().unwrap_or_default(),
        16..=231 => (step((index - 16) / 36), step((index - 16) / 6 % 6), step((index - 16) % 6)),
        232..=255 => {
            let gray = u8::try_from(8 + 10 * (index - 232)).unwrap_or(255);
            (gray, gray, gray)
        }
        // The background.
        257 => (0, 0, 0),
        _ => (229, 229, 229),
    };
    Rgb { r, g, b }
}
