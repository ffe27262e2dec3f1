//! Tracks which connection holds which name and port: a state machine without clock or sockets.
//!
//! Invariants, which tests check with random histories: a slot has at most one holder; all ports of one name are held by connections of
//! one key; a released connection holds nothing; a released slot can be claimed again at once.

use std::collections::BTreeMap;
use std::fmt;

use super::Veiled;
use crate::id::DeviceId;

/// What a connection can hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// A name on the relay, and a port of it.
    Name(DeviceId, u16),
    /// A port of this machine, on any address: one holder per number, so that no client takes a port over with a more specific address.
    Port(u16),
}

impl Slot {
    /// Returns the slot for logs and for readers who may not know a generated name.
    pub fn veiled(&self) -> Veiled {
        self.to_string().into()
    }

    fn name(&self) -> Option<&DeviceId> {
        match self {
            Self::Name(name, _) => Some(name),
            Self::Port(_) => None,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Port(port) => write!(f, "port {port}"),
        }
    }
}

/// The holder of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHolder {
    /// The number of its connection.
    pub connection: u64,
    /// The identity of its key: two connections with the same key are the same device, or copies of it.
    pub key: String,
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The slot is granted.
    Granted,
    /// This connection has it already.
    Already,
    /// Another connection of the same key holds it: it is granted if that one is dead.
    Contested(SlotHolder),
    /// Another key holds it, or another port of the same name.
    OtherKey,
}

/// All names and ports that are held.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    slots: BTreeMap<Slot, SlotHolder>,
}

impl Registry {
    /// Claims a slot for a connection.
    pub fn claim(&mut self, slot: &Slot, who: &SlotHolder) -> Claim {
        if let Some(name) = slot.name()
            && self.ports_of(name).any(|(_, held)| held.key != who.key)
        {
            return Claim::OtherKey;
        }
        match self.slots.get(slot) {
            Some(held) if held.connection == who.connection => Claim::Already,
            Some(held) if held.key == who.key => Claim::Contested(held.clone()),
            Some(_) => Claim::OtherKey,
            None => {
                self.slots.insert(slot.clone(), who.clone());
                Claim::Granted
            }
        }
    }

    /// Releases one slot. Returns false if this connection doesn't hold it.
    pub fn release(&mut self, slot: &Slot, connection: u64) -> bool {
        let held = self.slots.get(slot).is_some_and(|held| held.connection == connection);
        if held {
            self.slots.remove(slot);
        }
        held
    }

    /// Releases everything that a connection holds.
    pub fn release_all(&mut self, connection: u64) -> Vec<Slot> {
        let mine: Vec<Slot> = self.slots.iter().filter(|(_, held)| held.connection == connection).map(|(slot, _)| slot.clone()).collect();
        for slot in &mine {
            self.slots.remove(slot);
        }
        mine
    }

    /// Returns the holder of a slot.
    pub fn holder(&self, slot: &Slot) -> Option<&SlotHolder> {
        self.slots.get(slot)
    }

    /// Returns the ports that a name is held for.
    pub fn ports_of<'a>(&'a self, name: &'a DeviceId) -> impl Iterator<Item = (u16, &'a SlotHolder)> {
        let of_name = Slot::Name(name.clone(), 0)..=Slot::Name(name.clone(), u16::MAX);
        self.slots.range(of_name).filter_map(|(slot, held)| match slot {
            Slot::Name(_, port) => Some((*port, held)),
            Slot::Port(_) => None,
        })
    }

    /// Returns every slot that is held.
    pub fn iter(&self) -> impl Iterator<Item = (&Slot, &SlotHolder)> {
        self.slots.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Claim(Slot, u64),
        Release(Slot, u64),
        Leave(u64),
    }

    fn slots() -> impl Strategy<Value = Slot> {
        prop_oneof![
            ("[ab]", 1_u16..3).prop_map(|(name, port)| Slot::Name(DeviceId::parse(&name).unwrap(), port)),
            (1_u16..3).prop_map(Slot::Port),
        ]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (slots(), 0_u64..6).prop_map(|(slot, who)| Step::Claim(slot, who)),
            1 => (slots(), 0_u64..6).prop_map(|(slot, who)| Step::Release(slot, who)),
            1 => (0_u64..6).prop_map(Step::Leave),
        ];
        prop::collection::vec(step, 0..60)
    }

    /// Three keys with two connections each.
    fn who(connection: u64) -> SlotHolder {
        SlotHolder { connection, key: (connection / 2).to_string() }
    }

    proptest! {
        #[test]
        fn one_holder_a_slot_and_one_key_a_name(history in steps()) {
            let mut registry = Registry::default();
            let mut model: HashMap<Slot, u64> = HashMap::new();
            for step in history {
                match step {
                    Step::Claim(slot, connection) => {
                        let me = who(connection);
                        let same_name = |other: &Slot| other.name().is_some() && other.name() == slot.name();
                        let other_key = model.iter().any(|(other, holder)| (*other == slot || same_name(other)) && who(*holder).key != me.key);
                        let wanted = match model.get(&slot) {
                            _ if other_key => Claim::OtherKey,
                            Some(holder) if *holder == connection => Claim::Already,
                            Some(holder) => Claim::Contested(who(*holder)),
                            None => Claim::Granted,
                        };
                        if wanted == Claim::Granted {
                            model.insert(slot.clone(), connection);
                        }
                        prop_assert_eq!(registry.claim(&slot, &me), wanted);
                    }
                    Step::Release(slot, connection) => {
                        let mine = model.get(&slot) == Some(&connection);
                        if mine {
                            model.remove(&slot);
                        }
                        prop_assert_eq!(registry.release(&slot, connection), mine);
                    }
                    Step::Leave(connection) => {
                        model.retain(|_, holder| *holder != connection);
                        registry.release_all(connection);
                    }
                }
                let held: HashMap<Slot, u64> = registry.iter().map(|(slot, held)| (slot.clone(), held.connection)).collect();
                prop_assert_eq!(&held, &model);
            }
        }
    }

    #[test]
    fn a_released_name_is_free_for_another_key() {
        let mut registry = Registry::default();
        let slot = Slot::Name(DeviceId::parse("cam-17").unwrap(), 22);
        assert_eq!(registry.claim(&slot, &who(0)), Claim::Granted);
        assert_eq!(registry.claim(&slot, &who(1)), Claim::Contested(who(0)));
        assert_eq!(registry.claim(&slot, &who(2)), Claim::OtherKey);
        assert_eq!(registry.release_all(0), std::slice::from_ref(&slot));
        assert_eq!(registry.claim(&slot, &who(2)), Claim::Granted);
        let ports: Vec<_> = registry.ports_of(&DeviceId::parse("cam-17").unwrap()).map(|(port, _)| port).collect();
        assert_eq!(ports, [22]);
    }
}
