//! Patterns over names and addresses: sshd's `match_pattern` and `addr_match_list`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest host name or pattern element, in bytes (the C library's `NI_MAXHOST`, less its NUL).
pub const HOST_MAX: usize = 1024;

/// What a list of address patterns says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An element matches, no negated one does.
    Matches,
    /// None matches, or a negated one does.
    Differs,
    /// An element makes no sense: nobody matches.
    Invalid,
}

/// Whether text matches a pattern of `*` (any run of bytes), `?` (any one byte) and literal bytes; case matters. ssh_config(5), PATTERNS.
///
/// Takes time in the product of the two lengths at worst, so that a pattern can't be made to hang it.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0_usize, 0_usize);
    // Where the last `*` stood, and how much of the text it has swallowed.
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

/// A `from=` list against a peer: addresses, `ADDRESS/BITS`, and patterns over the address's text; `!` in front negates.
pub(super) fn match_from(list: &str, peer: IpAddr) -> Verdict {
    let peer = peer.to_canonical();
    let text = peer.to_string();
    let mut verdict = Verdict::Differs;
    let mut excluded = false;
    for element in list.split(',') {
        let (negated, element) = element.strip_prefix('!').map_or((false, element), |rest| (true, rest));
        if element.is_empty() || element.len() > HOST_MAX {
            return Verdict::Invalid;
        }
        let hit = match parse_network(element) {
            Network::Invalid => return Verdict::Invalid,
            Network::Block(network, bits) => contains(network, bits, peer),
            Network::Not => false,
        };
        // A name can't match, but `192.168.*` and `2001:DB8:*` have to.
        let hit = hit || matches_pattern(&element.to_ascii_lowercase(), &text);
        match (hit, negated) {
            (true, true) => excluded = true,
            (true, false) => verdict = Verdict::Matches,
            (false, _) => {}
        }
    }
    if excluded { Verdict::Differs } else { verdict }
}

/// A certificate's `source-address` against a peer: a list of addresses and blocks, nothing else (PROTOCOL.certkeys).
pub(super) fn match_source_address(list: &str, peer: IpAddr) -> Verdict {
    let peer = peer.to_canonical();
    let mut verdict = Verdict::Differs;
    for element in list.split(',') {
        if !element.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/')) {
            return Verdict::Invalid;
        }
        match parse_network(element) {
            Network::Block(network, bits) if contains(network, bits, peer) => verdict = Verdict::Matches,
            Network::Block(..) => {}
            Network::Not | Network::Invalid => return Verdict::Invalid,
        }
    }
    verdict
}

enum Network {
    /// An address and how many of its leading bits count.
    Block(IpAddr, u32),
    /// No address at all: a name, or a pattern.
    Not,
    /// Meant as a block or an address, and wrong.
    Invalid,
}

fn parse_network(text: &str) -> Network {
    // A zone (`fe80::1%eth0`) says nothing about a peer of whom the address is all that is known.
    if text.contains('%') {
        return Network::Invalid;
    }
    let Some((address, bits)) = text.split_once('/') else {
        return parse_address(text).map_or(Network::Not, |address| Network::Block(address, width(address)));
    };
    let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    match (parse_address(address), bits.parse::<u32>()) {
        (Some(address), Ok(bits)) if digits && bits <= width(address) && network_of(address, bits) == number(address) => {
            Network::Block(address, bits)
        }
        _ => Network::Invalid,
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv6Addr>().map(IpAddr::V6).ok().or_else(|| parse_ipv4(text).map(IpAddr::V4))
}

/// IPv4 as `inet_aton` reads it, as sshd does: `127.1`, `0x7f.1` and `2130706433` are 127.0.0.1, and `010.0.0.1` is 8.0.0.1.
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

/// The address with everything after its leading bits cleared.
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
