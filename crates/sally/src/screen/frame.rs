//! What a terminal of any size shows of the screen: all of it in a border, or the part that the cursor is in. A frame is drawn as what
//! differs from the last one that the terminal has.

use std::fmt::Write as _;

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Column;
use alacritty_terminal::term::cell::{Cell, Flags};
use unicode_width::UnicodeWidthChar;

use super::attributes::{BACKGROUND, SHOWN, same_style, write_style};
use super::dump::{CLEAR, mouse_sequence};
use super::function::ScreenMode;
use super::state::{ScreenState, line};
use super::{Depth, Mouse, Permits, ScreenSize};

/// The modes that a viewer's terminal gets as the program set them.
const MODES: [ScreenMode; 4] = [ScreenMode::CursorKeys, ScreenMode::Keypad, ScreenMode::Paste, ScreenMode::Reverse];

/// What is sent when a viewer leaves.
pub(super) const RESTORE: &str = "\x1b\\\x1b[?2026l\x1b[0m\x1b]8;;\x1b\\\x1b(B\x0f\x1b[r\x1b[4l\x1b[20l\x1b[?1l\x1b[?5l\x1b[?6l\x1b[?7h\
    \x1b[?45l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b>\x1b[0 q\x1b[?25h\x1b[?1049l";

/// A viewer's terminal.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// Its size.
    pub size: ScreenSize,
    /// Its colors.
    pub depth: Depth,
    /// What it gets besides what is drawn. Its focus is never asked for.
    pub permits: Permits,
    /// What the border says, if there is room for it.
    pub name: &'a str,
    /// What stands on the last row for a moment.
    pub notice: Option<&'a str>,
}

/// What a viewer's terminal shows. Viewers of one size and depth who have the same frame get the same next one.
#[derive(Clone)]
pub struct ScreenFrame {
    size: ScreenSize,
    depth: Depth,
    permits: Permits,
    cells: Vec<Cell>,
    /// The first row and column of the screen that are shown, and how many.
    from: (usize, usize),
    area: (usize, usize),
    cursor: Option<(usize, usize)>,
    cursor_style: u16,
    modes: [bool; MODES.len()],
    mouse: Option<Mouse>,
    title: Option<String>,
}

impl ScreenFrame {
    /// Returns which cell of the screen a viewer means by a cell of their terminal, both from 0; none for the border.
    #[must_use]
    pub fn on_screen(&self, column: u16, row: u16) -> Option<(u16, u16)> {
        let (row, column) = (usize::from(row), usize::from(column));
        let inside = row < self.area.0 && column < self.area.1;
        let found = (u16::try_from(column + self.from.1).ok()?, u16::try_from(row + self.from.0).ok()?);
        inside.then_some(found)
    }

    /// Returns the first column and row of the screen that are shown.
    #[must_use]
    pub fn origin(&self) -> (usize, usize) {
        (self.from.1, self.from.0)
    }

    /// Returns how many columns and rows of the screen are shown.
    #[must_use]
    pub fn area(&self) -> (usize, usize) {
        (self.area.1, self.area.0)
    }

    /// Draws what differs from `before`, or all of it.
    fn draw(&self, before: Option<&Self>) -> String {
        let mut out = String::new();
        let before = before.filter(|before| (before.size, before.depth, before.permits) == (self.size, self.depth, self.permits));
        let blank;
        let had = if let Some(before) = before {
            &before.cells
        } else {
            out.push_str(CLEAR);
            // The viewer's own screen comes back when they leave.
            out.push_str("\x1b[?1049h\x1b[H\x1b[2J\x1b[?25l");
            blank = vec![Cell::default(); self.cells.len()];
            &blank
        };
        let columns = self.size.columns();
        let start = out.len();
        for (row, (cells, had)) in self.cells.chunks(columns).zip(had.chunks(columns)).enumerate() {
            draw_row(&mut out, row, cells, had);
        }
        if out.len() > start {
            out.push_str("\x1b[0m\x1b]8;;\x1b\\");
        }
        self.set_modes(&mut out, before);
        if out.is_empty() {
            return out;
        }
        if let Some((row, column)) = self.cursor {
            let _ = write!(out, "\x1b[{};{}H\x1b[?25h", row + 1, column + 1);
        }
        // A terminal that knows this shows the whole frame at once.
        format!("\x1b[?2026h\x1b[?25l{out}\x1b[?2026l")
    }

    fn set_modes(&self, out: &mut String, before: Option<&Self>) {
        for (at, mode) in MODES.into_iter().enumerate() {
            let (on, was) = (self.modes.get(at) == Some(&true), before.is_some_and(|before| before.modes.get(at) == Some(&true)));
            if on != was && mode == ScreenMode::Keypad {
                out.push_str(if on { "\x1b=" } else { "\x1b>" });
            } else if on != was {
                mode.write(on, out);
            }
        }
        if self.mouse != before.and_then(|before| before.mouse) {
            out.push_str(self.mouse.map_or("\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l", mouse_sequence));
        }
        if self.cursor_style != before.map_or(0, |before| before.cursor_style) {
            let _ = write!(out, "\x1b[{} q", self.cursor_style);
        }
        if let Some(title) = self.title.as_ref().filter(|_| before.is_none_or(|before| before.title != self.title)) {
            let _ = write!(out, "\x1b]2;{title}\x1b\\");
        }
        if before.is_some_and(|before| before.cursor != self.cursor) && out.is_empty() {
            // Only the cursor has moved, which the caller draws.
            out.push_str("\x1b[0m");
        }
    }
}

/// Draws the cells of a row that differ.
fn draw_row(out: &mut String, row: usize, cells: &[Cell], had: &[Cell]) {
    let is_blank = |cell: &Cell| cell.c == ' ' && cell.flags.is_empty() && !has_marks(cell) && same_style(cell, &Cell::default());
    let end = cells.iter().rposition(|cell| !is_blank(cell)).map_or(0, |last| last + 1);
    let mut pen: Option<&Cell> = None;
    let mut at = None;
    let differs = |column: usize| {
        let both = cells.get(column).zip(had.get(column));
        both.is_some_and(|(cell, had)| !same(cell, had))
    };
    for (column, cell) in cells.iter().enumerate().take(end) {
        let wide = cell.flags.contains(Flags::WIDE_CHAR);
        if cell.flags.contains(Flags::WIDE_CHAR_SPACER) || !(differs(column) || wide && differs(column + 1)) {
            continue;
        }
        if at != Some(column) {
            let _ = write!(out, "\x1b[{};{}H", row + 1, column + 1);
        }
        if pen.is_none_or(|pen| !same_style(pen, cell)) {
            write_style(out, cell, pen);
            pen = Some(cell);
        }
        out.push(cell.c);
        out.extend(cell.zerowidth().into_iter().flatten());
        // Terminals disagree on the width of several characters in one cell.
        at = (!has_marks(cell)).then_some(column + 1 + usize::from(wide));
    }
    if (end..cells.len()).any(differs) {
        let _ = write!(out, "\x1b[{};{}H\x1b[0m\x1b]8;;\x1b\\\x1b[K", row + 1, end + 1);
    } else if pen.is_some() {
        out.push_str("\x1b[0m\x1b]8;;\x1b\\");
    }
}

fn has_marks(cell: &Cell) -> bool {
    cell.zerowidth().is_some_and(|marks| !marks.is_empty())
}

fn same(one: &Cell, other: &Cell) -> bool {
    one.c == other.c
        && one.flags == other.flags
        && same_style(one, other)
        && one.zerowidth().unwrap_or_default() == other.zerowidth().unwrap_or_default()
}

impl ScreenState {
    /// Draws what a view shows of the screen, as what differs from the last frame that it has.
    pub(super) fn frame(&self, view: &FrameView<'_>, before: Option<&ScreenFrame>) -> (String, ScreenFrame) {
        let size = view.size.possible();
        let (rows, columns) = (self.term.screen_lines(), self.term.columns());
        let cut = rows > size.screen_lines() || columns > size.columns();
        let status = cut && size.rows > 1;
        let area = (rows.min(size.screen_lines() - usize::from(status)), columns.min(size.columns()));
        let (row, column) = self.at();
        let last = before.map_or((0, 0), |before| before.from);
        let follow = |from: usize, at: usize, length: usize, all: usize| from.clamp((at + 1).saturating_sub(length), at).min(all - length);
        let visible = self.is(ScreenMode::Visible);
        let from = if visible {
            (follow(last.0, row, area.0, rows), follow(last.1, column, area.1, columns))
        } else {
            (last.0.min(rows - area.0), last.1.min(columns - area.1))
        };
        let mut canvas = Canvas { cells: vec![Cell::default(); size.screen_lines() * size.columns()], size };
        self.copy(&mut canvas, from, area, view.depth);
        canvas.border(area, view.name, usize::from(status));
        if status {
            let text = format!("{}\u{d7}{} of {columns}\u{d7}{rows}", size.columns, size.rows);
            canvas.text(size.screen_lines() - 1, &text, Flags::INVERSE);
        }
        if let Some(notice) = view.notice {
            canvas.text(size.screen_lines() - 1, notice, Flags::INVERSE);
        }
        let inside = |at: usize, from: usize, length: usize| at.checked_sub(from).filter(|at| *at < length);
        let cursor = inside(row, from.0, area.0).zip(inside(column, from.1, area.1)).filter(|_| visible);
        let frame = ScreenFrame {
            size,
            depth: view.depth,
            permits: view.permits,
            cells: canvas.cells,
            from,
            area,
            cursor,
            cursor_style: self.cursor_style,
            modes: MODES.map(|mode| self.is(mode)),
            mouse: self.mouse.filter(|_| view.permits.mouse),
            title: self.title.clone().filter(|_| view.permits.titles),
        };
        let out = frame.draw(before);
        (out, frame)
    }

    /// Copies a part of the screen.
    fn copy(&self, canvas: &mut Canvas, from: (usize, usize), area: (usize, usize), depth: Depth) {
        let grid = self.term.grid();
        let width = canvas.size.columns();
        for (row, to) in canvas.cells.chunks_mut(width).enumerate().take(area.0) {
            let source = &grid[line(row + from.0)];
            for (column, to) in to.iter_mut().enumerate().take(area.1) {
                let mut cell = source[Column(column + from.1)].clone();
                let spacer = |column: usize| column < area.1 && source[Column(column + from.1)].flags.contains(Flags::WIDE_CHAR_SPACER);
                let headless = column == 0 || !source[Column(column + from.1 - 1)].flags.contains(Flags::WIDE_CHAR);
                let half = cell.flags.contains(Flags::WIDE_CHAR) && !spacer(column + 1)
                    || cell.flags.contains(Flags::WIDE_CHAR_SPACER) && headless;
                cell.flags &= SHOWN | Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER;
                if half {
                    // The other half is outside, or was overwritten.
                    cell = Cell { c: ' ', flags: cell.flags & SHOWN, extra: None, ..cell };
                }
                self.adapt(&mut cell, depth);
                *to = cell;
            }
        }
    }
}

/// The cells of a viewer's terminal.
struct Canvas {
    cells: Vec<Cell>,
    size: ScreenSize,
}

impl Canvas {
    fn put(&mut self, row: usize, column: usize, character: char, flags: Flags) {
        let width = self.size.columns();
        if let Some(cell) = self.cells.get_mut(row * width + column).filter(|_| column < width) {
            *cell = Cell { c: character, flags, bg: BACKGROUND, ..Cell::default() };
        }
    }

    /// Draws the edges of the screen where the terminal is larger, with a name.
    fn border(&mut self, area: (usize, usize), name: &str, status: usize) {
        let (rows, columns) = (self.size.screen_lines() - status, self.size.columns());
        let (below, beside) = (rows > area.0, columns > area.1);
        if beside {
            (0..area.0).for_each(|row| self.put(row, area.1, '\u{2502}', Flags::DIM));
        }
        if below {
            (0..area.1).for_each(|column| self.put(area.0, column, '\u{2500}', Flags::DIM));
            let name = printable(name).map(|(c, _)| c).take(area.1.saturating_sub(4));
            for (at, character) in name.enumerate() {
                self.put(area.0, at + 2, character, Flags::DIM);
            }
        }
        if beside && below {
            self.put(area.0, area.1, '\u{2518}', Flags::DIM);
        }
    }

    /// Writes a row.
    fn text(&mut self, row: usize, text: &str, flags: Flags) {
        let columns = self.size.columns();
        let padded = printable(text).map(|(c, _)| c).chain(std::iter::repeat(' ')).take(columns);
        padded.enumerate().for_each(|(column, character)| self.put(row, column, character, flags));
    }
}

/// Returns the characters of a text that have one cell each.
fn printable(text: &str) -> impl Iterator<Item = (char, usize)> {
    text.chars().filter_map(|character| character.width().map(|width| (character, width))).filter(|(_, width)| *width == 1)
}
