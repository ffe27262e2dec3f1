//! Limits how many visits there may be at once, and how many of one client: no client may take all places.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Refusal;
use crate::admission::ClientSource;

/// How many visits may be open at once: the memory that they hold, if no end reads, is this many times two windows of 2 MiB.
const VISITS_MAX: usize = 512;
/// How many of these may be connections to forwarded ports: they need no key, and clients with a key must find the rest.
const UNAUTHENTICATED_MAX: usize = 384;
/// How many of these may be connections to one port.
const PORT_MAX: usize = 128;
/// How many of these may be connections from one source (an IPv4 address, 64 bits of an IPv6 address). Loopback isn't counted: a
/// connection from there is a proxy's, for others.
const SOURCE_MAX: usize = 64;
/// How many visits to names one key may have, over all its connections: a fleet's own automation visits hundreds at once.
const KEY_MAX: usize = 384;

/// The client that takes a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermitHolder {
    /// A client that connects to a forwarded port.
    Unauthenticated {
        /// The port.
        port: u16,
        /// The client's address.
        from: IpAddr,
    },
    /// A visitor to a name, by the fingerprint of its key.
    Visitor(String),
}

/// The places that are taken.
#[derive(Debug)]
pub struct VisitShares {
    unauthenticated_max: usize,
    all: usize,
    unauthenticated: usize,
    ports: BTreeMap<u16, usize>,
    sources: BTreeMap<ClientSource, usize>,
    keys: BTreeMap<String, usize>,
}

impl Default for VisitShares {
    fn default() -> Self {
        Self::new(UNAUTHENTICATED_MAX)
    }
}

impl VisitShares {
    /// Starts with none taken. Connections to forwarded ports get at most `unauthenticated` places, if that is less than usual.
    pub fn new(unauthenticated: usize) -> Self {
        Self {
            unauthenticated_max: unauthenticated.min(UNAUTHENTICATED_MAX),
            all: 0,
            unauthenticated: 0,
            ports: BTreeMap::new(),
            sources: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    /// Returns how many are taken.
    pub fn taken(&self) -> usize {
        self.all
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Refusal::TooMany`], for the smallest share that is full.
    pub fn take(&mut self, who: &PermitHolder) -> Result<(), Refusal> {
        let full = |what, limit| Err(Refusal::TooMany { what, limit });
        match who {
            PermitHolder::Unauthenticated { from, .. }
                if count(&self.sources, &ClientSource::from(*from)) >= SOURCE_MAX && is_a_source(*from) =>
            {
                return full("connections to ports from one address", SOURCE_MAX);
            }
            PermitHolder::Unauthenticated { port, .. } if count(&self.ports, port) >= PORT_MAX => {
                return full("connections to this port", PORT_MAX);
            }
            PermitHolder::Unauthenticated { .. } if self.unauthenticated >= self.unauthenticated_max => {
                return full("connections to ports", self.unauthenticated_max);
            }
            PermitHolder::Visitor(key) if count(&self.keys, key) >= KEY_MAX => return full("visits by this key", KEY_MAX),
            _ if self.all >= VISITS_MAX => return full("visits on this relay", VISITS_MAX),
            _ => {}
        }
        self.all += 1;
        match who {
            PermitHolder::Unauthenticated { port, from } => {
                self.unauthenticated += 1;
                *self.ports.entry(*port).or_default() += 1;
                *self.sources.entry((*from).into()).or_default() += 1;
            }
            PermitHolder::Visitor(key) => *self.keys.entry(key.clone()).or_default() += 1,
        }
        Ok(())
    }

    /// Returns a place that was taken.
    pub fn give_back(&mut self, who: &PermitHolder) {
        self.all = self.all.saturating_sub(1);
        match who {
            PermitHolder::Unauthenticated { port, from } => {
                self.unauthenticated = self.unauthenticated.saturating_sub(1);
                less(&mut self.ports, port, 1);
                less(&mut self.sources, &ClientSource::from(*from), 1);
            }
            PermitHolder::Visitor(key) => less(&mut self.keys, key, 1),
        }
    }
}

fn is_a_source(from: IpAddr) -> bool {
    !from.to_canonical().is_loopback()
}

fn count<K: Ord>(counts: &BTreeMap<K, usize>, key: &K) -> usize {
    counts.get(key).copied().unwrap_or(0)
}

/// Takes `number` from a key's count, and forgets a key of which nothing is left.
pub(super) fn less<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(counts: &mut BTreeMap<K, usize>, key: &Q, number: usize) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(number);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn connection(port: u16, from: &str) -> PermitHolder {
        PermitHolder::Unauthenticated { port, from: from.parse().unwrap() }
    }

    fn visitor(key: &str) -> PermitHolder {
        PermitHolder::Visitor(key.into())
    }

    /// As many as there is room for, and why there is none for more.
    fn fill(shares: &mut VisitShares, mut who: impl FnMut(usize) -> PermitHolder) -> (usize, String) {
        let mut taken = 0;
        loop {
            match shares.take(&who(taken)) {
                Ok(()) => taken += 1,
                Err(refusal) => return (taken, refusal.to_string()),
            }
        }
    }

    #[test]
    fn whoever_floods_a_port_keeps_nobody_else_out() {
        let mut shares = VisitShares::default();
        let one = fill(&mut shares, |_| connection(2022, "192.0.2.1"));
        assert_eq!(one, (64, "too many connections to ports from one address: the limit is 64".into()));
        let many = fill(&mut shares, |number| connection(2022, &format!("198.51.100.{number}")));
        assert_eq!(many, (64, "too many connections to this port: the limit is 128".into()));
        // Another port, and the same crowd at all the ports that there are.
        shares.take(&connection(2023, "203.0.113.1")).unwrap();
        let more = fill(&mut shares, |number| connection(3000 + u16::try_from(number).unwrap(), &format!("203.0.113.{}", number % 200)));
        assert_eq!(more, (255, "too many connections to ports: the limit is 384".into()));
        let (visits, why) = fill(&mut shares, |_| visitor("one"));
        assert_eq!((visits, why.as_str()), (128, "too many visits on this relay: the limit is 512"));
    }

    #[test]
    fn an_ipv6_subscriber_is_one_source_and_a_proxy_here_is_none() {
        let mut shares = VisitShares::default();
        assert_eq!(fill(&mut shares, |number| connection(2022, &format!("2001:db8::{number:x}"))).0, 64);
        assert_eq!(fill(&mut shares, |_| connection(2023, "127.0.0.1")).0, 128);
        assert_eq!(fill(&mut shares, |_| connection(2024, "::1")).0, 128);
    }

    #[test]
    fn a_key_leaves_room_for_another() {
        let mut shares = VisitShares::default();
        assert_eq!(fill(&mut shares, |_| visitor("one")).0, 384);
        assert_eq!(fill(&mut shares, |_| visitor("other")).0, 128);
        shares.give_back(&visitor("one"));
        assert!(shares.take(&visitor("other")).is_ok());
    }

    fn holder() -> impl Strategy<Value = PermitHolder> {
        prop_oneof![
            (0_u16..4, 0_u8..6).prop_map(|(port, host)| PermitHolder::Unauthenticated { port, from: IpAddr::from([10, 0, 0, host]) }),
            (0_u8..3).prop_map(|key| PermitHolder::Visitor(key.to_string())),
        ]
    }

    proptest! {
        /// Places that were given back are all there again, in whatever order.
        #[test]
        fn nothing_is_left_when_all_is_given_back(holders in proptest::collection::vec(holder(), 0..1500)) {
            let mut shares = VisitShares::default();
            let taken: Vec<_> = holders.into_iter().filter(|who| shares.take(who).is_ok()).collect();
            prop_assert_eq!(shares.taken(), taken.len());
            prop_assert!(taken.len() <= VISITS_MAX);
            taken.iter().rev().for_each(|who| shares.give_back(who));
            prop_assert_eq!(shares.taken(), 0);
            prop_assert!(shares.ports.is_empty() && shares.sources.is_empty() && shares.keys.is_empty() && shares.unauthenticated == 0);
        }
    }
}
