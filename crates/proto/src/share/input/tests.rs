//! Keyboards as terminals send them, cut in every way.

mod answers;
mod keys;
mod people;

use proptest::prelude::*;

use super::*;

/// Takes everything, with neighbouring runs put together: how plain characters are grouped follows from how they came.
pub(super) fn units(keyboard: &mut ShareKeyboard) -> Vec<Unit> {
    joined([keyboard.by_ref().collect()])
}

/// Puts neighbouring runs of several lists together.
pub(super) fn joined(lists: impl IntoIterator<Item = Vec<Unit>>) -> Vec<Unit> {
    let mut all: Vec<Unit> = Vec::new();
    for unit in lists.into_iter().flatten() {
        match (all.last_mut(), unit) {
            (Some(Unit::Keys(keys)), Unit::Keys(more)) | (Some(Unit::Paste(keys)), Unit::Paste(more)) => keys.extend(more),
            (_, unit) => all.push(unit),
        }
    }
    all
}

/// Returns what these bytes come to in these pieces, without a pause.
pub(super) fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Unit> {
    let mut keyboard = ShareKeyboard::new();
    joined(pieces.into_iter().map(|piece| {
        keyboard.push(piece);
        units(&mut keyboard)
    }))
}

/// Returns the bytes of keys among units.
pub(super) fn typed(units: Vec<Unit>) -> Vec<u8> {
    units.into_iter().flat_map(|unit| if let Unit::Keys(bytes) = unit { bytes } else { Vec::new() }).collect()
}

/// Bytes that sequences are made of, with others.
pub(super) fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(&b"\x1b[O]P_?<>=;:$&MmRntcu~012A\\\x07\x0d\xc2\x9b\x9c\x9d\x90\xe2\x82\xacq G"[..])
            .prop_map(|byte| vec![byte]),
        prop::sample::select(answers::ANSWERS).prop_map(<[u8]>::to_vec),
        prop::sample::select(keys::KEYS).prop_map(<[u8]>::to_vec),
        Just(b"\x1b[200~".to_vec()),
        Just(b"\x1b[201~".to_vec()),
        "[a-zä€😀]{1,4}".prop_map(String::into_bytes),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn how_it_is_cut_makes_no_difference(input in any_input(), sizes in prop::collection::vec(1..12_usize, 1..40)) {
        let mut rest = &input[..];
        let mut pieces = Vec::new();
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(in_pieces([&input[..]]), in_pieces(pieces));
        prop_assert_eq!(in_pieces([&input[..]]), in_pieces(input.chunks(1)));
    }

    #[test]
    fn text_passes_unchanged_whatever_the_pauses(text in "[ -~äß€日🙂\r\n\t\u{3}]{0,60}", pauses in prop::collection::vec(any::<bool>(), 1..20)) {
        let mut keyboard = ShareKeyboard::new();
        let mut pauses = pauses.into_iter().cycle();
        let mut seen = Vec::new();
        for byte in text.as_bytes() {
            keyboard.push(&[*byte]);
            seen.extend(keyboard.by_ref());
            if pauses.next() == Some(true) {
                keyboard.flush();
                seen.extend(keyboard.by_ref());
            }
        }
        prop_assert_eq!(typed(seen), text.into_bytes());
    }
}
