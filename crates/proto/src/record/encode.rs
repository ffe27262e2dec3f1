//! Encodes events into batches of whole lines; each batch ends with the chain's hash.

use super::audit::AuditEvent;
use super::chain::{Seal, SignError, Signer, sign};
use super::chunk::first_piece;
use super::digest::{DigestName, RunningDigest};
use super::escape::escape;
use super::header::Header;
use super::streams::{Direction, StreamKind, Tracker};
use super::time::Timestamp;

/// The size that a batch (one write(2)) stays under: large enough to make the call cheap, small enough for the caches.
pub const MAX_BATCH: usize = 256 * 1024;

/// The room around an event's data: brackets, quotes, commas, a time of 27 digits, the letter of a `b`, a newline.
const AROUND: usize = 48;
/// The room that an `h` line may need: hash, kind, and the signature of an RSA key of 16,384 bits.
const HASH_LINE: usize = 8 * 1024;
/// The room around the text of a `part` event.
const PART_AROUND: usize = 128;
/// The length up to which a terminal's chunk goes as text, however much escaping it needs: stock players show nothing else.
const ALWAYS_TEXT: usize = 6 * 1024;

/// Encodes events into a buffer that is reused, and hashes every byte of it once.
#[derive(Debug)]
pub struct Encoder {
    batch: Vec<u8>,
    /// The longest data of a line.
    room: usize,
    max_line: usize,
    digest: DigestName,
    chain: RunningDigest,
    tracker: Tracker,
    at: Timestamp,
    /// The number of bytes of the record, with the batch once it is closed.
    written: u64,
}

impl Encoder {
    /// Makes an encoder whose lines, newline included, stay under `max_line` bytes (at least 1 KiB). The header must name the same
    /// digest.
    pub fn new(max_line: usize, digest: DigestName) -> Self {
        let max_line = max_line.clamp(1024, MAX_BATCH / 2);
        Self {
            batch: Vec::with_capacity(MAX_BATCH),
            room: max_line - AROUND,
            max_line,
            digest,
            chain: digest.start(),
            tracker: Tracker::default(),
            at: Timestamp::default(),
            written: 0,
        }
    }

    /// Begins the next batch.
    pub fn clear(&mut self) {
        self.batch.clear();
    }

    /// Returns the closed batch and begins the next one, in an empty buffer.
    pub fn take(&mut self, empty: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.batch, empty)
    }

    /// Returns the number of bytes in the batch.
    pub const fn pending(&self) -> usize {
        self.batch.len()
    }

    /// Returns the number of bytes of the record, up to the last closed batch.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Appends the header line.
    pub fn header(&mut self, header: &Header) -> Result<(), serde_json::Error> {
        self.batch.extend_from_slice(header.to_json()?.as_bytes());
        self.batch.push(b'\n');
        Ok(())
    }

    /// Appends as much of a chunk as the batch has room for, and returns how many bytes that was.
    ///
    /// Text if it is UTF-8 and no longer than base64 would be; a terminal's chunk also if it is longer, up to a limit.
    pub fn chunk(&mut self, at: Timestamp, channel: u32, kind: StreamKind, data: &[u8]) -> usize {
        let stream = kind.stream();
        if !data.is_empty() && self.tracker.switch(channel, stream) {
            self.audit(at, &AuditEvent::Stream { channel, stream }, 0);
        }
        let base64_limit = self.room / 4 * 3;
        let limit = if kind.is_pty() { base64_limit / 2 } else { base64_limit };
        let code = match stream.direction() {
            Direction::Output => b'o',
            Direction::Input => b'i',
        };
        let mut rest = data;
        while !rest.is_empty() && !self.is_full() {
            let piece = first_piece(rest, limit, kind.is_pty());
            let base64 = piece.bytes.len().div_ceil(3) * 4;
            let budget = if kind.is_pty() { (2 * base64).max(ALWAYS_TEXT.min(self.room)) } else { base64 };
            let before = self.batch.len();
            self.open_line(at, code);
            if piece.text && escape(&mut self.batch, piece.bytes, budget) {
                self.close_line();
            } else {
                self.batch.truncate(before);
                self.open_line(at, b'b');
                self.batch.extend_from_slice(&[stream.letter(), b':']);
                base64_simd::STANDARD.encode_append(piece.bytes, &mut self.batch);
                self.close_line();
            }
            rest = piece.rest;
        }
        data.len() - rest.len()
    }

    /// Appends an audit event. An event that is too long for a line is cut into `part` events, from part `done` on as many as the batch
    /// has room for: `Some(n)` says that n are written, and must be passed with the next batch.
    pub fn audit(&mut self, at: Timestamp, event: &AuditEvent, done: usize) -> Option<usize> {
        // Our own types have only string keys: serialising them into memory can't fail.
        let json = serde_json::to_string(event).unwrap_or_default();
        if self.text_line(at, b'a', &json) {
            return None;
        }
        // JSON text has no control characters: escaped for `text` and again for the line, a byte grows to 4 at most.
        let parts: Vec<&str> = split_text(&json, (self.room - PART_AROUND) / 4).collect();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for (index, text) in parts.into_iter().enumerate().skip(done) {
            if self.is_full() {
                return Some(index);
            }
            let part = AuditEvent::Part { part: u32::try_from(index + 1).unwrap_or(u32::MAX), parts: count, text: text.to_owned() };
            self.text_line(at, b'a', &serde_json::to_string(&part).unwrap_or_default());
        }
        None
    }

    /// Appends a marker; one that is too long for a line is cut.
    pub fn marker(&mut self, at: Timestamp, text: &str) {
        let room = self.room;
        let length = split_text(text, room / 6).next().map_or(0, str::len);
        self.text_line(at, b'm', text.get(..length).unwrap_or_default());
    }

    /// Appends the size of a channel's terminal.
    pub fn resize(&mut self, at: Timestamp, channel: u32, cols: u16, rows: u16) {
        self.turn_to(at, channel);
        self.text_line(at, b'r', &format!("{cols}x{rows}"));
    }

    /// Appends the exit status of a channel's program: 128 + n for signal n.
    pub fn exit(&mut self, at: Timestamp, channel: u32, status: u32) {
        self.turn_to(at, channel);
        self.text_line(at, b'x', &status.to_string());
    }

    /// Closes the batch with its `h` line, signed if a seal is given; returns the bytes for one write(2).
    pub fn close(&mut self, at: Timestamp, seal: Option<(Seal, &dyn Signer)>) -> Result<&[u8], SignError> {
        self.chain.update(&self.batch);
        let hashed = self.batch.len();
        let hash = self.chain.hex();
        self.open_line(at, b'h');
        self.batch.extend_from_slice(hash.as_bytes());
        if let Some((seal, signer)) = seal {
            let signature = sign(signer, self.digest, seal, &self.at.to_string(), &hash)?;
            for part in [" ", seal.word(), " ", &signature] {
                self.batch.extend_from_slice(part.as_bytes());
            }
        }
        self.close_line();
        self.chain.update(self.batch.get(hashed..).unwrap_or_default());
        self.written += self.batch.len() as u64;
        Ok(&self.batch)
    }

    /// Returns whether another line might leave no room for the batch's `h` line.
    const fn is_full(&self) -> bool {
        self.batch.len() + self.max_line + HASH_LINE > MAX_BATCH
    }

    /// Makes the channel the current one of the output direction.
    fn turn_to(&mut self, at: Timestamp, channel: u32) {
        let (current, stream) = self.tracker.current(Direction::Output);
        if current != channel {
            self.tracker.switch(channel, stream);
            self.audit(at, &AuditEvent::Stream { channel, stream }, 0);
        }
    }

    /// Appends a line of text; if it is too long, appends nothing and returns false.
    fn text_line(&mut self, at: Timestamp, code: u8, text: &str) -> bool {
        let before = self.batch.len();
        self.open_line(at, code);
        let fits = escape(&mut self.batch, text.as_bytes(), self.room);
        if fits {
            self.close_line();
        } else {
            self.batch.truncate(before);
        }
        fits
    }

    /// Begins a line. Time never runs backwards in a record.
    fn open_line(&mut self, at: Timestamp, code: u8) {
        self.at = self.at.max(at);
        self.batch.push(b'[');
        self.at.write(&mut self.batch);
        self.batch.extend_from_slice(&[b',', b'"', code, b'"', b',', b'"']);
    }

    fn close_line(&mut self) {
        self.batch.extend_from_slice(b"\"]\n");
    }
}

/// Cuts text into pieces of at most `limit` bytes (at least 4) at characters' boundaries.
fn split_text(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let cut = (0..=limit.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at))?;
        let (piece, after) = rest.split_at_checked(cut)?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
