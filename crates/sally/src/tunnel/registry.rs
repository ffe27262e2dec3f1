//! Keeps which connection holds which name and port, and decides second claims.
//!
//! A connection that died silently holds its name until the keepalives find out, and a returning device must not wait for that. Two live
//! devices with one key (a cloned disk, an agent started twice) must not replace each other forever either, and end every visit with it. So
//! the holder is asked: if it is silent, it is replaced; if it answers, it stays, and the second one is told who holds the name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sally_proto::authorized_keys::KeyRing;
use sally_proto::id::DeviceId;
use sally_proto::relay::{Claim, Registry, Slot, SlotHolder};

use crate::lock::lock;

/// How long a holder may be silent before a newer connection of the same key replaces it.
pub const SILENCE: Duration = Duration::from_secs(2);

/// When a newer connection of the same key replaces an older one that holds what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Takeover {
    /// When the older connection doesn't answer a keepalive within 2 s
    Silent,
    /// Always, and at once
    AtOnce,
    /// Never; the name or port becomes free when the older connection ends
    Never,
}

/// The address and port of a `tcpip-forward`, as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundAddress {
    /// The connection that holds it.
    pub connection: u64,
    /// The address byte for byte: a `forwarded-tcpip` must repeat it.
    pub address: String,
}

/// The names and ports that are held, shared by all connections.
#[derive(Debug, Default)]
pub struct Tunnels {
    state: Mutex<TunnelsState>,
}

#[derive(Debug, Default)]
struct TunnelsState {
    registry: Registry,
    addresses: HashMap<Slot, String>,
    /// The keys that a registration admits to its own name.
    admitted_keys: HashMap<DeviceId, AdmittedKeys>,
}

#[derive(Debug)]
struct AdmittedKeys {
    /// The connection that holds the name.
    holder: u64,
    keys: KeyRing,
    /// Whether one of the keys is a certificate authority's.
    authorities: bool,
}

impl TunnelsState {
    /// Forgets the keys of registrations that are gone.
    fn forget_admitted_keys(&mut self) {
        let registry = &self.registry;
        self.admitted_keys.retain(|name, admitted_keys| registry.ports_of(name).any(|(_, held)| held.connection == admitted_keys.holder));
    }
}

impl Tunnels {
    /// Locks the state for a look-up. Must never be held over an await.
    fn state(&self) -> MutexGuard<'_, TunnelsState> {
        lock(&self.state)
    }

    /// Claims a slot. `address` is what the client wrote.
    pub fn claim(&self, slot: &Slot, who: &SlotHolder, address: &str) -> Claim {
        let mut state = self.state();
        let claim = state.registry.claim(slot, who);
        if claim == Claim::Granted {
            state.addresses.insert(slot.clone(), address.to_owned());
        }
        claim
    }

    /// Gives up a slot. Returns false if this connection doesn't hold it.
    pub fn release(&self, slot: &Slot, connection: u64) -> bool {
        let mut state = self.state();
        let held = state.registry.release(slot, connection);
        if held {
            state.addresses.remove(slot);
            state.forget_admitted_keys();
        }
        held
    }

    /// Gives up everything that a connection holds, and returns it.
    pub fn release_all(&self, connection: u64) -> Vec<Slot> {
        let mut state = self.state();
        let slots = state.registry.release_all(connection);
        for slot in &slots {
            state.addresses.remove(slot);
        }
        state.forget_admitted_keys();
        slots
    }

    /// Returns the connection that holds a slot, and its address.
    pub fn find(&self, slot: &Slot) -> Option<BoundAddress> {
        let state = self.state();
        let connection = state.registry.holder(slot)?.connection;
        Some(BoundAddress { connection, address: state.addresses.get(slot).cloned().unwrap_or_default() })
    }

    /// Returns the ports for which a name is held.
    pub fn ports_of(&self, name: &DeviceId) -> Vec<u16> {
        self.held(name).into_iter().map(|(port, _)| port).collect()
    }

    /// Returns the ports for which a name is held, each with the number of the holder's connection.
    pub fn held(&self, name: &DeviceId) -> Vec<(u16, u64)> {
        self.state().registry.ports_of(name).map(|(port, held)| (port, held.connection)).collect()
    }

    /// Returns how many slots a connection holds.
    pub fn count_of(&self, connection: u64) -> usize {
        self.state().registry.iter().filter(|(_, held)| held.connection == connection).count()
    }

    /// Returns the connections that hold a name for which `wanted` is true.
    pub fn holders(&self, wanted: impl Fn(&DeviceId) -> bool) -> Vec<u64> {
        let state = self.state();
        let held = state.registry.iter().filter(|(slot, _)| matches!(slot, Slot::Name(name, _) if wanted(name)));
        held.map(|(_, held)| held.connection).collect()
    }

    /// Returns the held names for which `wanted` is true, of the first `among` slots.
    pub fn names(&self, among: usize, wanted: impl Fn(&DeviceId) -> bool) -> Vec<DeviceId> {
        let state = self.state();
        let names = state.registry.iter().take(among).filter_map(|(slot, _)| match slot {
            Slot::Name(name, _) if wanted(name) => Some(name.clone()),
            Slot::Name(..) | Slot::Port(_) => None,
        });
        names.collect()
    }

    /// Returns how many names and how many ports are held; each port of a name counts.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let names = state.registry.iter().filter(|(slot, _)| matches!(slot, Slot::Name(..))).count();
        (names, state.registry.iter().count().saturating_sub(names))
    }

    /// Admits only these keys to a name, while this connection holds it; does nothing if it doesn't hold it.
    pub fn admit(&self, name: DeviceId, holder: u64, keys: KeyRing) {
        let mut state = self.state();
        if state.registry.ports_of(&name).any(|(_, held)| held.connection == holder) {
            let authorities = keys.has_authorities();
            state.admitted_keys.insert(name, AdmittedKeys { holder, keys, authorities });
        }
    }

    /// Returns how many keys a connection's registrations admit, without those of one name.
    pub fn admitted_beside(&self, name: &DeviceId, holder: u64) -> usize {
        let state = self.state();
        let others = state.admitted_keys.iter().filter(|(other, admitted_keys)| admitted_keys.holder == holder && *other != name);
        others.map(|(_, admitted_keys)| admitted_keys.keys.len()).sum()
    }

    /// Returns whether a certificate may be admitted.
    pub fn admit_certificates(&self) -> bool {
        self.state().admitted_keys.values().any(|admitted_keys| admitted_keys.authorities)
    }

    /// Returns the names whose registrations admit a key, with the result of `judge` for their keys.
    pub fn admitting<T>(&self, judge: impl Fn(&KeyRing) -> Option<T>) -> Vec<(DeviceId, T)> {
        self.state().admitted_keys.iter().filter_map(|(name, admitted_keys)| Some((name.clone(), judge(&admitted_keys.keys)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use sally_proto::authorized_keys::Enforced;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbnqQ/SGC/OWnL4cQGxlZcFxxfCVx0mD+1MlF/Zdidu";

    #[test]
    fn nobody_admits_to_a_name_that_another_connection_holds() {
        let (tunnels, name) = (Tunnels::default(), DeviceId::parse("cam-17").unwrap());
        let keys = || KeyRing::read("admitted keys", KEY.as_bytes(), Enforced::NONE).unwrap();
        let held = |connection| SlotHolder { connection, key: "SHA256:one".into() };
        let admitting = || tunnels.admitting(|_| Some(())).len();
        assert_eq!(tunnels.claim(&Slot::Name(name.clone(), 22), &held(1), "cam-17"), Claim::Granted);
        tunnels.admit(name.clone(), 1, keys());
        tunnels.admit(name.clone(), 2, keys());
        assert_eq!((admitting(), tunnels.admitted_beside(&name, 1)), (1, 0));
        assert!(tunnels.release(&Slot::Name(name, 22), 1));
        assert_eq!(admitting(), 0);
    }
}
