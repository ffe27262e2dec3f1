//! The one owner of who is connected, who hears what, and what is retained.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::client::Client;
use super::packet::{Answer, Delivery, End, Packet, Refused};
use super::retained::Retained;
use super::seat::{Outlet, Parting, Seat};
use crate::id::DeviceId;
use crate::wake::{Prefix, Topic};

/// What a client's connection leaves behind when it breaks off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// Whether it is retained.
    pub retain: bool,
    /// Whether with QoS 1.
    pub acknowledged: bool,
}

/// What the fleet says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The newest serial number that it was given: an older one is refused.
    pub serial: u64,
    /// Whether it is part of the fleet.
    pub active: bool,
}

/// The broker without its sockets. Times are monotonic, since a start that doesn't matter.
#[derive(Debug)]
pub struct Hub<O> {
    prefix: Prefix,
    most: usize,
    seats: HashMap<Client, Box<Seat<O>>>,
    /// Relays by topic; what a device hears stands in its seat alone.
    relays: BTreeMap<Topic, BTreeSet<Client>>,
    retained: Retained,
    /// `None` without a fleet: everybody is known.
    known: Option<BTreeMap<DeviceId, Standing>>,
    revoked: BTreeSet<u64>,
    /// Seats that were taken away meanwhile, whose wills are due.
    parted: VecDeque<Parting>,
}

impl<O: Outlet> Hub<O> {
    /// One with places for so many clients, and as many statuses. Until [`Hub::know`], everybody is known.
    pub fn new(prefix: Prefix, most: usize) -> Self {
        Self {
            prefix,
            most,
            seats: HashMap::new(),
            relays: BTreeMap::new(),
            retained: Retained::new(most),
            known: None,
            revoked: BTreeSet::new(),
            parted: VecDeque::new(),
        }
    }

    /// Retains no more statuses than this, until [`Hub::know`] says which devices there are: a name that nobody proves costs nothing.
    pub fn retain_at_most(&mut self, most: usize) {
        self.retained.limit(most);
    }

    /// Learns which devices there are and which serial numbers are revoked. Whoever isn't admitted any more is cut off.
    pub fn know(&mut self, devices: BTreeMap<DeviceId, Standing>, revoked: BTreeSet<u64>) {
        // Statuses stay when connections end: as many as there are devices.
        self.retained.limit(devices.len());
        self.retained.retain(|id| devices.contains_key(id));
        self.known = Some(devices);
        self.revoked = revoked;
        let gone = self.seats.iter().filter(|(client, seat)| !self.admits(client, seat.serial));
        let gone: Vec<_> = gone.map(|(client, seat)| (client.clone(), seat.connection)).collect();
        for (client, connection) in gone {
            self.gone(&client, connection, End::Revoked);
        }
    }

    /// Whether the list says anything of somebody.
    pub fn knows(&self, client: &Client) -> bool {
        match (client, &self.known) {
            (Client::Device(id), Some(known)) => known.contains_key(id),
            _ => true,
        }
    }

    /// Whether a certificate of this number lets somebody in.
    pub fn admits(&self, client: &Client, serial: u64) -> bool {
        let standing = match (client, &self.known) {
            (Client::Device(id), Some(known)) => known.get(id),
            _ => None,
        };
        // A device that isn't on the list yet was certified after the list was copied here.
        !self.revoked.contains(&serial) && standing.is_none_or(|standing| standing.active && standing.serial <= serial)
    }

    /// Somebody connects; whoever has their place is cut off. Connections have numbers of their own.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn connect(&mut self, client: &Client, connection: u64, serial: u64, will: Option<Will>, outlet: O) -> Result<(), Refused> {
        if !self.admits(client, serial) {
            return Err(Refused::Revoked);
        }
        let look = |Will { topic, payload, retain, acknowledged }| {
            let topic = self.permitted(client, &topic, retain, payload.len()).ok_or(Refused::Will)?;
            Ok(Parting { topic, payload, retain, acknowledged })
        };
        let will = will.map(look).transpose()?;
        if let Some(older) = self.seats.get(client) {
            self.gone(client, older.connection, End::Replaced);
        } else if self.seats.len() >= self.most {
            return Err(Refused::Full);
        }
        self.seats.insert(client.clone(), Box::new(Seat::new(client, connection, serial, will, outlet)));
        Ok(())
    }

    /// A connected client says something.
    ///
    /// # Errors
    /// Why its connection ends; it has no place any more.
    pub fn packet(&mut self, client: &Client, connection: u64, packet: Packet, now: Duration) -> Result<Answer, End> {
        // Where it has no place, somebody has replaced it meanwhile.
        let seat = self.seats.get_mut(client).filter(|seat| seat.connection == connection).ok_or(End::Replaced)?;
        let answered = if seat.hears(now) { self.answer(client, packet) } else { Err(End::TooOften) };
        if let Err(why) = &answered {
            self.gone(client, connection, *why);
        }
        answered
    }

    fn answer(&mut self, client: &Client, packet: Packet) -> Result<Answer, End> {
        Ok(match packet {
            Packet::Publish { topic, payload, retain, id } => {
                self.publish(client, &topic, payload, retain, id.is_some())?;
                id.map_or(Answer::None, Answer::Published)
            }
            Packet::Acknowledged => {
                if let Some(seat) = self.seats.get_mut(client) {
                    seat.acknowledged();
                }
                Answer::None
            }
            Packet::Subscribe(id, topics) => {
                let subscribe =
                    |(topic, acknowledged): (String, bool)| self.subscribe(client, &topic, acknowledged).then_some(acknowledged);
                Answer::Subscribed(id, topics.into_iter().map(subscribe).collect())
            }
            Packet::Unsubscribe(id, topics) => {
                topics.iter().for_each(|topic| self.unsubscribe(client, topic));
                Answer::Unsubscribed(id)
            }
            Packet::Ping => Answer::Pong,
            Packet::Disconnect => return Err(End::Goodbye),
        })
    }

    /// Publishes for a client.
    ///
    /// # Errors
    /// [`End::Forbidden`] where it may not.
    pub fn publish(&mut self, client: &Client, topic: &str, payload: Bytes, retain: bool, acknowledged: bool) -> Result<(), End> {
        let topic = self.permitted(client, topic, retain, payload.len()).ok_or(End::Forbidden)?;
        self.spread(topic, payload, retain, acknowledged);
        self.bury();
        Ok(())
    }

    /// Subscribes a client to an exact topic, and delivers what is retained there; `false` where it may not.
    pub fn subscribe(&mut self, client: &Client, topic: &str, acknowledged: bool) -> bool {
        let Some(topic) = Topic::parse(topic, &self.prefix).filter(|topic| client.may_subscribe(topic)) else { return false };
        let Some(seat) = self.seats.get_mut(client) else { return false };
        if !seat.subscribe(client, &topic, acknowledged) {
            return false;
        }
        if !matches!(client, Client::Device(_)) {
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

    /// Ends a subscription, where there is one.
    pub fn unsubscribe(&mut self, client: &Client, topic: &str) {
        let Some(topic) = Topic::parse(topic, &self.prefix) else { return };
        if let Some(seat) = self.seats.get_mut(client) {
            seat.unsubscribe(client, &topic);
        }
        self.forget(client, &topic);
    }

    /// A connection has ended, or has to. Its will is published unless it said goodbye; one that has been replaced is gone already.
    pub fn gone(&mut self, client: &Client, connection: u64, why: End) {
        self.part(client, connection, why);
        self.bury();
    }

    /// How many are connected, and how many statuses are retained.
    pub fn counts(&self) -> (usize, usize) {
        (self.seats.len(), self.retained.len())
    }

    /// Whether nothing is left but what is retained.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.seats.is_empty() && self.relays.is_empty() && self.parted.is_empty()
    }

    /// Cuts everybody off, and has no place for anybody any more. No will is published: nobody is there to hear it.
    pub fn stop(&mut self) {
        self.most = 0;
        for seat in self.seats.values_mut() {
            seat.outlet.cut(End::Stopping);
        }
        self.seats.clear();
        self.relays.clear();
    }

    /// The topic, where this client may publish that there.
    fn permitted(&self, client: &Client, topic: &str, retain: bool, size: usize) -> Option<Topic> {
        Topic::parse(topic, &self.prefix).filter(|topic| client.may_publish(topic, retain, size))
    }

    /// To everybody who hears it. Seats that have no room are taken away, and their wills are due.
    fn spread(&mut self, topic: Topic, payload: Bytes, retain: bool, acknowledged: bool) {
        if let Topic::Status(id) = &topic
            && retain
            && self.known.as_ref().is_none_or(|known| known.contains_key(id))
        {
            self.retained.keep(id, &payload);
        }
        let relays: Vec<_> = self.relays.get(&topic).into_iter().flatten().cloned().collect();
        let device = match &topic {
            Topic::Wake(id) | Topic::Status(id) => Some(Client::Device(id.clone())),
            Topic::Acknowledgement(_) => None,
        };
        let delivery = Delivery { topic, payload, retain: false, id: None };
        for client in device.into_iter().chain(relays) {
            self.hand(&client, delivery.clone(), acknowledged);
        }
    }

    fn hand(&mut self, client: &Client, delivery: Delivery, acknowledged: bool) {
        let Some(seat) = self.seats.get_mut(client) else { return };
        let connection = seat.connection;
        // Who is in this process can't be cut off: what it has no room for is lost to it, and it counts that.
        if !seat.deliver(client, delivery, acknowledged) && !matches!(client, Client::Local(_)) {
            self.part(client, connection, End::Slow);
        }
    }

    fn part(&mut self, client: &Client, connection: u64, why: End) {
        if self.seats.get(client).is_none_or(|seat| seat.connection != connection) {
            return;
        }
        let Some(mut seat) = self.seats.remove(client) else { return };
        seat.outlet.cut(why);
        for topic in seat.others() {
            self.forget(client, topic);
        }
        if let Some(will) = seat.will.filter(|_| why != End::Goodbye) {
            self.parted.push_back(*will);
        }
    }

    /// Publishes the wills that are due; each may make others due, and no seat has two.
    fn bury(&mut self) {
        while let Some(Parting { topic, payload, retain, acknowledged }) = self.parted.pop_front() {
            self.spread(topic, payload, retain, acknowledged);
        }
    }

    fn forget(&mut self, client: &Client, topic: &Topic) {
        if let Some(relays) = self.relays.get_mut(topic) {
            relays.remove(client);
            if relays.is_empty() {
                self.relays.remove(topic);
            }
        }
    }
}
