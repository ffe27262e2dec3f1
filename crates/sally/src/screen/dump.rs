//! Draws the whole screen on another terminal of its size, with sequences that every terminal understands or ignores, in such a way that
//! the terminal goes on with the program's output as this one does.

use std::fmt::Write as _;

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::vte::ansi::{CharsetIndex, Rgb, StandardCharset};

use super::attributes::{BACKGROUND, WRITTEN, same_style, write_style};
use super::function::{DYNAMIC, ScreenMode};
use super::state::{Saved, ScreenState, initial_tabs, line};
use super::{Mouse, Permits};

/// Ends strings and modes, and clears the screen, without the hard reset that would clear a user's scrollback too.
pub(super) const CLEAR: &str = "\x1b\\\x1b[?2026l\x1b[?1049l\x1b[!p\x1b[0m\x1b]8;;\x1b\\\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[r\
    \x1b[4l\x1b[20l\x1b[?1l\x1b[?5l\x1b[?6l\x1b[?7h\x1b[?25h\x1b[?45l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\
    \x1b[?2004l\x1b>\x1b[0 q\x1b[H\x1b[2J";

/// Sets the palette and the default colors to the terminal's own.
pub(super) const RESET_COLORS: &str = "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\";

/// The modes that are off after [`CLEAR`] and move nothing when they are set.
const QUIET: [ScreenMode; 7] = [
    ScreenMode::CursorKeys,
    ScreenMode::Reverse,
    ScreenMode::ReverseWrap,
    ScreenMode::Paste,
    ScreenMode::Insert,
    ScreenMode::NewLine,
    ScreenMode::Synchronized,
];
/// The modes that terminals have on or off as their users like: they are left alone until a program sets them.
const USERS: [ScreenMode; 2] = [ScreenMode::Blink, ScreenMode::AlternateScroll];

impl ScreenState {
    pub(super) fn dump(&self, history: usize, permits: Permits) -> String {
        let mut out = CLEAR.to_owned();
        let [primary, alternate] = &self.saved;
        self.set_tabs(&mut out, true);
        draw(&mut out, self.primary(), history);
        self.place_saved(&mut out, self.primary(), primary);
        if self.is_alternate() {
            // This saves the cursor too.
            out.push_str("\x1b[?1049h\x1b[?6l\x1b[0m\x1b]8;;\x1b\\\x1b(B\x0f\x1b[H\x1b[2J");
            self.set_tabs(&mut out, false);
            draw(&mut out, self.term.grid(), 0);
            self.place_saved(&mut out, self.term.grid(), alternate);
        }
        // With the alternate screen or without: this saves the cursor.
        out.push_str("\x1b7\x1b[?6l");
        self.set_up(&mut out, permits);
        out
    }

    /// Sets the tab stops. Terminals may have them for each screen, and set them every eighth column by themselves.
    fn set_tabs(&self, out: &mut String, always: bool) {
        if !always && self.tabs == initial_tabs(self.tabs.len()) {
            return;
        }
        out.push_str("\x1b[3g");
        for (column, _) in self.tabs.iter().enumerate().filter(|(_, tab)| **tab) {
            let _ = write!(out, "\x1b[{}G\x1bH", column + 1);
        }
        out.push_str("\x1b[G");
    }

    /// Sets the cursor to what was saved.
    fn place_saved(&self, out: &mut String, grid: &Grid<Cell>, saved: &Saved) {
        if saved.origin {
            out.push_str("\x1b[?6h");
        }
        place(out, grid, &saved.cursor, 0);
        write_shift(out, saved.charset);
    }

    /// Sets the state that doesn't show. Some of it moves the cursor, which is set last.
    fn set_up(&self, out: &mut String, permits: Permits) {
        let grid = self.term.grid();
        let (top, bottom) = self.region;
        if (top, bottom) != (0, grid.screen_lines() - 1) {
            let _ = write!(out, "\x1b[{};{}r", top + 1, bottom + 1);
        }
        if self.were_colors_set {
            out.push_str(RESET_COLORS);
        }
        self.colors.iter().for_each(|(index, color)| write_color_set(out, *index, *color));
        if let Some(title) = self.title.as_ref().filter(|_| permits.titles) {
            let _ = write!(out, "\x1b]2;{title}\x1b\\");
        }
        // In origin mode rows are counted from the region's first.
        let origin = self.is(ScreenMode::Origin);
        if origin {
            out.push_str("\x1b[?6h");
        }
        place(out, grid, &grid.cursor, if origin { top } else { 0 });
        self.set_modes(out, permits);
        write_shift(out, self.charset);
        self.write_last_again(out);
    }

    /// Writes the last character again, if marks on it may follow: terminals may put them only on what was written just before.
    fn write_last_again(&self, out: &mut String) {
        let grid = self.term.grid();
        let (row, column) = self.at();
        let last = if self.needs_wrap() { Some(column) } else { column.checked_sub(1) };
        let Some(mut column) = last else { return };
        if grid[line(row)][Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER) {
            column = column.saturating_sub(1);
        }
        let cell = &grid[line(row)][Column(column)];
        let plain = grid.cursor.charsets[self.charset] == StandardCharset::Ascii && !self.is(ScreenMode::Insert);
        // One that the emulator has put into the next line stays as it is.
        let wrapped = cell.flags.contains(Flags::WIDE_CHAR) && column == 0;
        if self.preceding.is_some() && plain && !wrapped && cell.flags.contains(WRITTEN) && same_style(cell, &grid.cursor.template) {
            let _ = write!(out, "\x1b[{}G{}", column + 1, cell.c);
            out.extend(cell.zerowidth().into_iter().flatten());
        }
    }

    fn set_modes(&self, out: &mut String, permits: Permits) {
        let touched = USERS.into_iter().filter(|mode| self.was_touched(*mode)).map(|mode| (mode, self.is(mode)));
        let quiet = QUIET.into_iter().filter(|mode| self.is(*mode)).map(|mode| (mode, true));
        let off = [ScreenMode::Wrap, ScreenMode::Visible].into_iter().filter(|mode| !self.is(*mode)).map(|mode| (mode, false));
        let _ = write!(out, "\x1b[{} q", self.cursor_style);
        touched.chain(quiet).chain(off).for_each(|(mode, on)| mode.write(on, out));
        if self.is(ScreenMode::Keypad) {
            out.push_str("\x1b=");
        }
        if self.is(ScreenMode::Focus) && permits.focus {
            ScreenMode::Focus.write(true, out);
        }
        if let Some(mouse) = self.mouse.filter(|_| permits.mouse) {
            out.push_str(mouse_sequence(mouse));
        }
    }
}

/// Returns the sequence that asks for reports of the mouse, as SGR reports.
pub(super) fn mouse_sequence(mouse: Mouse) -> &'static str {
    match mouse {
        Mouse::Click => "\x1b[?1006h\x1b[?1000h",
        Mouse::Drag => "\x1b[?1006h\x1b[?1002h",
        Mouse::Motion => "\x1b[?1006h\x1b[?1003h",
    }
}

pub(super) fn write_color_set(out: &mut String, index: usize, color: Rgb) {
    let _ = if index < DYNAMIC { write!(out, "\x1b]4;{index}") } else { write!(out, "\x1b]{}", index - DYNAMIC + 10) };
    let _ = write!(out, ";rgb:{:02x}/{:02x}/{:02x}\x1b\\", color.r, color.g, color.b);
}

pub(super) fn write_charset(out: &mut String, index: CharsetIndex, lines: bool) {
    let slot = match index {
        CharsetIndex::G0 => '(',
        CharsetIndex::G1 => ')',
        CharsetIndex::G2 => '*',
        CharsetIndex::G3 => '+',
    };
    out.extend(['\x1b', slot, if lines { '0' } else { 'B' }]);
}

pub(super) fn write_shift(out: &mut String, index: CharsetIndex) {
    out.push_str(match index {
        CharsetIndex::G0 => "\x0f",
        CharsetIndex::G1 => "\x0e",
        CharsetIndex::G2 => "\x1bn",
        CharsetIndex::G3 => "\x1bo",
    });
}

/// Sets the cursor, the pen and the character sets; rows are counted from `first`.
fn place(out: &mut String, grid: &Grid<Cell>, cursor: &Cursor<Cell>, first: usize) {
    let (row, column) = (usize::try_from(cursor.point.line.0).unwrap_or(0), cursor.point.column.0);
    out.push_str("\x1b(B\x0f\x1b[0m\x1b]8;;\x1b\\");
    if cursor.input_needs_wrap && row < grid.screen_lines() && column + 1 == grid.columns() {
        // Only a character in the last column leaves a terminal in this state.
        let wide = grid[line(row)][Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER);
        let from = column - usize::from(wide);
        let _ = write!(out, "\x1b[{};{}H", (row + 1).saturating_sub(first), from + 1);
        let mut pen = Pen::new(out);
        pen.cell(&grid[line(row)][Column(from)]);
    } else {
        let _ = write!(out, "\x1b[{};{}H", (row + 1).saturating_sub(first), column + 1);
    }
    write_style(out, &cursor.template, None);
    for index in [CharsetIndex::G0, CharsetIndex::G1, CharsetIndex::G2, CharsetIndex::G3] {
        write_charset(out, index, cursor.charsets[index] == StandardCharset::SpecialCharacterAndLineDrawing);
    }
}

/// Draws lines from the top of a clear screen; those above the screen go by and are the other terminal's history.
fn draw(out: &mut String, grid: &Grid<Cell>, history: usize) {
    let first = -i32::try_from(history.min(grid.history_size())).unwrap_or(0);
    let end = i32::try_from(grid.screen_lines()).unwrap_or(1);
    let mut wraps = false;
    for row in first..end {
        let goes_on = row + 1 < end && ScreenState::wraps_at(grid, Line(row));
        Row { grid, line: Line(row), wrapped: wraps, wraps: goes_on }.draw(out);
        if row + 1 < end && !goes_on {
            out.push_str("\r\n");
        }
        wraps = goes_on;
    }
}

/// A pen that knows what it was last set to. It is plain at first and at the end.
struct Pen<'a> {
    out: &'a mut String,
    style: Cell,
}

impl<'a> Pen<'a> {
    fn new(out: &'a mut String) -> Self {
        Self { out, style: Cell::default() }
    }

    fn set(&mut self, cell: &Cell) {
        if !same_style(&self.style, cell) {
            write_style(self.out, cell, Some(&self.style));
            self.style = cell.clone();
        }
    }

    fn cell(&mut self, cell: &Cell) {
        self.set(cell);
        self.out.push(cell.c);
        self.out.extend(cell.zerowidth().into_iter().flatten());
    }

    fn plain(&mut self) {
        self.set(&Cell::default());
    }
}

/// A row to draw.
struct Row<'a> {
    grid: &'a Grid<Cell>,
    line: Line,
    /// Whether it continues the one before: then the cursor waits at that one's end.
    wrapped: bool,
    /// Whether it is continued by the next one.
    wraps: bool,
}

impl Row<'_> {
    fn cell(&self, column: usize) -> &Cell {
        &self.grid[self.line][Column(column)]
    }

    /// Returns whether a cell has something of its own to draw.
    fn is_written(&self, column: usize) -> bool {
        let cell = self.cell(column);
        cell.flags.intersects(WRITTEN) || cell.c != ' ' || cell.zerowidth().is_some_and(|marks| !marks.is_empty())
    }

    fn draw(&self, out: &mut String) {
        let columns = self.grid.columns();
        let mut pen = Pen::new(out);
        let mut column = 0;
        if self.wrapped {
            column = self.continue_line(&mut pen);
        }
        let mut at = column;
        while column < columns {
            if !self.is_written(column) {
                let length = (column..columns).take_while(|next| !self.is_written(*next) && self.cell(*next).bg == self.cell(column).bg);
                let length = length.count();
                if self.cell(column).bg != BACKGROUND {
                    pen.go(&mut at, column);
                    pen.set(&Cell { bg: self.cell(column).bg, ..Cell::default() });
                    // A line that is erased as a whole continues none.
                    let _ = if column + length == columns && !(self.wrapped && column == 0) {
                        write!(pen.out, "\x1b[K")
                    } else {
                        write!(pen.out, "\x1b[{length}X")
                    };
                }
                column += length;
                continue;
            }
            pen.go(&mut at, column);
            let marked = self.cell(column).zerowidth().is_some_and(|marks| !marks.is_empty());
            column += self.draw_cell(&mut pen, column);
            // Terminals disagree on the width of several characters in one cell.
            at = if marked && column < columns { usize::MAX } else { column };
        }
        if self.wraps {
            self.reach_end(&mut pen, at);
        }
        pen.plain();
    }

    /// Draws the cell of a character, and returns its width.
    fn draw_cell(&self, pen: &mut Pen<'_>, column: usize) -> usize {
        let cell = self.cell(column);
        let second = |column: usize| column < self.grid.columns() && self.cell(column).flags.contains(Flags::WIDE_CHAR_SPACER);
        if cell.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER) {
            // The wide character that follows wraps by itself.
            return 1;
        }
        let wide = cell.flags.contains(Flags::WIDE_CHAR);
        if wide && second(column + 1) {
            pen.cell(cell);
            return 2;
        }
        if wide || cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
            // One half of a wide character whose other half was overwritten.
            pen.cell(&Cell { c: ' ', extra: None, ..cell.clone() });
        } else {
            pen.cell(cell);
        }
        1
    }

    /// Draws the first character of a row that continues the one before, which makes the terminal wrap, and returns its width.
    fn continue_line(&self, pen: &mut Pen<'_>) -> usize {
        let written = self.is_written(0);
        let width = if written { self.draw_cell(pen, 0) } else { 0 };
        if !written {
            pen.out.push_str(" \r\x1b[X");
        } else if self.cell(0).bg != BACKGROUND {
            // If the terminal scrolled, the new line has the pen's background.
            pen.plain();
            pen.out.push_str("\x1b[K");
        }
        let above = Row { line: self.line - 1, ..*self };
        let last = self.grid.columns() - 1;
        if !above.is_written(last) && width <= last {
            // The blank that was drawn there to wrap was erased.
            let _ = write!(pen.out, "\x1b[A\x1b[{}G", last + 1);
            pen.set(&Cell { bg: above.cell(last).bg, ..Cell::default() });
            let _ = write!(pen.out, "\x1b[X\x1b[B\x1b[{}G", width + 1);
        }
        width
    }

    /// Leaves the cursor where the next character wraps.
    fn reach_end(&self, pen: &mut Pen<'_>, at: usize) {
        let last = self.grid.columns() - 1;
        if at == last + 1 || self.cell(last).flags.contains(Flags::LEADING_WIDE_CHAR_SPACER) {
            return;
        }
        pen.plain();
        let _ = write!(pen.out, "\x1b[{}G ", last + 1);
    }
}

impl Pen<'_> {
    /// Goes to a column, if the cursor isn't there.
    fn go(&mut self, at: &mut usize, column: usize) {
        if *at != column {
            let _ = write!(self.out, "\x1b[{}G", column + 1);
            *at = column;
        }
    }
}
