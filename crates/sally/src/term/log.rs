//! Writes diagnostics: each event is one line, in which other parties' text is only text.

use std::fmt::Write as _;
use std::io::{self, Write};

use sally_proto::text::{is_nonprinting, printable};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The writer below every event, whatever code emits it: it filters what the event's formatter lets through.
#[derive(Clone, Copy, Debug)]
pub struct Log<M> {
    form: Form,
    to: M,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Text { coloured: bool },
    Json,
}

impl<M> Log<M> {
    /// Makes a writer of lines for users: replaces characters that aren't text. `coloured`: colours the level, and dims the time.
    pub const fn text(to: M, coloured: bool) -> Self {
        Self { form: Form::Text { coloured }, to }
    }

    /// Makes a writer of JSON, one object a line: escapes characters that aren't text, so that a parser gets them unchanged.
    pub const fn json(to: M) -> Self {
        Self { form: Form::Json, to }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Log<M> {
    type Writer = LogEvent<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LogEvent { form: self.form, level: None, to: self.to.make_writer() }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        LogEvent { form: self.form, level: Some(*event.level()), to: self.to.make_writer_for(event) }
    }
}

/// Writes one event, which the library passes whole in one write.
#[derive(Debug)]
pub struct LogEvent<W> {
    form: Form,
    level: Option<Level>,
    to: W,
}

impl<W: Write> Write for LogEvent<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = match self.form {
            Form::Text { coloured } => paint(printable(text), self.level.filter(|_| coloured)),
            Form::Json => escaped(text),
        };
        line.push('\n');
        self.to.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Colours the level, which is the line's second word, and dims the time before it.
fn paint(line: String, level: Option<Level>) -> String {
    let colour = match level {
        None => return line,
        Some(Level::ERROR) => 31,
        Some(Level::WARN) => 33,
        Some(Level::INFO) => 32,
        Some(Level::DEBUG) => 34,
        Some(Level::TRACE) => 35,
    };
    let name = level.map_or("", |level| level.as_str());
    match line.split_once(name) {
        Some((time, rest)) => format!("\x1b[2m{time}\x1b[0m\x1b[{colour}m{name}\x1b[0m{rest}"),
        None => line,
    }
}

/// Escapes the characters of JSON that aren't text (RFC 8259 section 7), as a surrogate pair if need be. They are all within strings:
/// outside, the JSON is ASCII.
fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut line, c| {
        if is_nonprinting(c) {
            for half in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{half:04x}"); // Writing into a string can't fail.
            }
        } else {
            line.push(c);
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the output of one event that has these words wherever other parties' text may be.
    fn event(words: &str, level: Level, make: impl FnOnce(Kept) -> Box<dyn tracing::Subscriber + Send + Sync>) -> String {
        let kept = Kept::default();
        tracing::subscriber::with_default(make(kept.clone()), || {
            let span = tracing::info_span!("span", %words);
            let _in_it = span.enter();
            match level {
                Level::INFO => tracing::info!(shown = %words, quoted = ?words, "said: {words}"),
                _ => tracing::error!(shown = %words, quoted = ?words, "said: {words}"),
            }
        });
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    fn text(words: &str, coloured: bool) -> String {
        event(words, Level::INFO, |kept| {
            let make = move || kept.clone();
            Box::new(tracing_subscriber::fmt().with_ansi(false).with_writer(Log::text(make, coloured)).finish())
        })
    }

    fn json(words: &str) -> String {
        event(words, Level::ERROR, |kept| {
            let make = move || kept.clone();
            Box::new(tracing_subscriber::fmt().json().with_writer(Log::json(make)).finish())
        })
    }

    const HOSTILE: &str = "\x1b]0;pwn\x07\x1b[31m\nFAKE LINE \u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{e0041}\u{9b}31m\t\r\0";

    fn is_one_printing_line(line: &str) -> bool {
        line.strip_suffix('\n').is_some_and(|line| !line.contains(is_nonprinting))
    }

    #[test]
    fn words_of_others_are_text_and_the_colours_ours() {
        let line = text(HOSTILE, false);
        assert!(is_one_printing_line(&line) && line.matches("FAKE LINE").count() == 4, "{line:?}");
        let painted = text(HOSTILE, true);
        let (time, rest) = painted.strip_prefix("\x1b[2m").unwrap().split_once("\x1b[0m\x1b[32mINFO\x1b[0m").unwrap();
        assert!(!time.contains(is_nonprinting) && is_one_printing_line(rest), "{painted:?}");
    }

    #[test]
    fn json_is_read_as_it_was_said() {
        let line = json(HOSTILE);
        assert!(is_one_printing_line(&line), "{line:?}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&object["fields"]["shown"], &object["span"]["words"]), (&HOSTILE.into(), &HOSTILE.into()), "{line}");
    }

    proptest! {
        #[test]
        fn whatever_is_said_one_line_comes_out(words in "\\PC{0,4}(\\p{Any}|[\\p{C}\\p{Z}\n\r\x1b]){0,20}") {
            prop_assert!(is_one_printing_line(&text(&words, false)));
            let line = json(&words);
            prop_assert!(is_one_printing_line(&line));
            let object: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(object["fields"]["shown"].as_str(), Some(&*words));
        }

        #[test]
        fn whatever_is_written_one_line_comes_out(bytes: Vec<u8>) {
            for form in [Form::Text { coloured: false }, Form::Json] {
                let mut out = Vec::new();
                LogEvent { form, level: None, to: &mut out }.write_all(&bytes).unwrap();
                prop_assert!(bytes.is_empty() || is_one_printing_line(str::from_utf8(&out).unwrap()));
            }
        }
    }
}
