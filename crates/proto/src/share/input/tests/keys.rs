//! The keys that terminals send.

use super::*;

/// Keys of xterm, rxvt and the Linux console (their terminfo), of xterm with modifyOtherKeys, and of kitty.
#[rustfmt::skip]
pub(super) const KEYS: &[&[u8]] = &[
    // Plain and control characters.
    b"a", b"\r", b"\t", b"\x7f", b"\x08", b"\x00", b"\x03", b"\x1c", "ä".as_bytes(), "€".as_bytes(), "😀".as_bytes(), "\u{85}".as_bytes(),
    // Cursor keys and those around them, in both modes, with modifiers.
    b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1bOA", b"\x1bOB", b"\x1bOC", b"\x1bOD", b"\x1b[1;2A", b"\x1b[1;5D", b"\x1b[1;16C",
    b"\x1b[H", b"\x1b[F", b"\x1bOH", b"\x1bOF", b"\x1b[1;3H", b"\x1b[1;7F", b"\x1b[E", b"\x1bOE", b"\x1b[G", b"\x1b[Z", b"\x1b\t",
    b"\x1b[1~", b"\x1b[2~", b"\x1b[3~", b"\x1b[4~", b"\x1b[5~", b"\x1b[6~", b"\x1b[7~", b"\x1b[8~", b"\x1b[3;5~", b"\x1b[2;2~", b"\x1b[6;7~",
    // F1 to F20 of xterm, the Linux console and rxvt.
    b"\x1bOP", b"\x1bOQ", b"\x1bOR", b"\x1bOS", b"\x1b[11~", b"\x1b[12~", b"\x1b[13~", b"\x1b[14~", b"\x1b[15~", b"\x1b[17~", b"\x1b[18~",
    b"\x1b[19~", b"\x1b[20~", b"\x1b[21~", b"\x1b[23~", b"\x1b[24~", b"\x1b[25~", b"\x1b[26~", b"\x1b[28~", b"\x1b[29~", b"\x1b[31~",
    b"\x1b[32~", b"\x1b[33~", b"\x1b[34~", b"\x1b[[A", b"\x1b[[B", b"\x1b[[C", b"\x1b[[D", b"\x1b[[E",
    b"\x1b[1;2P", b"\x1b[1;2Q", b"\x1b[1;2R", b"\x1b[1;5R", b"\x1b[1;9R", b"\x1b[1;10R", b"\x1b[1;16R", b"\x1b[1;4S", b"\x1b[15;2~",
    b"\x1b[24;6~", b"\x1b[P", b"\x1b[S", b"\x1bO2P", b"\x1bO1;5R",
    // The keypad.
    b"\x1bOM", b"\x1bOj", b"\x1bOk", b"\x1bOl", b"\x1bOm", b"\x1bOn", b"\x1bOo", b"\x1bOp", b"\x1bOt", b"\x1bOw", b"\x1bOy", b"\x1bOI",
    b"\x1bO ", b"\x1bOX",
    // rxvt: shift, control, both, and Alt.
    b"\x1b[a", b"\x1b[b", b"\x1b[c", b"\x1b[d", b"\x1bOa", b"\x1bOc", b"\x1b[7$", b"\x1b[3$", b"\x1b[23$", b"\x1b[7^", b"\x1b[7@",
    b"\x1b\x1b[A", b"\x1b\x1bOa", b"\x1b\x1b[3~",
    // Alt.
    b"\x1ba", b"\x1bZ", b"\x1b1", b"\x1b.", b"\x1b\\", b"\x1b^", b"\x1bX", b"\x1bN", b"\x1b\r", b"\x1b\x7f", b"\x1b\x01",
    "\x1bä".as_bytes(), "\x1b€".as_bytes(),
    // modifyOtherKeys and kitty.
    b"\x1b[27;5;9~", b"\x1b[27;6;65~", b"\x1b[97;5u", b"\x1b[13;2u", b"\x1b[57441;2u", b"\x1b[97;5:3u", b"\x1b[97:65;2:1;65u",
    b"\x1b[1;5:3A", b"\x1b[3;5:2~", b"\x1b[u",
    // With C1 control characters.
    b"\xc2\x9bA", b"\xc2\x8fP", b"\x9bA", b"\x9b1;2R", b"\x8fP",
];

/// Keys that another sequence begins with: they pass when nothing has followed for 50 ms.
#[rustfmt::skip]
const BEGINNINGS: &[&[u8]] =
    &[b"\x1b", b"\x1b\x1b", b"\x1b[", b"\x1bO", b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b[[", b"\x1bO5", b"\x9b", b"\xc3"];

#[test]
fn each_key_passes_unchanged_and_is_one_unit() {
    for key in KEYS {
        for at in 0..key.len() {
            let mut keyboard = ShareKeyboard::new();
            keyboard.push(&key[..at]);
            assert_eq!(keyboard.next(), None, "{} at {at}", key.escape_ascii());
            keyboard.push(&key[at..]);
            let all: Vec<Unit> = keyboard.by_ref().collect();
            assert_eq!(all, [Unit::Keys(key.to_vec())], "{} at {at}", key.escape_ascii());
            assert!(!keyboard.waits());
        }
    }
}

#[test]
fn every_modifier_of_every_key_passes() {
    let passes = |key: Vec<u8>| assert_eq!(in_pieces([&key[..]]), [Unit::Keys(key)]);
    for modifiers in 2..=16 {
        "ABCDEFHPQRS".chars().for_each(|last| passes(format!("\x1b[1;{modifiers}{last}").into_bytes()));
        (1..=34).for_each(|number| passes(format!("\x1b[{number};{modifiers}~").into_bytes()));
        (32..127).for_each(|letter| passes(format!("\x1b[{letter};{modifiers}u").into_bytes()));
    }
    (0..=127_u8).filter(|letter| !b"\x1b[O]P_".contains(letter)).for_each(|letter| passes(vec![ESC, letter]));
}

#[test]
fn a_beginning_becomes_a_key_after_a_pause() {
    for key in BEGINNINGS {
        let mut keyboard = ShareKeyboard::new();
        keyboard.push(key);
        assert_eq!((units(&mut keyboard), keyboard.waits()), (vec![], true), "{}", key.escape_ascii());
        keyboard.flush();
        assert!(!keyboard.waits());
        assert_eq!(units(&mut keyboard), [Unit::Keys(key.to_vec())]);
    }
}

/// What is typed slowly passes, and at once, whatever was typed before.
#[test]
fn keys_typed_with_pauses_pass_even_where_they_spell_an_answer() {
    for key in BEGINNINGS.iter().copied().chain([&b""[..]]) {
        for next in ["j", "]l", "[0, n]", "[?6c", "]1", "P1", "_G", "O", "[t", "[[", "[M a", "[200~", "1", "I"] {
            let mut keyboard = ShareKeyboard::new();
            keyboard.push(key);
            keyboard.flush();
            let mut seen = units(&mut keyboard);
            for byte in next.bytes() {
                keyboard.push(&[byte]);
                keyboard.flush();
                seen.extend(units(&mut keyboard));
            }
            assert_eq!(typed(seen), [key, next.as_bytes()].concat(), "{} {next}", key.escape_ascii());
        }
    }
}

#[test]
fn alt_and_a_letter_that_begins_answers_is_a_key_before_others() {
    for keys in [&b"\x1b]a"[..], b"\x1bPq", b"\x1b_a", b"\x1b[\r", b"\x1bO\r", "\x1b]ä".as_bytes(), "\x1b[ä".as_bytes()] {
        assert_eq!(in_pieces([keys]), [Unit::Keys(keys.to_vec())], "{}", keys.escape_ascii());
    }
}

#[test]
fn escape_four_times_is_four_times_escape() {
    let mut keyboard = ShareKeyboard::new();
    keyboard.push(b"\x1b\x1b\x1b\x1b");
    let mut seen = units(&mut keyboard);
    keyboard.flush();
    seen.extend(units(&mut keyboard));
    assert_eq!(typed(seen), b"\x1b\x1b\x1b\x1b");
}

#[test]
fn mouse_reports_of_each_form_are_the_same_unit() {
    let report = MouseReport { button: 0, column: 10, row: 5, release: false };
    for bytes in [&b"\x1b[<0;10;5M"[..], b"\x1b[M *%", b"\x1b[32;10;5M", b"\xc2\x9b<0;10;5M"] {
        assert_eq!(in_pieces([bytes]), [Unit::Mouse(report)]);
        assert_eq!(in_pieces(bytes.chunks(1)), [Unit::Mouse(report)]);
    }
    // A column beyond 95 is no UTF-8.
    assert_eq!(in_pieces([&b"\x1b[M \xf0%"[..]]), [Unit::Mouse(MouseReport { column: 208, ..report })]);
    assert_eq!(Unit::Mouse(report).into_bytes(), b"\x1b[<0;10;5M");
    let escape_and_click = in_pieces([&b"\x1b\x1b[<0;10;5m"[..]]);
    assert_eq!(escape_and_click, [Unit::Keys(vec![ESC]), Unit::Mouse(MouseReport { release: true, ..report })]);
}
