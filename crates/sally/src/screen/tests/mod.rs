//! Tests the screen against what terminals do, and against itself drawn again.

mod viewers;

use proptest::prelude::*;

use super::*;

/// Returns the output as text.
fn text(columns: u16, rows: u16, pieces: &[&str]) -> Vec<String> {
    let mut screen = Screen::with_transcript(ScreenSize { columns, rows });
    let mut lines = Vec::new();
    for piece in pieces {
        screen.feed(piece.as_bytes());
        lines.extend(screen.take_lines());
    }
    lines.extend(screen.finish());
    lines
}

fn screen_of(columns: u16, rows: u16, shown: &str) -> Screen {
    let mut screen = Screen::new(ScreenSize { columns, rows }, 0);
    screen.feed(shown.as_bytes());
    screen
}

fn dump(screen: &Screen) -> String {
    screen.dump(0, Permits::ALL)
}

/// Returns the cursor's column, from 0.
fn column(shown: &str) -> usize {
    screen_of(20, 3, shown).state.at().1
}

#[test]
fn what_follows_characters_of_several_code_points_is_where_terminals_have_it() {
    for (shown, width) in [
        ("cafe\u{301}|", 5),
        ("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}|", 7),
        ("\u{2764}\u{fe0f}|", 2),
        ("\u{1f1e9}\u{1f1ea}|", 3),
        ("\u{915}\u{94d}\u{937}|", 3),
        ("a\u{200b}b\u{feff}c|", 4),
        ("\u{6f22}\u{5b57}|", 5),
    ] {
        assert_eq!(column(shown), width, "{shown}");
        assert_eq!(text(20, 3, &[shown]), [shown]);
        assert_eq!(text(20, 3, &[&format!("{shown}\x1b[1;{width}HX")]), [shown.replace('|', "X")], "{shown}");
    }
}

#[test]
fn what_is_concealed_is_blank() {
    assert_eq!(text(40, 3, &["user \x1b[8msecret \u{6f22}\x1b[0m shown"]), [format!("user{}shown", " ".repeat(11))]);
    let screen = screen_of(40, 3, "\x1b[8msecret\x1b[0m");
    assert!(dump(&screen).contains("\x1b[0;8m"));
}

#[test]
fn lines_are_whole_however_they_were_wrapped_and_whatever_cleared_them() {
    assert_eq!(text(5, 2, &["a   b\r\nc   de   fgh\r\ni"]), ["a   b", "c   de   fgh", "i"]);
    assert_eq!(text(10, 2, &["a\r\nb\r\nc\r\n\x1b[?1049halt\x1b[2Jnew"]), ["a", "b", "c"]);
    assert_eq!(text(10, 2, &["a\r\n\x1b[?47halt\r\nx\r\ny\r\nz\x1b[?47lb"]).concat().replace(' ', ""), "ab");
    assert_eq!(text(10, 3, &["one\r\ntwo\x1b[H\x1b[2J\x1b[3Jthree"]), ["one", "two", "three"]);
    assert_eq!(text(10, 3, &["one\r\ntwo\x1bcthree"]), ["one", "two", "three"]);
    assert_eq!(text(10, 3, &["50%\r60%\r\n\r\nx\x08y\r\n"]), ["60%", "", "y"]);
    let many: Vec<String> = (0..5000).map(|line| line.to_string()).collect();
    assert_eq!(text(80, 24, &[&many.join("\r\n")]), many);
    // An endless line is not kept either.
    let endless = text(80, 24, &["x".repeat(3 << 20).as_str()]);
    assert!(endless.len() == 3 && endless.concat().len() == 3 << 20);
}

#[test]
fn a_synchronized_update_is_shown_though_it_never_ends() {
    assert_eq!(text(20, 3, &["\x1b[?2026hshown"]), ["shown"]);
}

#[test]
fn a_size_that_no_terminal_has_is_made_one() {
    for (columns, rows) in [(0, 0), (1, 1), (u16::MAX, u16::MAX)] {
        let mut screen = Screen::with_transcript(ScreenSize { columns, rows });
        screen.feed("\u{6f22}\r\n\x1b[999;999Hx\x1b[999S".as_bytes());
        screen.resize(ScreenSize { columns: rows, rows: columns });
        assert_eq!(screen.finish()[0].chars().next(), Some('\u{6f22}'));
    }
}

#[test]
fn marks_on_one_character_are_bounded() {
    let shown = format!("e{}|", "\u{301}".repeat(10_000));
    assert!(text(20, 3, &[&shown])[0].chars().count() < 50);
}

/// Draws a screen again, and asserts that it is the same.
fn assert_drawn_again(shown: &str) {
    let screen = screen_of(20, 6, shown);
    let again = screen_of(20, 6, &dump(&screen));
    assert_eq!(dump(&again), dump(&screen), "{shown:?}");
}

#[test]
fn wide_characters_and_origin_mode_are_drawn_again() {
    assert_drawn_again("\u{6f22}\u{5b57} x\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{6f22}");
    assert_drawn_again("\x1b[44m\u{6f22}\x1b[0m\x1b[2;1H12345678901234567\u{6f22}\u{6f22}");
    assert_drawn_again("\x1b[2;4r\x1b[?6h\x1b[2;3Hx");
    assert_drawn_again("\x1b[2;4r\x1b[?6h\x1b[3;20Hx");
    assert_drawn_again("\x1b[3;20Hx\x1b7\x1b[31m\x1b(0q\x0e");
    assert_drawn_again("one\x1b[7m\x1b[?1049h\x1b[2;2Htwo\x1b[5;20Hx");
}

/// Control characters and sequences besides those with two numbers, parted by bars.
const OTHER: &str = "\
    \r|\n|\t|\x08|\x0e|\x0f|\x1b7|\x1b8|\x1bD|\x1bE|\x1bH|\x1bM|\x1b=|\x1b>|\x1b#8|\x1b(0|\x1b)0|\x1b(B|\x1bn|\x1b[!p|\x1b[g|\x1b[3g|\
    \x1b[?5W|\x1b[4 q|\x1b]8;id=y;http://a\x1b\\|\x1b]8;id=x;b\x07|\x1b]8;;\x07|\x1b]4;1;#102030\x07|\x1b]11;rgb:11/22/33\x07|\
    \x1b]104\x07|\x1b[|\x1b]0;unfinished";

/// Output as programs write it, and as none does. (Another terminal can't be set to these states: one half of a wide character that is
/// overwritten, and a cursor outside of the region in origin mode.)
fn any_output() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(String::new()), (0u16..30).prop_map(|number| number.to_string()), Just("999".to_owned())];
    let words = |list: &'static str| prop::sample::select(list.split(' ').collect::<Vec<_>>());
    let sgr = words("0 1 2 3 4 4:3 4:0 21 7 8 9 31 44 97 105 38;5;200 48;2;1;2;3 58:5:9 58:2::1:2:3 59");
    let mode = words("?1 ?3 ?5 ?7 ?12 ?25 ?47 ?1000 ?1002 ?1003 ?1004 ?1006 ?1007 ?1047 ?1048 ?1049 ?2004 ?2026 4 20");
    let other = prop::sample::select(OTHER.split('|').collect::<Vec<_>>());
    let text = prop_oneof![4 => "[a-z ]{1,12}", 1 => "[a-zé\u{301}\u{200d}]{1,6}"];
    prop_oneof![
        6 => text,
        3 => (number.clone(), number, prop::sample::select(&b"@ABCDEFGHIJKLMPSTXZ`abdefrsu"[..]))
            .prop_map(|(one, two, last)| format!("\x1b[{one};{two}{}", char::from(last))),
        3 => sgr.prop_map(|sgr| format!("\x1b[{sgr}m")),
        2 => (mode, any::<bool>()).prop_map(|(mode, on)| format!("\x1b[{mode}{}", if on { 'h' } else { 'l' })),
        4 => other.prop_map(str::to_owned),
    ]
}

/// Returns whether a cursor, or a saved one, waits behind a cell that was erased: another terminal gets a blank there.
fn waits_behind_nothing(screen: &Screen) -> bool {
    let state = &screen.state;
    let grids = [state.primary(), state.term.grid()];
    let cursors = [&state.saved[0].cursor, &state.saved[1].cursor, &state.term.grid().cursor];
    let erased = |cursor: &alacritty_terminal::grid::Cursor<_>, grid: &alacritty_terminal::grid::Grid<_>| {
        let cell: &alacritty_terminal::term::cell::Cell = &grid[cursor.point];
        cursor.input_needs_wrap && cell.flags & attributes::WRITTEN != attributes::WRITTEN
    };
    cursors.iter().any(|cursor| grids.iter().any(|grid| erased(cursor, grid)))
}

/// Ends an unfinished sequence: a dump can't hold one.
const FINISHED: &str = "\x1b\\\x1b[m";

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Another terminal that gets the dump shows the same, and behaves the same from then on.
    #[test]
    fn a_screen_that_is_drawn_again_is_the_same_and_stays_so(
        before in prop::collection::vec(any_output(), 0..60),
        after in prop::collection::vec(any_output(), 0..30),
        columns in 2u16..30,
        rows in 1u16..12,
    ) {
        let mut screen = screen_of(columns, rows, &(before.concat() + FINISHED));
        prop_assume!(!waits_behind_nothing(&screen));
        let mut again = screen_of(columns, rows, &dump(&screen));
        prop_assert_eq!(dump(&again), dump(&screen));
        // REP repeats the last printed character, which on the other terminal is the last drawn one.
        let after = after.iter().filter(|piece| !(piece.starts_with("\x1b[") && piece.ends_with(['b', '['])));
        for piece in after.map(String::as_str).chain([FINISHED]) {
            screen.feed(piece.as_bytes());
            again.feed(piece.as_bytes());
        }
        prop_assume!(!waits_behind_nothing(&screen));
        prop_assert_eq!(dump(&again), dump(&screen));
    }

    #[test]
    fn no_output_and_no_size_ends_the_reader(
        steps in prop::collection::vec(prop_oneof![
            6 => prop::collection::vec(any_output(), 0..20).prop_map(|pieces| (pieces.concat(), None)),
            2 => prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| (String::from_utf8_lossy(&bytes).into_owned(), None)),
            1 => (0u16..40, 0u16..20).prop_map(|size| (String::new(), Some(size))),
        ], 0..12),
        columns in 0u16..40,
        rows in 0u16..20,
    ) {
        let mut screen = Screen::with_transcript(ScreenSize { columns, rows });
        for (output, size) in steps {
            screen.feed(output.as_bytes());
            if let Some((columns, rows)) = size {
                screen.resize(ScreenSize { columns, rows });
            }
            let _ = screen.take_lines();
        }
        let _ = dump(&screen);
        let _ = screen.finish();
    }
}
