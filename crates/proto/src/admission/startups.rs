//! How many may be mid-authentication at once.

use std::fmt;
use std::str::FromStr;

/// `start:rate:full`, as sshd's `MaxStartups` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Startups {
    /// Below so many connections nobody makes room.
    pub start: u32,
    /// From there on somebody does for so many newcomers of a hundred, …
    pub rate: u32,
    /// … rising to all of them here: there are never more.
    pub full: u32,
}

impl Startups {
    /// sshd begins at 10, since it refuses whom it has no room for; here somebody waits for a passphrase to be typed, perhaps, and is
    /// undisturbed by 50 others. 100 connections in mid-handshake are some 20 MB.
    pub const DEFAULT: Self = Self { start: 50, rate: 30, full: 100 };

    /// For how many newcomers of a hundred somebody makes room, with so many connections waiting.
    pub fn percent(self, waiting: usize) -> u32 {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        if waiting < self.start {
            return 0;
        }
        if waiting >= self.full {
            return 100;
        }
        // start ≤ waiting < full, so that nothing here is below zero.
        self.rate + (100 - self.rate) * (waiting - self.start) / (self.full - self.start)
    }
}

impl FromStr for Startups {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[start, rate, full]) if (1..=full).contains(&start) && rate <= 100 && full <= 100_000 => Ok(Self { start, rate, full }),
            _ => Err(format!("'{text}' is not start:rate:full, as 50:30:100")),
        }
    }
}

impl fmt::Display for Startups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.start, self.rate, self.full)
    }
}
