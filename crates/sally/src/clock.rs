//! The time of day.

use std::time::SystemTime;

/// Seconds since 1970 for whatever may expire: a clock before 1970 is no clock, and then everything that expires has expired, and what is
/// issued is good at no time.
pub(crate) fn unix_time_or_expired() -> u64 {
    unix_time().unwrap_or(u64::MAX)
}

/// Seconds since 1970; `None` from a clock before that. For what is only shown.
pub(crate) fn unix_time() -> Option<u64> {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}
