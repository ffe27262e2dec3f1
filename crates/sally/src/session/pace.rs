//! Joins what a program writes to a terminal line by line, without keeping a user waiting.

use std::time::Duration;

use tokio::time::Instant;

/// The rest between two pieces of a flood: a screen shows a new picture every 7 to 16 ms.
const REST: Duration = Duration::from_millis(1);
/// How many pieces must have come without a silence before the next waits: what a key or a redrawn screen causes is fewer.
const AT_ONCE: u32 = 8;
/// A piece of this size, in bytes, is worth its costs, and more might not fit into the kernel's buffer.
const LARGE: usize = 16 << 10;

/// What a terminal's output has been like lately.
///
/// A program in a flood of lines writes each by itself: without a rest each would cost a wake-up, a line of the record and a packet, here and
/// at the client.
#[derive(Debug)]
pub(super) struct OutputRhythm {
    /// The pieces since the last silence.
    run: u32,
    last: Instant,
}

impl OutputRhythm {
    pub(super) const fn new(now: Instant) -> Self {
        Self { run: 0, last: now }
    }

    /// Returns until when the bytes that have come should wait for others, if they should.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Instant> {
        // A timer may be late by a rest: that is no silence of the program's.
        if now > self.last + 2 * REST {
            self.run = 0;
        }
        (self.run >= AT_ONCE).then_some(self.last + REST)
    }

    /// Notes a piece that was taken.
    pub(super) const fn took(&mut self, size: usize, now: Instant) {
        self.run = if size < LARGE { self.run.saturating_add(1) } else { 0 };
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flood_of_lines_rests_and_a_silence_ends_it() {
        let start = Instant::now();
        let mut pace = OutputRhythm::new(start);
        for _ in 0..AT_ONCE {
            assert_eq!(pace.rest(start), None);
            pace.took(80, start);
        }
        assert_eq!(pace.rest(start), Some(start + REST));
        assert_eq!(pace.rest(start + 2 * REST), Some(start + REST), "a late timer is no silence");
        assert_eq!(pace.rest(start + 3 * REST), None, "a key's echo after a silence comes at once");
        for _ in 0..AT_ONCE {
            pace.took(80, start);
        }
        pace.took(LARGE, start);
        assert_eq!(pace.rest(start), None, "large pieces come as fast as they can");
    }
}
