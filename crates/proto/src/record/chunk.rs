//! Cuts a chunk into pieces that are text and pieces that are not.

/// The least run of valid text that gets a line of its own: a shorter one goes with the bytes around it, because a line would cost more
/// than it saves.
const TEXT_RUN: usize = 32;
/// The least run for a terminal, whose text a player could show: a lone Latin-1 letter must not hide the line that it is in.
const TEXT_RUN_PTY: usize = 8;
/// The longest step of a search for the next text: a stream that isn't text at all is skipped quickly, …
const STRIDE: usize = 256;
/// … and more quickly the longer it wasn't text: by this part of what has been skipped.
const PATIENCE: usize = 16;

/// The first piece of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether the bytes are UTF-8.
    pub(crate) text: bool,
    /// The rest of the chunk.
    pub(crate) rest: &'a [u8],
}

/// Takes the first piece of `chunk`, at most `limit` bytes (at least 4), cut at a character's boundary if it is text.
pub(crate) fn first_piece(chunk: &[u8], limit: usize, pty: bool) -> Piece<'_> {
    let window = chunk.get(..limit).unwrap_or(chunk);
    let (length, text) = match simdutf8::compat::from_utf8(window) {
        Ok(_) => (window.len(), true),
        Err(error) => {
            let valid = error.valid_up_to();
            match error.error_len() {
                // The window or the chunk cuts a character in two: what precedes it is text.
                None if valid > 0 => (valid, true),
                None => (window.len(), false),
                Some(_) if valid >= shortest_run(pty) => (valid, true),
                Some(wrong) => (binary_run(window, valid + wrong, shortest_run(pty)), false),
            }
        }
    };
    let (bytes, rest) = chunk.split_at_checked(length).unwrap_or((chunk, &[]));
    Piece { bytes, text, rest }
}

const fn shortest_run(pty: bool) -> usize {
    if pty { TEXT_RUN_PTY } else { TEXT_RUN }
}

/// Returns where text begins again, at `from` or later; each step is twice the last one up to [`STRIDE`], or more in a long run.
fn binary_run(window: &[u8], from: usize, shortest: usize) -> usize {
    let mut at = from;
    let mut step = 1;
    while let Some(rest) = window.get(at..).filter(|rest| !rest.is_empty()) {
        if text_starts(rest, shortest) {
            return at;
        }
        at += step;
        step = (step * 2).min(STRIDE.max(at / PATIENCE));
    }
    window.len()
}

/// Returns whether `bytes` starts with `shortest` bytes of text, or is text to its end.
fn text_starts(bytes: &[u8], shortest: usize) -> bool {
    match std::str::from_utf8(bytes.get(..shortest).unwrap_or(bytes)) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(mut chunk: &[u8], limit: usize, pty: bool) -> Vec<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        while !chunk.is_empty() {
            let piece = first_piece(chunk, limit, pty);
            assert!(!piece.bytes.is_empty() && piece.bytes.len() <= limit);
            assert!(!piece.text || std::str::from_utf8(piece.bytes).is_ok());
            all.push((piece.bytes.to_vec(), piece.text));
            chunk = piece.rest;
        }
        all
    }

    #[test]
    fn text_stays_whole_and_is_cut_between_characters() {
        assert_eq!(pieces("grüße".as_bytes(), 100, false), [("grüße".into(), true)]);
        assert_eq!(pieces("ab€€".as_bytes(), 6, false), [("ab€".into(), true), ("€".into(), true)]);
    }

    #[test]
    fn a_character_split_between_chunks_leaves_the_rest_text() {
        assert_eq!(pieces(b"ab\xe2\x82", 100, false), [(b"ab".to_vec(), true), (b"\xe2\x82".to_vec(), false)]);
        assert_eq!(pieces(b"\xac cd", 100, false), [(b"\xac".to_vec(), false), (b" cd".to_vec(), true)]);
    }

    #[test]
    fn a_latin_1_letter_does_not_hide_the_terminal_line_around_it() {
        let found = pieces(b"drwxr-xr-x caf\xe9 and more\r\n", 100, true);
        assert_eq!(found, [(b"drwxr-xr-x caf".to_vec(), true), (b"\xe9".to_vec(), false), (b" and more\r\n".to_vec(), true)]);
    }

    #[test]
    fn random_bytes_are_one_piece() {
        let mut state = 1u64;
        let random: Vec<u8> = (0..40_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(pieces(&random, 48 * 1024, false).len(), 1);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_added(chunk in prop::collection::vec(any::<u8>(), 0..600), limit in 4usize..80, pty: bool) {
            let joined: Vec<u8> = pieces(&chunk, limit, pty).into_iter().flat_map(|(bytes, _)| bytes).collect();
            prop_assert_eq!(joined, chunk);
        }
    }
}
