//! What a viewer's terminal sends, with pauses and leaving in between: no panic, pastes whole, nothing in a paste that ends it, no
//! answer, and pieces make no difference.
//!
//! Input: a byte is the length of the piece that follows, up to 63; 64 and more are a pause, 128 and more unit by unit, 192 and more leaving.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sally_proto::share::{ShareKeyboard, Unit};

/// A program as it sees the units: whether a paste is open, and what was pasted.
#[derive(Default)]
struct Program {
    open: bool,
    pasted: Vec<u8>,
}

impl Program {
    fn take(&mut self, unit: Unit) {
        match unit {
            Unit::PasteStart => {
                assert!(!self.open);
                self.open = true;
                self.pasted.clear();
            }
            Unit::Paste(bytes) => {
                assert!(self.open && !bytes.is_empty());
                self.pasted.extend(bytes);
                let ends = |mark: &[u8]| self.pasted.windows(mark.len()).any(|window| window == mark);
                assert!(!ends(b"\x1b[201~") && !ends(b"\xc2\x9b201~"));
            }
            Unit::PasteEnd => {
                assert!(self.open);
                self.open = false;
            }
            Unit::Keys(bytes) => assert!(!self.open && !bytes.is_empty()),
            Unit::Mouse(report) => assert!(!self.open && report.column > 0 && report.row > 0),
        }
    }
}

/// Everything of these pieces, with neighbouring runs put together.
fn units<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Unit> {
    let mut keyboard = ShareKeyboard::new();
    let mut all: Vec<Unit> = Vec::new();
    for piece in pieces {
        keyboard.push(piece);
        for unit in keyboard.by_ref() {
            // Answers alone have a question mark there, and without a pause none passes. Each unit is looked at by itself: an Escape before
            // an answer that is dropped may be followed by typed text that begins with `[?`.
            if let Unit::Keys(keys) = &unit {
                assert!(!keys.windows(3).any(|window| window == b"\x1b[?"), "{}", keys.escape_ascii());
            }
            match (all.last_mut(), unit) {
                (Some(Unit::Keys(run)), Unit::Keys(more)) | (Some(Unit::Paste(run)), Unit::Paste(more)) => run.extend(more),
                (_, unit) => all.push(unit),
            }
        }
    }
    all
}

fuzz_target!(|bytes: &[u8]| {
    let whole = units([bytes].into_iter());
    assert_eq!(whole, units(bytes.chunks(1)));
    assert_eq!(whole, units(bytes.chunks(7)));

    let mut keyboard = ShareKeyboard::new();
    let mut program = Program::default();
    let mut rest = bytes;
    while let Some((deed, after)) = rest.split_first() {
        rest = after;
        match deed {
            0..64 => {
                let (piece, after) = rest.split_at(usize::from(*deed).min(rest.len()));
                rest = after;
                keyboard.push(piece);
            }
            64..128 => keyboard.flush(),
            128..192 => keyboard.by_ref().take(usize::from(deed % 8)).for_each(|unit| program.take(unit)),
            192.. => keyboard.leave().into_iter().for_each(|unit| program.take(unit)),
        }
        assert_eq!(keyboard.in_paste(), program.open);
    }
});
