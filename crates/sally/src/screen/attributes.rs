//! How text looks: what a cell keeps of it, and the sequences that set it.
//!
//! The emulator has no bits for blinking text, nor for a blank that was written rather than erased. Its five kinds of underline have a bit
//! each: here three of them are a number, and two are free.

use std::fmt::Write as _;

use alacritty_terminal::grid::{Dimensions as _, Grid};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::vte::ansi::{Color, NamedColor};

use super::parser::Csi;

/// A cell that was written. One that was erased has only a background.
pub(super) const WRITTEN: Flags = Flags::DASHED_UNDERLINE;
const BLINK: Flags = Flags::DOTTED_UNDERLINE;
/// The bits of the number of an underline, from the lowest.
const UNDERLINES: [Flags; 3] = [Flags::UNDERLINE, Flags::DOUBLE_UNDERLINE, Flags::UNDERCURL];

/// The flags that show.
pub(super) const SHOWN: Flags = Flags::BOLD
    .union(Flags::DIM)
    .union(Flags::ITALIC)
    .union(BLINK)
    .union(Flags::INVERSE)
    .union(Flags::HIDDEN)
    .union(Flags::STRIKEOUT)
    .union(Flags::UNDERLINE)
    .union(Flags::DOUBLE_UNDERLINE)
    .union(Flags::UNDERCURL);

/// The attributes with the numbers that set and end them.
const SIMPLE: [(Flags, u16, u16); 7] = [
    (Flags::BOLD, 1, 22),
    (Flags::DIM, 2, 22),
    (Flags::ITALIC, 3, 23),
    (BLINK, 5, 25),
    (Flags::INVERSE, 7, 27),
    (Flags::HIDDEN, 8, 28),
    (Flags::STRIKEOUT, 9, 29),
];

/// A change of the pen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Attribute {
    Reset,
    On(Flags),
    Off(Flags),
    /// 0 for none, 1 to 5 as in `CSI 4:1m` to `CSI 4:5m`.
    Underline(u16),
    Foreground(Color),
    Background(Color),
    UnderlineColor(Option<Color>),
}

/// The default colors.
pub(super) const FOREGROUND: Color = Color::Named(NamedColor::Foreground);
pub(super) const BACKGROUND: Color = Color::Named(NamedColor::Background);

/// Calls `each` with what an SGR sequence changes.
pub(super) fn read(csi: &Csi, mut each: impl FnMut(Attribute)) {
    let mut groups = csi.groups();
    while let Some(group) = groups.next() {
        let Some((&number, colons)) = group.split_first() else { continue };
        let color = |first: u16| NAMED.get(usize::from(number - first)).map(|color| Color::Named(*color));
        let attribute = match number {
            0 => Some(Attribute::Reset),
            4 => Some(Attribute::Underline(colons.first().copied().filter(|kind| *kind <= 5).unwrap_or(1))),
            21 => Some(Attribute::Underline(2)),
            24 => Some(Attribute::Underline(0)),
            30..=37 => color(30).map(Attribute::Foreground),
            40..=47 => color(40).map(Attribute::Background),
            90..=97 => color(82).map(Attribute::Foreground),
            100..=107 => color(92).map(Attribute::Background),
            39 => Some(Attribute::Foreground(FOREGROUND)),
            49 => Some(Attribute::Background(BACKGROUND)),
            59 => Some(Attribute::UnderlineColor(None)),
            38 | 48 | 58 => {
                let color = if colons.is_empty() { separate(&mut groups) } else { joined(colons) };
                color.map(|color| match number {
                    38 => Attribute::Foreground(color),
                    48 => Attribute::Background(color),
                    _ => Attribute::UnderlineColor(Some(color)),
                })
            }
            _ => simple(number),
        };
        if let Some(attribute) = attribute {
            each(attribute);
        }
    }
}

fn simple(number: u16) -> Option<Attribute> {
    let all = |end: u16| SIMPLE.iter().filter(|(_, _, off)| *off == end).fold(Flags::empty(), |all, (flag, ..)| all | *flag);
    match SIMPLE.iter().find(|(_, on, _)| *on == number) {
        Some((flag, ..)) => Some(Attribute::On(*flag)),
        None => Some(Attribute::Off(all(number))).filter(|off| *off != Attribute::Off(Flags::empty())),
    }
}

/// Reads `5;N` or `2;R;G;B`.
fn separate<'a>(groups: &mut impl Iterator<Item = &'a [u16]>) -> Option<Color> {
    let mut next = || groups.next()?.first().copied();
    match next()? {
        5 => indexed(next()?),
        2 => {
            let (red, green, blue) = (next()?, next()?, next()?);
            spec(red, green, blue)
        }
        _ => None,
    }
}

/// Reads `5:N`, `2:R:G:B`, or `2:SPACE:R:G:B`.
fn joined(numbers: &[u16]) -> Option<Color> {
    match *numbers {
        [5, number, ..] => indexed(number),
        [2, red, green, blue] | [2, _, red, green, blue, ..] => spec(red, green, blue),
        _ => None,
    }
}

fn indexed(number: u16) -> Option<Color> {
    u8::try_from(number).ok().map(Color::Indexed)
}

fn spec(red: u16, green: u16, blue: u16) -> Option<Color> {
    let (red, green, blue) = (u8::try_from(red).ok()?, u8::try_from(green).ok()?, u8::try_from(blue).ok()?);
    Some(Color::Spec(alacritty_terminal::vte::ansi::Rgb { r: red, g: green, b: blue }))
}

pub(super) const NAMED: [NamedColor; 16] = [
    NamedColor::Black,
    NamedColor::Red,
    NamedColor::Green,
    NamedColor::Yellow,
    NamedColor::Blue,
    NamedColor::Magenta,
    NamedColor::Cyan,
    NamedColor::White,
    NamedColor::BrightBlack,
    NamedColor::BrightRed,
    NamedColor::BrightGreen,
    NamedColor::BrightYellow,
    NamedColor::BrightBlue,
    NamedColor::BrightMagenta,
    NamedColor::BrightCyan,
    NamedColor::BrightWhite,
];

impl Attribute {
    /// Changes a pen.
    pub(super) fn apply(self, pen: &mut Cell) {
        match self {
            Self::Reset => {
                let link = pen.hyperlink();
                *pen = Cell { flags: WRITTEN, ..Cell::default() };
                pen.set_hyperlink(link);
            }
            Self::On(flags) => pen.flags |= flags,
            Self::Off(flags) => pen.flags &= !flags,
            Self::Underline(kind) => {
                for (bit, flag) in UNDERLINES.into_iter().enumerate() {
                    pen.flags.set(flag, kind & (1 << bit) != 0);
                }
            }
            Self::Foreground(color) => pen.fg = color,
            Self::Background(color) => pen.bg = color,
            Self::UnderlineColor(color) => pen.set_underline_color(color),
        }
    }

    /// Appends the number that makes this change.
    pub(super) fn write(self, out: &mut String) {
        let number = |flags: Flags, on: bool| {
            let found = SIMPLE.iter().find(|(flag, ..)| flags.intersects(*flag));
            found.map_or(0, |(_, set, end)| if on { *set } else { *end })
        };
        match self {
            Self::Reset => out.push('0'),
            Self::On(flags) => write_numbers(out, &[number(flags, true)], ';'),
            Self::Off(flags) => write_numbers(out, &[number(flags, false)], ';'),
            Self::Underline(0) => out.push_str("24"),
            Self::Underline(1) => out.push('4'),
            Self::Underline(kind) => write_numbers(out, &[4, kind], ':'),
            Self::Foreground(color) => write_color(out, color, 30),
            Self::Background(color) => write_color(out, color, 40),
            Self::UnderlineColor(None) => out.push_str("59"),
            Self::UnderlineColor(Some(Color::Indexed(index))) => write_numbers(out, &[58, 5, index.into()], ':'),
            Self::UnderlineColor(Some(Color::Spec(color))) => {
                out.push_str("58:2::");
                write_numbers(out, &[color.r.into(), color.g.into(), color.b.into()], ':');
            }
            // No sequence sets one.
            Self::UnderlineColor(Some(Color::Named(_))) => out.push_str("59"),
        }
    }
}

/// Appends numbers. Every color of every cell passes here: `format!` takes three times as long.
pub(super) fn write_numbers(out: &mut String, numbers: &[u16], between: char) {
    for (at, number) in numbers.iter().enumerate() {
        if at > 0 {
            out.push(between);
        }
        let mut unit = 10_000;
        while unit > 1 && *number < unit {
            unit /= 10;
        }
        while unit > 0 {
            out.extend(char::from_digit((number / unit % 10).into(), 10));
            unit /= 10;
        }
    }
}

/// Appends the number of a color: the foreground from 30, the background from 40.
fn write_color(out: &mut String, color: Color, base: u16) {
    match color {
        Color::Named(named) => match u16::try_from(named as usize) {
            Ok(number @ 0..8) => write_numbers(out, &[base + number], ';'),
            Ok(number @ 8..16) => write_numbers(out, &[base + 52 + number], ';'),
            _ => write_numbers(out, &[base + 9], ';'),
        },
        Color::Indexed(index) => write_numbers(out, &[base + 8, 5, index.into()], ';'),
        Color::Spec(color) => write_numbers(out, &[base + 8, 2, color.r.into(), color.g.into(), color.b.into()], ';'),
    }
}

/// Returns which kind of underline these flags have.
fn underline(flags: Flags) -> u16 {
    UNDERLINES.into_iter().enumerate().filter(|(_, flag)| flags.contains(*flag)).map(|(bit, _)| 1 << bit).sum()
}

/// Returns the flags that show.
fn shown(cell: &Cell) -> Flags {
    cell.flags & SHOWN
}

/// Returns whether two cells look the same, whatever is in them.
pub(super) fn same_style(one: &Cell, other: &Cell) -> bool {
    if (one.fg, one.bg, shown(one)) != (other.fg, other.bg, shown(other)) {
        return false;
    }
    match (&one.extra, &other.extra) {
        (None, None) => true,
        _ => one.underline_color() == other.underline_color() && one.hyperlink() == other.hyperlink(),
    }
}

/// Sets the pen to the style of a cell, whatever it was; `before` is what it is known to be.
pub(super) fn write_style(out: &mut String, cell: &Cell, before: Option<&Cell>) {
    out.push_str("\x1b[0");
    let flags = shown(cell);
    let on = SIMPLE.iter().filter(|(flag, ..)| flags.contains(*flag)).map(|(flag, ..)| Attribute::On(*flag));
    let line = Some(Attribute::Underline(underline(flags))).filter(|line| *line != Attribute::Underline(0));
    let front = Some(Attribute::Foreground(cell.fg)).filter(|_| cell.fg != FOREGROUND);
    let back = Some(Attribute::Background(cell.bg)).filter(|_| cell.bg != BACKGROUND);
    let color = cell.underline_color().map(|color| Attribute::UnderlineColor(Some(color)));
    for attribute in on.chain(line).chain(front).chain(back).chain(color) {
        out.push(';');
        attribute.write(out);
    }
    out.push('m');
    let link = cell.hyperlink();
    if before.is_none_or(|before| before.hyperlink() != link) {
        write_link(out, link.as_ref().map(|link| (link.id(), link.uri())));
    }
}

/// Begins or ends a link.
pub(super) fn write_link(out: &mut String, link: Option<(&str, &str)>) {
    let _ = match link {
        None => write!(out, "\x1b]8;;\x1b\\"),
        Some(("", uri)) => write!(out, "\x1b]8;;{uri}\x1b\\"),
        Some((id, uri)) => write!(out, "\x1b]8;id={id};{uri}\x1b\\"),
    };
}

pub(super) fn link_bytes(grid: &Grid<Cell>) -> usize {
    let (mut bytes, mut last) = (0, None);
    for row in grid.topmost_line().0..=grid.bottommost_line().0 {
        for cell in &grid[Line(row)] {
            let link = cell.hyperlink();
            if link != last {
                bytes += link.as_ref().map_or(0, |link| link.id().len() + link.uri().len());
                last = link;
            }
        }
    }
    bytes
}
