//! Draws the screen on another terminal, with escape sequences that every terminal understands or ignores.

use std::fmt::Write as _;

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::vte::ansi::{CharsetIndex, Color, CursorShape, CursorStyle, NamedColor, StandardCharset};

use super::{Screen, State, TAB};

/// Clears the screen and its modes, without the hard reset that would clear the user's scrollback too.
const CLEAR: &str =
    "\x1b[?1049l\x1b[!p\x1b[0m\x1b]8;;\x1b\\\x1b(B\x1b)B\x0f\x1b[r\x1b[4l\x1b[20l\x1b[?1l\x1b[?6l\x1b[?7h\x1b>\x1b[0 q\x1b[H\x1b[2J";

/// Selects ASCII for drawing; the program's character sets are restored afterwards.
const ASCII: &str = "\x1b(B";

/// The modes that are set as the program left them.
const MODES: [(TermMode, &str); 12] = [
    (TermMode::APP_CURSOR, "?1"),
    (TermMode::INSERT, "4"),
    (TermMode::LINE_FEED_NEW_LINE, "20"),
    (TermMode::LINE_WRAP, "?7"),
    (TermMode::SHOW_CURSOR, "?25"),
    (TermMode::MOUSE_REPORT_CLICK, "?1000"),
    (TermMode::MOUSE_DRAG, "?1002"),
    (TermMode::MOUSE_MOTION, "?1003"),
    (TermMode::FOCUS_IN_OUT, "?1004"),
    (TermMode::SGR_MOUSE, "?1006"),
    (TermMode::ALTERNATE_SCROLL, "?1007"),
    (TermMode::BRACKETED_PASTE, "?2004"),
];

/// The attributes with their numbers in SGR.
const ATTRIBUTES: [(Flags, &str); 11] = [
    (Flags::BOLD, ";1"),
    (Flags::DIM, ";2"),
    (Flags::ITALIC, ";3"),
    (Flags::UNDERLINE, ";4"),
    (Flags::DOUBLE_UNDERLINE, ";4:2"),
    (Flags::UNDERCURL, ";4:3"),
    (Flags::DOTTED_UNDERLINE, ";4:4"),
    (Flags::DASHED_UNDERLINE, ";4:5"),
    (Flags::INVERSE, ";7"),
    (Flags::HIDDEN, ";8"),
    (Flags::STRIKEOUT, ";9"),
];

impl Screen {
    /// Returns the sequences that make another terminal of the same size show this screen, and behave like it from then on.
    pub(in crate::record) fn dump(&mut self) -> String {
        self.state.dump()
    }
}

impl State {
    fn dump(&mut self) -> String {
        let mut out = CLEAR.to_owned();
        if self.is_alternate() {
            // The primary screen can only be read while it is the active one; the swap back clears the alternate one.
            let alternate = self.term.grid().clone();
            self.term.swap_alt();
            self.draw(&mut out);
            self.term.swap_alt();
            *self.term.grid_mut() = alternate;
            // The alternate screen begins in the pen's background.
            out.push_str("\x1b[?1049h\x1b[0m\x1b[2J");
        }
        self.draw(&mut out);
        self.set_up(&mut out);
        out
    }

    /// Draws the active grid, its saved cursor, and its cursor.
    fn draw(&self, out: &mut String) {
        let grid = self.term.grid();
        out.push_str(ASCII);
        for line in 0..grid.screen_lines() {
            draw_row(out, grid, line);
        }
        place(out, grid, &grid.saved_cursor, 1);
        out.push_str("\x1b7");
        place(out, grid, &grid.cursor, 1);
    }

    /// Sets the invisible state. Some of it moves the cursor, which is put back.
    fn set_up(&self, out: &mut String) {
        let (grid, mode) = (self.term.grid(), self.term.mode());
        if let Some(tabs) = self.tabs.as_ref().filter(|tabs| tabs.iter().enumerate().any(|(column, tab)| *tab != (column % TAB == 0))) {
            out.push_str("\x1b[3g");
            for (column, _) in tabs.iter().enumerate().filter(|(_, tab)| **tab) {
                let _ = write!(out, "\x1b[{}G\x1bH", column + 1);
            }
        }
        for index in 0..=258 {
            if let Some(color) = self.term.colors()[index] {
                let what = if index < 256 { format!("4;{index}") } else { (index - 256 + 10).to_string() };
                let _ = write!(out, "\x1b]{what};rgb:{:02x}/{:02x}/{:02x}\x1b\\", color.r, color.g, color.b);
            }
        }
        if let Some((top, bottom)) = self.region {
            let _ = write!(out, "\x1b[{top};{bottom}r");
        }
        let origin = mode.contains(TermMode::ORIGIN);
        if origin {
            out.push_str("\x1b[?6h");
        }
        // In origin mode lines are counted from the region's first.
        let top = self.region.filter(|_| origin).map_or(1, |(top, _)| i32::try_from(top).unwrap_or(1));
        place(out, grid, &grid.cursor, 2 - top);
        // Terminals turn the whole mouse off with any one of its modes: the modes that are on come last.
        for (on, letter) in [(false, 'l'), (true, 'h')] {
            for (_, number) in MODES.iter().filter(|(flag, _)| mode.contains(*flag) == on) {
                let _ = write!(out, "\x1b[{number}{letter}");
            }
        }
        out.push_str(if mode.contains(TermMode::APP_KEYPAD) { "\x1b=" } else { "\x1b>" });
        let cursor = self.term.cursor_style();
        let shape = match cursor.shape {
            CursorShape::Underline => 4,
            CursorShape::Beam => 6,
            CursorShape::Block | CursorShape::HollowBlock | CursorShape::Hidden => 2,
        };
        // The default style is the user's own.
        let number = if cursor == CursorStyle::default() { 0 } else { shape - u8::from(cursor.blinking) };
        let _ = write!(out, "\x1b[{number} q");
        let shift = [(CharsetIndex::G0, "\x0f"), (CharsetIndex::G1, "\x0e"), (CharsetIndex::G2, "\x1bn"), (CharsetIndex::G3, "\x1bo")];
        out.extend(shift.into_iter().filter(|(index, _)| *index == self.charset).map(|(_, shift)| shift));
    }
}

/// Sets the cursor and the pen; lines are counted from `first`.
fn place(out: &mut String, grid: &Grid<Cell>, cursor: &Cursor<Cell>, first: i32) {
    let (line, column) = (cursor.point.line, cursor.point.column);
    if cursor.input_needs_wrap {
        out.push_str(ASCII);
        // Only a character in the last column leaves a terminal in this state.
        let wide = grid[line][column].flags.contains(Flags::WIDE_CHAR_SPACER);
        draw_cells(out, grid, (line, first), if wide { column.0.saturating_sub(1) } else { column.0 }, column.0);
    } else {
        let _ = write!(out, "\x1b[{};{}H", (line.0 + first).max(1), column.0 + 1);
    }
    style(out, &cursor.template);
    for (index, into) in [(CharsetIndex::G0, '('), (CharsetIndex::G1, ')'), (CharsetIndex::G2, '*'), (CharsetIndex::G3, '+')] {
        let lines = cursor.charsets[index] == StandardCharset::SpecialCharacterAndLineDrawing;
        out.extend(['\x1b', into, if lines { '0' } else { 'B' }]);
    }
}

/// Draws a row up to its last cell that isn't blank; the screen was cleared.
fn draw_row(out: &mut String, grid: &Grid<Cell>, line: usize) {
    let line = Line(i32::try_from(line).unwrap_or(0));
    let last = (0..grid.columns()).rev().find(|column| {
        let cell = &grid[line][Column(*column)];
        let empty = matches!(cell.c, ' ' | '\t') && cell.zerowidth().is_none() || is_half(grid, line, *column);
        !(empty && same_style(cell, &Cell::default()))
    });
    if let Some(last) = last {
        draw_cells(out, grid, (line, 1), 0, last);
    }
}

/// Draws some cells of a line; lines are counted from `first`.
fn draw_cells(out: &mut String, grid: &Grid<Cell>, (line, first): (Line, i32), from: usize, to: usize) {
    let mut at = None;
    let mut pen = None;
    for column in from..=to {
        let cell = &grid[line][Column(column)];
        let half = is_half(grid, line, column);
        if cell.flags.contains(Flags::WIDE_CHAR_SPACER) && !half {
            continue;
        }
        // Terminals disagree on the width of some characters: after such a one the position is set.
        if at != Some(column) {
            let _ = write!(out, "\x1b[{};{}H", (line.0 + first).max(1), column + 1);
        }
        if pen.is_none_or(|before| !same_style(before, cell)) {
            style(out, cell);
            pen = Some(cell);
        }
        let character = if half || cell.c == '\t' { ' ' } else { cell.c };
        out.push(character);
        let marks = cell.zerowidth().filter(|_| !half).unwrap_or_default();
        out.extend(marks);
        at = (marks.is_empty() && character.is_ascii()).then_some(column + 1);
    }
}

/// Returns whether a cell is one half of a wide character whose other half was overwritten.
fn is_half(grid: &Grid<Cell>, line: Line, column: usize) -> bool {
    let has = |column: Option<usize>, flag| {
        column.filter(|column| *column < grid.columns()).is_some_and(|column| grid[line][Column(column)].flags.contains(flag))
    };
    let (wide, spacer) = (has(Some(column), Flags::WIDE_CHAR), has(Some(column), Flags::WIDE_CHAR_SPACER));
    (wide && !has(Some(column + 1), Flags::WIDE_CHAR_SPACER)) || (spacer && !has(column.checked_sub(1), Flags::WIDE_CHAR))
}

fn same_style(one: &Cell, other: &Cell) -> bool {
    let flags =
        |cell: &Cell| ATTRIBUTES.iter().filter(|(flag, _)| cell.flags.contains(*flag)).fold(Flags::empty(), |all, (flag, _)| all | *flag);
    (one.fg, one.bg, flags(one), one.underline_color(), one.hyperlink())
        == (other.fg, other.bg, flags(other), other.underline_color(), other.hyperlink())
}

/// Sets the pen to the style of a cell.
fn style(out: &mut String, cell: &Cell) {
    out.push_str("\x1b[0");
    out.extend(ATTRIBUTES.iter().filter(|(flag, _)| cell.flags.contains(*flag)).map(|(_, number)| *number));
    color(out, cell.fg, 30);
    color(out, cell.bg, 40);
    match cell.underline_color() {
        Some(Color::Indexed(index)) => drop(write!(out, ";58:5:{index}")),
        Some(Color::Spec(color)) => drop(write!(out, ";58:2::{}:{}:{}", color.r, color.g, color.b)),
        Some(Color::Named(_)) | None => {}
    }
    out.push_str("m\x1b]8;");
    match cell.hyperlink() {
        Some(link) => drop(write!(out, "id={};{}\x1b\\", link.id(), link.uri())),
        None => out.push_str(";\x1b\\"),
    }
}

/// Sets a color: the foreground from 30, the background from 40.
fn color(out: &mut String, color: Color, base: u8) {
    match color {
        Color::Named(NamedColor::Foreground | NamedColor::Background) => {}
        Color::Named(named) => {
            let number = named as usize;
            if number < 16 {
                let first = usize::from(base) + if number < 8 { 0 } else { 52 };
                let _ = write!(out, ";{}", first + number);
            }
        }
        Color::Indexed(index) => drop(write!(out, ";{};5;{index}", base + 8)),
        Color::Spec(color) => drop(write!(out, ";{};2;{};{};{}", base + 8, color.r, color.g, color.b)),
    }
}
