//! Colors for terminals that have fewer of them.

use alacritty_terminal::term::cell::Cell;
use alacritty_terminal::vte::ansi::{Color, NamedColor, Rgb};

use super::attributes::{BACKGROUND, FOREGROUND, NAMED};
use super::query::standard;
use super::state::ScreenState;

/// How many colors a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// None: attributes only.
    Mono,
    /// The first eight.
    Eight,
    /// And their bright forms.
    Sixteen,
    /// xterm's palette.
    Indexed,
    /// Any.
    True,
}

impl ScreenState {
    /// Gives a cell the nearest colors that a terminal has. What the program made of its palette is resolved: viewers keep theirs.
    pub(super) fn adapt(&self, cell: &mut Cell, depth: Depth) {
        cell.fg = self.nearest(cell.fg, depth, FOREGROUND);
        cell.bg = self.nearest(cell.bg, depth, BACKGROUND);
        if let Some(color) = cell.underline_color() {
            let color = self.nearest(color, depth, FOREGROUND);
            cell.set_underline_color(Some(color).filter(|_| depth >= Depth::Indexed));
        }
    }

    fn nearest(&self, color: Color, depth: Depth, default: Color) -> Color {
        let index = match color {
            Color::Named(named) => Some(named as usize),
            Color::Indexed(index) => Some(index.into()),
            Color::Spec(_) => None,
        };
        let rgb = match (color, index.and_then(|index| self.colors.get(&index))) {
            _ if depth == Depth::Mono => return default,
            (Color::Spec(rgb), _) => rgb,
            (_, Some(rgb)) => *rgb,
            (Color::Named(NamedColor::Foreground | NamedColor::Background), None) => return default,
            (Color::Named(_), None) if depth >= Depth::Sixteen => return color,
            (Color::Indexed(_), None) if depth >= Depth::Indexed => return color,
            // Its first eight by their place, not their shade.
            (_, None) if index.is_some_and(|index| index < 16) => return named(index.unwrap_or(0), depth),
            (_, None) => standard(index.unwrap_or(0)),
        };
        match depth {
            Depth::True => Color::Spec(rgb),
            Depth::Indexed => Color::Indexed(u8::try_from(closest(rgb, 16..256)).unwrap_or(0)),
            Depth::Sixteen => named(closest(rgb, 0..16), depth),
            Depth::Eight | Depth::Mono => named(closest(rgb, 0..8), depth),
        }
    }
}

fn named(index: usize, depth: Depth) -> Color {
    let index = if depth == Depth::Eight { index % 8 } else { index };
    Color::Named(NAMED.get(index).copied().unwrap_or(NamedColor::White))
}

/// Returns which of xterm's colors is the closest.
fn closest(rgb: Rgb, among: std::ops::Range<usize>) -> usize {
    let distance = |index: usize| {
        let other = standard(index);
        let parts = [(rgb.r, other.r), (rgb.g, other.g), (rgb.b, other.b)];
        parts.iter().map(|(one, other)| u32::from(one.abs_diff(*other)).pow(2)).sum::<u32>()
    };
    among.min_by_key(|index| distance(*index)).unwrap_or(0)
}
