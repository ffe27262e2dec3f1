//! One client's place.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::client::Client;
use super::packet::{Delivery, End};
use crate::rate::{Bucket, Rate};
use crate::wake::Topic;

/// How much a device may say: any packet counts. It says little: a ping now and then, a status, an answer to each wake.
pub const DEVICE_PACKETS: Rate = Rate { burst: 100, every: Duration::from_secs(1) };
/// How much a relay in another process may say: a subscription, a wake and an acknowledgement for each visitor who waits.
const RELAY_PACKETS: Rate = Rate { burst: 10_000, every: Duration::from_millis(2) };
/// Deliveries that a device may leave unacknowledged. Wakes come by ones and twos.
pub const DEVICE_UNACKNOWLEDGED_MAX: u16 = 32;
/// The same of a relay: statuses come by the thousand when the devices do.
const RELAY_UNACKNOWLEDGED_MAX: u16 = 10_000;
/// Topics that a relay may be subscribed to: one for each device that it watches.
pub const RELAY_SUBSCRIPTIONS_MAX: usize = 16_384;

/// Where deliveries to one client go. Never waits.
pub trait Outlet {
    /// Takes one; `false` where there is no room for it.
    fn deliver(&mut self, delivery: Delivery) -> bool;
    /// Ends the client's connection.
    fn cut(&mut self, why: End);
}

/// A will that was looked at.
#[derive(Debug)]
pub(super) struct Parting {
    pub(super) topic: Topic,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) acknowledged: bool,
}

/// To which topics somebody is subscribed, and whether with QoS 1. Of devices there are many, each with two topics at most.
#[derive(Debug, Default)]
struct Subscriptions {
    wake: Option<bool>,
    own_status: Option<bool>,
    others: BTreeMap<Topic, bool>,
}

/// A place: what is known of one connection.
#[derive(Debug)]
pub(super) struct Seat<O> {
    /// Which connection has it.
    pub(super) connection: u64,
    /// Its certificate's serial number; 0 where there is none.
    pub(super) serial: u64,
    pub(super) outlet: O,
    pub(super) will: Option<Box<Parting>>,
    subscriptions: Subscriptions,
    packets: Bucket,
    unacknowledged: u16,
    last_id: u16,
}

impl<O: Outlet> Seat<O> {
    pub(super) fn new(client: &Client, connection: u64, serial: u64, will: Option<Parting>, outlet: O) -> Self {
        let rate = if matches!(client, Client::Device(_)) { DEVICE_PACKETS } else { RELAY_PACKETS };
        let will = will.map(Box::new);
        let packets = Bucket::new(rate);
        Self { connection, serial, outlet, will, subscriptions: Subscriptions::default(), packets, unacknowledged: 0, last_id: 0 }
    }

    /// Counts a packet; `false` where that is too many.
    pub(super) fn hears(&mut self, now: Duration) -> bool {
        self.packets.take(now).is_ok()
    }

    /// A delivery has arrived.
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// Subscribes; `false` where it has too many subscriptions.
    pub(super) fn subscribe(&mut self, client: &Client, topic: &Topic, acknowledged: bool) -> bool {
        match (client, topic) {
            (Client::Device(_), Topic::Wake(_)) => self.subscriptions.wake = Some(acknowledged),
            (Client::Device(_), Topic::Status(_)) => self.subscriptions.own_status = Some(acknowledged),
            _ => {
                let others = &mut self.subscriptions.others;
                if others.len() >= RELAY_SUBSCRIPTIONS_MAX && !others.contains_key(topic) {
                    return false;
                }
                others.insert(topic.clone(), acknowledged);
            }
        }
        true
    }

    pub(super) fn unsubscribe(&mut self, client: &Client, topic: &Topic) {
        match (client, topic) {
            (Client::Device(own), Topic::Wake(id)) if own == id => self.subscriptions.wake = None,
            (Client::Device(own), Topic::Status(id)) if own == id => self.subscriptions.own_status = None,
            _ => drop(self.subscriptions.others.remove(topic)),
        }
    }

    /// Whether it is subscribed there, and whether with QoS 1. A device is asked about its own topics alone.
    fn subscription(&self, client: &Client, topic: &Topic) -> Option<bool> {
        match (client, topic) {
            (Client::Device(_), Topic::Wake(_)) => self.subscriptions.wake,
            (Client::Device(_), Topic::Status(_)) => self.subscriptions.own_status,
            _ => self.subscriptions.others.get(topic).copied(),
        }
    }

    /// Topics that are somebody else's.
    pub(super) fn others(&self) -> impl Iterator<Item = &Topic> {
        self.subscriptions.others.keys()
    }

    /// Delivers, with the lower QoS of publisher and subscriber; `false` where it doesn't take it.
    pub(super) fn deliver(&mut self, client: &Client, mut delivery: Delivery, acknowledged: bool) -> bool {
        let Some(wanted) = self.subscription(client, &delivery.topic) else { return true };
        delivery.id = None;
        // In this process there is nothing to acknowledge.
        if wanted && acknowledged && !matches!(client, Client::Local(_)) {
            let most = if matches!(client, Client::Device(_)) { DEVICE_UNACKNOWLEDGED_MAX } else { RELAY_UNACKNOWLEDGED_MAX };
            if self.unacknowledged >= most {
                return false;
            }
            self.unacknowledged = self.unacknowledged.saturating_add(1);
            // Zero is none (section 2.3.1). Fewer are under way than there are numbers.
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            delivery.id = Some(self.last_id);
        }
        self.outlet.deliver(delivery)
    }
}
