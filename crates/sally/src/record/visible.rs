//! Makes text harmless for a terminal: shows control characters instead of sending them.

use super::decode::Decoder;

/// Turns a stream of bytes into text whose only control characters are newline and tab.
///
/// Characters that are split between calls come out whole; a carriage return before a newline is left out.
#[derive(Debug, Default)]
pub(super) struct Visible {
    decoder: Decoder,
    /// Whether the last byte was a carriage return: the next one decides whether it is shown.
    returned: bool,
}

impl Visible {
    /// Takes bytes, and appends their text.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        let whole = self.decoder.whole(bytes);
        let Some(first) = whole.first() else { return };
        if self.returned && *first != b'\n' {
            show(b"\r", out);
        }
        let shown = whole.strip_suffix(b"\r");
        self.returned = shown.is_some();
        show(shown.unwrap_or(&whole), out);
    }

    /// Appends what is left at the end.
    pub(super) fn finish(&mut self, out: &mut String) {
        if std::mem::take(&mut self.returned) {
            show(b"\r", out);
        }
        show(&self.decoder.rest(), out);
    }
}

/// Returns a whole text made harmless.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::new();
    show(text.as_bytes(), &mut out);
    out
}

/// Escapes in JSON text everything that would be shown as `<U+…>`: the JSON means the same.
pub(super) fn json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        if is_hidden(character) || character.is_control() {
            out.push_str(&format!("\\u{:04x}", character as u32));
        } else {
            out.push(character);
        }
        out
    })
}

/// Returns whether a character is a C1 control, or changes the direction of a line (Trojan source).
const fn is_hidden(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn show(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        let mut characters = chunk.valid().chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\n' | '\t' => out.push(character),
                '\r' if characters.peek() == Some(&'\n') => {}
                // As cat -v.
                '\0'..='\x1f' | '\x7f' => out.extend(['^', char::from((character as u8) ^ 0x40)]),
                _ if is_hidden(character) => out.push_str(&format!("<U+{:04X}>", character as u32)),
                _ => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("<{byte:02X}>"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(parts: &[&[u8]]) -> String {
        let mut out = String::new();
        let mut visible = Visible::default();
        for part in parts {
            visible.push(part, &mut out);
        }
        visible.finish(&mut out);
        out
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(all(&[b"a\x1b[2J\x07\x7f\tb\r\n"]), "a^[[2J^G^?\tb\n");
        assert_eq!(all(&["\u{9b}31m \u{202e}x".as_bytes()]), "<U+009B>31m <U+202E>x");
        assert_eq!(all(&[b"50%\r", b"60%\r", b"\ncaf\xe9"]), "50%^M60%\ncaf<E9>");
        assert_eq!(all(&[b"gr\xc3", b"\xbc", b"n\xe2\x82"]), "grün<E2><82>");
    }

    #[test]
    fn json_stays_the_same_json() {
        let shown = json("{\"a\":\"\u{9b}\u{202e}\u{7f}\"}");
        assert!(shown.is_ascii());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), serde_json::json!({"a": "\u{9b}\u{202e}\u{7f}"}));
    }

    proptest! {
        #[test]
        fn whatever_comes_in_nothing_dangerous_goes_out(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let shown = all(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert!(shown.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }
    }
}
