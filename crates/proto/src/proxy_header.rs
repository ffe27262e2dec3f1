//! Reads the header of the PROXY protocol, version 2 (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, section 2.2), with
//! which a balancer describes a connection before its first byte.
//!
//! Only the binary version is read: haproxy, the balancers of AWS, Envoy and nginx all have it, and its length is known at its start.
//! Anything but a TCP connection's two addresses, or the statement that the connection is the balancer's own, is refused.

use std::net::{IpAddr, SocketAddr};

/// The beginning of every header: no protocol in which the client speaks first begins like this.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The length of the fixed part: signature, version and command, family, length of the rest.
const FIXED: usize = 16;
/// The longest header: addresses, and what a balancer adds to them (names, a TLS client's certificate, an id), in practice a kilobyte at
/// most.
pub const HEADER_MAX: usize = 4096;
/// `PP2_TYPE_CRC32C`: a checksum of the whole header.
const CHECKSUM: u8 = 3;

/// The content of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is the balancer's own, for example a health check.
    Local,
    /// The connection is forwarded for a client.
    Proxied {
        /// The client's address.
        client: SocketAddr,
        /// The address at which it arrived at the balancer.
        server: SocketAddr,
    },
}

/// How far a header has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderProgress {
    /// So many bytes more must be read, and no others: what follows the header isn't part of it.
    More(usize),
    /// The header is complete.
    Whole(ProxyHeader),
}

/// Says why a connection doesn't begin with a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The bytes are no header.
    #[error("no PROXY protocol header of version 2")]
    Missing,
    /// The header is longer than [`HEADER_MAX`].
    #[error("a PROXY protocol header longer than {HEADER_MAX} bytes")]
    TooLong,
    /// The command, family or transport isn't TCP's, or is unknown.
    #[error("a PROXY protocol header that names no TCP connection")]
    NotTcp,
    /// A length is wrong, or the checksum.
    #[error("a damaged PROXY protocol header")]
    Damaged,
}

/// Reads the first bytes of a connection. Call it again with more bytes, those read before in front, as long as it returns
/// [`HeaderProgress::More`].
///
/// # Errors
/// As soon as it is certain that no valid header comes.
pub fn read(bytes: &[u8]) -> Result<HeaderProgress, ProxyHeaderError> {
    if bytes.iter().zip(SIGNATURE).any(|(byte, wanted)| *byte != wanted) {
        return Err(ProxyHeaderError::Missing);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(HeaderProgress::More(FIXED.saturating_sub(bytes.len())));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED.saturating_add(length) > HEADER_MAX {
        return Err(ProxyHeaderError::TooLong);
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(HeaderProgress::More(length.saturating_sub(rest.len())));
    };
    let whole = bytes.get(..FIXED.saturating_add(length)).unwrap_or_default();
    let (header, values) = match (command, family) {
        (0x20, _) => (ProxyHeader::Local, None),
        (0x21, 0x11) => addresses::<4>(rest)?,
        (0x21, 0x21) => addresses::<16>(rest)?,
        (0x21, _) => return Err(ProxyHeaderError::NotTcp),
        _ => return Err(ProxyHeaderError::Missing),
    };
    if let Some(values) = values {
        check_values(whole, values)?;
    }
    Ok(HeaderProgress::Whole(header))
}

/// Reads the two addresses and ports, and the values that follow them.
fn addresses<const N: usize>(rest: &[u8]) -> Result<(ProxyHeader, Option<&[u8]>), ProxyHeaderError>
where
    IpAddr: From<[u8; N]>,
{
    let parts = || {
        let (client, rest) = rest.split_first_chunk::<N>()?;
        let (server, rest) = rest.split_first_chunk::<N>()?;
        let (ports, values) = rest.split_first_chunk::<4>()?;
        Some((*client, *server, *ports, values))
    };
    let (client, server, [a, b, c, d], values) = parts().ok_or(ProxyHeaderError::Damaged)?;
    let socket = |address: [u8; N], port| SocketAddr::new(IpAddr::from(address).to_canonical(), u16::from_be_bytes(port));
    Ok((ProxyHeader::Proxied { client: socket(client, [a, b]), server: socket(server, [c, d]) }, Some(values)))
}

/// Checks the values (type, length, value): they must end where the header does, and a checksum must be right (section 2.2.3).
fn check_values(whole: &[u8], mut values: &[u8]) -> Result<(), ProxyHeaderError> {
    while !values.is_empty() {
        let at = whole.len().saturating_sub(values.len()).saturating_add(3);
        let ([kind, high, low], rest) = values.split_first_chunk::<3>().ok_or(ProxyHeaderError::Damaged)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(ProxyHeaderError::Damaged)?;
        if *kind == CHECKSUM && !value.try_into().is_ok_and(|said| u32::from_be_bytes(said) == crc32c(whole, at)) {
            return Err(ProxyHeaderError::Damaged);
        }
        values = rest;
    }
    Ok(())
}

/// Computes the CRC-32C (RFC 9260, appendix A) of a header, with the checksum (the four bytes from `at` on) as zero.
fn crc32c(header: &[u8], at: usize) -> u32 {
    let checksum = at..at.saturating_add(4);
    let bytes = header.iter().enumerate().map(|(index, byte)| if checksum.contains(&index) { 0 } else { *byte });
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    /// A header of TCP over IPv4, with these values after the addresses.
    fn header(values: &[u8]) -> Vec<u8> {
        let length = u16::try_from(12 + values.len()).unwrap().to_be_bytes();
        let addresses = [198, 51, 100, 7, 192, 0, 2, 1, 0xc3, 0x50, 0, 22];
        [&SIGNATURE[..], &[0x21, 0x11], &length, &addresses, values].concat()
    }

    /// The same with a checksum after the values.
    fn with_checksum(values: &[u8]) -> Vec<u8> {
        let mut bytes = header(&[values, &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat());
        let at = bytes.len() - 4;
        let sum = crc32c(&bytes, at).to_be_bytes();
        bytes[at..].copy_from_slice(&sum);
        bytes
    }

    fn said() -> ProxyHeader {
        ProxyHeader::Proxied { client: "198.51.100.7:50000".parse().unwrap(), server: "192.0.2.1:22".parse().unwrap() }
    }

    #[test]
    fn the_addresses_of_a_tcp_connection_are_taken() {
        assert_eq!(read(&header(&[])), Ok(HeaderProgress::Whole(said())));
        assert_eq!(read(&header(&[4, 0, 1, 9, 5, 0, 0])), Ok(HeaderProgress::Whole(said())), "values that don't matter");
        let v6 = |address: &str| address.parse::<Ipv6Addr>().unwrap().octets();
        let rest = [&v6("2001:db8::7")[..], &v6("::ffff:192.0.2.1"), &[0, 1, 0, 22]].concat();
        let bytes = [&SIGNATURE[..], &[0x21, 0x21, 0, 36], &rest].concat();
        let client = "[2001:db8::7]:1".parse().unwrap();
        assert_eq!(read(&bytes), Ok(HeaderProgress::Whole(ProxyHeader::Proxied { client, server: "192.0.2.1:22".parse().unwrap() })));
    }

    #[test]
    fn a_connection_of_the_balancers_own_is_local_whatever_else_it_says() {
        for family in [0, 0x11, 0x31] {
            assert_eq!(read(&[&SIGNATURE[..], &[0x20, family, 0, 3, 9, 9, 9]].concat()), Ok(HeaderProgress::Whole(ProxyHeader::Local)));
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
        for other in
            [&b"S"[..], b"SSH-2.0-x\r\n", b"PROXY TCP4 198.51.100.7 192.0.2.1 50000 22\r\n", b"\r\n\r\n\0\r\nQUIX", b"\x16\x03\x01"]
        {
            assert_eq!(read(other), Err(ProxyHeaderError::Missing));
        }
        for (command, family, why) in [
            (0x11, 0x11, ProxyHeaderError::Missing),
            (0x22, 0x11, ProxyHeaderError::Missing),
            (0x21, 0, ProxyHeaderError::NotTcp),
            (0x21, 0x12, ProxyHeaderError::NotTcp),
            (0x21, 0x31, ProxyHeaderError::NotTcp),
        ] {
            assert_eq!(read(&[&SIGNATURE[..], &[command, family, 0, 0]].concat()), Err(why), "{command:#x} {family:#x}");
        }
        assert_eq!(read(&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat()), Err(ProxyHeaderError::TooLong));
        assert_eq!(read(&[&SIGNATURE[..], &[0x21, 0x11, 0, 2, 1, 1]].concat()), Err(ProxyHeaderError::Damaged));
        assert_eq!(read(&header(&[4, 0, 9])), Err(ProxyHeaderError::Damaged));
    }

    #[test]
    fn a_checksum_has_to_be_right() {
        // RFC 9260's own example: 32 bytes of zero.
        assert_eq!(crc32c(&[0; 32], 100), 0x8a91_36aa);
        let good = with_checksum(&[4, 0, 1, 9]);
        assert_eq!(read(&good), Ok(HeaderProgress::Whole(said())));
        let kind = good.len() - 7;
        for at in (FIXED..good.len()).filter(|at| *at != kind) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_ne!(read(&bad), Ok(HeaderProgress::Whole(said())), "{at}");
        }
        assert_eq!(read(&header(&[CHECKSUM, 0, 0])), Err(ProxyHeaderError::Damaged), "one of no length");
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_fall_over_or_read_on(bytes: Vec<u8>, family: u8, length in 0_u16..300) {
            let _ = read(&bytes);
            let fixed = [&SIGNATURE[..], &[0x21, family], &length.to_be_bytes()].concat();
            let all = [&fixed[..], &bytes].concat();
            if let Ok(HeaderProgress::More(more)) = read(&all) {
                prop_assert!(more > 0 && all.len() + more <= HEADER_MAX);
                prop_assert_eq!(all.len() + more, FIXED + usize::from(length), "no byte beyond the header");
            }
        }

        #[test]
        fn pieces_make_no_difference(values in proptest::collection::vec((5_u8..255, proptest::collection::vec(any::<u8>(), 0..40)), 0..6), after: Vec<u8>) {
            let value = |(kind, value): &(u8, Vec<u8>)| [&[*kind, 0, u8::try_from(value.len()).unwrap()][..], value].concat();
            let whole = with_checksum(&values.iter().flat_map(value).collect::<Vec<_>>());
            let (mut read_so_far, mut rest) = (Vec::new(), &whole[..]);
            while let HeaderProgress::More(more) = read(&read_so_far).unwrap() {
                // A byte at a time first, then what is asked for.
                let (next, later) = rest.split_at(if read_so_far.len() < 20 { 1 } else { more });
                read_so_far.extend_from_slice(next);
                rest = later;
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read(&[&whole[..], &after].concat()), Ok(HeaderProgress::Whole(said())));
        }
    }
}
