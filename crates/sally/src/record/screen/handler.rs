//! Applies a program's output to the screen: the emulator does that, and state that it doesn't show is kept here too.
//!
//! Queries, titles, the clipboard and the keyboard's modes don't belong to a screen, and are ignored.

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Column;
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::vte::ansi::{
    Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, LineClearMode, Mode, NamedPrivateMode, PrivateMode, Rgb,
    StandardCharset, TabulationClearMode,
};
use unicode_width::UnicodeWidthChar;

use super::{DRAIN, State, TAB};

/// The most marks on one character: more only cost memory.
const MARKS: usize = 32;
/// The modes for the alternate screen that precede 1049.
const ALTERNATE: [u16; 2] = [47, 1047];
/// The mode that saves and restores only the cursor.
const SAVED_CURSOR: u16 = 1048;

/// Passes calls on unchanged.
macro_rules! pass_on {
    ($($name:ident($($value:ident: $kind:ty),*);)*) => {
        $(fn $name(&mut self, $($value: $kind),*) {
            self.term.$name($($value),*);
            self.settle();
        })*
    };
}

impl Handler for State {
    pass_on! {
        goto(line: i32, column: usize);
        goto_line(line: i32);
        goto_col(column: usize);
        insert_blank(count: usize);
        move_up(count: usize);
        move_down(count: usize);
        move_forward(count: usize);
        move_backward(count: usize);
        move_down_and_cr(count: usize);
        move_up_and_cr(count: usize);
        put_tab(count: u16);
        backspace();
        carriage_return();
        linefeed();
        newline();
        scroll_up(count: usize);
        scroll_down(count: usize);
        insert_blank_lines(count: usize);
        delete_lines(count: usize);
        erase_chars(count: usize);
        delete_chars(count: usize);
        move_forward_tabs(count: u16);
        save_cursor_position();
        restore_cursor_position();
        clear_line(mode: LineClearMode);
        reverse_index();
        terminal_attribute(attribute: Attr);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        set_color(index: usize, color: Rgb);
        reset_color(index: usize);
        decaln();
        set_hyperlink(link: Option<Hyperlink>);
        set_cursor_style(style: Option<CursorStyle>);
        set_cursor_shape(shape: CursorShape);
    }

    fn input(&mut self, character: char) {
        if character.width() != Some(0) || self.marks_before_cursor() < MARKS {
            self.term.input(character);
            self.settle();
        }
    }

    fn move_backward_tabs(&mut self, count: u16) {
        self.term.move_backward_tabs(count);
        // The emulator would still wrap at the next character, as if the cursor stood in the last column.
        self.term.grid_mut().cursor.input_needs_wrap = false;
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        // The lines in the history were shown, even if a program clears it.
        self.drain();
        self.term.clear_screen(mode);
        self.settle();
    }

    fn reset_state(&mut self) {
        self.read_screen();
        self.term.reset_state();
        (self.region, self.tabs, self.charset) = (None, None, CharsetIndex::G0);
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let lines = self.term.screen_lines();
        let last = bottom.unwrap_or(lines).min(lines);
        if top < last {
            self.term.set_scrolling_region(top, Some(last));
            self.region = Some((top, last)).filter(|all| *all != (1, lines));
        }
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.term.set_active_charset(index);
        self.charset = index;
    }

    fn set_horizontal_tabstop(&mut self) {
        self.term.set_horizontal_tabstop();
        self.set_tab(true);
    }

    fn clear_tabs(&mut self, mode: TabulationClearMode) {
        match mode {
            TabulationClearMode::Current => self.set_tab(false),
            TabulationClearMode::All => self.tabs = Some(vec![false; self.term.columns()]),
        }
        self.term.clear_tabs(mode);
    }

    fn set_tabs(&mut self, interval: u16) {
        // The emulator can only set a tab stop at the cursor.
        let before = self.term.grid().cursor.point.column;
        self.clear_tabs(TabulationClearMode::All);
        for column in (0..self.term.columns()).step_by(interval.max(1).into()) {
            self.term.grid_mut().cursor.point.column = Column(column);
            self.set_horizontal_tabstop();
        }
        self.term.grid_mut().cursor.point.column = before;
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Unknown(old) if ALTERNATE.contains(&old) => {
                self.set_private_mode(PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor));
            }
            PrivateMode::Unknown(SAVED_CURSOR) => self.term.save_cursor_position(),
            PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor) if !self.is_alternate() => {
                self.term.swap_alt();
                // Without this, the alternate screen would restore the cursor that it saved last time.
                let grid = self.term.grid_mut();
                grid.saved_cursor = grid.cursor.clone();
            }
            _ => self.pass_private_mode(mode, |term| term.set_private_mode(mode)),
        }
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Unknown(old) if ALTERNATE.contains(&old) && self.is_alternate() => self.term.swap_alt(),
            PrivateMode::Unknown(SAVED_CURSOR) => self.term.restore_cursor_position(),
            _ => self.pass_private_mode(mode, |term| term.unset_private_mode(mode)),
        }
    }
}

impl State {
    /// Reads the lines that have left the screen before they are forgotten.
    fn settle(&mut self) {
        if self.term.grid().history_size() >= DRAIN {
            self.drain();
        }
    }

    fn pass_private_mode(&mut self, mode: PrivateMode, pass: impl FnOnce(&mut alacritty_terminal::Term<super::VoidListener>)) {
        // DECCOLM clears the screen, and makes all of it scroll again.
        if mode == PrivateMode::Named(NamedPrivateMode::ColumnMode) {
            self.region = None;
        }
        pass(&mut self.term);
        self.settle();
    }

    fn set_tab(&mut self, there: bool) {
        let columns = self.term.columns();
        let tabs = self.tabs.get_or_insert_with(|| (0..columns).map(|column| column % TAB == 0).collect());
        if let Some(tab) = tabs.get_mut(self.term.grid().cursor.point.column.0) {
            *tab = there;
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
}
