//! Splits a program's output into text, control characters, and sequences, however it was cut.
//!
//! The states are those of DEC's terminals, in UTF-8 and with 7-bit controls. Memory is bounded: what is too long is left out.

/// The longest string (OSC, DCS) that is kept; a longer one is left out whole.
const STRING_MAX: usize = 4096;
/// The most numbers in one sequence; one with more is left out.
const NUMBERS_MAX: usize = 32;

/// A piece of output.
#[derive(Debug)]
pub(super) enum ScreenToken<'a> {
    /// Text without C0 controls. It may have C1 controls.
    Text(&'a str),
    /// A C0 control.
    Control(u8),
    /// `ESC`, at most one intermediate (0 for none), and the last byte.
    Escape(u8, u8),
    Csi(&'a Csi, u8),
    /// An operating system command, without its terminator.
    Osc(&'a [u8]),
    /// A device control string: what stands before the data, and its last byte.
    Dcs(&'a Csi, u8),
}

/// What stands between `CSI` and the last byte.
#[derive(Debug, Default)]
pub(super) struct Csi {
    /// `?`, `>`, `=`, `<`, or 0.
    pub(super) prefix: u8,
    /// The intermediate, or 0.
    pub(super) intermediate: u8,
    numbers: [u16; NUMBERS_MAX],
    /// Which numbers follow a colon.
    colons: u32,
    length: usize,
    broken: bool,
}

impl Csi {
    fn clear(&mut self) {
        (self.prefix, self.intermediate, self.length, self.colons, self.broken) = (0, 0, 0, 0, false);
    }

    /// Returns a number, or `default` for one that is missing or 0.
    pub(super) fn or(&self, at: usize, default: u16) -> u16 {
        self.groups().nth(at).and_then(|group| group.first().copied()).filter(|number| *number != 0).unwrap_or(default)
    }

    /// Returns the numbers with those that follow them after colons. There is at least one.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[u16]> {
        let numbers = self.numbers.get(..self.length.max(1)).unwrap_or_default();
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = numbers.get(at..).filter(|rest| !rest.is_empty())?;
            let end = (1..rest.len()).find(|offset| self.colons & (1 << (at + offset)) == 0).unwrap_or(rest.len());
            at += end;
            rest.get(..end)
        })
    }

    /// Takes the digits at the beginning.
    fn digits<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.length == 0 {
            self.begin(false);
        }
        // Numbers can't follow an intermediate.
        self.broken |= self.intermediate != 0;
        let mut rest = bytes;
        let Some(number) = self.length.checked_sub(1).and_then(|last| self.numbers.get_mut(last)) else { return rest };
        while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
            *number = number.saturating_mul(10).saturating_add(u16::from(*digit - b'0'));
            rest = after;
        }
        rest
    }

    fn take(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => drop(self.digits(&[byte])),
            b';' | b':' => {
                if self.length == 0 {
                    self.begin(false);
                }
                self.begin(byte == b':');
            }
            b'<'..=b'?' if self.length == 0 && self.prefix == 0 && self.intermediate == 0 => self.prefix = byte,
            b' '..=b'/' if self.intermediate == 0 => self.intermediate = byte,
            _ => self.broken = true,
        }
        // Numbers can't follow an intermediate.
        self.broken |= byte >= b'0' && self.intermediate != 0;
    }

    fn begin(&mut self, colon: bool) {
        match self.numbers.get_mut(self.length) {
            Some(number) => {
                *number = 0;
                self.colons |= u32::from(colon) << self.length;
                self.length += 1;
            }
            None => self.broken = true,
        }
    }

    /// Ends with at least one number, which is 0.
    fn finish(&mut self) {
        if self.length == 0 {
            self.begin(false);
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ParserState {
    #[default]
    Ground,
    /// After `ESC`, with its intermediate; 1 for several.
    Escape(u8),
    Csi,
    DcsHead,
    /// In a string that begins with this byte after `ESC`.
    String(u8),
}

/// The state between two pieces of output.
#[derive(Debug, Default)]
pub(super) struct Parser {
    state: ParserState,
    csi: Csi,
    /// The last byte before a device control string's data.
    action: u8,
    string: Vec<u8>,
    /// The beginning of a character.
    partial: Vec<u8>,
}

impl Parser {
    /// Returns whether neither a sequence nor a character is unfinished.
    pub(super) fn at_rest(&self) -> bool {
        self.state == ParserState::Ground && self.partial.is_empty()
    }

    /// Takes output, and calls `sink` with each piece.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(ScreenToken<'_>)) {
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            rest = match self.state {
                ParserState::Ground if first >= b' ' && first != 0x7f => self.text(rest, sink),
                ParserState::Csi if first.is_ascii_digit() => self.csi.digits(rest),
                ParserState::String(kind) => self.string(kind, rest, sink),
                _ => {
                    self.byte(first, sink);
                    after
                }
            };
        }
    }

    /// Gives up on the beginning of a character that nothing follows.
    pub(super) fn flush_incomplete(&mut self, sink: &mut impl FnMut(ScreenToken<'_>)) {
        if !self.partial.is_empty() {
            self.partial.clear();
            sink(ScreenToken::Text("\u{fffd}"));
        }
    }

    /// Takes text up to a control character.
    fn text<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(ScreenToken<'_>)) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte < b' ' || *byte == 0x7f).unwrap_or(bytes.len());
        let (mut run, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        while !self.partial.is_empty() && !run.is_empty() {
            run = self.join(run, sink);
        }
        while !run.is_empty() {
            match str::from_utf8(run) {
                Ok(text) => {
                    sink(ScreenToken::Text(text));
                    break;
                }
                Err(error) => {
                    let (valid, after) = run.split_at_checked(error.valid_up_to()).unwrap_or((run, &[]));
                    if let Ok(text) = str::from_utf8(valid)
                        && !text.is_empty()
                    {
                        sink(ScreenToken::Text(text));
                    }
                    let Some(length) = error.error_len() else {
                        self.partial.extend_from_slice(after);
                        break;
                    };
                    sink(ScreenToken::Text("\u{fffd}"));
                    run = after.get(length..).unwrap_or_default();
                }
            }
        }
        rest
    }

    /// Continues the character that was begun by a byte.
    fn join<'a>(&mut self, run: &'a [u8], sink: &mut impl FnMut(ScreenToken<'_>)) -> &'a [u8] {
        let Some((&first, after)) = run.split_first() else { return run };
        self.partial.push(first);
        match str::from_utf8(&self.partial) {
            Ok(text) => {
                sink(ScreenToken::Text(text));
                self.partial.clear();
                after
            }
            Err(error) if error.error_len().is_none() => after,
            // The byte belongs to what follows.
            Err(_) => {
                self.partial.clear();
                sink(ScreenToken::Text("\u{fffd}"));
                run
            }
        }
    }

    /// Takes a byte outside of text and strings.
    fn byte(&mut self, byte: u8, sink: &mut impl FnMut(ScreenToken<'_>)) {
        self.flush_incomplete(sink);
        match (byte, self.state) {
            (0x1b, _) => self.state = ParserState::Escape(0),
            (0x18 | 0x1a, _) => self.state = ParserState::Ground,
            // In the head of a device control string they mean nothing.
            (0..0x20, ParserState::DcsHead) | (0x7f, _) => {}
            (0..0x20, _) => sink(ScreenToken::Control(byte)),
            (0x80.., ParserState::Ground) => {}
            // No sequence has such a byte: it begins text.
            (0x80.., _) => {
                self.state = ParserState::Ground;
                self.text(&[byte], sink);
            }
            (_, ParserState::Escape(intermediate)) => self.escape(intermediate, byte, sink),
            (b'@'.., ParserState::Csi) => {
                self.state = ParserState::Ground;
                self.csi.finish();
                if !self.csi.broken {
                    sink(ScreenToken::Csi(&self.csi, byte));
                }
            }
            (b'@'.., ParserState::DcsHead) => {
                self.csi.finish();
                (self.action, self.state) = (byte, ParserState::String(b'P'));
                self.string.clear();
            }
            (_, ParserState::Csi | ParserState::DcsHead) => self.csi.take(byte),
            (_, ParserState::Ground | ParserState::String(_)) => {}
        }
    }

    fn escape(&mut self, intermediate: u8, byte: u8, sink: &mut impl FnMut(ScreenToken<'_>)) {
        self.state = match (intermediate, byte) {
            (0, b' '..=b'/') => ParserState::Escape(byte),
            (_, b' '..=b'/') => ParserState::Escape(1),
            (0, b'[' | b'P') => {
                self.csi.clear();
                if byte == b'[' { ParserState::Csi } else { ParserState::DcsHead }
            }
            (0, b']' | b'X' | b'^' | b'_') => {
                self.string.clear();
                ParserState::String(byte)
            }
            _ => {
                sink(ScreenToken::Escape(intermediate, byte));
                ParserState::Ground
            }
        };
    }

    /// Takes a string up to its end.
    fn string<'a>(&mut self, kind: u8, bytes: &'a [u8], sink: &mut impl FnMut(ScreenToken<'_>)) -> &'a [u8] {
        let is_end = |byte: &u8| matches!(*byte, 0x1b | 0x18 | 0x1a) || *byte == 0x07 && kind == b']';
        let end = bytes.iter().position(is_end).unwrap_or(bytes.len());
        let (data, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        // One byte more than may be there tells that it is too long.
        let room = (STRING_MAX + 1).saturating_sub(self.string.len());
        self.string.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        let Some((&end, rest)) = rest.split_first() else { return rest };
        self.state = if end == 0x1b { ParserState::Escape(0) } else { ParserState::Ground };
        if matches!(end, 0x1b | 0x07) && self.string.len() <= STRING_MAX {
            match kind {
                b']' => sink(ScreenToken::Osc(&self.string)),
                b'P' if !self.csi.broken => sink(ScreenToken::Dcs(&self.csi, self.action)),
                _ => {}
            }
        }
        rest
    }
}
