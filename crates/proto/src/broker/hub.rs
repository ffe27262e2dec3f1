//! Owns the broker's state: which clients are connected, what they subscribe to, and what is retained.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::client::BrokerClient;
use super::connection::{HubConnection, Outlet, PendingWill};
use super::packet::{ConnectRefusal, Delivery, End, Packet, PacketAnswer};
use super::retained::Retained;
use crate::id::DeviceId;
use crate::wake::{Prefix, Topic};

/// The message that the broker publishes when a client's connection breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
    /// Whether the message is retained.
    pub retain: bool,
    /// Whether it is published with QoS 1.
    pub acknowledged: bool,
}

/// What the fleet's list says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The newest serial number that the device was given: an older one is refused.
    pub serial: u64,
    /// Whether the device is part of the fleet.
    pub active: bool,
}

/// The broker without its sockets. Times are monotonic, since any start.
#[derive(Debug)]
pub struct Hub<O> {
    prefix: Prefix,
    most: usize,
    connections: HashMap<BrokerClient, Box<HubConnection<O>>>,
    /// The relays by topic; a device's own subscriptions are only in its connection.
    relays: BTreeMap<Topic, BTreeSet<BrokerClient>>,
    retained: Retained,
    /// The fleet's devices; `None` without a fleet: every client is known.
    known: Option<BTreeMap<DeviceId, Standing>>,
    revoked: BTreeSet<u64>,
    /// Connections that were taken away, whose wills have to be published.
    parted: VecDeque<PendingWill>,
}

impl<O: Outlet> Hub<O> {
    /// Makes a broker with places for so many clients, and as many statuses. Until [`Hub::know`], every client is known.
    pub fn new(prefix: Prefix, most: usize) -> Self {
        Self {
            prefix,
            most,
            connections: HashMap::new(),
            relays: BTreeMap::new(),
            retained: Retained::new(most),
            known: None,
            revoked: BTreeSet::new(),
            parted: VecDeque::new(),
        }
    }

    /// Limits the retained statuses, until [`Hub::know`] says which devices there are: an unproven name must cost nothing.
    pub fn retain_at_most(&mut self, most: usize) {
        self.retained.limit(most);
    }

    /// Learns which devices there are and which serial numbers are revoked. Disconnects the clients that aren't accepted any more.
    pub fn know(&mut self, devices: BTreeMap<DeviceId, Standing>, revoked: BTreeSet<u64>) {
        // Statuses outlive connections: at most one for each device.
        self.retained.limit(devices.len());
        self.retained.retain(|id| devices.contains_key(id));
        self.known = Some(devices);
        self.revoked = revoked;
        let gone = self.connections.iter().filter(|(client, state)| !self.admits(client, state.serial));
        let gone: Vec<_> = gone.map(|(client, state)| (client.clone(), state.connection)).collect();
        for (client, connection) in gone {
            self.gone(&client, connection, End::Revoked);
        }
    }

    /// Returns whether the list has a client.
    pub fn knows(&self, client: &BrokerClient) -> bool {
        match (client, &self.known) {
            (BrokerClient::Device(id), Some(known)) => known.contains_key(id),
            _ => true,
        }
    }

    /// Returns whether a certificate with this serial number admits a client.
    pub fn admits(&self, client: &BrokerClient, serial: u64) -> bool {
        let standing = match (client, &self.known) {
            (BrokerClient::Device(id), Some(known)) => known.get(id),
            _ => None,
        };
        // A device that isn't on the list yet was certified after the list was copied here.
        !self.revoked.contains(&serial) && standing.is_none_or(|standing| standing.active && standing.serial <= serial)
    }

    /// Connects a client; the client that has its place is disconnected. `connection`: a number that is never used again.
    ///
    /// # Errors
    /// Why the client is refused.
    pub fn connect(
        &mut self,
        client: &BrokerClient,
        connection: u64,
        serial: u64,
        will: Option<Will>,
        outlet: O,
    ) -> Result<(), ConnectRefusal> {
        if !self.admits(client, serial) {
            return Err(ConnectRefusal::Revoked);
        }
        let look = |Will { topic, payload, retain, acknowledged }| {
            let topic = self.permitted(client, &topic, retain, payload.len()).ok_or(ConnectRefusal::Will)?;
            Ok(PendingWill { topic, payload, retain, acknowledged })
        };
        let will = will.map(look).transpose()?;
        if let Some(older) = self.connections.get(client) {
            self.gone(client, older.connection, End::Replaced);
        } else if self.connections.len() >= self.most {
            return Err(ConnectRefusal::Full);
        }
        self.connections.insert(client.clone(), Box::new(HubConnection::new(client, connection, serial, will, outlet)));
        Ok(())
    }

    /// Handles a packet from a connected client.
    ///
    /// # Errors
    /// Why its connection ends; it has no place any more.
    pub fn packet(&mut self, client: &BrokerClient, connection: u64, packet: Packet, now: Duration) -> Result<PacketAnswer, End> {
        // Without a place, it has been replaced meanwhile.
        let state = self.connections.get_mut(client).filter(|state| state.connection == connection).ok_or(End::Replaced)?;
        let answered = if state.hears(now) { self.answer(client, packet) } else { Err(End::TooOften) };
        if let Err(why) = &answered {
            self.gone(client, connection, *why);
        }
        answered
    }

    fn answer(&mut self, client: &BrokerClient, packet: Packet) -> Result<PacketAnswer, End> {
        Ok(match packet {
            Packet::Publish { topic, payload, retain, id } => {
                self.publish(client, &topic, payload, retain, id.is_some())?;
                id.map_or(PacketAnswer::None, PacketAnswer::Published)
            }
            Packet::Acknowledged => {
                if let Some(state) = self.connections.get_mut(client) {
                    state.acknowledged();
                }
                PacketAnswer::None
            }
            Packet::Subscribe(id, topics) => {
                let subscribe =
                    |(topic, acknowledged): (String, bool)| self.subscribe(client, &topic, acknowledged).then_some(acknowledged);
                PacketAnswer::Subscribed(id, topics.into_iter().map(subscribe).collect())
            }
            Packet::Unsubscribe(id, topics) => {
                topics.iter().for_each(|topic| self.unsubscribe(client, topic));
                PacketAnswer::Unsubscribed(id)
            }
            Packet::Ping => PacketAnswer::Pong,
            Packet::Disconnect => return Err(End::Goodbye),
        })
    }

    /// Publishes a message from a client.
    ///
    /// # Errors
    /// [`End::Forbidden`] if the client may not.
    pub fn publish(&mut self, client: &BrokerClient, topic: &str, payload: Bytes, retain: bool, acknowledged: bool) -> Result<(), End> {
        let topic = self.permitted(client, topic, retain, payload.len()).ok_or(End::Forbidden)?;
        self.spread(topic, payload, retain, acknowledged);
        self.bury();
        Ok(())
    }

    /// Subscribes a client to an exact topic, and delivers what is retained there; returns `false` if it may not.
    pub fn subscribe(&mut self, client: &BrokerClient, topic: &str, acknowledged: bool) -> bool {
        let Some(topic) = Topic::parse(topic, &self.prefix).filter(|topic| client.may_subscribe(topic)) else { return false };
        let Some(state) = self.connections.get_mut(client) else { return false };
        if !state.subscribe(client, &topic, acknowledged) {
            return false;
        }
        if !matches!(client, BrokerClient::Device(_)) {
            self.relays.entry(topic.clone()).or_default().insert(client.clone());
        }
        if let Topic::Status(id) = &topic
            && let Some(status) = self.retained.of(id)
        {
            let delivery = Delivery { topic: topic.clone(), payload: status.clone(), retain: true, id: None };
            self.hand(client, delivery, true);
            self.bury();
        }
        true
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&mut self, client: &BrokerClient, topic: &str) {
        let Some(topic) = Topic::parse(topic, &self.prefix) else { return };
        if let Some(state) = self.connections.get_mut(client) {
            state.unsubscribe(client, &topic);
        }
        self.forget(client, &topic);
    }

    /// Notes that a connection has ended, or must end. Publishes its will unless it sent DISCONNECT; a connection that was replaced has
    /// gone already.
    pub fn gone(&mut self, client: &BrokerClient, connection: u64, why: End) {
        self.part(client, connection, why);
        self.bury();
    }

    /// Returns how many clients are connected, and how many statuses are retained.
    pub fn counts(&self) -> (usize, usize) {
        (self.connections.len(), self.retained.len())
    }

    /// Returns whether nothing is left but what is retained.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.connections.is_empty() && self.relays.is_empty() && self.parted.is_empty()
    }

    /// Disconnects all clients, and accepts no more. Publishes no will: no client is left to receive it.
    pub fn stop(&mut self) {
        self.most = 0;
        for state in self.connections.values_mut() {
            state.outlet.cut(End::Stopping);
        }
        self.connections.clear();
        self.relays.clear();
    }

    /// Returns the topic, if this client may publish this there.
    fn permitted(&self, client: &BrokerClient, topic: &str, retain: bool, size: usize) -> Option<Topic> {
        Topic::parse(topic, &self.prefix).filter(|topic| client.may_publish(topic, retain, size))
    }

    /// Delivers to every subscriber. Disconnects clients that have no room; their wills are then due.
    fn spread(&mut self, topic: Topic, payload: Bytes, retain: bool, acknowledged: bool) {
        if let Topic::Status(id) = &topic
            && retain
            && self.known.as_ref().is_none_or(|known| known.contains_key(id))
        {
            self.retained.keep(id, &payload);
        }
        let relays: Vec<_> = self.relays.get(&topic).into_iter().flatten().cloned().collect();
        let device = match &topic {
            Topic::Wake(id) | Topic::Status(id) => Some(BrokerClient::Device(id.clone())),
            Topic::Acknowledgement(_) => None,
        };
        let delivery = Delivery { topic, payload, retain: false, id: None };
        for client in device.into_iter().chain(relays) {
            self.hand(&client, delivery.clone(), acknowledged);
        }
    }

    fn hand(&mut self, client: &BrokerClient, delivery: Delivery, acknowledged: bool) {
        let Some(state) = self.connections.get_mut(client) else { return };
        let connection = state.connection;
        // A client in this process can't be disconnected: it loses what it has no room for, and counts that.
        if !state.deliver(client, delivery, acknowledged) && !matches!(client, BrokerClient::Local(_)) {
            self.part(client, connection, End::Slow);
        }
    }

    fn part(&mut self, client: &BrokerClient, connection: u64, why: End) {
        if self.connections.get(client).is_none_or(|state| state.connection != connection) {
            return;
        }
        let Some(mut state) = self.connections.remove(client) else { return };
        state.outlet.cut(why);
        for topic in state.others() {
            self.forget(client, topic);
        }
        if let Some(will) = state.will.filter(|_| why != End::Goodbye) {
            self.parted.push_back(*will);
        }
    }

    /// Publishes the wills that are due; each may make others due, and no connection has two.
    fn bury(&mut self) {
        while let Some(PendingWill { topic, payload, retain, acknowledged }) = self.parted.pop_front() {
            self.spread(topic, payload, retain, acknowledged);
        }
    }

    fn forget(&mut self, client: &BrokerClient, topic: &Topic) {
        if let Some(relays) = self.relays.get_mut(topic) {
            relays.remove(client);
            if relays.is_empty() {
                self.relays.remove(topic);
            }
        }
    }
}
