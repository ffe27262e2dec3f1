//! Prints everything that users read: stderr is for messages, stdout is for data.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sally_proto::error::Fault;
use sally_proto::text::is_nonprinting;

pub mod log;

/// What is held back, while it is.
static HELD: Mutex<Option<Held>> = Mutex::new(None);
/// The most bytes of messages that are held back.
const HELD_MOST: usize = 64 << 10;
/// How many characters of another party's text are kept.
const EXCERPT: usize = 256;

/// Prints a message of one or more lines, in which another party's text is made harmless.
pub fn say(line: &str) {
    let line = printable(line) + "\n";
    // If stderr is closed, the message can't reach the user.
    let _ = HeldStderr.write_all(line.as_bytes());
}

/// What is held back while something is drawn on the terminal.
struct Held {
    messages: Vec<u8>,
    /// Gives the terminal back as it was.
    restore: Option<Box<dyn FnOnce() + Send>>,
}

/// Holds messages back while something is drawn on the terminal; dropping this restores the terminal and prints them.
pub struct Hold(());

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds back messages for stderr from now on, if that is a terminal; of many, the first ones. `restore` gives the terminal back as it
/// was, however the process ends.
pub fn hold(restore: Box<dyn FnOnce() + Send>) -> Hold {
    *held() = Some(Held { messages: Vec::new(), restore: Some(restore) });
    Hold(())
}

/// Restores the terminal, and prints what was held back.
pub fn let_go() {
    // Messages are held until the terminal is as it was.
    let restore = held().as_mut().and_then(|held| held.restore.take());
    if let Some(restore) = restore {
        restore();
    }
    let held = held().take();
    if let Some(Held { messages, .. }) = held {
        let _ = io::stderr().write_all(&messages); // As in `say`.
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let_go();
    }
}

/// Writes lines to stderr, or keeps them while they are held back.
#[derive(Debug)]
pub struct HeldStderr;

/// Returns stderr for a log.
pub fn held_stderr() -> HeldStderr {
    HeldStderr
}

impl Write for HeldStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(held) = &mut *held()
            && rustix::termios::isatty(rustix::stdio::stderr())
        {
            if held.messages.len() + bytes.len() <= HELD_MOST {
                held.messages.extend_from_slice(bytes);
            }
            return Ok(bytes.len());
        }
        // Not under the lock: stderr may take its time.
        io::stderr().write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Prints a one-line warning: something works, but is not as it should be.
pub fn warn(line: &str) {
    say(&one_line(&format!("warning: {line}")));
}

/// Prints a fault and its hint. The first words are part of the contract, so nothing precedes them.
pub fn fault(fault: &Fault) {
    say(&fault.to_string());
    if let Some(hint) = fault.hint() {
        say(&format!("  hint: {hint}"));
    }
}

/// Prints one line of data to stdout.
///
/// # Errors
/// Stdout can't be written.
pub fn data(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Prints one line of a list to stdout. Returns false if the reader has seen enough (`| head`), which is no error.
///
/// # Errors
/// Stdout can't be written.
pub fn listed(line: &str) -> io::Result<bool> {
    match data(line) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Returns text of another machine or of a file without characters that move the cursor, ring the bell, or change a line's direction.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_nonprinting(c) && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Returns printable text as one line, for a log or a sentence.
pub fn one_line(text: &str) -> String {
    sally_proto::text::printable(text)
}

/// Returns printable text as one line, cut to a length worth keeping.
pub fn excerpt(text: &str) -> String {
    one_line(&cut(text, EXCERPT))
}

/// Returns at most this many characters of a text.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(text.get(..end).unwrap_or_default().to_owned() + "…"),
        None => Cow::Borrowed(text),
    }
}

/// Returns the system's message, without Rust's "(os error N)".
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
