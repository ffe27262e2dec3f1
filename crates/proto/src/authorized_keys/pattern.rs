//! Matches names and addresses against patterns: sshd's `match_pattern` and `addr_match_list`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest host name or pattern element, in bytes (the C library's `NI_MAXHOST`, less its NUL).
pub const HOST_MAX: usize = 1024;

/// The result of matching an address against a list of patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternMatch {
    /// An element matches, and no negated one does.
    Matches,
    /// No element matches, or a negated one does.
    Differs,
    /// An element is invalid: no address matches.
    Invalid,
}

/// Returns whether text matches a pattern of `*` (any run of bytes), `?` (any one byte) and literal bytes; case matters. ssh_config(5),
/// PATTERNS.
///
/// The time is at most the product of the two lengths, so that no pattern can make it hang.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0_usize, 0_usize);
    // The position of the last `*`, and how much of the text it has matched.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(from) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at = at.saturating_add(1);
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at = at.saturating_add(1);
                from = from.saturating_add(1);
            }
            _ => {
                let Some((star_at, swallowed)) = star else { return false };
                let swallowed = swallowed.saturating_add(1);
                star = Some((star_at, swallowed));
                at = star_at.saturating_add(1);
                from = swallowed;
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Matches a peer against a `from=` list: addresses, `ADDRESS/BITS`, and patterns of the address's text; `!` in front negates.
pub(super) fn match_from(list: &str, peer: IpAddr) -> PatternMatch {
    let peer = peer.to_canonical();
    let text = peer.to_string();
    let mut verdict = PatternMatch::Differs;
    let mut excluded = false;
    for element in list.split(',') {
        let (negated, element) = element.strip_prefix('!').map_or((false, element), |rest| (true, rest));
        if element.is_empty() || element.len() > HOST_MAX {
            return PatternMatch::Invalid;
        }
        let hit = match parse_network(element) {
            NetworkPattern::Invalid => return PatternMatch::Invalid,
            NetworkPattern::Block(network, bits) => contains(network, bits, peer),
            NetworkPattern::Not => false,
        };
        // A name can't match, but `192.168.*` and `2001:DB8:*` must.
        let hit = hit || matches_pattern(&element.to_ascii_lowercase(), &text);
        match (hit, negated) {
            (true, true) => excluded = true,
            (true, false) => verdict = PatternMatch::Matches,
            (false, _) => {}
        }
    }
    if excluded { PatternMatch::Differs } else { verdict }
}

/// Matches a peer against a certificate's `source-address`: a list of addresses and blocks only (PROTOCOL.certkeys).
pub(super) fn match_source_address(list: &str, peer: IpAddr) -> PatternMatch {
    let peer = peer.to_canonical();
    let mut verdict = PatternMatch::Differs;
    for element in list.split(',') {
        if !element.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/')) {
            return PatternMatch::Invalid;
        }
        match parse_network(element) {
            NetworkPattern::Block(network, bits) if contains(network, bits, peer) => verdict = PatternMatch::Matches,
            NetworkPattern::Block(..) => {}
            NetworkPattern::Not | NetworkPattern::Invalid => return PatternMatch::Invalid,
        }
    }
    verdict
}

enum NetworkPattern {
    /// An address and the number of its leading bits.
    Block(IpAddr, u32),
    /// Not an address: a name, or a pattern.
    Not,
    /// An invalid block or address.
    Invalid,
}

fn parse_network(text: &str) -> NetworkPattern {
    // A zone (`fe80::1%eth0`) can't be compared: only the peer's address is known.
    if text.contains('%') {
        return NetworkPattern::Invalid;
    }
    let Some((address, bits)) = text.split_once('/') else {
        return parse_address(text).map_or(NetworkPattern::Not, |address| NetworkPattern::Block(address, width(address)));
    };
    let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    match (parse_address(address), bits.parse::<u32>()) {
        (Some(address), Ok(bits)) if digits && bits <= width(address) && network_of(address, bits) == number(address) => {
            NetworkPattern::Block(address, bits)
        }
        _ => NetworkPattern::Invalid,
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv6Addr>().map(IpAddr::V6).ok().or_else(|| parse_ipv4(text).map(IpAddr::V4))
}

/// Reads IPv4 as `inet_aton` does, and sshd: `127.1`, `0x7f.1` and `2130706433` are 127.0.0.1, and `010.0.0.1` is 8.0.0.1.
fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(parse_number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 0xff) {
        return None;
    }
    let free_bits = 32_u32.saturating_sub(u32::try_from(leading.len()).ok()?.saturating_mul(8));
    if *last >= 1_u64 << free_bits {
        return None;
    }
    let high =
        leading.iter().enumerate().fold(0_u64, |sum, (index, part)| sum | (part << (24_usize.saturating_sub(index.saturating_mul(8)))));
    u32::try_from(high | last).ok().map(Ipv4Addr::from)
}

fn parse_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok().filter(|number| *number <= u64::from(u32::MAX)) }
}

fn contains(network: IpAddr, bits: u32, peer: IpAddr) -> bool {
    network.is_ipv4() == peer.is_ipv4() && network_of(peer, bits) == number(network)
}

/// Returns the address with everything after its leading bits cleared.
fn network_of(address: IpAddr, bits: u32) -> u128 {
    let host_bits = width(address).saturating_sub(bits);
    number(address).checked_shr(host_bits).and_then(|high| high.checked_shl(host_bits)).unwrap_or(0)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}
