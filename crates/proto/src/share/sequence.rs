//! Finds the first key, report or answer in what a terminal sends.
//!
//! A pure function of the bytes so far: the same bytes give the same token, however they were cut. A token ends where ECMA-48 says that its
//! sequence ends; what it is follows from the forms that xterm (ctlseqs), rxvt, kitty and the Linux console send.

use super::mouse::MouseReport;

pub(super) const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
/// The first byte of a C1 control character in UTF-8; the second is the control character itself.
pub(super) const C1_IN_UTF8: u8 = 0xc2;
/// The C1 control character that ends a string.
const STRING_TERMINATOR: u8 = 0x9c;

/// The longest body of a control sequence that is kept until its end has come: kitty's keys with the text that they type stay below it.
const SEQUENCE_MAX: usize = 128;
/// The longest body of a string that is kept until its end has come. Nothing of a longer one needs to be kept, because it is no key.
const STRING_MAX: usize = 256;
/// The most parameters of a key in SS3 form: `ESC O 1 ; 1 6 P`.
const SS3_PARAMETERS_MAX: usize = 8;

/// The first thing in a terminal's bytes. Numbers are its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputToken {
    /// A plain character, or a byte that is none.
    Plain(usize),
    /// A key that is a sequence.
    Key(usize),
    /// A report of a mouse.
    Mouse(usize, MouseReport),
    /// The start of a bracketed paste.
    PasteStart(usize),
    /// A report that the terminal has got or lost the focus.
    Focus(usize),
    /// An answer, or another sequence that no key has.
    Answer(usize),
    /// A sequence that another control character broke off.
    Broken(usize),
    /// The beginning of an answer that is too long to be kept: the rest, up to its end, belongs to it.
    TooLong(usize, Rest),
    /// Something unfinished.
    Unfinished(Unfinished),
}

/// How the rest of a sequence ends that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// With a final byte.
    Sequence,
    /// With BEL or ST. `eight_bit`: ST may be the single byte 9C.
    String {
        /// Whether the string began with a single byte.
        eight_bit: bool,
    },
}

/// What an unfinished sequence can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// A key by itself, if nothing follows soon: Escape, Alt+[, half a character.
    MaybeKey,
    /// The middle of a sequence: a person at a keyboard can't have stopped here.
    Inside,
}

/// Returns the first token of `bytes`.
pub(super) fn scan(bytes: &[u8]) -> InputToken {
    match bytes {
        [ESC, ESC, ESC, ..] => InputToken::Key(1),
        // Escape before another sequence: a key with Alt as rxvt has it, or the Escape key by itself.
        [ESC, ESC | 0x80.., ..] => match scan(bytes.get(1..).unwrap_or_default()) {
            InputToken::Plain(length) | InputToken::Key(length) => InputToken::Key(length + 1),
            InputToken::Unfinished(unfinished) => InputToken::Unfinished(unfinished),
            _ => InputToken::Key(1),
        },
        [ESC, letter @ (b'[' | b'O' | b']' | b'P' | b'_'), ..] => sequence(*letter, bytes, 2),
        [ESC, _, ..] => InputToken::Key(2),
        [ESC] => InputToken::Unfinished(Unfinished::MaybeKey),
        [C1_IN_UTF8, c1, ..] if introduced_by(*c1).is_some() => sequence(introduced_by(*c1).unwrap_or_default(), bytes, 2),
        [c1, ..] if introduced_by(*c1).is_some() => sequence(introduced_by(*c1).unwrap_or_default(), bytes, 1),
        _ => character(bytes),
    }
}

/// Returns the letter that, after ESC, stands for a C1 control character that begins a sequence.
fn introduced_by(c1: u8) -> Option<u8> {
    matches!(c1, 0x8f | 0x90 | 0x9b | 0x9d | 0x9f).then(|| c1 - 0x40)
}

/// Reads a character of UTF-8, or a byte that is none.
fn character(bytes: &[u8]) -> InputToken {
    let window = bytes.get(..4).unwrap_or(bytes);
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => return InputToken::Unfinished(Unfinished::MaybeKey),
        Err(error) => window.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(character) => InputToken::Plain(character.len_utf8()),
        None if bytes.is_empty() => InputToken::Unfinished(Unfinished::MaybeKey),
        None => InputToken::Plain(1),
    }
}

/// Reads a sequence whose body begins at `at`.
fn sequence(letter: u8, bytes: &[u8], at: usize) -> InputToken {
    let body = bytes.get(at..).unwrap_or_default();
    let Some(first) = body.first() else { return InputToken::Unfinished(Unfinished::MaybeKey) };
    match letter {
        b'[' if *first == b'[' => linux_function_key(body, at),
        b'[' => control_sequence(body, at),
        b'O' => ss3(body, at),
        _ if begins_answer(letter, *first) => string(body, at),
        // Alt and that letter, then something else.
        _ => InputToken::Key(at),
    }
}

/// Reads F1 to F5 of the Linux console: `ESC [ [ A`.
fn linux_function_key(body: &[u8], at: usize) -> InputToken {
    match body.get(1) {
        None => InputToken::Unfinished(Unfinished::MaybeKey),
        Some(b'A'..=b'E') => InputToken::Key(at + 2),
        Some(_) => InputToken::Key(at + 1),
    }
}

/// Reads a key in SS3 form: `ESC O P`, with parameters in old terminals.
fn ss3(body: &[u8], at: usize) -> InputToken {
    let parameters = body.iter().take(SS3_PARAMETERS_MAX).take_while(|byte| matches!(byte, b'0'..=b';')).count();
    match body.get(parameters) {
        None => InputToken::Unfinished(Unfinished::MaybeKey),
        Some(b' '..=b'~') => InputToken::Key(at + parameters + 1),
        Some(_) => InputToken::Key(at + parameters),
    }
}

/// Reads a control sequence: parameters, intermediates, a final byte.
fn control_sequence(body: &[u8], at: usize) -> InputToken {
    let parameters = body.iter().take_while(|byte| matches!(byte, b'0'..=b'?')).count();
    let after = body.get(parameters..).unwrap_or_default();
    let end = parameters + after.iter().take_while(|byte| matches!(byte, b' '..=b'/')).count();
    if end >= SEQUENCE_MAX {
        return InputToken::TooLong(at + SEQUENCE_MAX, Rest::Sequence);
    }
    let (parameters, rest) = body.split_at_checked(parameters).unwrap_or_default();
    // Shift and a key in rxvt (`ESC [ 7 $`): reports with a dollar have two parameters, or a question mark.
    if !parameters.is_empty() && parameters.iter().all(u8::is_ascii_digit) && rest.first() == Some(&b'$') {
        return InputToken::Key(at + parameters.len() + 1);
    }
    let intermediates = rest.get(..end - parameters.len()).unwrap_or_default();
    let length = at + end + 1;
    match body.get(end) {
        None => InputToken::Unfinished(Unfinished::Inside),
        Some(b'M') if end == 0 => x10_mouse(body.get(1..).unwrap_or_default(), length),
        Some(last @ b'@'..=b'~') => control_function(parameters, intermediates, *last, length),
        Some(_) if end == 0 => InputToken::Key(at),
        Some(_) => InputToken::Broken(at + end),
    }
}

/// Says what a whole control sequence is.
fn control_function(parameters: &[u8], intermediates: &[u8], last: u8, length: usize) -> InputToken {
    match (parameters, intermediates, last) {
        ([b'<', numbers @ ..], [], b'M' | b'm') => {
            MouseReport::from_sgr(numbers, last == b'm').map_or(InputToken::Answer(length), |report| InputToken::Mouse(length, report))
        }
        // A private marker: DA1, DA2, DSR, DECRPM, DECXCPR, kitty's flags, colour schemes. No key has one.
        ([b'<'..=b'?', ..], _, _) => InputToken::Answer(length),
        // DECRPM, DECLRP and others of DEC's.
        (_, [b'$' | b'&', ..], _) => InputToken::Answer(length),
        ([], [], b'I' | b'O') => InputToken::Focus(length),
        ([], ..) => InputToken::Key(length),
        (_, [], b'M') if parameters.iter().filter(|byte| **byte == b';').count() == 2 => {
            MouseReport::from_urxvt(parameters).map_or(InputToken::Answer(length), |report| InputToken::Mouse(length, report))
        }
        (_, [], b'~') => match parameters {
            b"200" => InputToken::PasteStart(length),
            _ if is_paste_mark(parameters) => InputToken::Answer(length),
            _ => InputToken::Key(length),
        },
        // F3 with modifiers; a cursor report otherwise.
        (_, [], b'R') if is_modified(parameters) => InputToken::Key(length),
        // CPR, DSR, window reports, DA of old terminals, DECREPTPARM.
        (_, [], b'R' | b'n' | b't' | b'c' | b'x') => InputToken::Answer(length),
        _ => InputToken::Key(length),
    }
}

/// Returns whether these are the parameters of a key with modifiers: `1;2` to `1;16`.
fn is_modified(parameters: &[u8]) -> bool {
    matches!(parameters, [b'1', b';', b'2'..=b'9'] | [b'1', b';', b'1', b'0'..=b'6'])
}

/// Returns whether a program could take these parameters of a `~` for those of a paste's start or end.
fn is_paste_mark(parameters: &[u8]) -> bool {
    let first = parameters.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
    let number = first.iter().position(|digit| *digit != b'0').and_then(|from| first.get(from..));
    matches!(number, Some(b"200" | b"201"))
}

/// Reads the three bytes after `ESC [ M`.
fn x10_mouse(bytes: &[u8], length: usize) -> InputToken {
    let report = bytes.get(..3).unwrap_or(bytes);
    match (report.iter().position(|byte| *byte < b' '), report) {
        (Some(control), _) => InputToken::Broken(length + control),
        (None, [button, column, row]) => {
            let report = MouseReport::from_x10([*button, *column, *row]);
            report.map_or(InputToken::Answer(length + 3), |report| InputToken::Mouse(length + 3, report))
        }
        (None, _) => InputToken::Unfinished(Unfinished::Inside),
    }
}

/// Returns whether a string of this kind can be a terminal's answer. Another one is a key with Alt, and what follows is typed.
const fn begins_answer(letter: u8, first: u8) -> bool {
    match letter {
        // A number; the window's title or its icon's.
        b']' => matches!(first, b'0'..=b'9' | b'l' | b'L'),
        // DECRPSS, XTGETTCAP, XTVERSION, DA3, DECCKSR: parameters or an intermediate.
        b'P' => matches!(first, b'!'..=b'?'),
        // kitty's graphics.
        _ => first == b'G',
    }
}

/// Reads a string to its end.
fn string(body: &[u8], at: usize) -> InputToken {
    let eight_bit = at == 1;
    match string_end(body.get(..STRING_MAX).unwrap_or(body), eight_bit) {
        StringEnd::After(end) => InputToken::Answer(at + end),
        StringEnd::Broken(end) => InputToken::Broken(at + end),
        StringEnd::Unfinished(end) if body.len() >= STRING_MAX => InputToken::TooLong(at + end, Rest::String { eight_bit }),
        StringEnd::Unfinished(_) => InputToken::Unfinished(Unfinished::Inside),
    }
}

/// The end of a string. Numbers are how many bytes belong to it.
enum StringEnd {
    /// With its terminator.
    After(usize),
    /// Before a control character that can't be in it.
    Broken(usize),
    /// Not here; what is behind these bytes may be the first byte of a terminator.
    Unfinished(usize),
}

fn string_end(body: &[u8], eight_bit: bool) -> StringEnd {
    for (at, byte) in body.iter().enumerate() {
        match (byte, body.get(at + 1)) {
            (&BEL, _) => return StringEnd::After(at + 1),
            (&STRING_TERMINATOR, _) if eight_bit => return StringEnd::After(at + 1),
            (&ESC, Some(b'\\')) | (&C1_IN_UTF8, Some(&STRING_TERMINATOR)) => return StringEnd::After(at + 2),
            (&ESC | &C1_IN_UTF8, None) => return StringEnd::Unfinished(at),
            (0..b' ', _) => return StringEnd::Broken(at),
            _ => {}
        }
    }
    StringEnd::Unfinished(body.len())
}

/// Returns how many of these bytes belong to the rest of a sequence that is too long, and whether it ends with them.
pub(super) fn scan_rest(rest: Rest, bytes: &[u8]) -> (usize, bool) {
    match rest {
        Rest::String { eight_bit } => match string_end(bytes, eight_bit) {
            StringEnd::After(end) | StringEnd::Broken(end) => (end, true),
            StringEnd::Unfinished(end) => (end, false),
        },
        Rest::Sequence => match bytes.iter().position(|byte| !matches!(byte, b' '..=b'?')) {
            Some(end) => (end + usize::from(matches!(bytes.get(end), Some(b'@'..=b'~'))), true),
            None => (bytes.len(), false),
        },
    }
}
