//! Cuts a file into lines with bounded memory.

use std::io::{self, Read};

use super::MAX_LINE;

/// How many bytes are read at once.
const BUFFER: usize = 4 * MAX_LINE;

/// A line as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawLine<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its bytes, with the newline if there is one; of a line that is too long, the first [`MAX_LINE`].
    pub bytes: &'a [u8],
    /// Whether it ends with a newline. The last line of a file that was cut off doesn't.
    pub complete: bool,
    /// Whether it is longer than any line of a record.
    pub too_long: bool,
}

impl<'a> RawLine<'a> {
    /// Returns the bytes without the newline.
    pub fn content(&self) -> &'a [u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes)
    }
}

/// The lines of a file.
#[derive(Debug)]
pub struct RecordLines<R> {
    from: R,
    buffer: Vec<u8>,
    /// The start of what is read and not yet returned.
    start: usize,
    end: usize,
    number: u64,
    at_end: bool,
}

impl<R: Read> RecordLines<R> {
    /// Reads from the file's beginning.
    pub fn new(from: R) -> Self {
        Self { from, buffer: vec![0; BUFFER], start: 0, end: 0, number: 0, at_end: false }
    }

    /// Returns the next line, or `None` at the end.
    ///
    /// # Errors
    /// The reader's.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend its buffer")]
    pub fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        self.number += 1;
        let number = self.number;
        let Some(length) = self.find_line()? else { return Ok(None) };
        let start = self.start;
        self.start += length;
        let complete = self.buffer.get(start..self.start).is_some_and(|bytes| bytes.ends_with(b"\n"));
        if complete || length < MAX_LINE {
            let bytes = self.buffer.get(start..self.start).unwrap_or_default();
            return Ok(Some(RawLine { number, bytes, complete, too_long: false }));
        }
        let complete = self.skip_rest()?;
        // skip_rest keeps the first MAX_LINE bytes at the buffer's front.
        Ok(Some(RawLine { number, bytes: self.buffer.get(..MAX_LINE).unwrap_or_default(), complete, too_long: true }))
    }

    /// Returns the length of the next line, of what is left at the end of the file, or [`MAX_LINE`] if no newline comes so soon.
    fn find_line(&mut self) -> io::Result<Option<usize>> {
        let mut searched = 0;
        loop {
            let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
            let fresh = unread.get(searched..unread.len().min(MAX_LINE)).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', fresh) {
                return Ok(Some(searched + found + 1));
            }
            searched += fresh.len();
            if searched >= MAX_LINE {
                return Ok(Some(MAX_LINE));
            }
            if self.at_end {
                return Ok((searched > 0).then_some(searched));
            }
            self.fill()?;
        }
    }

    /// Reads more, after moving what is left to the front if the end of the buffer is near.
    fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() - self.start < 2 * MAX_LINE {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = loop {
            match self.from.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += count;
        self.at_end = count == 0;
        Ok(())
    }

    /// Skips the rest of a line that is too long, and returns whether it has a newline.
    fn skip_rest(&mut self) -> io::Result<bool> {
        // The line's beginning moves to the front, and what follows is read behind it.
        self.buffer.copy_within(self.start - MAX_LINE..self.end, 0);
        self.end = self.end - self.start + MAX_LINE;
        self.start = MAX_LINE;
        loop {
            let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', unread) {
                self.start += found + 1;
                return Ok(true);
            }
            self.start = MAX_LINE;
            self.end = MAX_LINE;
            if self.at_end {
                return Ok(false);
            }
            let room = self.buffer.get_mut(MAX_LINE..).unwrap_or_default();
            match self.from.read(room) {
                Ok(0) => self.at_end = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(into.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            into[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn all(text: &[u8], step: usize) -> Vec<(u64, Vec<u8>, bool, bool)> {
        let mut lines = RecordLines::new(Slow(text, step));
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.number, line.bytes.to_vec(), line.complete, line.too_long));
        }
        assert!(lines.next().unwrap().is_none());
        found
    }

    #[test]
    fn lines_come_whole_and_a_torn_one_is_known() {
        assert_eq!(all(b"", 1), []);
        assert_eq!(all(b"\n", 1), [(1, b"\n".to_vec(), true, false)]);
        assert_eq!(
            all(b"ab\n\ncd", 2),
            [(1, b"ab\n".to_vec(), true, false), (2, b"\n".to_vec(), true, false), (3, b"cd".to_vec(), false, false)]
        );
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        for (length, too_long) in [(MAX_LINE - 1, false), (MAX_LINE, true), (MAX_LINE + 1, true), (3 * BUFFER + 5, true)] {
            for step in [1000, 70_000, usize::MAX] {
                let mut text = vec![b'x'; length];
                text.extend_from_slice(b"\nnext\nlast");
                let found = all(&text, step);
                assert_eq!(found.len(), 3, "{length} {step}");
                assert_eq!((found[0].2, found[0].3), (true, too_long), "{length} {step}");
                assert_eq!(found[1], (2, b"next\n".to_vec(), true, false));
                assert_eq!(found[2], (3, b"last".to_vec(), false, false));
                let torn = all(&text[..length], step);
                assert_eq!((torn.len(), torn[0].2, torn[0].1.len()), (1, false, length.min(MAX_LINE)));
            }
        }
    }

    proptest! {
        #[test]
        fn lines_joined_are_the_file(text in "[a\n]{0,300}", step in 1usize..40) {
            let found = all(text.as_bytes(), step);
            let joined: Vec<u8> = found.iter().flat_map(|line| line.1.clone()).collect();
            prop_assert_eq!(joined, text.as_bytes());
            prop_assert_eq!(found.iter().filter(|line| line.2).count(), text.matches('\n').count());
        }
    }
}
