//! Decides the size of a shared terminal, and how often it may change.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedSize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl SharedSize {
    /// The smallest size of a shared terminal: programs of full screens do nonsense below it.
    pub const LEAST: Self = Self { cols: 20, rows: 5 };
    /// The largest size: 100,000 cells, which each viewer's screen costs.
    pub const MOST: Self = Self { cols: 500, rows: 200 };
    /// The size as long as there is no window to follow.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// Returns the nearest size that a shared terminal may have.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { cols: self.cols.clamp(Self::LEAST.cols, Self::MOST.cols), rows: self.rows.clamp(Self::LEAST.rows, Self::MOST.rows) }
    }

    /// Returns what fits into both sizes.
    fn common(self, other: Self) -> Self {
        Self { cols: self.cols.min(other.cols), rows: self.rows.min(other.rows) }
    }
}

impl fmt::Display for SharedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.cols, self.rows)
    }
}

/// Whom the size of a shared terminal follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizePolicy {
    /// The local terminal, whichever viewers join.
    #[default]
    Host,
    /// The smallest window of those who may write.
    Writers,
    /// No window.
    Fixed(SharedSize),
}

/// Says that a text isn't a size policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizePolicyError {
    /// It has none of the three forms.
    #[error("say `host`, `writers`, or COLSxROWS such as 120x40")]
    Form,
    /// The size is too small or too large.
    #[error("a size is between {} and {}", SharedSize::LEAST, SharedSize::MOST)]
    Bounds,
}

impl FromStr for SizePolicy {
    type Err = SizePolicyError;

    fn from_str(text: &str) -> Result<Self, SizePolicyError> {
        match text {
            "host" => return Ok(Self::Host),
            "writers" => return Ok(Self::Writers),
            _ => {}
        }
        let (cols, rows) = text.split_once('x').ok_or(SizePolicyError::Form)?;
        let size = SharedSize { cols: number(cols)?, rows: number(rows)? };
        if size == size.bounded() { Ok(Self::Fixed(size)) } else { Err(SizePolicyError::Bounds) }
    }
}

fn number(digits: &str) -> Result<u16, SizePolicyError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SizePolicyError::Form);
    }
    digits.parse().map_err(|_| SizePolicyError::Bounds)
}

impl fmt::Display for SizePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Writers => f.write_str("writers"),
            Self::Fixed(size) => size.fmt(f),
        }
    }
}

impl SizePolicy {
    /// Returns the size that the terminal should have, of the local terminal's and of the windows of those who may write; `None` where it
    /// should keep the one it has, because who decides is not there.
    #[must_use]
    pub fn size(self, host: Option<SharedSize>, writers: impl IntoIterator<Item = SharedSize>) -> Option<SharedSize> {
        match self {
            Self::Host => host.map(SharedSize::bounded),
            Self::Writers => writers.into_iter().reduce(SharedSize::common).map(SharedSize::bounded),
            Self::Fixed(size) => Some(size),
        }
    }
}

/// How often the size may change in [`CHANGES_IN`]: each change is a SIGWINCH, and a screen for everybody.
const CHANGES_MOST: usize = 4;
/// The time in which it may change so often.
const CHANGES_IN: Duration = Duration::from_secs(1);

/// Limits the changes of a size to four in any second, of which the last one counts. Times are monotonic, since any start.
#[derive(Clone, Debug)]
pub struct SizeChanges {
    current: SharedSize,
    /// The size that is asked for, and not yet made.
    wanted: Option<SharedSize>,
    /// When the last changes were made.
    made: VecDeque<Duration>,
}

impl SizeChanges {
    /// Begins with a size.
    #[must_use]
    pub fn new(size: SharedSize) -> Self {
        Self { current: size, wanted: None, made: VecDeque::with_capacity(CHANGES_MOST) }
    }

    /// Returns the size that the terminal has.
    #[must_use]
    pub const fn current(&self) -> SharedSize {
        self.current
    }

    /// Asks for a size, in the place of one that was asked for and not yet made; [`SizeChanges::take`] says when to make it.
    pub fn ask(&mut self, size: SharedSize) {
        self.wanted = (size != self.current).then_some(size);
    }

    /// Returns the size to make now: it counts as made.
    pub fn take(&mut self, now: Duration) -> Option<SharedSize> {
        if self.due()? > now {
            return None;
        }
        let size = self.wanted.take()?;
        if self.made.len() >= CHANGES_MOST {
            self.made.pop_front();
        }
        self.made.push_back(now);
        self.current = size;
        Some(size)
    }

    /// Returns from when on there is a size to make. `None`: none was asked for.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.wanted?;
        let oldest = self.made.front().filter(|_| self.made.len() >= CHANGES_MOST);
        Some(oldest.map_or(Duration::ZERO, |oldest| oldest.saturating_add(CHANGES_IN)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn size(cols: u16, rows: u16) -> SharedSize {
        SharedSize { cols, rows }
    }

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in ["host", "writers", "120x40", "20x5", "500x200"] {
            assert_eq!(text.parse::<SizePolicy>().unwrap().to_string(), text);
        }
        for text in ["", "x", "80", "80x", "x24", "80X24", "+80x24", "80x24x2", " 80x24", "80×24", "Host", "-1x24"] {
            assert_eq!(text.parse::<SizePolicy>(), Err(SizePolicyError::Form), "{text}");
        }
        for text in ["1x1", "19x24", "80x4", "501x24", "80x201", "1000x1000", "99999x24"] {
            assert_eq!(text.parse::<SizePolicy>(), Err(SizePolicyError::Bounds), "{text}");
        }
        assert_eq!(SizePolicyError::Bounds.to_string(), "a size is between 20x5 and 500x200");
    }

    #[test]
    fn only_whom_the_policy_asks_decides() {
        let (host, writers) = (Some(size(120, 40)), [size(100, 50), size(200, 30)]);
        assert_eq!(SizePolicy::Host.size(host, writers), host);
        assert_eq!(SizePolicy::Host.size(None, writers), None);
        assert_eq!(SizePolicy::Writers.size(host, writers), Some(size(100, 30)));
        assert_eq!(SizePolicy::Writers.size(host, []), None);
        assert_eq!(SizePolicy::Fixed(size(90, 30)).size(host, writers), Some(size(90, 30)));
        assert_eq!(SizePolicy::Host.size(Some(size(1, 1)), []), Some(SharedSize::LEAST));
        assert_eq!(SizePolicy::Writers.size(None, [size(1000, 1000)]), Some(SharedSize::MOST));
    }

    #[test]
    fn four_changes_a_second_and_the_last_counts() {
        let at = Duration::from_millis;
        let mut changes = SizeChanges::new(SharedSize::DEFAULT);
        for n in 0..4 {
            changes.ask(size(100 + n, 30));
            assert_eq!(changes.take(at(10)), Some(size(100 + n, 30)));
        }
        for n in 0..60 {
            changes.ask(size(200 + n, 30));
            assert_eq!(changes.take(at(500)), None);
        }
        assert_eq!((changes.due(), changes.current()), (Some(at(1010)), size(103, 30)));
        assert_eq!((changes.take(at(1010)), changes.due()), (Some(size(259, 30)), None));
        // Back to the size that it has: nothing is to be done.
        changes.ask(size(100, 30));
        changes.ask(size(259, 30));
        assert_eq!((changes.due(), changes.take(at(5000))), (None, None));
    }

    proptest! {
        #[test]
        fn in_any_second_no_more_than_four(gaps in prop::collection::vec((0..400_u64, 20..30_u16), 1..200)) {
            let mut changes = SizeChanges::new(SharedSize::DEFAULT);
            let (mut now, mut made, mut last) = (0, Vec::<u64>::new(), SharedSize::DEFAULT);
            for (gap, cols) in gaps {
                now += gap;
                last = size(cols, 24);
                changes.ask(last);
                if changes.take(Duration::from_millis(now)).is_some() {
                    made.push(now);
                }
                prop_assert!(made.iter().filter(|at| now - **at < 1000).count() <= 4);
            }
            if let Some(due) = changes.due() {
                prop_assert_eq!(changes.take(due), Some(last));
            }
            prop_assert_eq!(changes.current(), last);
        }
    }
}
