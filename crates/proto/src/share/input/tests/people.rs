//! Pastes, and people who leave in the middle of something.

use proptest::prelude::*;

use super::*;

#[test]
fn a_paste_is_one_stretch_between_its_marks() {
    let input = b"a\x1b[200~rm -rf /\r\x1b[A\xc3\xa4\x1b[0n\x1b[201~b";
    let expected = [
        Unit::Keys(b"a".to_vec()),
        Unit::PasteStart,
        Unit::Paste(b"rm -rf /\r\x1b[A\xc3\xa4\x1b[0n".to_vec()),
        Unit::PasteEnd,
        Unit::Keys(b"b".to_vec()),
    ];
    for size in 1..input.len() {
        assert_eq!(in_pieces(input.chunks(size)), expected);
    }
    assert_eq!(in_pieces([&b"\xc2\x9b200~\xc2\x9b201~"[..]]), [Unit::PasteStart, Unit::PasteEnd]);
}

#[test]
fn a_pause_in_a_paste_ends_nothing() {
    let mut keyboard = ShareKeyboard::new();
    keyboard.push(b"\x1b[200~x\x1b[20");
    let mut seen = units(&mut keyboard);
    assert!(keyboard.in_paste() && !keyboard.waits());
    (0..100).for_each(|_| keyboard.flush());
    keyboard.push(b"1~");
    seen.extend(units(&mut keyboard));
    assert_eq!(seen, [Unit::PasteStart, Unit::Paste(b"x".to_vec()), Unit::PasteEnd]);
    assert!(!keyboard.in_paste());
}

#[test]
fn a_large_paste_comes_in_pieces_cut_between_characters() {
    let text = "€".repeat(50_000);
    let mut keyboard = ShareKeyboard::new();
    keyboard.push(&[b"\x1b[200~", text.as_bytes(), b"\x1b[201~"].concat());
    let mut seen = String::new();
    for unit in keyboard {
        if let Unit::Paste(piece) = unit {
            assert!(piece.len() <= PASTE_MAX);
            seen.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
    assert_eq!(seen, text);
}

#[test]
fn who_leaves_inside_a_paste_ends_it_and_its_rest_is_dropped() {
    let mut keyboard = ShareKeyboard::new();
    keyboard.push(b"\x1b[200~one");
    assert_eq!(units(&mut keyboard).len(), 2);
    keyboard.push(b"two");
    assert_eq!(keyboard.leave(), Some(Unit::PasteEnd));
    assert!(!keyboard.in_paste());
    assert_eq!(keyboard.leave(), None);
    // They may write again: what still comes of that paste was not typed.
    keyboard.push(b"rm\r\x1b[201~x");
    assert_eq!(units(&mut keyboard), [Unit::Keys(b"x".to_vec())]);
}

#[test]
fn a_paste_of_which_nothing_was_taken_needs_no_end() {
    let mut keyboard = ShareKeyboard::new();
    keyboard.push(b"x\x1b[200~one");
    assert_eq!(keyboard.leave(), None);
    keyboard.push(b"two\x1b[201~y");
    assert_eq!(units(&mut keyboard), [Unit::Keys(b"y".to_vec())]);
    keyboard.push(b"\x1b[200~one\x1b[201~z");
    assert_eq!(keyboard.next(), Some(Unit::PasteStart));
    assert_eq!(keyboard.leave(), Some(Unit::PasteEnd), "its end had come, and was not taken");
    keyboard.push(b"y");
    assert_eq!(units(&mut keyboard), [Unit::Keys(b"y".to_vec())]);
}

#[test]
fn who_leaves_inside_a_character_or_a_sequence_leaves_nothing_behind() {
    for whole in [&b"\xe2\x82\xac"[..], b"\x1b[1;5A", b"\x1b[0n", b"\x1b[<0;1;1M", b"\x1b]11;rgb:0/0/0\x1b\\"] {
        for at in 1..whole.len() {
            let mut keyboard = ShareKeyboard::new();
            keyboard.push(&whole[..at]);
            assert_eq!((units(&mut keyboard), keyboard.leave()), (vec![], None));
            keyboard.push(&whole[at..]);
            keyboard.push(b"x");
            assert_eq!(units(&mut keyboard), [Unit::Keys(b"x".to_vec())], "{} at {at}", whole.escape_ascii());
        }
    }
    let mut keyboard = ShareKeyboard::new();
    keyboard.push(b"\x1b");
    keyboard.leave();
    keyboard.flush();
    keyboard.push(b"x");
    assert_eq!(units(&mut keyboard), [Unit::Keys(b"x".to_vec())]);
}

#[derive(Clone, Debug)]
enum Deed {
    Push(Vec<u8>),
    Flush,
    Take(usize),
    Leave,
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => any_input().prop_map(Deed::Push),
        2 => Just(Deed::Flush),
        3 => (1..9_usize).prop_map(Deed::Take),
        1 => Just(Deed::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_program_sees_whole_pastes_whatever_happens(deeds in prop::collection::vec(any_deed(), 1..40)) {
        let mut keyboard = ShareKeyboard::new();
        let (mut open, mut pasted) = (false, Vec::new());
        for deed in deeds {
            let units: Vec<Unit> = match deed {
                Deed::Push(bytes) => {
                    keyboard.push(&bytes);
                    continue;
                }
                Deed::Flush => {
                    keyboard.flush();
                    continue;
                }
                Deed::Take(most) => keyboard.by_ref().take(most).collect(),
                Deed::Leave => keyboard.leave().into_iter().collect(),
            };
            for unit in units {
                match unit {
                    Unit::PasteStart => {
                        prop_assert!(!open);
                        (open, pasted) = (true, Vec::new());
                    }
                    Unit::Paste(bytes) => {
                        prop_assert!(open && !bytes.is_empty());
                        pasted.extend(bytes);
                        prop_assert!(!PASTE_END.iter().any(|mark| memchr::memmem::find(&pasted, mark).is_some()));
                    }
                    Unit::PasteEnd => {
                        prop_assert!(open);
                        open = false;
                    }
                    Unit::Keys(bytes) => prop_assert!(!open && !bytes.is_empty()),
                    Unit::Mouse(report) => prop_assert!(!open && report.column > 0 && report.row > 0),
                }
            }
            prop_assert_eq!(keyboard.in_paste(), open);
        }
        keyboard.by_ref().for_each(drop);
        prop_assert!(keyboard.pending.len() <= 400);
    }
}
