//! Makes untrusted text safe for a person to read.

/// Returns whether a terminal or a reader does something else with this character than to show it: control characters (Cc), line and
/// paragraph separators (Zl, Zp), and characters that change how others are shown or are invisible (Cf: bidirectional marks and
/// overrides, zero width characters, tags), with the blocks that Unicode reserves for more of them.
///
/// Source: the general categories of Unicode 16, and its Default_Ignorable_Code_Point of U+FFF0 and U+E0000.
#[must_use]
pub fn is_nonprinting(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'
            | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the text with each such character replaced by U+FFFD: it is one line.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_nonprinting(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_replaced_and_what_it_shows_is_not() {
        for c in [
            '\0',
            '\n',
            '\r',
            '\t',
            '\x1b',
            '\x7f',
            '\u{80}',
            '\u{9b}',
            '\u{ad}',
            '\u{2028}',
            '\u{2029}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0001}',
        ] {
            assert!(is_nonprinting(c), "{c:?}");
        }
        for range in ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}', '\u{e0020}'..='\u{e007f}'] {
            assert!(range.clone().all(is_nonprinting), "{range:?}");
        }
        let shown = " ~ äß€ \u{a0}\u{301} 日本 עברית العربية 🙂 \u{fffd}";
        assert_eq!(printable(shown), shown);
        assert_eq!(printable("a\nb\x1b[2J\u{202e}c"), "a\u{fffd}b\u{fffd}[2J\u{fffd}c");
    }
}
