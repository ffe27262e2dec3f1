//! Where the bytes of a session come from, and how a record says so.

use serde::{Deserialize, Serialize};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards the visitor.
    Output,
    /// From the visitor.
    Input,
}

/// One of the three streams of a channel, as a record names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// What a program writes, a terminal's output included.
    Stdout,
    /// What a program writes to stderr, where there is no terminal.
    Stderr,
    /// What the visitor sends.
    Stdin,
}

impl Stream {
    /// The name in audit lines and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Stdin => "stdin",
        }
    }

    /// The letter in front of the base64 of a `b` event.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Stdout => b'o',
            Self::Stderr => b'e',
            Self::Stdin => b'i',
        }
    }

    /// The stream of a letter.
    pub const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'o' => Some(Self::Stdout),
            b'e' => Some(Self::Stderr),
            b'i' => Some(Self::Stdin),
            _ => None,
        }
    }

    /// Which way its bytes go.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Stdout | Self::Stderr => Direction::Output,
            Self::Stdin => Direction::Input,
        }
    }
}

/// A stream as the recorder is told of it: with or without a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// What a terminal shows.
    PtyOutput,
    /// What is typed at a terminal.
    PtyInput,
    /// A program's stdout, without a terminal.
    Stdout,
    /// A program's stderr, without a terminal.
    Stderr,
    /// A program's stdin, without a terminal.
    Stdin,
}

impl StreamKind {
    /// The stream that the record names.
    pub const fn stream(self) -> Stream {
        match self {
            Self::PtyOutput | Self::Stdout => Stream::Stdout,
            Self::Stderr => Stream::Stderr,
            Self::PtyInput | Self::Stdin => Stream::Stdin,
        }
    }

    /// Whether a terminal is at the end of it: those are recorded whole, and as text where a player could show it.
    pub const fn is_pty(self) -> bool {
        matches!(self, Self::PtyOutput | Self::PtyInput)
    }
}

/// The channel and stream that events belong to, for writer and reader alike.
///
/// Events carry no channel. Each direction has a current (channel, stream), at first channel 0 with stdout and stdin; an audit
/// line `stream` changes it for the events that follow. `r` and `x` belong to the channel of the output direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracker {
    output: (u32, Stream),
    input: (u32, Stream),
}

impl Default for Tracker {
    fn default() -> Self {
        Self { output: (0, Stream::Stdout), input: (0, Stream::Stdin) }
    }
}

impl Tracker {
    /// Makes (channel, stream) the current one of its direction; says whether that changed anything.
    pub fn switch(&mut self, channel: u32, stream: Stream) -> bool {
        let current = match stream.direction() {
            Direction::Output => &mut self.output,
            Direction::Input => &mut self.input,
        };
        let changed = *current != (channel, stream);
        *current = (channel, stream);
        changed
    }

    /// The current (channel, stream) of a direction.
    pub const fn current(&self, direction: Direction) -> (u32, Stream) {
        match direction {
            Direction::Output => self.output,
            Direction::Input => self.input,
        }
    }
}
