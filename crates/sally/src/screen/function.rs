//! What output asks a terminal for: the functions that a screen keeps. The screen and the filter both read output through this list, so
//! that what the screen doesn't keep, no viewer is shown.

use std::fmt::Write as _;

use alacritty_terminal::vte::ansi::{CharsetIndex, Rgb};

use super::attributes::{self, Attribute};
use super::parser::{Csi, ScreenToken};

/// The longest title, in characters.
const TITLE_MAX: usize = 256;
/// The most times that `CSI b` repeats a character.
const REPEAT_MAX: u16 = 1000;
/// Links to anything else are none.
const SCHEMES: [&str; 3] = ["http://", "https://", "mailto:"];

/// What a piece of output does.
#[derive(Debug)]
pub(super) enum Function<'a> {
    /// Writes text; it has no control characters.
    Text(&'a str),
    /// Writes the last character again.
    Repeat(u16),
    Bell,
    Backspace,
    Tab,
    LineFeed,
    Return,
    Index,
    NextLine,
    ReverseIndex,
    Shift(CharsetIndex),
    /// Whether a character set is that of lines.
    Charset(CharsetIndex, bool),
    Move(Move, u16),
    SetTab,
    ClearTab,
    ClearTabs,
    Edit(Edit, u16),
    EraseDisplay(u16),
    EraseLine(u16),
    Style(&'a [Attribute]),
    Region(u16, u16),
    SaveCursor,
    RestoreCursor,
    Mode(ScreenMode, bool),
    CursorStyle(u16),
    SoftReset,
    Reset,
    Align,
    /// A link's id and address.
    Link(Option<(&'a str, &'a str)>),
    Color(usize, Rgb),
    /// Sets a color to the terminal's own; all of the palette for `None`.
    ResetColor(Option<usize>),
    Title(&'a str),
    Query(Query),
}

/// Where the cursor goes. Positions are from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Move {
    Up,
    Down,
    Forward,
    Backward,
    NextLine,
    PreviousLine,
    Column,
    Row,
    /// To this row; the number is the column.
    To(u16),
    TabForward,
    TabBackward,
}

/// What changes cells or lines at the cursor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Edit {
    InsertCharacters,
    DeleteCharacters,
    EraseCharacters,
    InsertLines,
    DeleteLines,
    ScrollUp,
    ScrollDown,
}

/// A state that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ScreenMode {
    Insert,
    NewLine,
    CursorKeys,
    Reverse,
    Origin,
    Wrap,
    Blink,
    Visible,
    ReverseWrap,
    Keypad,
    MouseClick,
    MouseDrag,
    MouseMotion,
    Focus,
    MouseSgr,
    AlternateScroll,
    Paste,
    Synchronized,
    /// The alternate screen, with the cursor saved first.
    Alternate,
    /// The alternate screen alone.
    AlternateOnly,
    SavedCursor,
}

/// The modes with their sequences' numbers; the first two are ANSI's.
pub(super) const MODES: [(ScreenMode, u16); 22] = [
    (ScreenMode::Insert, 4),
    (ScreenMode::NewLine, 20),
    (ScreenMode::CursorKeys, 1),
    (ScreenMode::Reverse, 5),
    (ScreenMode::Origin, 6),
    (ScreenMode::Wrap, 7),
    (ScreenMode::Blink, 12),
    (ScreenMode::Visible, 25),
    (ScreenMode::ReverseWrap, 45),
    (ScreenMode::Keypad, 66),
    (ScreenMode::MouseClick, 1000),
    (ScreenMode::MouseDrag, 1002),
    (ScreenMode::MouseMotion, 1003),
    (ScreenMode::Focus, 1004),
    (ScreenMode::MouseSgr, 1006),
    (ScreenMode::AlternateScroll, 1007),
    (ScreenMode::Paste, 2004),
    (ScreenMode::Synchronized, 2026),
    (ScreenMode::Alternate, 1049),
    (ScreenMode::AlternateOnly, 47),
    (ScreenMode::AlternateOnly, 1047),
    (ScreenMode::SavedCursor, 1048),
];
/// How many of [`MODES`] are ANSI's.
const ANSI: usize = 2;

impl ScreenMode {
    pub(super) fn from_number(number: u16, private: bool) -> Option<Self> {
        let (ansi, dec) = MODES.split_at(ANSI);
        let modes = if private { dec } else { ansi };
        modes.iter().find(|(_, known)| *known == number).map(|(mode, _)| *mode)
    }

    /// Appends the sequence that sets or resets this.
    pub(super) fn write(self, on: bool, out: &mut String) {
        let at = MODES.iter().position(|(mode, _)| *mode == self).unwrap_or(0);
        let number = MODES.get(at).map_or(0, |(_, number)| *number);
        let _ = write!(out, "\x1b[{}{number}{}", if at < ANSI { "" } else { "?" }, if on { 'h' } else { 'l' });
    }
}

/// A question that a program asks its terminal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Query {
    Attributes,
    SecondaryAttributes,
    Status,
    /// The cursor's position, asked for by a private sequence or not.
    Position(bool),
    Mode {
        number: u16,
        private: bool,
    },
    Size,
    Color(usize),
    /// A capability, or a setting's sequence, which is answered as unknown: the prefix of the answer.
    Unknown(&'static str),
}

/// Calls `each` with what a token does; nothing for what no screen keeps.
pub(super) fn read(token: ScreenToken<'_>, each: &mut impl FnMut(Function<'_>)) {
    let is_c1 = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    match token {
        ScreenToken::Text(text) if text.is_ascii() || !text.contains(is_c1) => each(Function::Text(text)),
        ScreenToken::Text(text) => text.split(is_c1).filter(|part| !part.is_empty()).for_each(|part| each(Function::Text(part))),
        ScreenToken::Control(byte) => control(byte, each),
        ScreenToken::Escape(intermediate, last) => escape(intermediate, last, each),
        ScreenToken::Csi(csi, last) => sequence(csi, last, each),
        ScreenToken::Osc(data) => {
            let Ok(text) = str::from_utf8(data) else { return };
            command(text, each);
        }
        ScreenToken::Dcs(csi, last) => match (csi.prefix, csi.intermediate, last) {
            (0, b'+', b'q') => each(Function::Query(Query::Unknown("0+r"))),
            (0, b'$', b'q') => each(Function::Query(Query::Unknown("0$r"))),
            _ => {}
        },
    }
}

fn control(byte: u8, each: &mut impl FnMut(Function<'_>)) {
    each(match byte {
        0x07 => Function::Bell,
        0x08 => Function::Backspace,
        b'\t' => Function::Tab,
        b'\n' | 0x0b | 0x0c => Function::LineFeed,
        b'\r' => Function::Return,
        0x0e => Function::Shift(CharsetIndex::G1),
        0x0f => Function::Shift(CharsetIndex::G0),
        _ => return,
    });
}

fn escape(intermediate: u8, last: u8, each: &mut impl FnMut(Function<'_>)) {
    each(match (intermediate, last) {
        (0, b'7') => Function::SaveCursor,
        (0, b'8') => Function::RestoreCursor,
        (0, b'=') => Function::Mode(ScreenMode::Keypad, true),
        (0, b'>') => Function::Mode(ScreenMode::Keypad, false),
        (0, b'D') => Function::Index,
        (0, b'E') => Function::NextLine,
        (0, b'H') => Function::SetTab,
        (0, b'M') => Function::ReverseIndex,
        (0, b'Z') => Function::Query(Query::Attributes),
        (0, b'c') => Function::Reset,
        (0, b'n') => Function::Shift(CharsetIndex::G2),
        (0, b'o') => Function::Shift(CharsetIndex::G3),
        (b'#', b'8') => Function::Align,
        // National sets are taken for ASCII.
        (b'(', _) => Function::Charset(CharsetIndex::G0, last == b'0'),
        (b')', _) => Function::Charset(CharsetIndex::G1, last == b'0'),
        (b'*', _) => Function::Charset(CharsetIndex::G2, last == b'0'),
        (b'+', _) => Function::Charset(CharsetIndex::G3, last == b'0'),
        _ => return,
    });
}

fn sequence(csi: &Csi, last: u8, each: &mut impl FnMut(Function<'_>)) {
    let (count, first) = (csi.or(0, 1), csi.or(0, 0));
    match (csi.prefix, csi.intermediate, last) {
        (0, 0, b'm') => {
            let mut attributes = [Attribute::Reset; 32];
            let mut length = 0;
            attributes::read(csi, |attribute| {
                if let Some(slot) = attributes.get_mut(length) {
                    *slot = attribute;
                    length += 1;
                }
            });
            each(Function::Style(attributes.get(..length).unwrap_or_default()));
        }
        (0 | b'?', 0, b'h' | b'l') => {
            let private = csi.prefix == b'?';
            for number in csi.groups().filter_map(|group| group.first()) {
                if let Some(mode) = ScreenMode::from_number(*number, private) {
                    each(Function::Mode(mode, last == b'h'));
                }
            }
        }
        (0 | b'?', 0, b'J') if first <= 3 => each(Function::EraseDisplay(first)),
        (0 | b'?', 0, b'K') if first <= 2 => each(Function::EraseLine(first)),
        (0 | b'?', b'$', b'p') => each(Function::Query(Query::Mode { number: first, private: csi.prefix == b'?' })),
        (0 | b'?', 0, b'n') if first == 6 => each(Function::Query(Query::Position(csi.prefix == b'?'))),
        (0, 0, b'n') if first == 5 => each(Function::Query(Query::Status)),
        (0, 0, b'c') if first == 0 => each(Function::Query(Query::Attributes)),
        (b'>', 0, b'c') if first == 0 => each(Function::Query(Query::SecondaryAttributes)),
        (0, 0, b't') if first == 18 => each(Function::Query(Query::Size)),
        (0, b'!', b'p') => each(Function::SoftReset),
        (0, b' ', b'q') if first <= 6 => each(Function::CursorStyle(first)),
        (0, 0, b'r') => each(Function::Region(count, csi.or(1, 0))),
        (0, 0, b's') => each(Function::SaveCursor),
        (0, 0, b'u') => each(Function::RestoreCursor),
        (0, 0, b'b') => each(Function::Repeat(count.min(REPEAT_MAX))),
        (0, 0, b'g') if first == 0 => each(Function::ClearTab),
        (0, 0, b'g') if first == 3 => each(Function::ClearTabs),
        (0, 0, b'H' | b'f') => each(Function::Move(Move::To(count), csi.or(1, 1))),
        (0, 0, _) => {
            if let Some(movement) = movement(last) {
                each(Function::Move(movement, count));
            } else if let Some(edit) = edit(last) {
                each(Function::Edit(edit, count));
            }
        }
        _ => {}
    }
}

fn movement(last: u8) -> Option<Move> {
    Some(match last {
        b'A' => Move::Up,
        b'B' | b'e' => Move::Down,
        b'C' | b'a' => Move::Forward,
        b'D' => Move::Backward,
        b'E' => Move::NextLine,
        b'F' => Move::PreviousLine,
        b'G' | b'`' => Move::Column,
        b'd' => Move::Row,
        b'I' => Move::TabForward,
        b'Z' => Move::TabBackward,
        _ => return None,
    })
}

fn edit(last: u8) -> Option<Edit> {
    Some(match last {
        b'@' => Edit::InsertCharacters,
        b'P' => Edit::DeleteCharacters,
        b'X' => Edit::EraseCharacters,
        b'L' => Edit::InsertLines,
        b'M' => Edit::DeleteLines,
        b'S' => Edit::ScrollUp,
        b'T' => Edit::ScrollDown,
        _ => return None,
    })
}

/// Reads an operating system command.
fn command(text: &str, each: &mut impl FnMut(Function<'_>)) {
    let (number, rest) = text.split_once(';').unwrap_or((text, ""));
    match number {
        "0" | "2" => {
            let title: String = rest.chars().filter(|c| !c.is_control()).take(TITLE_MAX).collect();
            each(Function::Title(&title));
        }
        "4" => {
            let mut parts = rest.split(';');
            while let (Some(index), Some(color)) = (parts.next(), parts.next()) {
                if let Ok(index) = index.parse::<u8>() {
                    set_color(index.into(), color, each);
                }
            }
        }
        "10" | "11" | "12" => {
            let first = number.parse().unwrap_or(10);
            for (index, color) in (first..=12).zip(rest.split(';')) {
                set_color(DYNAMIC + index - 10, color, each);
            }
        }
        "104" if rest.is_empty() => each(Function::ResetColor(None)),
        "104" => {
            let indexes = rest.split(';').filter_map(|index| index.parse::<u8>().ok());
            indexes.for_each(|index| each(Function::ResetColor(Some(index.into()))));
        }
        "110" | "111" | "112" => each(Function::ResetColor(number.parse().ok().map(|number: usize| DYNAMIC + number - 110))),
        "8" => each(Function::Link(link(rest))),
        _ => {}
    }
}

/// The index of the foreground color; those of the background and of the cursor follow.
pub(super) const DYNAMIC: usize = 256;

fn set_color(index: usize, color: &str, each: &mut impl FnMut(Function<'_>)) {
    if color == "?" {
        each(Function::Query(Query::Color(index)));
    } else if let Some(color) = color_of(color) {
        each(Function::Color(index, color));
    }
}

/// Reads `rgb:R/G/B` or `#RGB`, each with one to four digits.
fn color_of(text: &str) -> Option<Rgb> {
    let part = |digits: &str| {
        let most = 16u32.checked_pow(u32::try_from(digits.len()).ok().filter(|length| (1..=4).contains(length))?)? - 1;
        let value = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())??;
        u8::try_from(value * 255 / most).ok()
    };
    let mut parts: [&str; 3] = [""; 3];
    if let Some(digits) = text.strip_prefix('#') {
        let length = digits.len() / 3;
        for (at, slot) in parts.iter_mut().enumerate() {
            *slot = digits.get(at * length..(at + 1) * length).filter(|_| digits.len() == 3 * length)?;
        }
    } else {
        let mut given = text.strip_prefix("rgb:")?.splitn(3, '/');
        parts = [given.next()?, given.next()?, given.next()?];
    }
    let [red, green, blue] = parts;
    Some(Rgb { r: part(red)?, g: part(green)?, b: part(blue)? })
}

/// Reads a link; one that leads elsewhere than to a page or a mailbox is none.
fn link(text: &str) -> Option<(&str, &str)> {
    let (parameters, uri) = text.split_once(';')?;
    let known = SCHEMES.iter().any(|scheme| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let id = parameters.split(':').find_map(|parameter| parameter.strip_prefix("id=")).unwrap_or_default();
    let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    (known && graphic(uri)).then_some((if graphic(id) { id } else { "" }, uri))
}
