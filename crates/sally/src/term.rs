//! Everything a person reads, in one voice: stderr is for people, stdout is for data.

use std::io::{self, Write};

use sally_proto::error::Fault;

/// A line for people.
pub fn say(line: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// What stopped us, and what can be done: the first words are part of the contract, so nothing stands before them.
pub fn fault(fault: &Fault) {
    say(&printable(&fault.to_string()));
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

/// What another machine or a file said, without what would move a cursor or ring a bell.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same where it is to be one line: in a log, in a sentence.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\u{fffd}")
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
    fn nothing_said_by_others_moves_the_cursor() {
        assert_eq!(one_line("a\nb"), "a\u{fffd}b");
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\n"), "a\u{fffd}[2Jb\u{fffd}c\n");
    }
}
