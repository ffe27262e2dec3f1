//! Defines how many connections may be mid-authentication at once.

use std::fmt;
use std::str::FromStr;

/// `start:rate:full`, as sshd's `MaxStartups` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Startups {
    /// Below this number of connections, none makes room.
    pub start: u32,
    /// From `start` on, the percentage of new connections for which one makes room.
    pub rate: u32,
    /// The number of connections at which one makes room for each new connection: there are never more.
    pub full: u32,
}

impl Startups {
    /// sshd begins at 10, because it refuses what it has no room for. Here a connection that waits for a passphrase to be typed isn't
    /// disturbed by 50 others. 100 connections in mid-handshake take some 20 MB.
    pub const DEFAULT: Self = Self { start: 50, rate: 30, full: 100 };

    /// Returns the percentage of new connections for which one makes room, with `waiting` connections mid-authentication.
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
