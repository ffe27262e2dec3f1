//! Emulates a terminal's screen: takes a program's output, draws the screen on other terminals, and returns it as text.
//!
//! - `parser`: splits output into text and sequences
//! - `function`: what they do; this list is all that a screen keeps and that viewers get
//! - `state`, `edit`, `alternate`: what the functions change
//! - `attributes`: how text looks
//! - `query`: answers to what a program asks
//! - `dump`: the whole screen, for a terminal of its size that then takes the program's output
//! - `frame`, `color`: what a terminal of any size shows of it, in the colors that it has
//! - `filter`: the output that viewers get
//! - `transcript`: the lines that have left the screen, as text
//!
//! Only this module names the emulator, and it knows nothing of records, shares or SSH.

mod alternate;
mod attributes;
mod color;
mod dump;
mod edit;
mod filter;
mod frame;
mod function;
mod parser;
mod query;
mod state;
#[cfg(test)]
mod tests;
mod transcript;

use alacritty_terminal::grid::Dimensions;

pub use self::color::Depth;
pub use self::filter::Filter;
pub use self::frame::{FrameView, ScreenFrame};
use self::parser::Parser;
use self::state::ScreenState;

/// The most columns or rows: a larger terminal is made smaller, because its size comes from others and its memory from us.
const MAX_SIDE: u16 = 1000;
/// The fewest columns: fewer have no room for a wide character.
const MIN_COLUMNS: u16 = 2;

/// Gives a terminal back that frames were drawn on: its own screen, its modes as they were before.
pub const RESTORE: &str = frame::RESTORE;

/// A terminal's size in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScreenSize {
    /// From left to right.
    pub columns: u16,
    /// From top to bottom.
    pub rows: u16,
}

impl ScreenSize {
    /// Returns the nearest size that a screen can have.
    fn possible(self) -> Self {
        Self { columns: self.columns.clamp(MIN_COLUMNS, MAX_SIDE), rows: self.rows.clamp(1, MAX_SIDE) }
    }
}

impl Dimensions for ScreenSize {
    fn total_lines(&self) -> usize {
        self.rows.into()
    }

    fn screen_lines(&self) -> usize {
        self.rows.into()
    }

    fn columns(&self) -> usize {
        self.columns.into()
    }
}

/// What a viewer gets besides what is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// The title of the program's window.
    pub titles: bool,
    /// The modes in which a terminal reports its mouse. They are always asked for as SGR reports (1006).
    pub mouse: bool,
    /// The mode in which a terminal reports its focus.
    pub focus: bool,
}

impl Permits {
    /// Everything that a terminal of one's own would get.
    pub const ALL: Self = Self { titles: true, mouse: true, focus: true };
}

/// Which reports of its mouse a program has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mouse {
    /// Buttons (1000).
    Click,
    /// And movements with a button down (1002).
    Drag,
    /// And all movements (1003).
    Motion,
}

/// A terminal's screen.
pub struct Screen {
    parser: Parser,
    state: ScreenState,
}

impl Screen {
    /// Makes an empty screen of this size, or of the nearest possible one, that keeps this many lines that have left it.
    #[must_use]
    pub fn new(size: ScreenSize, history: usize) -> Self {
        Self { parser: Parser::default(), state: ScreenState::new(size.possible(), history, false) }
    }

    /// Makes an empty screen that keeps the lines that leave it as text, for [`Screen::take_lines`].
    #[must_use]
    pub fn with_transcript(size: ScreenSize) -> Self {
        Self { parser: Parser::default(), state: ScreenState::new(size.possible(), 0, true) }
    }

    /// Takes a program's output, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { parser, state } = self;
        parser.feed(bytes, &mut |token| function::read(token, &mut |function| state.apply(&function)));
    }

    /// Shows the beginning of a character that nothing has followed for a while as a replacement character.
    pub fn flush_incomplete(&mut self) {
        let Self { parser, state } = self;
        parser.flush_incomplete(&mut |token| function::read(token, &mut |function| state.apply(&function)));
    }

    /// Returns whether neither a sequence, a character nor a synchronized update is unfinished. A viewer goes from frames to the program's
    /// output only then.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.parser.at_rest() && !self.state.is_synchronized()
    }

    /// Changes the size, and wraps the lines of the primary screen again.
    pub fn resize(&mut self, size: ScreenSize) {
        self.state.resize(size.possible());
    }

    /// Returns the size.
    #[must_use]
    pub fn size(&self) -> ScreenSize {
        self.state.size()
    }

    /// Returns whether the alternate screen is active, as with editors.
    #[must_use]
    pub fn is_alternate(&self) -> bool {
        self.state.is_alternate()
    }

    /// Returns what the program set as its title.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.state.title()
    }

    /// Returns which reports of the mouse the program wants, and whether as SGR reports (1006).
    #[must_use]
    pub fn mouse(&self) -> Option<(Mouse, bool)> {
        self.state.mouse()
    }

    /// Returns whether pasted text is to be marked (2004).
    #[must_use]
    pub fn is_paste_marked(&self) -> bool {
        self.state.is_paste_marked()
    }

    /// Returns the answers to what the program has asked its terminal since the last call. They are to be typed to it, and no other terminal's
    /// answers are.
    #[must_use]
    pub fn take_replies(&mut self) -> Vec<u8> {
        self.state.take_replies()
    }

    /// Returns the sequences that make another terminal of the same size show this screen, with at most this many lines of history before
    /// it, and behave like it from then on. The lines that the other terminal has kept stay.
    #[must_use]
    pub fn dump(&self, history: usize, permits: Permits) -> String {
        self.state.dump(history, permits)
    }

    /// Draws what a viewer's terminal of any size shows of this screen, as what differs from the last frame that it has; all of it
    /// without one. Nothing is drawn if nothing differs.
    #[must_use]
    pub fn frame(&self, view: &FrameView<'_>, before: Option<&ScreenFrame>) -> (String, ScreenFrame) {
        self.state.frame(view, before)
    }

    /// Returns the lines that have left the screen since the last call, each whole, however often it was wrapped.
    #[must_use]
    pub fn take_lines(&mut self) -> Vec<String> {
        self.state.take_lines()
    }

    /// Returns the remaining lines, then those of the primary screen.
    #[must_use]
    pub fn finish(mut self) -> Vec<String> {
        self.state.finish()
    }
}
