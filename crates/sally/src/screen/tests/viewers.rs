//! Tests what viewers get: the output that passes, and frames.

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
        parser::ScreenToken::Csi(csi, last) => {
            asked |= matches!(*last, b'c' | b'n' | b't' | b'i' | b'x' | b'u') || csi.prefix == b'>' || csi.intermediate == b'$';
        }
        parser::ScreenToken::Osc(data) => {
            asked |= data.starts_with(b"52") || data.ends_with(b"?") && !data.starts_with(b"8;") && !data.starts_with(b"2;");
        }
        parser::ScreenToken::Dcs(..) => asked = true,
        parser::ScreenToken::Control(5) | parser::ScreenToken::Escape(0, b'Z' | b'c') => asked = true,
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

fn view(columns: u16, rows: u16) -> FrameView<'static> {
    FrameView { size: ScreenSize { columns, rows }, depth: Depth::True, permits: Permits::ALL, name: "alice", notice: None }
}

/// Returns what a terminal shows, row by row.
fn rows(screen: &Screen) -> Vec<String> {
    let size = screen.size();
    let grid = screen.state.term.grid();
    let row = |row: usize| -> String {
        let cells = grid[state::line(row)].into_iter();
        cells.filter(|cell| !cell.flags.contains(alacritty_terminal::term::cell::Flags::WIDE_CHAR_SPACER)).map(|cell| cell.c).collect()
    };
    (0..usize::from(size.rows)).map(|at| row(at).trim_end().to_owned()).collect()
}

#[test]
fn a_larger_window_has_a_border_and_a_smaller_one_the_part_with_the_cursor() {
    let screen = screen_of(10, 3, "one\r\n\x1b[31mtwo\x1b[m\r\n12345\u{6f22}x");
    let (out, frame) = screen.frame(&view(14, 5), None);
    let viewer = screen_of(14, 5, &out);
    assert_eq!(
        rows(&viewer),
        [
            "one       \u{2502}",
            "two       \u{2502}",
            "12345\u{6f22}x  \u{2502}",
            "\u{2500}\u{2500}alice\u{2500}\u{2500}\u{2500}\u{2518}",
            ""
        ]
    );
    assert_eq!((viewer.state.at(), frame.on_screen(9, 2), frame.on_screen(10, 2)), ((2, 8), Some((9, 2)), None));
    let (out, frame) = screen.frame(&view(6, 3), None);
    let viewer = screen_of(6, 3, &out);
    assert_eq!(rows(&viewer), ["", "45\u{6f22}x", "6\u{d7}3 of"]);
    assert_eq!((viewer.state.at(), frame.on_screen(0, 0)), ((1, 5), Some((3, 1))));
    // Nothing changes, nothing is drawn.
    assert_eq!(screen.frame(&view(6, 3), Some(&frame)).0, "");
}

#[test]
fn colors_are_the_nearest_that_a_terminal_has() {
    let screen = screen_of(10, 1, "\x1b]4;2;rgb:ff/00/00\x07\x1b[38;2;250;5;5ma\x1b[38;5;196mb\x1b[92mc\x1b[32md\x1b[48;5;4me");
    for (depth, colors) in [
        (Depth::True, ["38;2;250;5;5", "38;5;196", "92", "38;2;255;0;0", "48;5;4"]),
        (Depth::Indexed, ["38;5;196", "38;5;196", "92", "38;5;196", "48;5;4"]),
        (Depth::Sixteen, ["91", "91", "92", "91", "44"]),
        (Depth::Eight, ["31", "31", "32", "31", "44"]),
    ] {
        let (out, _) = screen.frame(&FrameView { depth, ..view(10, 1) }, None);
        let drawn = out.split_once("2J").unwrap().1;
        assert!(colors.iter().all(|color| drawn.contains(color)), "{depth:?}: {drawn:?}");
    }
    let (out, _) = screen.frame(&FrameView { depth: Depth::Mono, ..view(10, 1) }, None);
    assert!(!out.contains("38;") && !out.contains(";31"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A viewer who gets differences sees what one sees who gets the whole, which is what the frame says.
    #[test]
    fn a_frame_is_the_same_however_it_is_reached(
        steps in prop::collection::vec(prop::collection::vec(any_output(), 0..12), 1..6),
        (columns, rows) in (2u16..30, 1u16..12),
        (wide, high) in (2u16..34, 1u16..14),
    ) {
        let view = view(wide, high);
        let mut screen = screen_of(columns, rows, "");
        let mut viewer = screen_of(wide, high, "");
        let mut before = None;
        for step in steps {
            screen.feed(step.concat().as_bytes());
            let (out, frame) = screen.frame(&view, before.as_ref());
            viewer.feed(out.as_bytes());
            let again = screen_of(wide, high, &screen.frame(&FrameView { notice: None, ..view }, None).0);
            let [had, whole] = [&viewer, &again].map(|screen| screen.frame(&view, None).0);
            // Where it had been before, a smaller window may show another part.
            if wide >= columns && high >= rows {
                prop_assert_eq!(had, whole);
            }
            before = Some(frame);
        }
    }
}

#[test]
fn links_are_bounded() {
    let mut screen = Screen::new(ScreenSize { columns: 1000, rows: 100 }, 0);
    let uri = "x".repeat(3000);
    for cell in 0..10_000 {
        screen.feed(format!("\x1b]8;;http://{cell}/{uri}\x07x").as_bytes());
    }
    let last = "\x1b]8;;http://last/\x07last\x1b]8;;\x07";
    assert!(!screen.dump(0, Permits::ALL).contains("http://9999/") && screen.dump(0, Permits::ALL).len() < 10 << 20);
    screen.feed(format!("\x1b[2J{}{last}", "\x1b]8;;http://a/\x07".repeat(300_000)).as_bytes());
    assert!(screen.dump(0, Permits::ALL).contains("http://last/"));
}
