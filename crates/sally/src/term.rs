//! Everything a person reads, in one voice: stderr is for people, stdout is for data.

use std::borrow::Cow;
use std::io::{self, Write};

use sally_proto::error::Fault;
use sally_proto::text::is_nonprinting;

pub mod log;

/// Characters of what others said that are worth keeping.
const EXCERPT: usize = 256;

/// A line for people, or several, whoever's words are in it.
pub fn say(line: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}

/// What works, and is not as it should be: one line.
pub fn warn(line: &str) {
    say(&one_line(&format!("warning: {line}")));
}

/// What stopped us, and what can be done: the first words are part of the contract, so nothing stands before them.
pub fn fault(fault: &Fault) {
    say(&fault.to_string());
    if let Some(hint) = fault.hint() {
        say(&format!("  hint: {hint}"));
    }
}

/// Data for whoever reads stdout: one line.
///
/// # Errors
/// Where stdout can't be written.
pub fn data(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// The same of a list, whose reader may have seen enough (`| head`): false, and no error.
///
/// # Errors
/// Where stdout can't be written.
pub fn listed(line: &str) -> io::Result<bool> {
    match data(line) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// What another machine or a file said, without what would move a cursor, ring a bell or turn a line around.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_nonprinting(c) && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same where it is to be one line: in a log, in a sentence.
pub fn one_line(text: &str) -> String {
    sally_proto::text::printable(text)
}

/// The same of what may be as long as they like: as much as is worth keeping.
pub fn excerpt(text: &str) -> String {
    one_line(&cut(text, EXCERPT))
}

/// So many characters of it.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(text.get(..end).unwrap_or_default().to_owned() + "…"),
        None => Cow::Borrowed(text),
    }
}

/// The system's words, without Rust's "(os error N)".
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut() {
        assert_eq!(excerpt(&"ä".repeat(EXCERPT)), "ä".repeat(EXCERPT));
        assert_eq!(excerpt(&"ä\n".repeat(EXCERPT)).chars().count(), EXCERPT + 1);
    }

    #[test]
    fn nothing_said_by_others_moves_the_cursor() {
        assert_eq!(one_line("a\nb"), "a\u{fffd}b");
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\n"), "a\u{fffd}[2Jb\u{fffd}c\n");
        assert_eq!(printable("admin\u{202e}\u{2066}txt.exe\u{2069}\u{feff}"), "admin\u{fffd}\u{fffd}txt.exe\u{fffd}\u{fffd}");
    }
}
