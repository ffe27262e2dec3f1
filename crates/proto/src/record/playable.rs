//! Finds lines around a record, in its file, that a player could show as part of it.
//!
//! Players differ: one takes a carriage return for the end of a line, one takes objects for events, one skips what doesn't begin with
//! `[`, one reads `NaN` or an array as a time. All of them need an array or an object with a string in it. So this looks for that, and
//! doesn't depend on any parser.

use super::read::RawLine;

/// Returns whether a player could take the line, or a part of it that some player takes for a line, for the header of a recording or for
/// an event.
///
/// Lines of other programs may look like it as far as `[INFO] started` does: an array that ends before a string begins shows nothing.
pub(super) fn could_be_played(raw: &RawLine<'_>) -> bool {
    // The rest of a line that is too long hasn't been read.
    raw.too_long || String::from_utf8_lossy(raw.content()).split(ends_a_line).any(begins_a_value)
}

/// Returns whether a character ends a line: in Python's files (`\r`) or streams (all of these).
const fn ends_a_line(character: char) -> bool {
    matches!(character, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns whether some reader skips a character at a line's beginning: white space, control characters, byte-order marks and other
/// characters without a shape, and bytes that are not UTF-8. Not the escape character: each coloured line begins with it and `[`.
fn is_blank(character: char) -> bool {
    let shapeless = matches!(character, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fffd}');
    character.is_whitespace() || shapeless || (character.is_control() && character != '\x1b')
}

/// Returns whether an array or object begins here and doesn't end before a string, or another one, begins in it. If it does end, the next
/// one may follow.
fn begins_a_value(text: &str) -> bool {
    let mut rest = text;
    while let Some(inside) = rest.trim_start_matches(is_blank).strip_prefix(['[', '{']) {
        match inside.split_once(['"', '[', '{', ']', '}']) {
            Some((before, after)) if inside.get(before.len()..).is_some_and(|found| found.starts_with([']', '}'])) => rest = after,
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn could_be(line: &[u8]) -> bool {
        could_be_played(&RawLine { number: 1, bytes: line, complete: true, too_long: false })
    }

    /// Each is taken by a player: asciinema 2.2, 2.4, 3.2, or asciinema-player 3.18; or by a reader of the kind.
    #[test]
    fn what_a_player_takes_is_known() {
        for line in [
            &b"[99.0,\"o\",\"x\"]"[..],
            b" \t[99.0, \"o\", \"x\"] ",
            b"[NaN,\"o\",\"x\"]",
            b"[-Infinity,\"o\",\"x\"]",
            b"[[99],\"o\",\"x\"]",
            b"[{},\"o\",\"x\"]",
            b"[99.0,\"o\",\"x\",1]",
            b"[99.0,\"o\",\"x\xe9\"]",
            b"{\"time\":99,\"code\":\"o\",\"data\":\"x\"}",
            b"{\"version\":2,\"width\":80,\"height\":24}",
            b"{\"\\u0076ersion\":2e0,\"width\":80,\"height\":24}",
            b"\xef\xbb\xbf{\"version\":2}",
            b"\xff\xfe{\0\"\0v\0",
            b"\xfe\xff\0{\0\"\0v",
            b"\0[99.0,\"o\",\"x\"]",
            b"\xc2\xa0\x0b[99.0,\"o\",\"x\"]",
            b"\"xyz\"\r[99.0,\"o\",\"x\"]",
            b"text\xe2\x80\xa8[99.0,\"o\",\"x\"]",
            b"text\xc2\x85{\"a\":1}",
            b"[1] [99.0,\"o\",\"x\"]",
            // The rest may stand in the next line.
            b"{",
            b"[99.0,",
        ] {
            assert!(could_be(line), "{}", String::from_utf8_lossy(line));
        }
        assert!(could_be_played(&RawLine { number: 1, bytes: b"xxx", complete: true, too_long: true }));
    }

    #[test]
    fn what_programs_print_is_not_taken_for_it() {
        for line in [
            &b""[..],
            b"\r",
            b"Killed",
            b"ssh-ed25519 AAAA",
            b"[INFO] connected to \"db\"",
            b"[2026-11-01 10:00:00,123] [main] GET \"/\"",
            b"\x1b[32mINFO\x1b[0m \"db\"",
            b"50%\r[####  ] \"x\"",
            b"2026-11-01 level=info {\"a\":[1]}",
            b"[1,2]",
            b"{}",
            b"\"[1,\\\"o\\\"]\"",
        ] {
            assert!(!could_be(line), "{}", String::from_utf8_lossy(line));
        }
    }
}
