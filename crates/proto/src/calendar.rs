//! Converts between Unix seconds and the calendar, in UTC.

/// Reads `YYYYMMDD[Z]`, `YYYYMMDDHHMM[Z]` or `YYYYMMDDHHMMSS[Z]` (`UTC` for `Z` too) as UTC; returns Unix seconds.
///
/// `None` for anything else, for a date that doesn't exist, and for the epoch itself or earlier.
pub(crate) fn parse_expiry(text: &str) -> Option<u64> {
    let digits = strip_zone(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let field = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |text| text.parse::<u64>().ok());
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = (1970..year).map(days_in_year).sum::<u64>() + (1..month).map(|month| days_in_month(year, month)).sum::<u64>() + day - 1;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second).filter(|seconds| *seconds > 0)
}

/// Writes Unix seconds as `YYYYMMDDHHMMSSZ`.
pub(crate) fn format_expiry(seconds: u64) -> String {
    let (year, month, day) = date(seconds);
    let rest = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Writes Unix seconds for people: `2026-11-21 10:02`.
pub fn utc_minute(seconds: u64) -> String {
    let (year, month, day) = date(seconds);
    let rest = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", rest / 3_600, rest / 60 % 60)
}

fn date(seconds: u64) -> (u64, u64, u64) {
    let mut days = seconds / 86_400;
    let mut year = 1970;
    while year < 9_999 && days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days >= days_in_month(year, month) {
        days -= days_in_month(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

fn strip_zone(text: &str) -> &str {
    let ending = |count: usize| text.len().checked_sub(count).and_then(|at| text.split_at_checked(at));
    match (ending(1), ending(3)) {
        (Some((digits, zone)), _) if zone.eq_ignore_ascii_case("z") => digits,
        (_, Some((digits, zone))) if zone.eq_ignore_ascii_case("utc") => digits,
        _ => text,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}
