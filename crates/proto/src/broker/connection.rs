//! Holds the state of one client's connection.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::client::BrokerClient;
use super::packet::{Delivery, End};
use crate::rate::{Bucket, Rate};
use crate::wake::Topic;

/// How many packets a device may send, of any kind. It needs few: a ping now and then, a status, an answer to each wake.
pub const DEVICE_PACKETS: Rate = Rate { burst: 100, every: Duration::from_secs(1) };
/// How many packets a relay in another process may send: a subscription, a wake and an acknowledgement for each waiting visitor.
const RELAY_PACKETS: Rate = Rate { burst: 10_000, every: Duration::from_millis(2) };
/// How many deliveries a device may leave unacknowledged. Wakes come by ones and twos.
pub const DEVICE_UNACKNOWLEDGED_MAX: u16 = 32;
/// How many deliveries a relay may leave unacknowledged: statuses come by the thousand when the devices reconnect.
const RELAY_UNACKNOWLEDGED_MAX: u16 = 10_000;
/// How many topics a relay may subscribe to: one for each device that it watches.
pub const RELAY_SUBSCRIPTIONS_MAX: usize = 16_384;

/// The way to one client. Never waits.
pub trait Outlet {
    /// Delivers a message; returns `false` if there is no room for it.
    fn deliver(&mut self, delivery: Delivery) -> bool;
    /// Ends the client's connection.
    fn cut(&mut self, why: End);
}

/// A will that may be published.
#[derive(Debug)]
pub(super) struct PendingWill {
    pub(super) topic: Topic,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) acknowledged: bool,
}

/// A client's subscriptions, and whether each has QoS 1. Kept small, because there are many devices with at most two topics each.
#[derive(Debug, Default)]
struct Subscriptions {
    wake: Option<bool>,
    own_status: Option<bool>,
    others: BTreeMap<Topic, bool>,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct HubConnection<O> {
    /// The number of the connection.
    pub(super) connection: u64,
    /// The certificate's serial number; 0 if there is none.
    pub(super) serial: u64,
    pub(super) outlet: O,
    pub(super) will: Option<Box<PendingWill>>,
    subscriptions: Subscriptions,
    packets: Bucket,
    unacknowledged: u16,
    last_id: u16,
}

impl<O: Outlet> HubConnection<O> {
    pub(super) fn new(client: &BrokerClient, connection: u64, serial: u64, will: Option<PendingWill>, outlet: O) -> Self {
        let rate = if matches!(client, BrokerClient::Device(_)) { DEVICE_PACKETS } else { RELAY_PACKETS };
        let will = will.map(Box::new);
        let packets = Bucket::new(rate);
        Self { connection, serial, outlet, will, subscriptions: Subscriptions::default(), packets, unacknowledged: 0, last_id: 0 }
    }

    /// Counts a packet; returns `false` if there are too many.
    pub(super) fn hears(&mut self, now: Duration) -> bool {
        self.packets.take(now).is_ok()
    }

    /// Notes that a delivery has arrived.
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// Subscribes; returns `false` if there are too many subscriptions.
    pub(super) fn subscribe(&mut self, client: &BrokerClient, topic: &Topic, acknowledged: bool) -> bool {
        match (client, topic) {
            (BrokerClient::Device(_), Topic::Wake(_)) => self.subscriptions.wake = Some(acknowledged),
            (BrokerClient::Device(_), Topic::Status(_)) => self.subscriptions.own_status = Some(acknowledged),
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

    pub(super) fn unsubscribe(&mut self, client: &BrokerClient, topic: &Topic) {
        match (client, topic) {
            (BrokerClient::Device(own), Topic::Wake(id)) if own == id => self.subscriptions.wake = None,
            (BrokerClient::Device(own), Topic::Status(id)) if own == id => self.subscriptions.own_status = None,
            _ => drop(self.subscriptions.others.remove(topic)),
        }
    }

    /// Returns whether the client is subscribed to a topic, and whether with QoS 1. A device has only its own topics.
    fn subscription(&self, client: &BrokerClient, topic: &Topic) -> Option<bool> {
        match (client, topic) {
            (BrokerClient::Device(_), Topic::Wake(_)) => self.subscriptions.wake,
            (BrokerClient::Device(_), Topic::Status(_)) => self.subscriptions.own_status,
            _ => self.subscriptions.others.get(topic).copied(),
        }
    }

    /// Returns the subscribed topics of other clients.
    pub(super) fn others(&self) -> impl Iterator<Item = &Topic> {
        self.subscriptions.others.keys()
    }

    /// Delivers with the lower QoS of publisher and subscriber; returns `false` if the client doesn't take it.
    pub(super) fn deliver(&mut self, client: &BrokerClient, mut delivery: Delivery, acknowledged: bool) -> bool {
        let Some(wanted) = self.subscription(client, &delivery.topic) else { return true };
        delivery.id = None;
        // A client in this process acknowledges nothing.
        if wanted && acknowledged && !matches!(client, BrokerClient::Local(_)) {
            let most = if matches!(client, BrokerClient::Device(_)) { DEVICE_UNACKNOWLEDGED_MAX } else { RELAY_UNACKNOWLEDGED_MAX };
            if self.unacknowledged >= most {
                return false;
            }
            self.unacknowledged = self.unacknowledged.saturating_add(1);
            // Zero isn't an identifier (section 2.3.1). Fewer deliveries are in flight than there are numbers.
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            delivery.id = Some(self.last_id);
        }
        self.outlet.deliver(delivery)
    }
}
