//! The keys that the host types to Sally: twice the prefix opens a line for a command. Only the local terminal has this; what a viewer types
//! is never a command.

/// The prefix: Ctrl-\.
const PREFIX: u8 = 0x1c;
/// The longest command line, in bytes.
const LINE: usize = 256;

/// What is to be done with bytes that were typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// What the program gets.
    pub(super) passed: Vec<u8>,
    /// Commands to run.
    pub(super) commands: Vec<String>,
}

/// The state of the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Prompt {
    /// What is typed goes to the program.
    #[default]
    Closed,
    /// The prefix was typed once.
    Prefixed,
    /// A command is being typed.
    Open(Vec<u8>),
}

impl Prompt {
    /// Takes what was typed.
    pub(super) fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for byte in bytes {
            match (&mut *self, *byte) {
                (Self::Closed, PREFIX) => *self = Self::Prefixed,
                (Self::Closed, byte) => typed.passed.push(byte),
                (Self::Prefixed, PREFIX) => *self = Self::Open(Vec::new()),
                (Self::Prefixed, byte) => {
                    *self = Self::Closed;
                    typed.passed.extend([PREFIX, byte]);
                }
                (Self::Open(line), b'\r' | b'\n') => {
                    typed.commands.push(String::from_utf8_lossy(line).trim().to_owned());
                    *self = Self::Closed;
                }
                (Self::Open(_), 0x03 | 0x1b | PREFIX) => *self = Self::Closed,
                (Self::Open(line), 0x7f | 0x08) => drop(line.pop()),
                (Self::Open(line), byte) if line.len() < LINE && byte >= b' ' => line.push(byte),
                (Self::Open(_), _) => {}
            }
        }
        typed
    }

    /// Returns whether the prefix was typed once, and waits for the second.
    pub(super) fn waits(&self) -> bool {
        *self == Self::Prefixed
    }

    /// Gives up waiting: returns what the program gets.
    pub(super) fn settle(&mut self) -> Vec<u8> {
        match self {
            Self::Prefixed => {
                *self = Self::Closed;
                vec![PREFIX]
            }
            Self::Closed | Self::Open(_) => Vec::new(),
        }
    }

    /// Returns the line as far as it is typed.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Self::Open(line) => Some(String::from_utf8_lossy(line).into_owned()),
            Self::Closed | Self::Prefixed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_twice_opens_a_line_and_once_goes_to_the_program() {
        let mut prompt = Prompt::default();
        assert_eq!(prompt.typed(b"ls\x1cq").passed, b"ls\x1cq");
        assert_eq!(prompt.typed(b"\x1c"), Typed::default());
        assert!(prompt.waits());
        assert_eq!(prompt.settle(), b"\x1c");
        let typed = prompt.typed(b"a\x1c\x1ckick 22\x7f\rb");
        assert_eq!((typed.passed.as_slice(), typed.commands.as_slice()), (&b"ab"[..], &["kick 2".to_owned()][..]));
    }

    #[test]
    fn a_line_is_left_by_escape_and_what_follows_goes_to_the_program() {
        let mut prompt = Prompt::default();
        let typed = prompt.typed(b"\x1c\x1cend\x1bx");
        assert_eq!((typed.passed.as_slice(), typed.commands.len()), (&b"x"[..], 0));
    }
}
