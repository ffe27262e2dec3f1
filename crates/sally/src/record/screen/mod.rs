//! Emulates a terminal's screen: takes output, draws the screen on another terminal, and returns it as text.
//!
//! - `handler`: applies a program's output
//! - `dump`: draws the screen on another terminal
//!
//! Only this module names the emulator, and it knows nothing of records.

mod dump;
mod handler;
#[cfg(test)]
mod tests;

use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::{Dimensions, Row};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::{Config, Term, TermMode};
use alacritty_terminal::vte::ansi::{CharsetIndex, Processor, Timeout};

/// The most columns or rows: a larger terminal is made smaller, because its size comes from a file and its memory from us.
const MAX_SIDE: u16 = 1000;
/// The fewest columns: fewer have no room for a wide character.
const MIN_COLUMNS: u16 = 2;
/// Columns from one tab stop to the next, until a program says otherwise.
const TAB: usize = 8;
/// How many lines that have left the screen wait before they are read.
const DRAIN: usize = 128;
/// The longest wrapped line, in bytes; a longer one is cut, because some output never ends a line.
const LONGEST_LINE: usize = 1 << 20;

/// A terminal's screen.
pub(super) struct Screen {
    processor: Processor<AtOnce>,
    state: State,
}

/// The state that output changes.
struct State {
    term: Term<VoidListener>,
    // The emulator doesn't show these.
    /// The first and the last line that scroll, from 1; `None` for all.
    region: Option<(usize, usize)>,
    /// The columns that have a tab stop; `None` for every eighth.
    tabs: Option<Vec<bool>>,
    charset: CharsetIndex,
    transcript: Option<Transcript>,
}

/// The lines that have left the screen for good.
#[derive(Default)]
struct Transcript {
    lines: Vec<String>,
    /// The beginning of a line that continues in the next row.
    begun: String,
}

/// Holds back nothing of a synchronized update: it is recorded, even if a user would not have seen it for a moment.
#[derive(Default)]
struct AtOnce;

impl Timeout for AtOnce {
    fn set_timeout(&mut self, _: std::time::Duration) {}

    fn clear_timeout(&mut self) {}

    fn pending_timeout(&self) -> bool {
        false
    }
}

/// Columns and rows.
#[derive(Clone, Copy)]
struct Size(usize, usize);

impl Size {
    fn of(columns: u16, rows: u16) -> Self {
        Self(columns.clamp(MIN_COLUMNS, MAX_SIDE).into(), rows.clamp(1, MAX_SIDE).into())
    }
}

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.1
    }

    fn screen_lines(&self) -> usize {
        self.1
    }

    fn columns(&self) -> usize {
        self.0
    }
}

impl Screen {
    /// Makes an empty screen of this size, or of the nearest possible one.
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        Self::with(columns, rows, None)
    }

    /// Makes an empty screen that keeps the lines that leave it as text, for [`Screen::take_lines`].
    pub(super) fn with_transcript(columns: u16, rows: u16) -> Self {
        Self::with(columns, rows, Some(Transcript::default()))
    }

    fn with(columns: u16, rows: u16, transcript: Option<Transcript>) -> Self {
        let scrolling_history = if transcript.is_some() { DRAIN + usize::from(MAX_SIDE) } else { 0 };
        let term = Term::new(Config { scrolling_history, ..Config::default() }, &Size::of(columns, rows), VoidListener);
        let state = State { term, region: None, tabs: None, charset: CharsetIndex::G0, transcript };
        Self { processor: Processor::new(), state }
    }

    /// Takes a program's output, in whole characters.
    pub(super) fn feed(&mut self, text: &str) {
        self.processor.advance(&mut self.state, text.as_bytes());
    }

    /// Changes the size, and wraps the lines again.
    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        let size = Size::of(columns, rows);
        let state = &mut self.state;
        state.drain();
        state.region = None;
        if let Some(tabs) = &mut state.tabs {
            let had = tabs.len();
            tabs.extend((had..size.columns()).map(|column| column % TAB == 0));
        }
        state.term.resize(size);
    }

    /// Returns whether the alternate screen is active, as with editors.
    pub(super) fn is_alternate(&self) -> bool {
        self.state.is_alternate()
    }

    /// Returns the lines that have left the screen since the last call, each whole, however often it was wrapped.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.state.drain();
        self.state.transcript.as_mut().map(|transcript| std::mem::take(&mut transcript.lines)).unwrap_or_default()
    }

    /// Returns the remaining lines, then those of the primary screen.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.state.read_screen();
        self.take_lines()
    }
}

impl State {
    fn is_alternate(&self) -> bool {
        self.term.mode().contains(TermMode::ALT_SCREEN)
    }

    /// Reads the lines that have left the screen.
    fn drain(&mut self) {
        let Some(transcript) = &mut self.transcript else { return };
        let grid = self.term.grid_mut();
        let history = i32::try_from(grid.history_size()).unwrap_or(0);
        for line in -history..0 {
            transcript.push(&grid[Line(line)]);
        }
        grid.clear_history();
    }

    /// Reads the primary screen too, as if it were leaving; empty lines at its end are dropped.
    fn read_screen(&mut self) {
        if self.is_alternate() {
            self.term.swap_alt();
        }
        self.drain();
        let Some(transcript) = &mut self.transcript else { return };
        let before = transcript.lines.len();
        let grid = self.term.grid();
        for line in 0..i32::try_from(grid.screen_lines()).unwrap_or(0) {
            transcript.push(&grid[Line(line)]);
        }
        transcript.end_line();
        while transcript.lines.len() > before && transcript.lines.last().is_some_and(String::is_empty) {
            transcript.lines.pop();
        }
    }
}

impl Transcript {
    fn push(&mut self, row: &Row<Cell>) {
        self.begun.extend(row.into_iter().flat_map(shown));
        let wraps = row.last().is_some_and(|cell| cell.flags.contains(Flags::WRAPLINE));
        if !wraps || self.begun.len() > LONGEST_LINE {
            self.lines.push(self.begun.trim_end().to_owned());
            self.begun.clear();
        }
    }

    fn end_line(&mut self) {
        if !self.begun.is_empty() {
            self.lines.push(self.begun.trim_end().to_owned());
            self.begun.clear();
        }
    }
}

/// Returns the characters of a cell: concealed ones are blanks, and the second half of a wide character is part of the first.
fn shown(cell: &Cell) -> impl Iterator<Item = char> {
    let hidden = cell.flags.contains(Flags::HIDDEN);
    let spacer = cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) && !hidden;
    let first = if hidden || cell.c == '\t' { ' ' } else { cell.c };
    let marks = cell.zerowidth().filter(|_| !hidden).unwrap_or_default();
    std::iter::once(first).filter(move |_| !spacer).chain(marks.iter().copied())
}
