//! A program's output of anybody's making, on a screen and on its way to viewers: no panic, no query passes, it makes no difference in which
//! pieces it comes, and a screen that is drawn again is the same. The first two bytes are the size, the third says how long pieces are.
#![no_main]

#[path = "../../crates/sally/src/screen/mod.rs"]
#[allow(dead_code)]
mod screen;

use libfuzzer_sys::fuzz_target;
use screen::{Depth, Filter, Permits, Screen, Size, View};

/// Ends what is unfinished.
const FINISHED: &[u8] = b"\x1b\\\x1b[m";

fuzz_target!(|data: &[u8]| {
    let [columns, rows, piece, output @ ..] = data else { return };
    let size = Size { columns: u16::from(*columns), rows: u16::from(*rows) % 64 };
    let (mut whole, mut cut) = (Screen::new(size, 10), Screen::new(size, 10));
    let (mut filter, mut cut_filter) = (Filter::new(Permits::ALL), Filter::new(Permits::ALL));
    let (mut passed, mut cut_passed) = (Vec::new(), Vec::new());
    whole.feed(output);
    filter.pass(output, &mut passed);
    for piece in output.chunks(usize::from(*piece).max(1)) {
        cut.feed(piece);
        cut_filter.pass(piece, &mut cut_passed);
    }
    assert_eq!(passed, cut_passed);
    for screen in [&mut whole, &mut cut] {
        screen.feed(FINISHED);
    }
    let dump = whole.dump(10, Permits::ALL);
    assert_eq!(cut.dump(10, Permits::ALL), dump);
    // What passes makes nothing answer, and shows the same.
    let mut viewer = Screen::new(size, 10);
    viewer.feed(&passed);
    viewer.feed(FINISHED);
    assert!(viewer.take_replies().is_empty());
    let view = View {
        size: Size { columns: size.rows, rows: size.columns },
        depth: Depth::Indexed,
        permits: Permits::ALL,
        name: "name",
        notice: None,
    };
    let (_, frame) = whole.frame(&view, None);
    whole.resize(view.size);
    let _ = whole.frame(&view, Some(&frame));
    whole.feed(output);
    let _ = whole.dump(10, Permits::ALL);
});
