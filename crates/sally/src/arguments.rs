//! Parses command-line values that several commands take.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The default port of a relay.
const RELAY_PORT: u16 = 2222;

/// Parses a size in bytes, above 0: `65536`, `64K`, `1M`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let size = sally_proto::record::parse_size(text).ok().filter(|size| *size > 0);
    size.ok_or_else(|| format!("'{text}' is not a size such as 65536, 64K or 1M"))
}

/// Parses `ADDR:PORT`, `[ADDR]:PORT`, or a port for all addresses.
pub(crate) fn parse_listen(text: &str) -> Result<(Option<IpAddr>, u16), String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok((None, port));
    }
    let address = text.strip_prefix("*:").map(str::parse).map(|port| port.map(|port| (None, port)));
    match (address, text.parse::<SocketAddr>()) {
        (Some(Ok(all)), _) => Ok(all),
        (_, Ok(address)) => Ok((Some(address.ip()), address.port())),
        _ => Err(format!("'{text}' is neither ADDR:PORT nor a port")),
    }
}

/// Parses `HOST` or `HOST:PORT`.
pub(crate) fn parse_relay(text: &str) -> Result<sally_proto::host_port::HostPort, String> {
    text.parse().or_else(|_| format!("{text}:{RELAY_PORT}").parse()).map_err(|error: sally_proto::host_port::NotHostPort| error.to_string())
}

/// Parses a duration of at most a day: `30`, `30s`, `5m`, `1h`.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    let seconds = seconds.filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("'{text}' is not a time between 1s and 24h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen() {
        let one = |address: &str| Some(address.parse().unwrap());
        for (text, wanted) in [
            ("2222", (None, 2222)),
            (":2222", (None, 2222)),
            ("*:2222", (None, 2222)),
            ("0.0.0.0:22", (one("0.0.0.0"), 22)),
            ("[::1]:22", (one("::1"), 22)),
        ] {
            assert_eq!(parse_listen(text), Ok(wanted), "{text}");
        }
        assert!(parse_listen("host:22").is_err() && parse_listen("").is_err() && parse_listen("::1").is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(["30", "30s", "5m", "1h"].map(|text| parse_seconds(text).unwrap().as_secs()), [30, 30, 300, 3600]);
        assert!(["", "0", "s", "1d", "25h", "-1"].iter().all(|text| parse_seconds(text).is_err()));
    }
}
