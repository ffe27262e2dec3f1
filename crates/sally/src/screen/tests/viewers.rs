//! Tests what viewers get: the output that passes.

use super::*;

/// Returns what of an output passes, whole or cut at a byte.
fn filtered(output: &[u8], cut: usize) -> Vec<u8> {
    let (mut filter, mut out) = (Filter::new(Permits::ALL), Vec::new());
    let (one, other) = output.split_at(cut.min(output.len()));
    filter.pass(one, &mut out);
    filter.pass(other, &mut out);
    out
}

#[test]
fn what_a_viewer_may_not_get_does_not_pass() {
    for (output, passes) in [
        ("\x1b]52;c;ZXZpbA==\x07a", "a"),
        ("\x1b]52;c;?\x1b\\a", "\x1b\\a"),
        ("\x1b[c\x1b[>c\x1b[=c\x1bZ\x1b[5n\x1b[6n\x1b[?6n\x1b[?1$p\x1b[4$p\x1b[>q\x1b[>0q\x1b[x\x05\x1b[?u\x1b[?4m", ""),
        ("\x1b]4;1;?\x07\x1b]10;?\x07\x1b]11;?\x07\x1b]12;?;?\x07", ""),
        ("\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1b_Ga=q;x\x1b\\\x1bPq#0~\x1b\\", ""),
        ("\x1b[8;1;1t\x1b[21t\x1b[18t\x1b[14t\x1b[22;0t\x1b[5i\x1b[?5i\x1b[4i", ""),
        ("\x1b]1337;File=:AAAA\x07\x1b]9;hello\x07\x1b]777;notify;a;b\x07\x1b]133;A\x07\x1b]7;file:///\x07", ""),
        ("\x1b[>4;2m\x1b[>1u\x1b[=1u\x1b[?2027h\x1b[?2031h\x1b[?2048h\x1b[?69h\x1b[?3h\x1b[?1005h\x1b[?9001h", ""),
        ("\x1b]8;;javascript:x\x07a\x1b]8;;http://b/\x07b\x1b]8;;\x07", "\x1b]8;;\x1b\\a\x1b]8;;http://b/\x1b\\b\x1b]8;;\x1b\\"),
        ("\u{9b}6n\u{90}x\u{9c}", "6nx"),
        ("\x1bc", &[dump::CLEAR, dump::RESET_COLORS].concat()),
        ("a\x1b[3b", "aaaa"),
        ("\x07\x07", ""),
        ("\x1b[?1002;1006h", "\x1b[?1006h\x1b[?1002h"),
        ("\x1b[1;21;6;38;5;300;53m", "\x1b[1;4:2m"),
        ("\x1b[?1h\x1b[;5H\x1b[0J", "\x1b[?1h\x1b[1;5H\x1b[0J"),
    ] {
        let out = String::from_utf8(filtered(output.as_bytes(), 0)).unwrap();
        assert_eq!(out.replace("\x1b\\", ""), passes.replace("\x1b\\", ""), "{output:?}");
    }
    let long = format!("\x1b]0;{}\x07a", "x".repeat(5000));
    assert_eq!(filtered(long.as_bytes(), 0), b"a");
    let (mut filter, mut out) = (Filter::new(Permits::default()), Vec::new());
    filter.pass(b"\x1b]0;title\x07\x1b[?1000h\x1b[?1004h\x07", &mut out);
    assert_eq!(out, b"");
    filter.allow_bell();
    filter.pass(b"\x07\x07", &mut out);
    assert_eq!(out, b"\x07");
}

#[test]
fn the_screen_alone_answers_a_program() {
    let mut screen =
        screen_of(20, 6, "\x1b[2;3H\x1b[c\x1b[6n\x1b[5n\x1b[?7$p\x1b[?2027$p\x1b[18t\x1b]11;?\x07\x1bP+q544e\x1b\\\x1b[?u\x1b]52;c;?\x07");
    let replies = "\x1b[?1;2c\x1b[2;3R\x1b[0n\x1b[?7;1$y\x1b[?2027;0$y\x1b[8;6;20t\x1b]11;rgb:0000/0000/0000\x1b\\\x1bP0+r\x1b\\";
    assert_eq!(String::from_utf8(screen.take_replies()).unwrap(), replies);
    assert_eq!(screen.take_replies(), b"");
    screen.feed("\x1b[c".repeat(10_000).as_bytes());
    assert!(screen.take_replies().len() <= 4096);
}

#[test]
fn characters_are_whole_however_they_are_cut() {
    let mut screen = screen_of(20, 2, "");
    for byte in "\u{6f22}e\u{301}\u{1f600}".bytes() {
        screen.feed(&[byte]);
    }
    assert_eq!(screen.state.at(), (0, 5));
    screen.feed(b"\xe6\xbc");
    assert!(!screen.at_rest());
    screen.flush_incomplete();
    assert!(screen.at_rest());
    assert_eq!(screen.state.at(), (0, 6));
    screen.feed(b"\xc0\x80\xe6\x1b[m\xffx");
    assert_eq!(screen.state.at(), (0, 11));
    screen.feed(b"\x1b[?2026h");
    assert!(!screen.at_rest());
    screen.feed(b"\x1b[?2026l");
    assert!(screen.at_rest());
}

/// Sequences that make a terminal answer, or do what no viewer's terminal should.
fn asks(output: &[u8]) -> bool {
    let mut asked = false;
    let mut parser = Parser::default();
    parser.feed(output, &mut |token| match &token {
        parser::Token::Csi(csi, last) => {
            asked |= matches!(*last, b'c' | b'n' | b't' | b'i' | b'x' | b'u') || csi.prefix == b'>' || csi.intermediate == b'$';
        }
        parser::Token::Osc(data) => {
            asked |= data.starts_with(b"52") || data.ends_with(b"?") && !data.starts_with(b"8;") && !data.starts_with(b"2;");
        }
        parser::Token::Dcs(..) => asked = true,
        parser::Token::Control(5) | parser::Token::Escape(0, b'Z' | b'c') => asked = true,
        _ => {}
    });
    asked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn output_passes_the_same_however_it_is_cut(
        pieces in prop::collection::vec(any_output(), 0..30),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut output = pieces.concat().into_bytes();
        output.extend(noise);
        output.extend(FINISHED.bytes());
        let whole = filtered(&output, 0);
        prop_assert!(!asks(&whole), "{:?}", String::from_utf8_lossy(&whole));
        for cut in cuts {
            prop_assert_eq!(&filtered(&output, cut.index(output.len() + 1)), &whole);
        }
        // A hard reset is a soft one for viewers: tab stops and the title stay.
        prop_assume!(!output.windows(2).any(|pair| pair == b"\x1bc"));
        let mut screens = [&output, &whole].map(|bytes| {
            let mut screen = screen_of(20, 6, "");
            screen.feed(bytes);
            screen
        });
        let _ = screens[0].take_replies();
        prop_assert_eq!(dump(&screens[0]), dump(&screens[1]));
        prop_assert_eq!(screens[1].take_replies(), b"");
    }

    /// Bytes that look like sequences more often than random ones do.
    #[test]
    fn no_bytes_pass_a_query(bytes in prop::collection::vec(prop::sample::select(&b"\x1b\x1b\x1b[[]P?>=$!'\";:0125689cnpqtuhlmJKHZ\\\x07\x18\x9b\xc2\xe6x "[..]), 0..200)) {
        prop_assert!(!asks(&filtered(&bytes, 0)));
    }
}

#[test]
fn links_are_bounded() {
    let mut screen = Screen::new(Size { columns: 1000, rows: 100 }, 0);
    let uri = "x".repeat(3000);
    for cell in 0..10_000 {
        screen.feed(format!("\x1b]8;;http://{cell}/{uri}\x07x").as_bytes());
    }
    let last = "\x1b]8;;http://last/\x07last\x1b]8;;\x07";
    assert!(!screen.dump(0, Permits::ALL).contains("http://9999/") && screen.dump(0, Permits::ALL).len() < 10 << 20);
    screen.feed(format!("\x1b[2J{}{last}", "\x1b]8;;http://a/\x07".repeat(300_000)).as_bytes());
    assert!(screen.dump(0, Permits::ALL).contains("http://last/"));
}
