//! Reads the keys that the host types to Sally: twice the prefix opens a line for a command. Only the local terminal has this; what a
//! viewer types is never a command.

use sally_proto::share::Unit;

/// The prefix: Ctrl-\.
const PREFIX: u8 = 0x1c;
/// The keys that close the line: Ctrl-C, and the prefix.
const CANCEL: [u8; 2] = [0x03, PREFIX];
/// The longest command line, in bytes.
const LINE: usize = 256;
/// How many calls of [`Prompt::settle`], 50 ms apart, a second press of the prefix is waited for.
const PATIENCE: u8 = 10;

/// The state of the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Prompt {
    /// What is typed goes to the program.
    #[default]
    Closed,
    /// The prefix was typed once, and so often was a second one waited for.
    Prefixed(u8),
    /// A command is being typed.
    Open(Vec<u8>),
}

impl Prompt {
    /// Takes a unit, and adds the commands in it. Returns what the program gets.
    pub(super) fn take(&mut self, unit: Unit, commands: &mut Vec<String>) -> Vec<Unit> {
        match unit {
            Unit::Keys(keys) => self.keys(keys, commands),
            // A mouse is the program's at all times.
            Unit::Mouse(_) => vec![unit],
            Unit::Paste(text) if self.line().is_some() => {
                // A paste never runs a command.
                text.iter().for_each(|byte| self.append(*byte));
                Vec::new()
            }
            _ if self.line().is_some() => Vec::new(),
            unit => self.settled().into_iter().chain([unit]).collect(),
        }
    }

    fn keys(&mut self, keys: Vec<u8>, commands: &mut Vec<String>) -> Vec<Unit> {
        let is_sequence = matches!(keys.as_slice(), [0x1b, ..] | [0xc2, 0x80..=0x9f, ..]);
        match self {
            Self::Closed if is_sequence || !keys.contains(&PREFIX) => return vec![Unit::Keys(keys)],
            Self::Prefixed(_) if is_sequence => return self.settled().into_iter().chain([Unit::Keys(keys)]).collect(),
            Self::Open(_) if is_sequence => {
                if keys == [0x1b] {
                    *self = Self::Closed;
                }
                return Vec::new();
            }
            _ => {}
        }
        let mut passed = Vec::new();
        for key in keys {
            match (&mut *self, key) {
                (Self::Closed, PREFIX) => *self = Self::Prefixed(0),
                (Self::Closed, key) => passed.push(key),
                (Self::Prefixed(_), PREFIX) => *self = Self::Open(Vec::new()),
                (Self::Prefixed(_), key) => {
                    *self = Self::Closed;
                    passed.extend([PREFIX, key]);
                }
                (Self::Open(line), b'\r' | b'\n') => {
                    commands.push(String::from_utf8_lossy(line).trim().to_owned());
                    *self = Self::Closed;
                }
                (Self::Open(_), key) if CANCEL.contains(&key) => *self = Self::Closed,
                (Self::Open(line), 0x7f | 0x08) => remove_character(line),
                (Self::Open(_), key) => self.append(key),
            }
        }
        if passed.is_empty() { Vec::new() } else { vec![Unit::Keys(passed)] }
    }

    /// Adds a byte of text to the line.
    fn append(&mut self, byte: u8) {
        if let Self::Open(line) = self
            && line.len() < LINE
            && byte >= b' '
            && byte != 0x7f
        {
            line.push(byte);
        }
    }

    /// Returns whether the prefix was typed once, and waits for the second.
    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Prefixed(_))
    }

    /// Says that 50 ms have passed without a byte. Returns what the program gets, if the second press has not come in time.
    pub(super) fn settle(&mut self) -> Option<Unit> {
        let Self::Prefixed(waited) = self else { return None };
        *waited += 1;
        if *waited < PATIENCE { None } else { self.settled() }
    }

    /// Gives up waiting for the second press.
    fn settled(&mut self) -> Option<Unit> {
        if !self.waits() {
            return None;
        }
        *self = Self::Closed;
        Some(Unit::Keys(vec![PREFIX]))
    }

    /// Returns the line as far as it is typed.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Self::Open(line) => Some(String::from_utf8_lossy(line).into_owned()),
            Self::Closed | Self::Prefixed(_) => None,
        }
    }
}

/// Removes the last character of a line.
fn remove_character(line: &mut Vec<u8>) {
    while let Some(byte) = line.pop() {
        // Continuation bytes of UTF-8 belong to the character before them.
        if byte & 0xc0 != 0x80 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types keys, each run as one unit; returns what the program gets and the commands.
    fn typed(prompt: &mut Prompt, units: impl IntoIterator<Item = Unit>) -> (Vec<u8>, Vec<String>) {
        let mut commands = Vec::new();
        let passed = units.into_iter().flat_map(|unit| prompt.take(unit, &mut commands)).flat_map(Unit::into_bytes).collect();
        (passed, commands)
    }

    fn keys(bytes: &[u8]) -> Unit {
        Unit::Keys(bytes.to_vec())
    }

    #[test]
    fn the_prefix_twice_opens_a_line_and_once_goes_to_the_program() {
        let mut prompt = Prompt::default();
        assert_eq!(typed(&mut prompt, [keys(b"ls\x1cq")]).0, b"ls\x1cq");
        assert_eq!(typed(&mut prompt, [keys(b"\x1c")]), (vec![], vec![]));
        assert!(prompt.waits());
        let settled: Vec<_> = (0..PATIENCE).filter_map(|_| prompt.settle()).collect();
        assert_eq!(settled, [keys(b"\x1c")]);
        let (passed, commands) = typed(&mut prompt, [keys(b"a\x1c\x1ckick 22\x7f\rb")]);
        assert_eq!((passed.as_slice(), commands.as_slice()), (&b"ab"[..], &["kick 2".to_owned()][..]));
    }

    #[test]
    fn a_line_is_left_by_escape_and_what_follows_goes_to_the_program() {
        let mut prompt = Prompt::default();
        let (passed, commands) = typed(&mut prompt, [keys(b"\x1c\x1cend"), keys(b"\x1b"), keys(b"x")]);
        assert_eq!((passed.as_slice(), commands.len()), (&b"x"[..], 0));
    }

    #[test]
    fn sequences_in_a_line_are_dropped_whole() {
        let mut prompt = Prompt::default();
        let (passed, _) = typed(&mut prompt, [keys(b"\x1c\x1ce"), keys(b"\x1b[D"), keys(b"\x1bOA"), keys("nd\u{e4}\x7f".as_bytes())]);
        assert_eq!((passed, prompt.line().as_deref()), (vec![], Some("end")));
    }

    #[test]
    fn a_paste_opens_no_line_and_runs_no_command() {
        let mut prompt = Prompt::default();
        let paste = |text: &[u8]| [Unit::PasteStart, Unit::Paste(text.to_vec()), Unit::PasteEnd];
        assert_eq!(typed(&mut prompt, paste(b"\x1c\x1cend\r")).0, b"\x1b[200~\x1c\x1cend\r\x1b[201~");
        typed(&mut prompt, [keys(b"\x1c\x1c")]);
        assert_eq!(typed(&mut prompt, paste(b"kick 2\r\nend")), (vec![], vec![]));
        assert_eq!(prompt.line().as_deref(), Some("kick 2end"));
    }

    #[test]
    fn a_prefix_before_a_sequence_or_a_paste_goes_to_the_program_first() {
        let mut prompt = Prompt::default();
        assert_eq!(typed(&mut prompt, [keys(b"\x1c"), keys(b"\x1b[A")]).0, b"\x1c\x1b[A");
        assert_eq!(typed(&mut prompt, [keys(b"\x1c"), Unit::PasteStart]).0, b"\x1c\x1b[200~");
    }
}
