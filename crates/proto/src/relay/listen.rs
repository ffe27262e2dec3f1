//! Decides what a `tcpip-forward` asks for and whether a key may have it, and what a visitor may reach.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use crate::authorized_keys::{Grant, PermitRule};
use crate::id::DeviceId;

/// The most slips for which a name is suggested: more is no typing error.
const SLIPS: usize = 2;

/// The address on which a port of this machine is bound (OpenSSH's `GatewayPorts clientspecified`; RFC 4254 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Empty or `*`: all addresses, of each family in which the port is free.
    All,
    /// `localhost`: the loopback addresses, of each family in which the port is free.
    Loopback,
    /// An address, which binds only its own family: `0.0.0.0` is all of IPv4, `::` all of IPv6.
    One(IpAddr),
}

/// What a `tcpip-forward` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A name on the relay, and the port that visitors ask for with it: nothing is bound.
    Name(DeviceId, u16),
    /// A port of this machine.
    Port(Address, u16),
}

impl Listen {
    /// Reads the address and port of a request. `None` for what is neither a name nor an address, and for port 0 and impossible port
    /// numbers.
    pub fn parse(address: &str, port: u32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        let address = match address {
            "" | "*" => Address::All,
            text if text.eq_ignore_ascii_case("localhost") => Address::Loopback,
            text => match text.parse::<IpAddr>() {
                Ok(address) => Address::One(address),
                Err(_) => return DeviceId::parse(text).ok().map(|name| Self::Name(name, port)),
            },
        };
        Some(Self::Port(address, port))
    }
}

/// Returns whether a rule's host is a pattern of names: a bare port, `*`, `localhost` and addresses are for this machine's ports only.
fn speaks_of_names(rule: &PermitRule) -> bool {
    let host = rule.host();
    let letters = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'*' | b'?'));
    !host.is_empty() && host != "*" && !host.eq_ignore_ascii_case("localhost") && letters
}

impl Grant {
    /// Returns whether this name may be registered on a relay: only if `permitlisten=` has it, or a pattern for it.
    pub fn allows_name(&self, name: &DeviceId, port: u16) -> bool {
        let mut rules = self.permit_listen().iter().filter(|rule| speaks_of_names(rule));
        self.allows_port_forwarding() && rules.any(|rule| rule.matches_pattern(name.as_str(), port))
    }

    /// Returns whether this port may be bound, by the `permitlisten=` rules for ports, with the address as the device sent it. Without a
    /// rule: `otherwise`.
    pub fn allows_port(&self, address: &str, port: u16, otherwise: bool) -> bool {
        let rules = self.permit_listen();
        let ruled = || rules.iter().any(|rule| !speaks_of_names(rule) && rule.matches_pattern(address, port));
        self.allows_port_forwarding() && if rules.is_empty() { otherwise } else { ruled() }
    }

    /// Returns whether a visitor may reach this name and port: any, unless `permitopen=` lists them. Its patterns apply to names.
    pub fn allows_device(&self, name: &DeviceId, port: u16) -> bool {
        let rules = self.permit_open();
        self.allows_port_forwarding() && (rules.is_empty() || rules.iter().any(|rule| rule.matches_pattern(name.as_str(), port)))
    }

    /// Returns whether a visitor may know this name: it may reach some port of it.
    pub fn sees_device(&self, name: &DeviceId) -> bool {
        let rules = self.permit_open();
        let matches = |rule: &PermitRule| rule.matches_pattern(name.as_str(), rule.port().unwrap_or(1));
        self.allows_port_forwarding() && (rules.is_empty() || rules.iter().any(matches))
    }

    /// Returns the names in `permitlisten=` that have no wildcard.
    pub fn spelled_names(&self) -> impl Iterator<Item = DeviceId> {
        spelled_names(self.permit_listen())
    }
}

/// Returns the names in rules that have no wildcard.
pub fn spelled_names(rules: &[PermitRule]) -> impl Iterator<Item = DeviceId> {
    rules.iter().filter(|rule| speaks_of_names(rule)).filter_map(|rule| DeviceId::parse(rule.host()).ok())
}

/// Returns whether a rule lets its key register this name, at any port.
pub fn covers_name(rules: &[PermitRule], name: &DeviceId) -> bool {
    rules.iter().any(|rule| speaks_of_names(rule) && rule.matches_pattern(name.as_str(), rule.port().unwrap_or(1)))
}

/// A set of ports and port ranges: `2022,2030-2039`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet(Vec<(u16, u16)>);

impl PortSet {
    /// Returns whether the set has a port.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// Returns the lowest port.
    pub fn first(&self) -> u16 {
        self.0.iter().map(|(first, _)| *first).min().unwrap_or(0)
    }
}

impl FromStr for PortSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |part: &str| format!("'{part}' is neither a port (1 to 65535) nor a range of them");
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            port(first).zip(port(last)).filter(|(first, last)| first <= last).ok_or_else(|| wrong(part.trim()))
        };
        let ranges: Vec<_> = text.split(',').filter(|part| !part.trim().is_empty()).map(range).collect::<Result<_, _>>()?;
        if ranges.is_empty() { Err("it names no port".into()) } else { Ok(Self(ranges)) }
    }
}

impl std::fmt::Display for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.0.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

/// Returns the name that was probably meant: the nearest within two slips (a letter too many, too few, wrong, or two swapped).
pub fn nearest<N: Borrow<DeviceId> + Ord>(typed: &DeviceId, known: impl Iterator<Item = N>) -> Option<N> {
    let typed = typed.as_str().as_bytes();
    // A short name is near to every other.
    let most = SLIPS.min(typed.len() / 2);
    let near = known.filter_map(|name| {
        let other = name.borrow().as_str().as_bytes();
        let slips = if typed.len().abs_diff(other.len()) > most { return None } else { slips(typed, other) };
        (slips <= most).then_some((slips, name))
    });
    near.min().map(|(_, name)| name)
}

/// Returns the known names next to this one in the alphabet, so many before it and so many behind: of few names all, of very many those
/// that begin alike.
pub fn around<'a, V>(name: &'a DeviceId, known: &'a BTreeMap<DeviceId, V>, each_way: usize) -> impl Iterator<Item = (&'a DeviceId, &'a V)> {
    let before = known.range::<DeviceId, _>(..name).rev().take(each_way);
    known.range::<DeviceId, _>(name..).take(each_way).chain(before)
}

/// Computes Damerau's distance, with adjacent letters swapped counting as one.
fn slips(one: &[u8], other: &[u8]) -> usize {
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX >> 1);
    // Three rows for all: allocating them costs more than writing to them.
    let empty = || Vec::with_capacity(other.len().saturating_add(1));
    let (mut before_last, mut last, mut row): (Vec<usize>, Vec<usize>, Vec<usize>) = (empty(), (0..=other.len()).collect(), empty());
    for (i, a) in one.iter().enumerate() {
        row.clear();
        row.push(i.saturating_add(1));
        for (j, b) in other.iter().enumerate() {
            let next = j.saturating_add(1);
            let mut least = at(&last, next).min(at(&row, j)).saturating_add(1);
            least = least.min(at(&last, j).saturating_add(usize::from(a != b)));
            let swapped = i > 0 && j > 0 && one.get(i.saturating_sub(1)) == Some(b) && other.get(j.saturating_sub(1)) == Some(a);
            if swapped {
                least = least.min(at(&before_last, j.saturating_sub(1)).saturating_add(1));
            }
            row.push(least);
        }
        (before_last, last, row) = (last, row, before_last);
    }
    at(&last, other.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::authorized_keys::{Context, Enforced, KeyRing};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbnqQ/SGC/OWnL4cQGxlZcFxxfCVx0mD+1MlF/Zdidu";

    fn grant(options: &str) -> Grant {
        let line = format!("{options} {KEY} device");
        let ring = KeyRing::read("test", line.trim_start().as_bytes(), Enforced::all()).unwrap();
        let key = ssh_key::PublicKey::from_openssh(KEY).unwrap();
        ring.authorize((&key).into(), &Context { peer: None, now: 0, account: None }).unwrap()
    }

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    #[test]
    fn an_address_binds_as_the_client_says() {
        let one = |text: &str| Some(Listen::Port(Address::One(text.parse().unwrap()), 22));
        for (address, wanted) in [
            ("", Some(Listen::Port(Address::All, 22))),
            ("*", Some(Listen::Port(Address::All, 22))),
            ("localhost", Some(Listen::Port(Address::Loopback, 22))),
            ("0.0.0.0", one("0.0.0.0")),
            ("::", one("::")),
            ("127.0.0.1", one("127.0.0.1")),
            ("::1", one("::1")),
            ("Cam-17", Some(Listen::Name(id("cam-17"), 22))),
            ("cam.17", None),
            ("-cam", None),
            ("/tmp/socket", None),
        ] {
            assert_eq!(Listen::parse(address, 22), wanted, "{address:?}");
        }
        assert_eq!((Listen::parse("", 0), Listen::parse("cam", 65_536), Listen::parse("cam", u32::MAX)), (None, None, None));
    }

    #[test]
    fn a_name_needs_a_rule_that_spells_it() {
        let device = grant(r#"permitlisten="cam-17:22",permitlisten="lab-*:80""#);
        assert!(device.allows_name(&id("cam-17"), 22));
        assert!(device.allows_name(&id("CAM-17"), 22));
        assert!(device.allows_name(&id("lab-3"), 80));
        for (name, port) in [("cam-17", 23), ("cam-18", 22), ("cam-171", 22), ("lab-3", 22)] {
            assert!(!device.allows_name(&id(name), port), "{name}:{port}");
        }
        for options in
            ["", r#"permitlisten="22""#, r#"permitlisten="*:22""#, r#"permitlisten="localhost:22""#, r#"permitlisten="10.0.0.1:22""#]
        {
            assert!(!grant(options).allows_name(&id("cam-17"), 22), "{options}");
        }
        assert!(!grant(r#"restrict,permitlisten="cam-17:22""#).allows_name(&id("cam-17"), 22));
        assert!(grant(r#"restrict,port-forwarding,permitlisten="cam-17:22""#).allows_name(&id("cam-17"), 22));
    }

    #[test]
    fn a_port_needs_a_rule_that_speaks_of_ports() {
        for (options, address, port, wanted) in [
            ("", "", 2022, true),
            (r#"permitlisten="2022""#, "", 2022, true),
            (r#"permitlisten="2022""#, "localhost", 2022, true),
            (r#"permitlisten="2022""#, "10.1.2.3", 2022, true),
            (r#"permitlisten="2022""#, "", 2023, false),
            (r#"permitlisten="*:2022""#, "", 2022, true),
            (r#"permitlisten="localhost:2022""#, "localhost", 2022, true),
            (r#"permitlisten="localhost:2022""#, "", 2022, false),
            (r#"permitlisten="localhost:2022""#, "*", 2022, false),
            (r#"permitlisten="127.0.0.1:2022""#, "127.0.0.1", 2022, true),
            (r#"permitlisten="127.0.0.1:2022""#, "localhost", 2022, false),
            (r#"permitlisten="[::1]:2022""#, "::1", 2022, true),
            // A pattern for names is none for addresses, however it matches.
            (r#"permitlisten="*host:2022""#, "localhost", 2022, false),
            (r#"permitlisten="??*:2022""#, "127.0.0.1", 2022, false),
            ("no-port-forwarding", "", 2022, false),
        ] {
            assert_eq!(grant(options).allows_port(address, port, true), wanted, "{options} {address:?}:{port}");
        }
        assert!(!grant("").allows_port("", 2022, false));
    }

    #[test]
    fn a_visitor_reaches_what_permitopen_says() {
        let visitor = grant(r#"permitopen="cam-*:22",permitopen="lab:*""#);
        for (name, port, open, seen) in
            [("cam-17", 22, true, true), ("cam-17", 80, false, true), ("lab", 80, true, true), ("lab-2", 80, false, false)]
        {
            assert_eq!((visitor.allows_device(&id(name), port), visitor.sees_device(&id(name))), (open, seen), "{name}:{port}");
        }
        assert!(grant("").allows_device(&id("any"), 1));
        assert!(grant(r#"permitopen="*:22""#).allows_device(&id("any"), 22));
        assert!(!grant("restrict").allows_device(&id("any"), 22));
        assert!(!grant("restrict").sees_device(&id("any")));
    }

    #[test]
    fn port_sets_are_read_and_shown() {
        let set: PortSet = " 2022, 2030-2032,".parse().unwrap();
        assert_eq!(set.to_string(), "2022,2030-2032");
        for (port, wanted) in [(2022, true), (2023, false), (2030, true), (2032, true), (2033, false), (0, false)] {
            assert_eq!(set.contains(port), wanted, "{port}");
        }
        for text in ["", ",", "0", "x", "65536", "5-3", "1-", "-1", "1-2-3", "+5"] {
            assert!(text.parse::<PortSet>().is_err() || text == "+5", "{text}");
        }
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        let known = [id("cam-17"), id("cam-18"), id("printer")];
        for (typed, meant) in
            [("cam-71", Some("cam-17")), ("cam17", Some("cam-17")), ("prinetr", Some("printer")), ("nas", None), ("x", None)]
        {
            assert_eq!(nearest(&id(typed), known.iter()).map(DeviceId::as_str), meant, "{typed}");
        }
    }

    #[test]
    fn a_slip_in_a_fleet_of_very_many_costs_no_look_at_each() {
        let known: BTreeMap<DeviceId, ()> = (0..300_000).map(|number| (id(&format!("cam-{number:06}")), ())).collect();
        let mut looked_at = 0;
        let typed = id("cam-15007x");
        let meant = nearest(&typed, around(&typed, &known, 1000).map(|(name, ())| name).inspect(|_| looked_at += 1));
        assert_eq!((meant, looked_at), (Some(&id("cam-150070")), 2000));
        // At either end, and where there are few, all that there are.
        for (typed, count) in [("a", 1000), ("z", 1000), ("cam-000000", 1000), ("cam-000300", 1300)] {
            assert_eq!(around(&id(typed), &known, 1000).count(), count, "{typed}");
        }
        let few = BTreeMap::from([(id("a"), ()), (id("cam-17"), ()), (id("z"), ())]);
        assert_eq!(around(&id("cam-71"), &few, 1000).count(), 3);
    }

    proptest! {
        #[test]
        fn slips_are_a_distance(one in "[abc]{0,7}", other in "[abc]{0,7}") {
            let (a, b) = (one.as_bytes(), other.as_bytes());
            prop_assert_eq!(slips(a, b), slips(b, a));
            prop_assert_eq!(slips(a, b) == 0, a == b);
            prop_assert!(slips(a, b) <= a.len().max(b.len()));
        }

        #[test]
        fn a_name_is_never_an_address_too(text in "[a-zA-Z0-9_.:*-]{0,20}", port: u32) {
            if let Some(Listen::Name(name, _)) = Listen::parse(&text, port) {
                prop_assert!(name.as_str().parse::<IpAddr>().is_err());
                prop_assert!(name.as_str() != "localhost");
            }
        }
    }
}
