//! The keys with which a viewer leaves at any time: `~.` at the beginning of a line, as with ssh(1).

/// What a terminal sends before and after pasted text.
const PASTE: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];
/// The length of each.
const PASTE_LENGTH: usize = 6;

/// What is to be done with bytes that were typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Escaped {
    /// What the share gets.
    pub passed: Vec<u8>,
    /// Whether the viewer leaves; what was typed after that is dropped.
    pub leaves: bool,
}

/// The state of the keys. Pasted text has no escapes.
#[derive(Clone, Debug)]
pub struct EscapeKeys {
    /// Whether the next byte is the first of a line.
    begins: bool,
    /// Whether a `~` is held back.
    held: bool,
    pasting: bool,
    /// The newest bytes.
    newest: [u8; PASTE_LENGTH],
}

impl Default for EscapeKeys {
    fn default() -> Self {
        Self { begins: true, held: false, pasting: false, newest: [0; PASTE_LENGTH] }
    }
}

impl EscapeKeys {
    /// Returns whether a paste has begun and not ended.
    #[must_use]
    pub const fn is_pasting(&self) -> bool {
        self.pasting
    }

    /// Takes a paste as ended, whose end has not come.
    pub const fn end_paste(&mut self) {
        self.pasting = false;
    }

    /// Takes what was typed. A `~` at the beginning of a line is held back until the next byte: `~.` leaves, `~~` is one `~`.
    pub fn typed(&mut self, bytes: &[u8]) -> Escaped {
        let mut escaped = Escaped::default();
        for byte in bytes.iter().copied() {
            self.newest.rotate_left(1);
            self.newest[PASTE_LENGTH - 1] = byte;
            match (std::mem::take(&mut self.held), byte) {
                (true, b'.') => {
                    escaped.leaves = true;
                    return escaped;
                }
                (true, b'~') => escaped.passed.push(byte),
                (true, byte) => escaped.passed.extend([b'~', byte]),
                (false, b'~') if self.begins && !self.pasting => self.held = true,
                (false, byte) => escaped.passed.push(byte),
            }
            self.begins = matches!(byte, b'\r' | b'\n');
            match PASTE.iter().position(|mark| *mark == self.newest) {
                Some(0) => self.pasting = true,
                Some(_) => self.pasting = false,
                None => {}
            }
        }
        escaped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(pieces: &[&str]) -> (String, bool) {
        let (mut keys, mut passed) = (EscapeKeys::default(), Vec::new());
        for piece in pieces {
            let escaped = keys.typed(piece.as_bytes());
            passed.extend(escaped.passed);
            if escaped.leaves {
                return (String::from_utf8(passed).unwrap(), true);
            }
        }
        (String::from_utf8(passed).unwrap(), false)
    }

    #[test]
    fn tilde_and_dot_leave_at_the_beginning_of_a_line() {
        assert_eq!(typed(&["~."]), (String::new(), true));
        assert_eq!(typed(&["ls\r", "~", ".x"]), ("ls\r".into(), true));
        assert_eq!(typed(&["ls ~.\n~a\n~~.\n~"]), ("ls ~.\n~a\n~.\n".into(), false));
    }

    #[test]
    fn pasted_text_has_no_escape() {
        assert_eq!(typed(&["\x1b[200~a\n~.\n", "\x1b[201~~."]), ("\x1b[200~a\n~.\n\x1b[201~~.".into(), false));
        assert_eq!(typed(&["\x1b[200~a\n\x1b[20", "1~\r~."]), ("\x1b[200~a\n\x1b[201~\r".into(), true));
    }

    proptest! {
        /// However it is cut: without a `~` at the beginning of a line, all is passed on.
        #[test]
        fn what_is_no_escape_is_passed_on(text in "a(\r|[a-z.][a-z~.]{0,9}){0,8}", at in 0_usize..80) {
            let at = at.min(text.len());
            prop_assert_eq!(typed(&[&text[..at], &text[at..]]), (text.clone(), false));
        }
    }
}
