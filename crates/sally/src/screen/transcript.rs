//! The lines that have left the screen for good, as text.

use std::mem;

use alacritty_terminal::grid::{Dimensions, Grid, Row};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::{Cell, Flags};

use super::state::ScreenState;

/// The longest wrapped line, in bytes; a longer one is cut, because some output never ends a line.
const LONGEST_LINE: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Transcript {
    lines: Vec<String>,
    /// The beginning of a line that continues in the next row.
    begun: String,
}

impl ScreenState {
    /// Reads the lines that have left the screen.
    pub(super) fn drain(&mut self) {
        let Some(mut transcript) = self.transcript.take() else { return };
        let grid = self.primary_mut();
        let history = i32::try_from(grid.history_size()).unwrap_or(0);
        for line in -history..0 {
            transcript.push(&grid[Line(line)]);
        }
        grid.clear_history();
        self.transcript = Some(transcript);
    }

    /// Reads the primary screen too, as if it were leaving; empty lines at its end are dropped.
    pub(super) fn read_screen(&mut self) {
        self.drain();
        let Some(mut transcript) = self.transcript.take() else { return };
        transcript.push_screen(self.primary());
        self.transcript = Some(transcript);
    }

    /// Reads the screen before all of it is cleared, unless it is the alternate one.
    pub(super) fn keep_screen(&mut self) {
        if !self.is_alternate() {
            self.read_screen();
        }
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.drain();
        self.transcript.as_mut().map(|transcript| mem::take(&mut transcript.lines)).unwrap_or_default()
    }

    pub(super) fn finish(&mut self) -> Vec<String> {
        self.read_screen();
        self.take_lines()
    }
}

impl Transcript {
    fn push_screen(&mut self, grid: &Grid<Cell>) {
        let before = self.lines.len();
        for line in 0..i32::try_from(grid.screen_lines()).unwrap_or(0) {
            self.push(&grid[Line(line)]);
        }
        if !self.begun.is_empty() {
            self.end_line();
        }
        while self.lines.len() > before && self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
    }

    fn push(&mut self, row: &Row<Cell>) {
        self.begun.extend(row.into_iter().flat_map(shown));
        let wraps = row.last().is_some_and(|cell| cell.flags.contains(Flags::WRAPLINE));
        if !wraps || self.begun.len() > LONGEST_LINE {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        self.lines.push(self.begun.trim_end().to_owned());
        self.begun.clear();
    }
}

/// Returns the characters of a cell: concealed ones are blanks, and the second half of a wide character is part of the first.
fn shown(cell: &Cell) -> impl Iterator<Item = char> {
    let hidden = cell.flags.contains(Flags::HIDDEN);
    let spacer = cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) && !hidden;
    let first = if hidden { ' ' } else { cell.c };
    let marks = cell.zerowidth().filter(|_| !hidden).unwrap_or_default();
    std::iter::once(first).filter(move |_| !spacer).chain(marks.iter().copied())
}
