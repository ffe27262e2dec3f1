//! Reads the time of day.

use std::time::SystemTime;

/// Returns the seconds since 1970, for what may expire. A clock before 1970 is wrong: then everything that expires has expired, and what is
/// issued is never valid.
pub(crate) fn unix_time_or_expired() -> u64 {
    unix_time().unwrap_or(u64::MAX)
}

/// Returns the seconds since 1970, only to be shown; `None` if the clock is before that.
pub(crate) fn unix_time() -> Option<u64> {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}
