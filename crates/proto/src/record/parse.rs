//! Reads one line of a record.

use std::borrow::Cow;

use serde::Deserialize;

use super::audit::AuditEvent;
use super::chain::Seal;
use super::streams::RecordStream;
use super::time::Timestamp;

/// The largest event that is put together of parts, in bytes.
const MAX_EVENT: usize = 16 << 20;

/// Says why a line isn't a line of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(&'static str);

/// A line in its parts: `[time,"code","data"]`, exactly as the encoder writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLine<'a> {
    /// The time.
    pub at: Timestamp,
    /// The time as written.
    pub time: &'a str,
    /// The kind of event.
    pub code: u8,
    /// The JSON string, its quotes included.
    data: &'a [u8],
}

/// The content of an `h` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLine<'a> {
    /// The digest of everything before the line, in hex.
    pub hash: &'a str,
    /// The kind and the signature (base64 of an SSHSIG blob), if the line is signed.
    pub seal: Option<(Seal, &'a str)>,
}

/// An event with its data decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordEvent<'a> {
    /// `o`: text shown.
    Output(Cow<'a, str>),
    /// `i`: text typed or sent.
    Input(Cow<'a, str>),
    /// `b`: bytes of a stream that aren't text.
    Bytes(RecordStream, Vec<u8>),
    /// `r`: columns and rows.
    Resize(u16, u16),
    /// `m`: a marker.
    Marker(Cow<'a, str>),
    /// `x`: an exit status.
    Exit(u32),
    /// `a`: an audit event as JSON text.
    Audit(Cow<'a, str>),
    /// `h`: the chain's hash.
    Hash(HashLine<'a>),
    /// A code that this version doesn't know.
    Other(u8),
}

impl<'a> RecordLine<'a> {
    /// Splits a line (without its newline); only [`RecordLine::event`] reads the data.
    ///
    /// # Errors
    /// If it isn't a line of ours.
    pub fn parse(line: &'a [u8]) -> Result<Self, ParseError> {
        const SHAPE: ParseError = ParseError("it is not [time,\"code\",\"data\"]");
        let inner = line.strip_prefix(b"[").and_then(|line| line.strip_suffix(b"]")).ok_or(SHAPE)?;
        let comma = inner.iter().position(|byte| *byte == b',').ok_or(SHAPE)?;
        let (time, rest) = inner.split_at_checked(comma).ok_or(SHAPE)?;
        let at = Timestamp::parse(time).ok_or(ParseError("its time is not seconds with six decimals"))?;
        let time = std::str::from_utf8(time).map_err(|_| SHAPE)?;
        match rest {
            [b',', b'"', code, b'"', b',', data @ ..] if code.is_ascii_lowercase() => match data {
                [b'"', .., b'"'] => Ok(Self { at, time, code: *code, data }),
                _ => Err(SHAPE),
            },
            _ => Err(SHAPE),
        }
    }

    /// Decodes the data.
    ///
    /// # Errors
    /// If it isn't what the code requires.
    pub fn event(&self) -> Result<RecordEvent<'a>, ParseError> {
        match self.code {
            b'o' => Ok(RecordEvent::Output(self.text()?)),
            b'i' => Ok(RecordEvent::Input(self.text()?)),
            b'm' => Ok(RecordEvent::Marker(self.text()?)),
            b'a' => Ok(RecordEvent::Audit(self.text()?)),
            b'h' => self.hash().map(RecordEvent::Hash),
            b'b' => {
                let (letter, base64) = self.plain().split_at_checked(2).ok_or(ParseError("its bytes name no stream"))?;
                let stream = match letter {
                    [letter, b':'] => RecordStream::from_letter(*letter),
                    _ => None,
                };
                let stream = stream.ok_or(ParseError("its bytes name no stream"))?;
                let bytes = base64_simd::STANDARD.decode_to_vec(base64).map_err(|_| ParseError("its bytes are not base64"))?;
                Ok(RecordEvent::Bytes(stream, bytes))
            }
            b'r' => {
                let size = self.text()?;
                let (cols, rows) = size.split_once('x').ok_or(ParseError("its size is not COLUMNSxROWS"))?;
                let number = |text: &str| text.parse().map_err(|_| ParseError("its size is not COLUMNSxROWS"));
                Ok(RecordEvent::Resize(number(cols)?, number(rows)?))
            }
            b'x' => self.text()?.parse().map(RecordEvent::Exit).map_err(|_| ParseError("its exit status is not a number")),
            code => Ok(RecordEvent::Other(code)),
        }
    }

    /// Reads the content of an `h` line.
    ///
    /// # Errors
    /// If it isn't in the required form.
    pub fn hash(&self) -> Result<HashLine<'a>, ParseError> {
        let text = std::str::from_utf8(self.plain()).map_err(|_| ParseError("its hash is not text"))?;
        let mut words = text.split(' ');
        let hash = words.next().unwrap_or_default();
        if self.code != b'h' || hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseError("its hash is not 64 hex digits"));
        }
        let seal = match (words.next(), words.next(), words.next()) {
            (None, _, _) => None,
            (Some(word), Some(blob), None) => Some((Seal::from_word(word).ok_or(ParseError("it signs as something unknown"))?, blob)),
            _ => return Err(ParseError("its signature is not a word and base64")),
        };
        Ok(HashLine { hash, seal })
    }

    /// Returns the data of an event whose characters never need an escape.
    fn plain(&self) -> &'a [u8] {
        self.data.get(1..self.data.len().saturating_sub(1)).unwrap_or_default()
    }

    /// Returns the data of any other event: borrowed if it has no escape.
    fn text(&self) -> Result<Cow<'a, str>, ParseError> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        serde_json::from_slice::<Text<'_>>(self.data).map(|text| text.0).map_err(|_| ParseError("its data is not a JSON string"))
    }
}

/// Assembles the audit events that were too long for one line.
#[derive(Debug, Default)]
pub struct Assembly {
    text: String,
    next: u32,
}

impl Assembly {
    /// Takes the JSON text of an `a` line; returns it, or the whole event's at its last part, or `None` in between.
    pub fn push(&mut self, json: &str) -> Option<String> {
        if !json.starts_with(r#"{"event":"part","#) {
            return Some(json.to_owned());
        }
        let Ok(AuditEvent::Part { part, parts, text }) = serde_json::from_str(json) else { return None };
        if part == 1 {
            self.text.clear();
            self.next = 1;
        }
        if part != self.next || self.text.len() + text.len() > MAX_EVENT {
            self.next = 0;
            return None;
        }
        self.text.push_str(&text);
        self.next += 1;
        if part < parts {
            return None;
        }
        self.next = 0;
        Some(std::mem::take(&mut self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_understood() {
        let event = |line: &'static str| RecordLine::parse(line.as_bytes()).unwrap().event();
        assert_eq!(event(r#"[1.000000,"o","hi\r\n"]"#), Ok(RecordEvent::Output("hi\r\n".into())));
        assert_eq!(event(r#"[1.000000,"i","q"]"#), Ok(RecordEvent::Input("q".into())));
        assert_eq!(event(r#"[1.000000,"b","e:/w=="]"#), Ok(RecordEvent::Bytes(RecordStream::Stderr, vec![0xff])));
        assert_eq!(event(r#"[1.000000,"r","80x24"]"#), Ok(RecordEvent::Resize(80, 24)));
        assert_eq!(event(r#"[1.000000,"x","137"]"#), Ok(RecordEvent::Exit(137)));
        assert_eq!(event(r#"[1.000000,"m","masked"]"#), Ok(RecordEvent::Marker("masked".into())));
        assert_eq!(event(r#"[1.000000,"a","{}"]"#), Ok(RecordEvent::Audit("{}".into())));
        assert_eq!(event(r#"[1.000000,"z","new"]"#), Ok(RecordEvent::Other(b'z')));
        let hash = "0".repeat(64);
        let line = format!(r#"[1.000000,"h","{hash} seal AAAA"]"#);
        assert_eq!(RecordLine::parse(line.as_bytes()).unwrap().hash(), Ok(HashLine { hash: &hash, seal: Some((Seal::Seal, "AAAA")) }));
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "",
            "[",
            "[]",
            r#"[1,"o","x"]"#,
            r#"[1.000000, "o","x"]"#,
            r#"[1.000000,"oo","x"]"#,
            r#"[1.000000,"o",1]"#,
            r#"[1.000000,"o","]"#,
        ] {
            assert!(RecordLine::parse(line.as_bytes()).is_err(), "{line}");
        }
        for line in [
            r#"[1.000000,"o","\q"]"#,
            r#"[1.000000,"o","x","y"]"#,
            r#"[1.000000,"b","x:AAAA"]"#,
            r#"[1.000000,"b","o:A"]"#,
            r#"[1.000000,"b",""]"#,
            r#"[1.000000,"r","80"]"#,
            r#"[1.000000,"x","-1"]"#,
            r#"[1.000000,"h","00"]"#,
        ] {
            assert!(RecordLine::parse(line.as_bytes()).unwrap().event().is_err(), "{line}");
        }
    }
}
