//! Reads one line: options, key, comment.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::public::KeyData;
use ssh_key::{Fingerprint, HashAlg};

use super::key::{self, KeyFault};
use super::kinds::OptionKind;
use super::options::Options;
use super::permit::PermitRule;
use crate::error::KeyDefect;
use crate::text::printable;

/// The longest line, in bytes. sshd has no limit; a comment of 70 kB and a chain of options must fit, an endless stream must not.
pub const LINE_MAX: usize = 256 * 1024;

/// The longest comment that is kept, in bytes: comments go into records and audit lines, which have their own limit.
pub const COMMENT_MAX: usize = 256;

/// How much of a file's text an error repeats, in characters.
const QUOTED_MAX: usize = 40;

/// Says why a line gives no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LineError {
    /// Number of the line, from 1.
    pub line: usize,
    /// The reason, printable.
    pub reason: String,
    /// What the error means for the file.
    pub kind: LineErrorKind,
}

/// What a line without an entry means for its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineErrorKind {
    /// The line is invalid: a file that is accepted only as a whole is rejected.
    Damaged,
    /// The line is valid, and its key of a type that isn't supported: it admits no client, and the rest of the file is usable.
    Unsupported {
        /// Whether the key has no options.
        bare: bool,
    },
}

impl LineError {
    pub(crate) fn damaged(line: usize, reason: String) -> Self {
        Self { line, reason, kind: LineErrorKind::Damaged }
    }

    /// Returns whether a file that is accepted only as a whole may have such a line.
    pub fn may_be_passed_over(&self) -> bool {
        matches!(self.kind, LineErrorKind::Unsupported { .. })
    }
}

impl From<LineError> for KeyDefect {
    fn from(error: LineError) -> Self {
        Self::Unparseable { line: error.line, reason: error.reason }
    }
}

/// An accepted line: a public key (or a certificate authority's) and what it permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    line: usize,
    options: Options,
    key: KeyData,
    comment: String,
}

impl KeyEntry {
    /// Returns the line's number in its source, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the options before the key.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Returns the public key; never DSA, never a certificate, never of a type that can't be checked.
    pub fn key(&self) -> &KeyData {
        &self.key
    }

    /// Returns the comment after the key, with bytes that aren't UTF-8 and control characters replaced by U+FFFD, cut to [`COMMENT_MAX`]
    /// bytes.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Returns the entry limited to these targets; without rules, unchanged.
    pub(super) fn only_for(mut self, rules: &[PermitRule]) -> Self {
        if !rules.is_empty() {
            self.options.permit_open = rules.to_vec();
            self.options.kinds = self.options.kinds.with(OptionKind::PermitOpen);
        }
        self
    }

    /// Returns the key's SHA-256 fingerprint, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint(HashAlg::Sha256)
    }
}

/// Writes the line as it could be in a file: [`parse`] reads the same entry again.
impl fmt::Display for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options.to_string();
        if !options.is_empty() {
            write!(f, "{options} ")?;
        }
        let blob = ssh_key::PublicKey::from(self.key.clone()).to_bytes().map_err(|_| fmt::Error)?;
        write!(f, "{} {}", self.key.algorithm(), STANDARD.encode(blob))?;
        if !self.comment.is_empty() {
            write!(f, " {}", self.comment)?;
        }
        Ok(())
    }
}

/// Reads a whole file: returns an entry or an error for each line that is neither blank nor a comment.
///
/// A caller that starts a server rejects the file at the first error that may not be passed over; a caller that reloads skips that line
/// and reports it. Accepts any bytes.
pub fn parse(bytes: &[u8]) -> Vec<Result<KeyEntry, LineError>> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines.filter_map(|(index, line)| parse_line(index.saturating_add(1), line).transpose()).collect()
}

fn parse_line(number: usize, line: &[u8]) -> Result<Option<KeyEntry>, LineError> {
    let fail = |reason: String| LineError::damaged(number, reason);
    if line.len() > LINE_MAX {
        return Err(fail(format!("longer than {LINE_MAX} bytes")));
    }
    // sshd reads lines as C strings: it ignores what follows a NUL.
    let text = skip_space(line.split(|byte| *byte == 0).next().unwrap_or_default());
    if matches!(text, [] | [b'#', ..] | [b'\r']) {
        return Ok(None);
    }
    check_kind_of_file(text).map_err(fail)?;
    let bare = key::starts_with_type(text);
    let (options, rest) = if bare {
        (Options::default(), text)
    } else {
        let (options, rest) = split_options(text).map_err(fail)?;
        (Options::parse(options).map_err(fail)?, skip_space(rest))
    };
    let (key, comment) = key::read(rest).map_err(|fault| match fault {
        KeyFault::Damaged(reason) => fail(reason),
        KeyFault::Unsupported(reason) => LineError { line: number, reason, kind: LineErrorKind::Unsupported { bare } },
    })?;
    Ok(Some(KeyEntry { line: number, options, key, comment: displayable(comment) }))
}

/// Recognises common mistakes with whole files.
fn check_kind_of_file(text: &[u8]) -> Result<(), String> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err("begins with a byte order mark: save it as UTF-8 without one".into());
    }
    if text.starts_with(b"-----BEGIN") {
        return Err("begins with -----BEGIN: is that a private key? The public one is in the .pub file".into());
    }
    if text.starts_with(b"PuTTY-User-Key-File") || text.starts_with(b"---- BEGIN SSH2") {
        return Err("is not in OpenSSH's format: convert it with ssh-keygen -i, or copy the line that PuTTYgen shows".into());
    }
    Ok(())
}

/// Splits the options from the rest at the first space or tab outside of quotes; `\"` never ends a quote.
fn split_options(text: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        let was_escaped = std::mem::replace(&mut escaped, false);
        match byte {
            b'\\' if !was_escaped => escaped = text.get(at.saturating_add(1)) == Some(&b'"'),
            b'"' if !was_escaped => quoted = !quoted,
            b' ' | b'\t' if !quoted => return Ok(text.split_at(at)),
            _ => {}
        }
    }
    if quoted { Err("a quote is not closed".into()) } else { Ok((text, &[])) }
}

pub(super) fn skip_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// Makes untrusted bytes fit for a terminal or a log: no control characters, at most [`COMMENT_MAX`] bytes.
pub(super) fn displayable(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    let clean = printable(&String::from_utf8_lossy(bytes.get(..COMMENT_MAX.saturating_mul(4)).unwrap_or(bytes)));
    let mut end = COMMENT_MAX.min(clean.len());
    while !clean.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    clean.get(..end).unwrap_or_default().trim_ascii_end().to_owned()
}

/// Makes a word of the file fit for an error message: short, printable.
pub(super) fn quote(bytes: &[u8]) -> String {
    let text = printable(&String::from_utf8_lossy(bytes.get(..QUOTED_MAX.saturating_mul(4)).unwrap_or(bytes)));
    let short: String = text.chars().take(QUOTED_MAX).collect();
    let more = if short.len() < text.len() || bytes.len() > QUOTED_MAX.saturating_mul(4) { "…" } else { "" };
    format!("`{short}{more}`")
}
