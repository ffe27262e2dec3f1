//! The output that viewers of the screen's size get: what the screen keeps, and nothing else. Queries, the clipboard, window operations,
//! device control strings and whatever is unknown are left out; what is long or odd is put in one form.

use std::fmt::Write as _;

use super::Permits;
use super::attributes::{Attribute, write_link, write_numbers};
use super::dump::{CLEAR, RESET_COLORS, write_charset, write_color_set, write_shift};
use super::function::{self, DYNAMIC, Edit, Function, Move, ScreenMode};
use super::parser::Parser;

/// Filters a program's output for viewers, however it is cut.
pub struct Filter {
    parser: Parser,
    writer: FilterWriter,
}

struct FilterWriter {
    permits: Permits,
    /// The character that `CSI b` repeats.
    preceding: Option<char>,
    bell: bool,
    /// Where a sequence is put together.
    sequence: String,
}

impl Filter {
    /// Makes a filter for a program's output from its beginning.
    #[must_use]
    pub fn new(permits: Permits) -> Self {
        let writer = FilterWriter { permits, preceding: None, bell: false, sequence: String::new() };
        Self { parser: Parser::default(), writer }
    }

    /// Lets the next bell pass. The caller says so once a second.
    pub fn allow_bell(&mut self) {
        self.writer.bell = true;
    }

    /// Takes a program's output, and appends what of it passes.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { parser, writer } = self;
        parser.feed(bytes, &mut |token| function::read(token, &mut |function| writer.pass(&function, out)));
    }

    /// Passes the beginning of a character that nothing has followed for a while as a replacement character.
    pub fn flush_incomplete(&mut self, out: &mut Vec<u8>) {
        let Self { parser, writer } = self;
        parser.flush_incomplete(&mut |token| function::read(token, &mut |function| writer.pass(&function, out)));
    }
}

impl FilterWriter {
    fn pass(&mut self, function: &Function<'_>, out: &mut Vec<u8>) {
        if let Function::Text(text) = function {
            out.extend_from_slice(text.as_bytes());
            self.preceding = text.chars().next_back();
            return;
        }
        let mut sequence = std::mem::take(&mut self.sequence);
        self.write(function, &mut sequence);
        out.extend_from_slice(sequence.as_bytes());
        sequence.clear();
        self.sequence = sequence;
    }

    fn write(&mut self, function: &Function<'_>, out: &mut String) {
        let before = self.preceding.take();
        match *function {
            Function::Text(text) => out.push_str(text),
            Function::Repeat(times) => {
                if let Some(character) = before {
                    out.extend(std::iter::repeat_n(character, times.into()));
                }
            }
            Function::Bell if self.bell => {
                out.push('\x07');
                self.bell = false;
            }
            Function::Backspace => out.push('\x08'),
            Function::Tab => out.push('\t'),
            Function::LineFeed => out.push('\n'),
            Function::Return => out.push('\r'),
            Function::Index => out.push_str("\x1bD"),
            Function::NextLine => out.push_str("\x1bE"),
            Function::ReverseIndex => out.push_str("\x1bM"),
            Function::SetTab => out.push_str("\x1bH"),
            Function::ClearTab => out.push_str("\x1b[g"),
            Function::ClearTabs => out.push_str("\x1b[3g"),
            Function::SaveCursor => out.push_str("\x1b7"),
            Function::RestoreCursor => out.push_str("\x1b8"),
            Function::SoftReset => out.push_str("\x1b[!p"),
            // The hard reset would clear what a viewer's terminal has kept of other things.
            Function::Reset => out.extend([CLEAR, RESET_COLORS]),
            Function::Align => out.push_str("\x1b#8"),
            Function::Shift(index) => write_shift(out, index),
            Function::Charset(index, lines) => write_charset(out, index, lines),
            Function::Move(movement, count) => write_move(out, movement, count),
            Function::Edit(edit, count) => drop(write!(out, "\x1b[{count}{}", last_of_edit(edit))),
            Function::EraseDisplay(what) => drop(write!(out, "\x1b[{what}J")),
            Function::EraseLine(what) => drop(write!(out, "\x1b[{what}K")),
            Function::Style(attributes) => write_attributes(out, attributes),
            Function::Region(top, 0) => drop(write!(out, "\x1b[{top}r")),
            Function::Region(top, bottom) => drop(write!(out, "\x1b[{top};{bottom}r")),
            Function::Mode(mode, on) => write_mode(out, mode, on, self.permits),
            Function::CursorStyle(style) => drop(write!(out, "\x1b[{style} q")),
            Function::Link(link) => write_link(out, link),
            Function::Color(index, color) => write_color_set(out, index, color),
            Function::ResetColor(None) => out.push_str("\x1b]104\x1b\\"),
            Function::ResetColor(Some(index)) if index < DYNAMIC => drop(write!(out, "\x1b]104;{index}\x1b\\")),
            Function::ResetColor(Some(index)) => drop(write!(out, "\x1b]{}\x1b\\", index - DYNAMIC + 110)),
            Function::Title(title) if self.permits.titles => drop(write!(out, "\x1b]2;{title}\x1b\\")),
            Function::Bell | Function::Title(_) | Function::Query(_) => {}
        }
    }
}

fn write_attributes(out: &mut String, attributes: &[Attribute]) {
    if attributes.is_empty() {
        return;
    }
    out.push_str("\x1b[");
    for (at, attribute) in attributes.iter().enumerate() {
        if at > 0 {
            out.push(';');
        }
        attribute.write(out);
    }
    out.push('m');
}

fn write_move(out: &mut String, movement: Move, count: u16) {
    let last = match movement {
        Move::Up => 'A',
        Move::Down => 'B',
        Move::Forward => 'C',
        Move::Backward => 'D',
        Move::NextLine => 'E',
        Move::PreviousLine => 'F',
        Move::Column => 'G',
        Move::Row => 'd',
        Move::TabForward => 'I',
        Move::TabBackward => 'Z',
        Move::To(_) => 'H',
    };
    out.push_str("\x1b[");
    if let Move::To(row) = movement {
        write_numbers(out, &[row, count], ';');
    } else if count > 1 {
        write_numbers(out, &[count], ';');
    }
    out.push(last);
}

fn last_of_edit(edit: Edit) -> char {
    match edit {
        Edit::InsertCharacters => '@',
        Edit::DeleteCharacters => 'P',
        Edit::EraseCharacters => 'X',
        Edit::InsertLines => 'L',
        Edit::DeleteLines => 'M',
        Edit::ScrollUp => 'S',
        Edit::ScrollDown => 'T',
    }
}

fn write_mode(out: &mut String, mode: ScreenMode, on: bool, permits: Permits) {
    match mode {
        ScreenMode::Keypad => out.push_str(if on { "\x1b=" } else { "\x1b>" }),
        // What encoding a program asked for is the host's affair.
        ScreenMode::MouseSgr => {}
        ScreenMode::MouseClick | ScreenMode::MouseDrag | ScreenMode::MouseMotion if !permits.mouse => {}
        ScreenMode::MouseClick | ScreenMode::MouseDrag | ScreenMode::MouseMotion => {
            ScreenMode::MouseSgr.write(on, out);
            mode.write(on, out);
        }
        ScreenMode::Focus if !permits.focus => {}
        _ => mode.write(on, out),
    }
}
