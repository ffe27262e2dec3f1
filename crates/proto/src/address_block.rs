//! Defines blocks of addresses, as options name them: `192.0.2.0/24`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A block: the addresses that share their leading bits. An IPv4 address that arrives as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBlock(IpNet);

impl AddressBlock {
    /// Returns whether the block contains an address.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Returns whether one of the blocks contains an address.
pub fn any_contains(blocks: &[AddressBlock], address: IpAddr) -> bool {
    blocks.iter().any(|block| block.contains(address))
}

impl FromStr for AddressBlock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let block = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse().map_err(|_| format!("'{text}' is not a block of addresses such as 192.0.2.0/24 or 2001:db8::/32"))?,
        };
        // As sshd in from=: an address with bits beyond the prefix is a mistake in one of the two.
        if block.addr() != block.network() {
            return Err(format!("'{text}' has bits set beyond the first {}: {} is meant?", block.prefix_len(), block.trunc()));
        }
        Ok(Self(block))
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_the_addresses_that_begin_as_it_does() {
        let holds = |block: &str, address: &str| block.parse::<AddressBlock>().unwrap().contains(address.parse().unwrap());
        assert!(holds("192.0.2.0/24", "192.0.2.255") && holds("192.0.2.0/24", "::ffff:192.0.2.1") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(holds("192.0.2.1", "192.0.2.1") && holds("::ffff:192.0.2.1", "192.0.2.1") && holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0") && !holds("192.0.2.1", "192.0.2.2") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(!holds("::/0", "192.0.2.1") && !holds("0.0.0.0/0", "::1"), "the families are apart");
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in
            ["", "192.0.2", "192.0.2.0/33", "192.0.2.0/", "192.0.2.1/24", "example.com", "2001:db8::1/32", "fe80::1%eth0", "10.0.0.0/8,::1"]
        {
            assert!(text.parse::<AddressBlock>().is_err(), "{text}");
        }
        assert!("192.0.2.7/24".parse::<AddressBlock>().unwrap_err().contains("192.0.2.0/24 is meant?"));
    }
}
