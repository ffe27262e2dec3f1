//! Defines the streams of a session, and how a record names them.

use serde::{Deserialize, Serialize};

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the client.
    Output,
    /// From the client.
    Input,
}

/// One of the three streams of a channel, as a record names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStream {
    /// A program's standard output, or a terminal's output.
    Stdout,
    /// A program's standard error, without a terminal.
    Stderr,
    /// What the client sends.
    Stdin,
}

impl RecordStream {
    /// Returns the name in audit lines and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Stdin => "stdin",
        }
    }

    /// Returns the letter in front of the base64 of a `b` event.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Stdout => b'o',
            Self::Stderr => b'e',
            Self::Stdin => b'i',
        }
    }

    /// Returns the stream of a letter.
    pub const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'o' => Some(Self::Stdout),
            b'e' => Some(Self::Stderr),
            b'i' => Some(Self::Stdin),
            _ => None,
        }
    }

    /// Returns the direction of the stream.
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
    /// Returns the stream that the record names.
    pub const fn stream(self) -> RecordStream {
        match self {
            Self::PtyOutput | Self::Stdout => RecordStream::Stdout,
            Self::Stderr => RecordStream::Stderr,
            Self::PtyInput | Self::Stdin => RecordStream::Stdin,
        }
    }

    /// Returns whether the stream belongs to a terminal: such streams are recorded whole, and as text if a player could show it.
    pub const fn is_pty(self) -> bool {
        matches!(self, Self::PtyOutput | Self::PtyInput)
    }
}

/// Tracks the channel and stream that events belong to, for writer and reader alike.
///
/// Events carry no channel. Each direction has a current (channel, stream), at first channel 0 with stdout and stdin; an audit line
/// `stream` changes it for the following events. `r` and `x` belong to the channel of the output direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracker {
    output: (u32, RecordStream),
    input: (u32, RecordStream),
}

impl Default for Tracker {
    fn default() -> Self {
        Self { output: (0, RecordStream::Stdout), input: (0, RecordStream::Stdin) }
    }
}

impl Tracker {
    /// Makes (channel, stream) the current one of its direction; returns whether that changed anything.
    pub fn switch(&mut self, channel: u32, stream: RecordStream) -> bool {
        let current = match stream.direction() {
            Direction::Output => &mut self.output,
            Direction::Input => &mut self.input,
        };
        let changed = *current != (channel, stream);
        *current = (channel, stream);
        changed
    }

    /// Returns the current (channel, stream) of a direction.
    pub const fn current(&self, direction: Direction) -> (u32, RecordStream) {
        match direction {
            Direction::Output => self.output,
            Direction::Input => self.input,
        }
    }
}
