//! Swaps the primary and the alternate screen, saves cursors, resets, and changes the size.

use std::mem;

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::term::cell::Cell;
use alacritty_terminal::vte::ansi::{CharsetIndex, Handler as _};

use super::ScreenSize;
use super::attributes::BACKGROUND;
use super::function::{MODES, ScreenMode};
use super::state::{Saved, ScreenState, TAB, blank_pen, initial_tabs};

/// The modes that a soft reset (DECSTR) sets to what they were at first.
const SOFT: [ScreenMode; 10] = [
    ScreenMode::Insert,
    ScreenMode::CursorKeys,
    ScreenMode::Origin,
    ScreenMode::Wrap,
    ScreenMode::Visible,
    ScreenMode::ReverseWrap,
    ScreenMode::Keypad,
    ScreenMode::Focus,
    ScreenMode::Paste,
    ScreenMode::Synchronized,
];

impl ScreenState {
    pub(super) fn is_alternate(&self) -> bool {
        self.primary.is_some()
    }

    /// Returns the primary screen's grid.
    pub(super) fn primary(&self) -> &Grid<Cell> {
        self.primary.as_ref().unwrap_or_else(|| self.term.grid())
    }

    pub(super) fn primary_mut(&mut self) -> &mut Grid<Cell> {
        match &mut self.primary {
            Some(grid) => grid,
            None => self.term.grid_mut(),
        }
    }

    pub(super) fn show_alternate(&mut self, on: bool, with_cursor: bool) {
        if on && with_cursor {
            self.save_cursor();
        }
        match self.primary.take() {
            None if on => {
                let grid = self.term.grid();
                let mut alternate = Grid::new(grid.screen_lines(), grid.columns(), 0);
                alternate.cursor = grid.cursor.clone();
                if alternate.cursor.template.bg != BACKGROUND {
                    alternate.reset_region(..);
                }
                self.primary = Some(mem::replace(self.term.grid_mut(), alternate));
                // What was saved there last time is gone with the rest: a viewer who joins in between can't have it.
                *self.saved_mut() = Saved::initial();
            }
            Some(mut primary) if !on => {
                // The cursor and the pen are the terminal's, not the screen's.
                primary.cursor = self.cursor().clone();
                *self.term.grid_mut() = primary;
            }
            primary => self.primary = primary,
        }
        if !on && with_cursor {
            self.restore_cursor();
        }
    }

    fn saved_mut(&mut self) -> &mut Saved {
        let [primary, alternate] = &mut self.saved;
        if self.primary.is_some() { alternate } else { primary }
    }

    pub(super) fn save_cursor(&mut self) {
        let saved = Saved { cursor: self.cursor().clone(), charset: self.charset, origin: self.is(ScreenMode::Origin) };
        *self.saved_mut() = saved;
    }

    pub(super) fn restore_cursor(&mut self) {
        let Saved { cursor, charset, origin } = self.saved_mut().clone();
        // A link isn't part of it.
        let link = self.cursor().template.hyperlink();
        *self.cursor() = cursor;
        self.cursor().template.set_hyperlink(link);
        self.shift(charset);
        self.turn(ScreenMode::Origin, origin);
    }

    pub(super) fn soft_reset(&mut self) {
        self.turn_all(&SOFT);
        self.cursor_style = 0;
        let cursor = self.cursor().clone();
        *self.cursor() = Cursor { point: cursor.point, input_needs_wrap: cursor.input_needs_wrap, ..Saved::initial().cursor };
        *self.saved_mut() = Saved::initial();
        self.shift(CharsetIndex::G0);
        self.all_scrolls();
    }

    /// Makes all lines scroll; the cursor stays.
    fn all_scrolls(&mut self) {
        let cursor = self.cursor().clone();
        self.scroll_within(0, self.term.screen_lines() - 1);
        *self.cursor() = cursor;
    }

    pub(super) fn reset(&mut self) {
        self.show_alternate(false, false);
        self.read_screen();
        self.term.reset_state();
        self.cursor().template = blank_pen();
        self.soft_reset();
        self.saved = [Saved::initial(), Saved::initial()];
        self.tabs = initial_tabs(self.term.columns());
        let touched = MODES.map(|(mode, _)| mode);
        self.turn_all(&touched);
        (self.mouse, self.title) = (None, None);
        self.were_colors_set = true;
        self.colors.clear();
    }

    pub(super) fn resize(&mut self, size: ScreenSize) {
        if size == self.size() {
            return;
        }
        self.drain();
        let (columns, rows) = (size.columns(), size.screen_lines());
        // Only the primary screen's lines are wrapped again.
        let alternate = self.primary.take().map(|primary| mem::replace(self.term.grid_mut(), primary));
        let before = self.cursor().point;
        self.term.resize(size);
        let after = self.cursor().point;
        let [primary, other] = &mut self.saved;
        // What was saved stays at its text.
        let point = &mut primary.cursor.point;
        if *point == before {
            *point = after;
        } else {
            point.line += after.line.0 - before.line.0;
        }
        fit(&mut primary.cursor, columns, rows);
        fit(&mut other.cursor, columns, rows);
        if let Some(mut alternate) = alternate {
            alternate.resize::<alacritty_terminal::vte::ansi::Color>(false, rows, columns);
            self.primary = Some(mem::replace(self.term.grid_mut(), alternate));
        }
        fit(self.cursor(), columns, rows);
        self.region = (0, rows - 1);
        let had = self.tabs.len();
        self.tabs.resize(columns, false);
        self.tabs.iter_mut().enumerate().skip(had).for_each(|(column, tab)| *tab = column % TAB == 0);
    }
}

/// Keeps a cursor within the screen.
fn fit(cursor: &mut Cursor<Cell>, columns: usize, rows: usize) {
    let last = super::state::line(rows - 1);
    let point = &mut cursor.point;
    cursor.input_needs_wrap &= point.column.0 + 1 == columns && point.line <= last;
    point.line = point.line.clamp(super::state::line(0), last);
    point.column.0 = point.column.0.min(columns - 1);
}
