//! Reads and writes the time of an event: seconds since the start of a record, with six decimals.

use std::fmt;
use std::time::Duration;

/// The time of an event: microseconds since the record's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Makes a time from microseconds since the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the start.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Returns the seconds since the start.
    pub fn seconds(self) -> f64 {
        Duration::from(self).as_secs_f64()
    }

    /// Reads exactly what is written: digits, a point, six digits, no leading zero that isn't needed.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (whole, fraction) = text.split_at_checked(text.len().checked_sub(7)?)?;
        let (point, fraction) = fraction.split_first()?;
        if *point != b'.' || (whole.len() > 1 && whole.first() == Some(&b'0')) {
            return None;
        }
        let whole = digits(whole)?;
        whole.checked_mul(1_000_000)?.checked_add(digits(fraction)?).map(Self)
    }

    /// Appends the text without an allocation, because every chunk has one.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let mut text = [b'0'; 27];
        let mut rest = self.0;
        let mut length = 0;
        for (index, place) in text.iter_mut().rev().enumerate() {
            if index == 6 {
                *place = b'.';
                continue;
            }
            *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            if index >= 7 && rest == 0 {
                length = index + 1;
                break;
            }
        }
        out.extend_from_slice(text.get(text.len() - length..).unwrap_or_default());
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

impl From<Duration> for Timestamp {
    fn from(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for Duration {
    fn from(at: Timestamp) -> Self {
        Self::from_micros(at.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_six_decimals_and_read_back() {
        for (micros, text) in [(0, "0.000000"), (1, "0.000001"), (1_500_000, "1.500000"), (3_600_000_042, "3600.000042")] {
            let mut out = Vec::new();
            Timestamp(micros).write(&mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(Timestamp(micros).to_string(), text);
            assert_eq!(Timestamp::parse(text.as_bytes()), Some(Timestamp(micros)));
        }
        let mut out = Vec::new();
        Timestamp(u64::MAX).write(&mut out);
        assert_eq!(Timestamp::parse(&out), Some(Timestamp(u64::MAX)));
    }

    #[test]
    fn nothing_else_is_a_time() {
        for text in ["", "1", ".000000", "1.00000", "01.000000", "+1.000000", "1.0000000", "1e3.000000", "99999999999999999999.000000"] {
            assert_eq!(Timestamp::parse(text.as_bytes()), None, "{text}");
        }
    }
}
