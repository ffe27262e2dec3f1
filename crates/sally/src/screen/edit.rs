//! Moves the cursor, and changes cells and lines: where the emulator differs from other terminals, this is done here.

use std::mem;

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::vte::ansi::Handler as _;

use super::function::{Edit, Move, ScreenMode};
use super::state::{ScreenState, line};

impl ScreenState {
    pub(super) fn move_cursor(&mut self, movement: Move, count: usize) {
        let (row, column) = self.at();
        let (top, bottom) = self.region;
        let first = if self.is(ScreenMode::Origin) { top } else { 0 };
        // Movements stop at the region's edges, but outside of it at the screen's.
        let up = row.saturating_sub(count).max(if row >= top { top } else { 0 });
        let down = (row + count).min(if row <= bottom { bottom } else { usize::MAX });
        match movement {
            Move::Up => self.go_to(up, column),
            Move::Down => self.go_to(down, column),
            Move::Forward => self.go_to(row, column + count),
            Move::Backward => self.go_to(row, column.saturating_sub(count)),
            Move::NextLine => self.go_to(down, 0),
            Move::PreviousLine => self.go_to(up, 0),
            Move::Column => self.go_to(row, count - 1),
            Move::Row => self.go_to(first + count - 1, column),
            Move::To(to) => self.go_to(first + usize::from(to) - 1, count - 1),
            Move::TabForward => self.tab_forward(count),
            Move::TabBackward => self.tab_backward(count),
        }
    }

    /// Sets the cursor, within the screen, or in origin mode within the region.
    fn go_to(&mut self, row: usize, column: usize) {
        let (top, bottom) = if self.is(ScreenMode::Origin) { self.region } else { (0, self.term.screen_lines() - 1) };
        let last = self.term.last_column();
        let cursor = self.cursor();
        cursor.point.line = line(row.clamp(top, bottom));
        cursor.point.column = Column(column).min(last);
        cursor.input_needs_wrap = false;
    }

    pub(super) fn go_to_column(&mut self, column: usize) {
        let cursor = self.cursor();
        cursor.point.column = Column(column);
        cursor.input_needs_wrap = false;
    }

    pub(super) fn backspace(&mut self) {
        let (row, column) = self.at();
        if self.is(ScreenMode::ReverseWrap) && self.needs_wrap() {
            self.go_to_column(column);
        } else if column > 0 {
            self.go_to_column(column - 1);
        } else if self.is(ScreenMode::ReverseWrap) && row > self.region.0 && row <= self.region.1 && self.wraps(row - 1) {
            self.set_wraps(row - 1, false);
            self.go_to(row - 1, usize::MAX);
        }
    }

    /// Goes to the next line, which scrolls at the region's end.
    pub(super) fn line_feed(&mut self, to_begin: bool) {
        let (row, _) = self.at();
        if row == self.region.1 {
            self.set_wraps(row, false);
            self.term.linefeed();
        } else if row + 1 < self.term.screen_lines() {
            self.set_wraps(row, false);
            self.cursor().point.line += 1;
        }
        self.cursor().input_needs_wrap = false;
        if to_begin {
            self.go_to_column(0);
        }
    }

    pub(super) fn reverse_index(&mut self) {
        let (row, column) = self.at();
        if row == self.region.0 {
            self.scroll_lines(row, self.region.1, 1, false);
        } else if row > 0 {
            self.cursor().point.line -= 1;
        }
        self.go_to_column(column);
    }

    pub(super) fn tab_forward(&mut self, count: usize) {
        if self.needs_wrap() {
            return;
        }
        let (_, mut column) = self.at();
        let last = self.term.columns() - 1;
        for _ in 0..count.min(last) {
            let next = self.tabs.iter().enumerate().skip(column + 1).find(|(_, tab)| **tab);
            column = next.map_or(last, |(at, _)| at.min(last));
        }
        self.go_to_column(column);
    }

    pub(super) fn tab_backward(&mut self, count: usize) {
        if self.needs_wrap() {
            return;
        }
        let (_, mut column) = self.at();
        for _ in 0..count.min(self.term.columns()) {
            column = self.tabs.iter().take(column).rposition(|tab| *tab).unwrap_or(0);
        }
        self.go_to_column(column);
    }

    pub(super) fn set_tab(&mut self, there: bool) {
        let (_, column) = self.at();
        if let Some(tab) = self.tabs.get_mut(column) {
            *tab = there;
        }
    }

    pub(super) fn edit(&mut self, edit: Edit, count: usize) {
        let (row, column) = self.at();
        let (top, bottom) = self.region;
        let rest = self.term.columns() - column;
        let wrapped = self.wraps(row);
        match edit {
            Edit::InsertCharacters => {
                self.split_wide(row, column);
                self.term.insert_blank(count.min(rest));
            }
            Edit::DeleteCharacters => {
                self.split_wide(row, column);
                self.split_wide(row, column + count.min(rest));
                // With more, the emulator would delete before the cursor too.
                self.term.delete_chars(count.min(rest));
            }
            Edit::EraseCharacters => self.erase(row, column, column + count.min(rest)),
            Edit::InsertLines | Edit::DeleteLines if row < top || row > bottom => return,
            Edit::InsertLines => self.scroll_lines(row, bottom, count, false),
            Edit::DeleteLines => self.scroll_lines(row, bottom, count, true),
            // Lines that scroll out at the top are history.
            Edit::ScrollUp if top == 0 => return self.term.scroll_up(count.min(bottom + 1)),
            Edit::ScrollUp => return self.scroll_lines(top, bottom, count, true),
            Edit::ScrollDown => return self.scroll_lines(top, bottom, count, false),
        }
        if matches!(edit, Edit::InsertLines | Edit::DeleteLines) {
            self.go_to_column(0);
        } else {
            self.set_wraps(row, wrapped);
            self.go_to_column(column);
        }
    }

    /// Moves the lines from `top` to `bottom`, and clears those that come in.
    fn scroll_lines(&mut self, top: usize, bottom: usize, count: usize, up: bool) {
        let count = count.min(bottom + 1 - top);
        // A line that moves up continues what it did.
        let goes_on = up && top + count <= bottom && self.wraps(top + count - 1);
        let grid = self.term.grid_mut();
        let template = grid.cursor.template.clone();
        let mut exchange = |one: usize, other: usize| {
            let first = mem::take(&mut grid[line(one)]);
            let second = mem::replace(&mut grid[line(other)], first);
            grid[line(one)] = second;
        };
        if up {
            (top..bottom + 1 - count).for_each(|row| exchange(row, row + count));
        } else {
            (top + count..=bottom).rev().for_each(|row| exchange(row, row - count));
        }
        let new = if up { bottom + 1 - count..bottom + 1 } else { top..top + count };
        let before = new.start;
        for row in new {
            grid[line(row)].reset(&template);
        }
        // An empty line continues none, and none is continued beyond what moves.
        if before > top {
            self.set_wraps(before - 1, false);
        }
        self.set_wraps(bottom, false);
        if line(top) > self.term.grid().topmost_line() {
            self.set_wraps_at(line(top) - 1, goes_on);
        }
    }

    /// Blanks a wide character whose second half is at this column: what happens there would leave its first half alone.
    fn split_wide(&mut self, row: usize, column: usize) {
        let grid = self.term.grid_mut();
        let row = line(row);
        if column > 0 && column < grid.columns() && grid[row][Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER) {
            let blank = Cell { bg: grid.cursor.template.bg, ..Cell::default() };
            grid[row][Column(column - 1)] = blank.clone();
            grid[row][Column(column)] = blank;
        }
    }

    /// Erases cells of a row. It goes on to continue in the next one, if it did.
    fn erase(&mut self, row: usize, from: usize, to: usize) {
        self.split_wide(row, from);
        self.split_wide(row, to);
        let wrapped = self.wraps(row);
        let grid = self.term.grid_mut();
        let blank = Cell { bg: grid.cursor.template.bg, ..Cell::default() };
        grid[line(row)][Column(from)..Column(to)].fill(blank);
        self.set_wraps(row, wrapped);
    }

    /// Ends the line above a row, which does not continue it any more.
    fn begin_line(&mut self, row: usize) {
        let above = line(row) - 1;
        if above >= self.term.grid().topmost_line() {
            self.set_wraps_at(above, false);
        }
    }

    pub(super) fn erase_line(&mut self, what: u16) {
        let (row, column) = self.at();
        let columns = self.term.columns();
        match what {
            0 if self.needs_wrap() => return,
            0 => self.erase(row, column, columns),
            1 => self.erase(row, 0, column + 1),
            _ => self.erase(row, 0, columns),
        }
        if what == 2 || what == 0 && column == 0 {
            self.begin_line(row);
        }
    }

    pub(super) fn erase_display(&mut self, what: u16) {
        let (row, column) = self.at();
        let rows = self.term.screen_lines();
        match what {
            0 => {
                self.erase_line(0);
                self.set_wraps(row, false);
                self.reset_rows(row + 1, rows);
            }
            1 => {
                self.erase(row, 0, column + 1);
                self.begin_line(row);
                if column + 1 == self.term.columns() {
                    self.set_wraps(row, false);
                }
                self.reset_rows(0, row);
            }
            2 => {
                self.keep_screen();
                self.reset_rows(0, rows);
                self.begin_line(0);
            }
            // The lines in the history were shown, even if a program clears it.
            _ => {
                self.drain();
                self.term.grid_mut().clear_history();
            }
        }
    }

    fn reset_rows(&mut self, from: usize, to: usize) {
        let grid = self.term.grid_mut();
        let template = grid.cursor.template.clone();
        (from..to).for_each(|row| grid[line(row)].reset(&template));
    }

    /// Fills the screen with `E`.
    pub(super) fn align(&mut self) {
        let grid = self.term.grid_mut();
        let cell = Cell { c: 'E', ..grid.cursor.template.clone() };
        let last = grid.columns();
        for row in 0..grid.screen_lines() {
            grid[line(row)][Column(0)..Column(last)].fill(cell.clone());
        }
        if grid.topmost_line() < Line(0) {
            self.begin_line(0);
        }
        self.move_cursor(Move::To(1), 1);
    }
}
