//! Writes records, and proves what can be proven of one.
//!
//! A record is an asciicast v2 file: a header line, then one JSON array `[time, code, data]` per line, `data` always a string. In the
//! order in which a byte travels: [`StreamKind`] says where it comes from, `chunk` and `escape` choose how it is written, [`Encoder`]
//! makes batches of whole lines, a [`RunningDigest`] covers every byte of them, a [`Signer`] signs it from time to time. On the way back,
//! [`RecordLines`] cuts the file, [`RecordLine`] reads a line, [`Verifier`] gives one of six verdicts.
//!
//! docs/record-format.md describes the format in full, for authors of readers.

mod audit;
mod chain;
mod chunk;
mod digest;
mod encode;
mod escape;
mod header;
mod parse;
mod playable;
mod read;
mod share;
mod streams;
mod time;
mod untrusted;
mod verify;

#[cfg(test)]
mod tests;

pub use audit::{AuditEvent, Certificate, ForwardDirection, SftpOperation};
pub use chain::{Seal, SignError, Signer, check_signature, signed_text};
pub use digest::{DigestName, RunningDigest};
pub use encode::{Encoder, MAX_BATCH};
pub use header::{Header, Policy, PolicyError, UnknownFormat, parse_size};
pub use parse::{Assembly, HashLine, ParseError, RecordEvent, RecordLine};
pub use read::{RawLine, RecordLines};
pub use share::{Approval, Join, ShareStart, Via};
pub use streams::{Direction, RecordStream, StreamKind, Tracker};
pub use time::Timestamp;
pub use untrusted::UntrustedText;
pub use verify::{NoRecord, Report, Trust, Verdict, Verifier, exit};

/// The length that a line of a record in a file stays under, its newline included.
pub const MAX_LINE: usize = 64 * 1024;

/// The length that a line of a record on stdout stays under: container log drivers split lines at 16 KiB.
pub const MAX_LINE_STDOUT: usize = 16 * 1024;

/// Returns the length of the unfinished UTF-8 character at the end of `bytes`, 0 to 3.
///
/// The reader of a terminal can hold these bytes back until the rest has come, so that stock players show the character whole.
pub fn incomplete_tail(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for (back, byte) in bytes.get(tail..).unwrap_or_default().iter().rev().enumerate() {
        let wanted = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return 0,
        };
        let have = back + 1;
        // E0 9F, ED A0, F0 8F, F4 90: nothing can complete the character, so it is not unfinished but wrong.
        let unfinished = have < wanted
            && bytes
                .get(bytes.len() - have..)
                .is_some_and(|part| std::str::from_utf8(part).is_err_and(|error| error.error_len().is_none()));
        return if unfinished { have } else { 0 };
    }
    0
}

/// A character that begins in one piece of a stream and ends in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutCharacter {
    bytes: [u8; 4],
    length: usize,
    /// How many of its bytes the first piece ends with; the next piece begins with the others.
    pub begun: usize,
}

impl CutCharacter {
    /// Returns the character that is cut between `before` and `after`, if one is.
    pub fn between(before: &[u8], after: &[u8]) -> Option<Self> {
        let begun = incomplete_tail(before);
        let start = before.get(before.len() - begun..)?;
        let length = match start.first()? {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            _ => 4,
        };
        let mut bytes = [0; 4];
        let joined = bytes.get_mut(..length)?;
        joined.iter_mut().zip(start.iter().chain(after.get(..length - begun)?)).for_each(|(to, from)| *to = *from);
        std::str::from_utf8(joined).ok()?;
        Some(Self { bytes, length, begun })
    }

    /// Returns its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Returns how many of its bytes the next piece begins with.
    pub const fn finished(&self) -> usize {
        self.length - self.begun
    }
}
