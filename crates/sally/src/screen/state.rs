//! What output changes: the emulator's grids, and all that the emulator doesn't show of itself.

use std::collections::BTreeMap;

use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags, Hyperlink};
use alacritty_terminal::term::{Config, Term};
use alacritty_terminal::vte::ansi::{CharsetIndex, Handler as _, NamedMode, NamedPrivateMode, Rgb, StandardCharset};
use unicode_width::UnicodeWidthChar;

use super::attributes::{WRITTEN, link_bytes};
use super::function::{DYNAMIC, Function, Move, ScreenMode};
use super::transcript::Transcript;
use super::{MAX_SIDE, Mouse, ScreenSize};

/// The most marks on one character: more only cost memory.
const MARKS: usize = 32;
/// The most bytes of links, each on one cell or many: beyond it text has none.
const LINKS_MAX: usize = 4 << 20;
/// Columns from one tab stop to the next, until a program says otherwise.
pub(super) const TAB: usize = 8;
/// How many lines that have left the screen wait before they are read as text.
pub(super) const DRAIN: usize = 128;

/// A saved cursor (DECSC).
#[derive(Clone, Default)]
pub(super) struct Saved {
    pub(super) cursor: Cursor<Cell>,
    pub(super) charset: CharsetIndex,
    pub(super) origin: bool,
}

impl Saved {
    pub(super) fn initial() -> Self {
        Self { cursor: Cursor { template: blank_pen(), ..Cursor::default() }, ..Self::default() }
    }
}

pub(super) struct ScreenState {
    /// The emulator. It always takes itself to be on the primary screen: which grid it has is our affair.
    pub(super) term: Term<VoidListener>,
    /// The primary screen's grid while the alternate screen is shown.
    pub(super) primary: Option<Grid<Cell>>,
    /// The first and the last line that scroll.
    pub(super) region: (usize, usize),
    /// Which columns have a tab stop.
    pub(super) tabs: Vec<bool>,
    pub(super) charset: CharsetIndex,
    /// The saved cursors of the primary and of the alternate screen.
    pub(super) saved: [Saved; 2],
    /// The modes that are on, a bit each.
    on: u32,
    /// The modes that the program has set or reset.
    touched: u32,
    pub(super) mouse: Option<Mouse>,
    /// The number of DECSCUSR.
    pub(super) cursor_style: u16,
    pub(super) colors: BTreeMap<usize, Rgb>,
    pub(super) were_colors_set: bool,
    pub(super) title: Option<String>,
    pub(super) replies: Vec<u8>,
    pub(super) transcript: Option<Transcript>,
    /// The character that `CSI b` repeats.
    pub(super) preceding: Option<char>,
    /// How many bytes of links may come until those on the screen are counted again.
    link_room: usize,
    has_links_enough: bool,
}

/// Returns a pen that writes plain text.
pub(super) fn blank_pen() -> Cell {
    Cell { flags: WRITTEN, ..Cell::default() }
}

/// Returns the modes of a terminal that was just turned on.
fn initial_modes() -> u32 {
    1 << ScreenMode::Wrap as u32 | 1 << ScreenMode::Visible as u32
}

impl ScreenState {
    pub(super) fn new(size: ScreenSize, history: usize, transcript: bool) -> Self {
        let scrolling_history = if transcript { DRAIN + usize::from(MAX_SIDE) } else { history };
        let mut term = Term::new(Config { scrolling_history, ..Config::default() }, &size, VoidListener);
        term.grid_mut().cursor.template = blank_pen();
        Self {
            term,
            primary: None,
            region: (0, usize::from(size.rows) - 1),
            tabs: initial_tabs(size.columns.into()),
            charset: CharsetIndex::G0,
            saved: [Saved::initial(), Saved::initial()],
            on: initial_modes(),
            touched: 0,
            mouse: None,
            cursor_style: 0,
            colors: BTreeMap::new(),
            were_colors_set: false,
            title: None,
            replies: Vec::new(),
            transcript: transcript.then(Transcript::default),
            preceding: None,
            link_room: LINKS_MAX / 2,
            has_links_enough: false,
        }
    }

    pub(super) fn size(&self) -> ScreenSize {
        let side = |count: usize| u16::try_from(count).unwrap_or(MAX_SIDE);
        ScreenSize { columns: side(self.term.columns()), rows: side(self.term.screen_lines()) }
    }

    pub(super) fn is(&self, mode: ScreenMode) -> bool {
        self.on & 1 << mode as u32 != 0
    }

    pub(super) fn was_touched(&self, mode: ScreenMode) -> bool {
        self.touched & 1 << mode as u32 != 0
    }

    pub(super) fn is_synchronized(&self) -> bool {
        self.is(ScreenMode::Synchronized)
    }

    pub(super) fn is_paste_marked(&self) -> bool {
        self.is(ScreenMode::Paste)
    }

    pub(super) fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    pub(super) fn mouse(&self) -> Option<(Mouse, bool)> {
        self.mouse.map(|mouse| (mouse, self.is(ScreenMode::MouseSgr)))
    }

    pub(super) fn cursor(&mut self) -> &mut Cursor<Cell> {
        &mut self.term.grid_mut().cursor
    }

    /// Returns the cursor's row and column.
    pub(super) fn at(&self) -> (usize, usize) {
        let point = self.term.grid().cursor.point;
        (usize::try_from(point.line.0).unwrap_or(0), point.column.0)
    }

    pub(super) fn needs_wrap(&self) -> bool {
        self.term.grid().cursor.input_needs_wrap
    }

    pub(super) fn apply(&mut self, function: &Function<'_>) {
        let before = self.preceding.take();
        match *function {
            Function::Text(text) => {
                self.print_all(text);
                self.preceding = text.chars().next_back();
            }
            Function::Repeat(times) => {
                if let Some(character) = before {
                    (0..times).for_each(|_| self.print(character));
                }
            }
            Function::Backspace => self.backspace(),
            Function::Tab => self.tab_forward(1),
            Function::LineFeed => self.line_feed(self.is(ScreenMode::NewLine)),
            Function::Return => self.go_to_column(0),
            Function::Index => self.line_feed(false),
            Function::NextLine => self.line_feed(true),
            Function::ReverseIndex => self.reverse_index(),
            Function::Shift(index) => self.shift(index),
            Function::Charset(index, lines) => {
                let charset = if lines { StandardCharset::SpecialCharacterAndLineDrawing } else { StandardCharset::Ascii };
                self.cursor().charsets[index] = charset;
            }
            Function::Move(movement, count) => self.move_cursor(movement, count.into()),
            Function::SetTab => self.set_tab(true),
            Function::ClearTab => self.set_tab(false),
            Function::ClearTabs => self.tabs.fill(false),
            Function::Edit(edit, count) => self.edit(edit, count.into()),
            Function::EraseDisplay(what) => self.erase_display(what),
            Function::EraseLine(what) => self.erase_line(what),
            Function::Style(attributes) => attributes.iter().for_each(|attribute| attribute.apply(&mut self.cursor().template)),
            Function::Region(top, bottom) => self.set_region(top.into(), bottom.into()),
            Function::SaveCursor => self.save_cursor(),
            Function::RestoreCursor => self.restore_cursor(),
            Function::Mode(mode, on) => self.set_mode(mode, on),
            Function::CursorStyle(style) => self.cursor_style = style,
            Function::SoftReset => self.soft_reset(),
            Function::Reset => self.reset(),
            Function::Align => self.align(),
            Function::Link(link) => self.set_link(link),
            Function::Color(index, color) => {
                self.were_colors_set = true;
                self.colors.insert(index, color);
            }
            Function::ResetColor(index) => {
                self.were_colors_set = true;
                self.colors.retain(|set, _| index.map_or(*set >= DYNAMIC, |index| *set != index));
            }
            Function::Title(title) => self.title = Some(title.to_owned()),
            Function::Query(query) => self.answer(query),
            Function::Bell => {}
        }
        self.settle();
    }

    fn print_all(&mut self, text: &str) {
        let mut rest = text;
        loop {
            rest = rest.get(self.print_plain(rest.as_bytes())..).unwrap_or_default();
            let mut characters = rest.chars();
            let Some(character) = characters.next() else { return };
            self.print(character);
            rest = characters.as_str();
        }
    }

    /// Writes as much ASCII as there is before the end of the row, where nothing special happens, and returns how much. The emulator would
    /// look at each character by itself.
    fn print_plain(&mut self, text: &[u8]) -> usize {
        let columns = self.term.columns();
        let insert = self.is(ScreenMode::Insert);
        let charset = self.charset;
        let grid = self.term.grid_mut();
        let (point, plain) = (grid.cursor.point, grid.cursor.charsets[charset] == StandardCharset::Ascii);
        let room = (columns - 2).saturating_sub(point.column.0);
        if insert || !plain || room == 0 || grid.cursor.input_needs_wrap || !text.first().is_some_and(u8::is_ascii) {
            return 0;
        }
        let Cell { fg, bg, flags, extra, .. } = grid.cursor.template.clone();
        let length = room.min(text.len());
        let cells = &mut grid[point.line][point.column..point.column + length];
        let mut written = 0;
        for (cell, byte) in cells.iter_mut().zip(text) {
            if !byte.is_ascii() || cell.flags.intersects(Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER) {
                break;
            }
            (cell.c, cell.fg, cell.bg, cell.flags) = (char::from(*byte), fg, bg, flags);
            if cell.extra.is_some() || extra.is_some() {
                cell.extra.clone_from(&extra);
            }
            written += 1;
        }
        grid.cursor.point.column += written;
        written
    }

    /// Writes a character.
    #[inline]
    fn print(&mut self, character: char) {
        if !character.is_ascii() && character.width() == Some(0) && self.marks_before_cursor() >= MARKS {
            return;
        }
        if self.term.grid().cursor.point.column.0 + 2 < self.term.columns() {
            self.term.input(character);
        } else {
            self.print_at_end(character);
        }
    }

    /// Writes a character that may end a row. A row that continues in the next one does so although its last cell is written again.
    fn print_at_end(&mut self, character: char) {
        let (row, _) = self.at();
        let wrapped = !self.needs_wrap() && self.wraps(row);
        self.term.input(character);
        if wrapped && self.at().0 == row {
            self.set_wraps(row, true);
        }
        self.settle();
    }

    fn set_link(&mut self, link: Option<(&str, &str)>) {
        let link = link.filter(|(id, uri)| self.has_room_for_link(id.len() + uri.len()));
        // A link without an id has an empty one: the emulator would invent another.
        self.cursor().template.set_hyperlink(link.map(|(id, uri)| Hyperlink::new(Some(id), uri.to_owned())));
    }

    /// Returns whether there is room for a link. The links that are left on the screen are counted only now and then.
    fn has_room_for_link(&mut self, bytes: usize) -> bool {
        match self.link_room.checked_sub(bytes) {
            Some(room) => self.link_room = room,
            None => {
                let left = link_bytes(self.term.grid()) + self.primary.as_ref().map_or(0, link_bytes);
                (self.has_links_enough, self.link_room) = (left > LINKS_MAX / 2, LINKS_MAX / 2);
            }
        }
        !self.has_links_enough
    }

    /// Reads the lines that have left the screen before they are forgotten.
    fn settle(&mut self) {
        if self.transcript.is_some() && self.term.grid().history_size() >= DRAIN {
            self.drain();
        }
    }

    /// Counts the marks on the character that the next mark would be put on.
    fn marks_before_cursor(&self) -> usize {
        let grid = self.term.grid();
        let before = usize::from(!grid.cursor.input_needs_wrap);
        let mut at = grid.cursor.point;
        at.column = Column(at.column.0.saturating_sub(before));
        if grid[at.line][at.column].flags.contains(Flags::WIDE_CHAR_SPACER) {
            at.column = Column(at.column.0.saturating_sub(1));
        }
        grid[at.line][at.column].zerowidth().map_or(0, <[char]>::len)
    }

    pub(super) fn shift(&mut self, index: CharsetIndex) {
        self.charset = index;
        self.term.set_active_charset(index);
    }

    fn set_mode(&mut self, mode: ScreenMode, on: bool) {
        self.touched |= 1 << mode as u32;
        let mouse = match mode {
            ScreenMode::MouseClick => Some(Mouse::Click),
            ScreenMode::MouseDrag => Some(Mouse::Drag),
            ScreenMode::MouseMotion => Some(Mouse::Motion),
            _ => None,
        };
        match mode {
            _ if mouse.is_some() => self.mouse = mouse.filter(|_| on),
            ScreenMode::Alternate | ScreenMode::AlternateOnly => self.show_alternate(on, mode == ScreenMode::Alternate),
            ScreenMode::SavedCursor if on => self.save_cursor(),
            ScreenMode::SavedCursor => self.restore_cursor(),
            _ => self.turn(mode, on),
        }
        if mode == ScreenMode::Origin {
            self.move_cursor(Move::To(1), 1);
        }
    }

    /// Sets a mode without what else it does.
    pub(super) fn turn(&mut self, mode: ScreenMode, on: bool) {
        self.on = self.on & !(1 << mode as u32) | u32::from(on) << mode as u32;
        match (mode, on) {
            (ScreenMode::Insert, true) => self.term.set_mode(NamedMode::Insert.into()),
            (ScreenMode::Insert, false) => self.term.unset_mode(NamedMode::Insert.into()),
            (ScreenMode::Wrap, true) => self.term.set_private_mode(NamedPrivateMode::LineWrap.into()),
            (ScreenMode::Wrap, false) => self.term.unset_private_mode(NamedPrivateMode::LineWrap.into()),
            _ => {}
        }
    }

    pub(super) fn turn_all(&mut self, modes: &[ScreenMode]) {
        modes.iter().for_each(|mode| self.turn(*mode, initial_modes() & 1 << *mode as u32 != 0));
    }

    fn set_region(&mut self, top: usize, bottom: usize) {
        let rows = self.term.screen_lines();
        let bottom = if bottom == 0 { rows } else { bottom.min(rows) };
        if top < bottom {
            self.scroll_within(top - 1, bottom - 1);
            self.move_cursor(Move::To(1), 1);
        }
    }

    /// Sets the first and the last line that scroll. This moves the cursor.
    pub(super) fn scroll_within(&mut self, top: usize, bottom: usize) {
        self.region = (top, bottom);
        self.term.set_scrolling_region(top + 1, Some(bottom + 1));
    }

    /// Returns whether a row continues in the next one. Rows above the screen are negative.
    pub(super) fn wraps_at(grid: &Grid<Cell>, line: Line) -> bool {
        grid[line].last().is_some_and(|cell| cell.flags.contains(Flags::WRAPLINE))
    }

    pub(super) fn wraps(&self, row: usize) -> bool {
        Self::wraps_at(self.term.grid(), line(row))
    }

    pub(super) fn set_wraps(&mut self, row: usize, wraps: bool) {
        self.set_wraps_at(line(row), wraps);
    }

    pub(super) fn set_wraps_at(&mut self, line: Line, wraps: bool) {
        let grid = self.term.grid_mut();
        let last = grid.last_column();
        if Self::wraps_at(grid, line) != wraps {
            grid[line][last].flags.set(Flags::WRAPLINE, wraps);
        }
    }
}

pub(super) fn initial_tabs(columns: usize) -> Vec<bool> {
    (0..columns).map(|column| column % TAB == 0).collect()
}

/// Returns the emulator's name for a row.
pub(super) fn line(row: usize) -> Line {
    Line(i32::try_from(row).unwrap_or(0))
}
