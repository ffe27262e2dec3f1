//! What a terminal sends that no person typed.

use proptest::prelude::*;

use super::*;

/// Answers of terminals: xterm's ctlseqs, kitty's protocols, DEC's manuals.
#[rustfmt::skip]
pub(super) const ANSWERS: &[&[u8]] = &[
    // DA1 of xterm, the Linux console and VTE; DA2; DA3.
    b"\x1b[?1;2c", b"\x1b[?6c", b"\x1b[?64;1;2;6;9;15;18;21;22c", b"\x1b[?65;1;9c", b"\x1b[>0;276;0c", b"\x1b[>41;388;0c",
    b"\x1bP!|00000000\x1b\\", b"\x1bP!|7E565445\x1b\\",
    // DSR: terminal, printer, keyboard, locator, macro space, checksum.
    b"\x1b[0n", b"\x1b[3n", b"\x1b[?10n", b"\x1b[?27;1;0;0n", b"\x1b[?53n", b"\x1b[?62n", b"\x1bP1!~0000\x1b\\",
    // CPR and DECXCPR.
    b"\x1b[1;1R", b"\x1b[24;80R", b"\x1b[1;17R", b"\x1b[1;80R", b"\x1b[2;2R", b"\x1b[?1;5R", b"\x1b[?24;80;1R",
    // DECRPM, of DEC's modes and of ANSI's.
    b"\x1b[?2004;2$y", b"\x1b[?2026;0$y", b"\x1b[4;1$y",
    // DECREPTPARM, locators.
    b"\x1b[2;1;1;128;128;1;0x", b"\x1b[3;1;1;120;120;1;0x", b"\x1b[1;2;3;4;5&w", b"\x1b[0&w",
    // OSC: colours, clipboard, font, cell size, titles, in each form of end.
    b"\x1b]4;1;rgb:cdcd/0000/0000\x1b\\", b"\x1b]10;rgb:ffff/ffff/ffff\x07", b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    b"\x1b]12;rgb:0000/0000/0000\x07", b"\x1b]52;c;cm0gLXJmIC8K\x1b\\", b"\x1b]52;c;\x07", b"\x1b]50;fixed\x07",
    b"\x1b]21;foreground=rgb:ff/ff/ff\x1b\\", b"\x1b]1337;ReportCellSize=17.50;8.00;2.0\x1b\\",
    b"\x1b]lgr\xc3\x9c\xc3\x9fe\x1b\\", b"\x1b]Licon\x1b\\", b"\x1b]l\x1b\\",
    b"\xc2\x9d11;rgb:0/0/0\xc2\x9c", b"\x9d11;rgb:0/0/0\x9c",
    // DCS: DECRPSS, XTGETTCAP, XTVERSION, DECRQPSR.
    b"\x1bP1$r0m\x1b\\", b"\x1bP0$r\x1b\\", b"\x1bP1$r2 q\x1b\\", b"\x1bP1+r544e=787465726d\x1b\\", b"\x1bP0+r\x1b\\",
    b"\x1bP>|XTerm(388)\x1b\\", b"\x1bP>|kitty(0.36.4)\x1b\\", b"\x1bP1$u1;1;1;@;@;@;0;2;@;BB%5BB\x1b\\", b"\x1bP2$u9/17/25\x1b\\",
    b"\xc2\x90>|XTerm(388)\xc2\x9c",
    // APC: kitty's graphics.
    b"\x1b_Gi=31;OK\x1b\\",
    // Window reports, the size that mode 2048 sends among them.
    b"\x1b[1t", b"\x1b[3;0;0t", b"\x1b[4;600;800t", b"\x1b[6;17;8t", b"\x1b[8;24;80t", b"\x1b[9;50;200t", b"\x1b[48;24;80;600;800t",
    // kitty's keyboard, xterm's keys, colour schemes, graphics.
    b"\x1b[?0u", b"\x1b[?31u", b"\x1b[>4;2m", b"\x1b[?997;1n", b"\x1b[?997;2n", b"\x1b[?2;0;800;600S",
    b"\xc2\x9b?1;2c", b"\x9b?1;2c", b"\xc2\x9b24;80R",
    // What has the form of a mouse report and is none; marks of pastes that end none, or that no terminal sends.
    b"\x1b[<0;0;0M", b"\x1b[<1;2M", b"\x1b[M   ", b"\x1b[201~", b"\x1b[0200~", b"\x1b[0201~", b"\x1b[201;1~", b"\x1b[200;1~",
    // Focus.
    b"\x1b[I", b"\x1b[O",
];

/// Returns the length of an answer's introducer.
fn introducer(answer: &[u8]) -> usize {
    match answer {
        [0xc2 | ESC, ..] => 2,
        _ => 1,
    }
}

#[test]
fn no_answer_passes_however_it_is_cut() {
    for answer in ANSWERS {
        for at in 0..answer.len() {
            let (one, two) = answer.split_at(at);
            let seen = in_pieces([&b"a"[..], one, two, b"b"]);
            assert_eq!(seen, [Unit::Keys(b"ab".to_vec())], "{} at {at}", answer.escape_ascii());
        }
        assert_eq!(in_pieces(answer.chunks(1)), [], "{}", answer.escape_ascii());
    }
}

#[test]
fn a_pause_inside_an_answer_lets_no_more_pass_than_its_introducer() {
    for answer in ANSWERS {
        for at in 1..answer.len() {
            for pauses in [1, PATIENCE - 1] {
                let mut keyboard = ShareKeyboard::new();
                let (one, two) = answer.split_at(at);
                keyboard.push(one);
                let mut seen = units(&mut keyboard);
                (0..pauses).for_each(|_| keyboard.flush());
                seen.extend(units(&mut keyboard));
                keyboard.push(two);
                seen.extend(units(&mut keyboard));
                let expected = match at {
                    // Alt+[ and a letter, as far as can be told.
                    _ if at + 1 == answer.len() && matches!(*answer, b"\x1b[I" | b"\x1b[O") => answer,
                    _ if at <= introducer(answer) => one,
                    _ => b"",
                };
                assert_eq!(typed(seen), expected, "{} at {at}", answer.escape_ascii());
                keyboard.push(b"x");
                assert_eq!(units(&mut keyboard), [Unit::Keys(b"x".to_vec())]);
            }
        }
    }
}

#[test]
fn after_escape_an_answer_is_dropped_and_the_key_is_not() {
    for answer in ANSWERS {
        let seen = in_pieces([&[&b"\x1b"[..], answer, b"q"].concat()[..]]);
        assert_eq!(typed(seen), b"\x1bq", "{}", answer.escape_ascii());
    }
}

#[test]
fn focus_reports_of_the_local_terminal_pass() {
    let mut keyboard = ShareKeyboard::local();
    keyboard.push(b"\x1b[I\x1b[O\x1b[0n\x1b[?1;2c");
    let all: Vec<Unit> = keyboard.collect();
    assert_eq!(all, [Unit::Keys(b"\x1b[I".to_vec()), Unit::Keys(b"\x1b[O".to_vec())]);
}

#[test]
fn answers_longer_than_is_kept_are_dropped_and_their_end_is_found() {
    for (begin, end) in [
        (&b"\x1b]52;c;"[..], &b"\x07"[..]),
        (b"\x1b]52;c;", b"\x1b\\"),
        (b"\xc2\x9d52;c;", b"\xc2\x9c"),
        (b"\x9d52;c;", b"\x9c"),
        (b"\x1b_Gi=1;", b"\x1b\\"),
        (b"\x1bP1+r", b"\x1b\\"),
    ] {
        for length in (240..270).chain([100_000]) {
            let answer = [begin, &vec![b'a'; length], end, b"x"].concat();
            for size in [1, 7, answer.len()] {
                assert_eq!(in_pieces(answer.chunks(size)), [Unit::Keys(b"x".to_vec())]);
            }
        }
    }
    let long = [&b"\x1b["[..], &[b'1'; 1000], b"Rx"].concat();
    assert_eq!(typed(in_pieces(long.chunks(1))), b"x");
    assert_eq!(typed(in_pieces([&b"\x1b]0;title\rx"[..]])), b"\rx", "a key breaks off what never ends");
}

#[test]
fn an_answer_that_never_ends_holds_the_keyboard_for_a_second() {
    for begun in [b"\x1b]52;c;".to_vec(), [&b"\x1b]52;c;"[..], &[b'a'; 500]].concat(), b"\x1b[12;".to_vec(), b"\x1b[M".to_vec()] {
        let mut keyboard = ShareKeyboard::new();
        keyboard.push(&begun);
        for _ in 0..PATIENCE {
            assert_eq!((units(&mut keyboard), keyboard.waits()), (vec![], true));
            keyboard.flush();
        }
        assert!(!keyboard.waits());
        keyboard.push(b"x");
        assert_eq!(units(&mut keyboard), [Unit::Keys(b"x".to_vec())]);
    }
}

proptest! {
    #[test]
    fn answers_among_keys_vanish(
        pieces in prop::collection::vec((prop::sample::select(keys::KEYS), prop::option::of(prop::sample::select(ANSWERS))), 1..12),
        size in 1..9_usize,
    ) {
        let mixed: Vec<u8> = pieces.iter().flat_map(|(key, answer)| [*key, answer.unwrap_or_default()].concat()).collect();
        let keys: Vec<u8> = pieces.iter().flat_map(|(key, _)| key.to_vec()).collect();
        prop_assert_eq!(typed(in_pieces(mixed.chunks(size))), keys);
    }
}
