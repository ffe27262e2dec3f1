//! The broker without its sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::id::DeviceId;
use crate::wake::{ACKNOWLEDGEMENT_MAX, Prefix, STATUS_MAX, WAKE_MAX};
use bytes::Bytes;

mod any_order;

/// One connection.
#[derive(Clone, Debug, Default)]
struct Line(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What it was handed.
    handed: Vec<Delivery>,
    /// Why it was cut.
    end: Option<End>,
    /// How much it holds.
    room: usize,
}

impl Line {
    /// One with room for so many.
    fn with_room(room: usize) -> Self {
        Self(Arc::new(Mutex::new(State { room, ..State::default() })))
    }

    fn got(&self) -> Vec<(String, String, bool)> {
        let taken = std::mem::take(&mut self.0.lock().unwrap().handed);
        taken.into_iter().map(|one| (one.topic.to_string(), String::from_utf8_lossy(&one.payload).into_owned(), one.retain)).collect()
    }

    fn end(&self) -> Option<End> {
        self.0.lock().unwrap().end
    }
}

impl Outlet for Line {
    fn deliver(&mut self, delivery: Delivery) -> bool {
        let mut line = self.0.lock().unwrap();
        let fits = line.handed.len() < line.room;
        if fits {
            line.handed.push(delivery);
        }
        fits
    }

    fn cut(&mut self, why: End) {
        self.0.lock().unwrap().end = Some(why);
    }
}

fn device(name: &str) -> BrokerClient {
    BrokerClient::Device(DeviceId::parse(name).unwrap())
}

fn relay() -> BrokerClient {
    BrokerClient::Relay("relay-1".into())
}

fn will(name: &str) -> Will {
    Will { topic: format!("sally/v1/{name}/status"), payload: Bytes::from_static(b"offline"), retain: true, acknowledged: true }
}

fn publish(topic: &str, payload: impl Into<Bytes>, retain: bool) -> Packet {
    Packet::Publish { topic: topic.into(), payload: payload.into(), retain, id: Some(7) }
}

fn subscribe(topics: &[&str]) -> Packet {
    Packet::Subscribe(3, topics.iter().map(|topic| ((*topic).into(), true)).collect())
}

fn message(topic: &str, payload: &str, retain: bool) -> (String, String, bool) {
    (topic.into(), payload.into(), retain)
}

const NOW: Duration = Duration::ZERO;

struct Place {
    hub: Hub<Line>,
    last: u64,
}

impl Place {
    fn new() -> Self {
        Self { hub: Hub::new(Prefix::default(), 100), last: 0 }
    }

    fn connect(&mut self, client: &BrokerClient, will: Option<Will>) -> (u64, Line) {
        self.connect_with(client, will, Line::with_room(1000))
    }

    fn connect_with(&mut self, client: &BrokerClient, will: Option<Will>, line: Line) -> (u64, Line) {
        self.last += 1;
        self.hub.connect(client, self.last, 5, will, line.clone()).unwrap();
        (self.last, line)
    }
}

#[test]
fn a_name_is_a_device_or_a_relay_or_nobody() {
    assert_eq!(BrokerClient::named("cam-17", "whatever"), Some(device("cam-17")));
    assert_eq!(BrokerClient::named(RELAY_NAME, "relay-1"), Some(relay()));
    for nobody in ["Cam-17", "cam 17", "", "sally.relay2", "cam-17/wake", "+", "#", "localhost", "-x"] {
        assert_eq!(BrokerClient::named(nobody, "cam-17"), None, "{nobody}");
    }
    assert_eq!(BrokerClient::unproven("sally.relay.a"), Some(BrokerClient::Relay("sally.relay.a".into())));
    assert_eq!(BrokerClient::unproven("sally.relays"), None);
    assert_eq!(BrokerClient::unproven("cam-17"), Some(device("cam-17")));
}

#[test]
fn a_silence_is_one_and_a_half_keepalives_and_never_for_ever() {
    let most = Duration::from_secs(1200);
    assert_eq!(keepalive(60, most), Duration::from_secs(90));
    assert_eq!(keepalive(0, most), Duration::from_secs(1800));
    assert_eq!(keepalive(u16::MAX, most), Duration::from_secs(1800));
}

#[test]
fn the_one_common_name_of_a_subject() {
    let attribute = |kind: &[u8], tag: u8, text: &[u8]| {
        let wrap = |tag: u8, inner: &[u8]| [&[tag, u8::try_from(inner.len()).unwrap()], inner].concat();
        wrap(0x31, &wrap(0x30, &[wrap(6, kind), wrap(tag, text)].concat()))
    };
    let (common, country) = ([0x55, 4, 3], [0x55, 4, 6]);
    let one = attribute(&common, 0x0c, b"cam-17");
    assert_eq!(common_name(&one), Some("cam-17"));
    assert_eq!(common_name(&[attribute(&country, 0x13, b"AT"), attribute(&common, 0x13, b"cam-17")].concat()), Some("cam-17"));
    assert_eq!(common_name(&[one.clone(), one.clone()].concat()), None);
    assert_eq!(common_name(&attribute(&country, 0x13, b"AT")), None);
    assert_eq!(common_name(b""), None);
    assert_eq!(common_name(&attribute(&common, 0x0c, b"\xff")), None);
    for length in 1..one.len() {
        assert_eq!(common_name(&one[..length]), None, "{length}");
    }
}

#[test]
fn a_wake_reaches_the_one_device_and_its_answer_the_relay() {
    let mut place = Place::new();
    let ((first, line), (_, other)) = (place.connect(&device("cam-17"), None), place.connect(&device("cam-18"), None));
    let (tower, heard) = place.connect(&relay(), None);
    let subscribed = place.hub.packet(&device("cam-17"), first, subscribe(&["sally/v1/cam-17/wake", "sally/v1/cam-17/status"]), NOW);
    assert_eq!(subscribed, Ok(PacketAnswer::Subscribed(3, vec![Some(true), Some(true)])));
    place.hub.packet(&relay(), tower, subscribe(&["sally/v1/r/relay-1/ack"]), NOW).unwrap();
    assert_eq!(place.hub.packet(&relay(), tower, publish("sally/v1/cam-17/wake", "w", false), NOW), Ok(PacketAnswer::Published(7)));
    assert_eq!(line.got(), [message("sally/v1/cam-17/wake", "w", false)]);
    place.hub.packet(&device("cam-17"), first, publish("sally/v1/r/relay-1/ack", "a", false), NOW).unwrap();
    assert_eq!(heard.got(), [message("sally/v1/r/relay-1/ack", "a", false)]);
    place.hub.packet(&relay(), tower, Packet::Unsubscribe(9, vec!["sally/v1/r/relay-1/ack".into()]), NOW).unwrap();
    place.hub.packet(&device("cam-17"), first, publish("sally/v1/r/relay-1/ack", "a", false), NOW).unwrap();
    assert!(heard.got().is_empty() && other.got().is_empty());
}

#[test]
fn a_subscription_to_anything_else_is_refused_and_the_others_hold() {
    let mut place = Place::new();
    let (connection, _) = place.connect(&device("cam-17"), None);
    let topics = [
        "sally/v1/cam-17/wake",
        "sally/v1/cam-18/wake",
        "sally/v1/cam-18/status",
        "sally/v1/+/wake",
        "sally/v1/cam-17/#",
        "#",
        "$SYS/broker/clients",
        "sally/v1/CAM-17/wake",
        "sally/v1/r/relay-1/ack",
        "sally/v1/cam-17/wake/",
        "$share/g/sally/v1/cam-17/wake",
        "",
    ];
    let answer = place.hub.packet(&device("cam-17"), connection, subscribe(&topics), NOW);
    let mut expected = vec![None; topics.len()];
    expected[0] = Some(true);
    assert_eq!(answer, Ok(PacketAnswer::Subscribed(3, expected)));
}

#[test]
fn whoever_publishes_what_is_not_theirs_is_cut_off() {
    let long = |length: usize| vec![b'x'; length];
    for (client, topic, payload, retain) in [
        (device("cam-17"), "sally/v1/cam-18/status", long(1), true),
        (device("cam-17"), "sally/v1/cam-17/wake", long(1), false),
        (device("cam-17"), "sally/v1/r/relay-1/ack", long(1), true),
        (device("cam-17"), "sally/v1/r/relay-1/ack", long(ACKNOWLEDGEMENT_MAX + 1), false),
        (device("cam-17"), "sally/v1/cam-17/status", long(STATUS_MAX + 1), true),
        (device("cam-17"), "anything", long(1), false),
        (relay(), "sally/v1/cam-17/wake", long(1), true),
        (relay(), "sally/v1/cam-17/wake", long(WAKE_MAX + 1), false),
        (relay(), "sally/v1/cam-17/status", long(1), true),
        (relay(), "sally/v1/r/relay-1/ack", long(1), false),
    ] {
        let mut place = Place::new();
        let (connection, line) = place.connect(&client, None);
        assert_eq!(place.hub.packet(&client, connection, publish(topic, payload, retain), NOW), Err(End::Forbidden), "{topic}");
        assert_eq!((line.end(), place.hub.counts()), (Some(End::Forbidden), (0, 0)));
        assert_eq!(place.hub.packet(&client, connection, Packet::Ping, NOW), Err(End::Replaced));
    }
}

#[test]
fn a_status_is_retained_and_a_will_is_its_end_unless_goodbye_was_said() {
    let mut place = Place::new();
    let topic = "sally/v1/cam-17/status";
    for (why, last) in [(End::Lost, "offline"), (End::Silent, "offline"), (End::Goodbye, "online")] {
        let (connection, _) = place.connect(&device("cam-17"), Some(will("cam-17")));
        place.hub.packet(&device("cam-17"), connection, publish(topic, "online", true), NOW).unwrap();
        place.hub.gone(&device("cam-17"), connection, why);
        let (tower, heard) = place.connect(&relay(), None);
        place.hub.packet(&relay(), tower, subscribe(&[topic]), NOW).unwrap();
        assert_eq!(heard.got(), [message(topic, last, true)], "{why:?}");
    }
    // An empty one is none.
    let (connection, _) = place.connect(&device("cam-17"), None);
    place.hub.packet(&device("cam-17"), connection, publish(topic, "", true), NOW).unwrap();
    assert_eq!(place.hub.counts().1, 0);
}

#[test]
fn a_take_over_fires_the_old_will_and_the_new_one_has_the_last_word() {
    let mut place = Place::new();
    let topic = "sally/v1/cam-17/status";
    let (tower, heard) = place.connect(&relay(), None);
    place.hub.packet(&relay(), tower, subscribe(&[topic]), NOW).unwrap();
    let (_, old) = place.connect(&device("cam-17"), Some(will("cam-17")));
    let (new, line) = place.connect(&device("cam-17"), Some(will("cam-17")));
    assert_eq!(old.end(), Some(End::Replaced));
    place.hub.packet(&device("cam-17"), new, subscribe(&[topic]), NOW).unwrap();
    assert_eq!(line.got(), [message(topic, "offline", true)]);
    place.hub.packet(&device("cam-17"), new, publish(topic, "online", true), NOW).unwrap();
    // The old connection's task comes late, and changes nothing.
    place.hub.gone(&device("cam-17"), 2, End::Lost);
    assert_eq!(heard.got(), [message(topic, "offline", false), message(topic, "online", false)]);
}

#[test]
fn a_will_that_is_not_ones_own_is_refused() {
    let mut place = Place::new();
    let mut connect = |will: Will| place.hub.connect(&device("cam-17"), 1, 5, Some(will), Line::default());
    assert_eq!(connect(will("cam-18")), Err(ConnectRefusal::Will));
    assert_eq!(connect(Will { topic: "sally/v1/cam-17/wake".into(), ..will("cam-17") }), Err(ConnectRefusal::Will));
    assert_eq!(connect(Will { payload: vec![0; STATUS_MAX + 1].into(), ..will("cam-17") }), Err(ConnectRefusal::Will));
    assert_eq!(connect(will("cam-17")), Ok(()));
}

#[test]
fn who_does_not_read_or_acknowledge_is_cut_and_nobody_else_waits() {
    let mut place = Place::new();
    let (tower, _) = place.connect(&relay(), None);
    let topic = "sally/v1/cam-17/wake";
    let (slow, line) = place.connect_with(&device("cam-17"), None, Line::with_room(2));
    place.hub.packet(&device("cam-17"), slow, subscribe(&[topic]), NOW).unwrap();
    for _ in 0..3 {
        assert_eq!(place.hub.packet(&relay(), tower, publish(topic, "w", false), NOW), Ok(PacketAnswer::Published(7)));
    }
    assert_eq!((line.got().len(), line.end()), (2, Some(End::Slow)));

    let (mute, line) = place.connect(&device("cam-17"), None);
    place.hub.packet(&device("cam-17"), mute, subscribe(&[topic]), NOW).unwrap();
    for _ in 0..DEVICE_UNACKNOWLEDGED_MAX {
        place.hub.packet(&relay(), tower, publish(topic, "w", false), NOW).unwrap();
    }
    assert_eq!(line.end(), None);
    place.hub.packet(&device("cam-17"), mute, Packet::Acknowledged, NOW).unwrap();
    place.hub.packet(&relay(), tower, publish(topic, "w", false), NOW).unwrap();
    assert_eq!(line.end(), None);
    place.hub.packet(&relay(), tower, publish(topic, "w", false), NOW).unwrap();
    assert_eq!(line.end(), Some(End::Slow));
}

#[test]
fn who_says_too_much_is_cut() {
    let mut place = Place::new();
    let (connection, line) = place.connect(&device("cam-17"), None);
    let said = (0..1000).take_while(|_| place.hub.packet(&device("cam-17"), connection, Packet::Ping, NOW).is_ok()).count();
    assert_eq!((u32::try_from(said), line.end()), (Ok(DEVICE_PACKETS.burst), Some(End::TooOften)));
    // One a second, for ever.
    let (connection, _) = place.connect(&device("cam-17"), None);
    for second in 0..1000 {
        assert_eq!(place.hub.packet(&device("cam-17"), connection, Packet::Ping, Duration::from_secs(second)), Ok(PacketAnswer::Pong));
    }
}

#[test]
fn the_fleet_s_list_decides_who_is_admitted_and_what_is_retained() {
    let mut place = Place::new();
    let id = |name: &str| DeviceId::parse(name).unwrap();
    let (old, line) = place.connect(&device("cam-17"), Some(will("cam-17")));
    let (unknown, _) = place.connect(&device("unlisted"), None);
    let (_, revoked) = place.connect(&device("cam-18"), None);
    place.hub.packet(&device("unlisted"), unknown, publish("sally/v1/unlisted/status", "online", true), NOW).unwrap();
    let active = Standing { serial: 6, active: true };
    let listed = BTreeMap::from([(id("cam-17"), active), (id("cam-18"), Standing { serial: 5, active: false })]);
    place.hub.know(listed, BTreeSet::from([9]));
    // An older certificate than the newest, and a device that is no part of the fleet any more.
    assert_eq!((line.end(), revoked.end()), (Some(End::Revoked), Some(End::Revoked)));
    assert_eq!(place.hub.packet(&device("cam-17"), old, Packet::Ping, NOW), Err(End::Replaced));
    // Its will is retained; the status of whom nobody knows is not.
    assert_eq!(place.hub.counts(), (1, 1));
    place.hub.packet(&device("unlisted"), unknown, publish("sally/v1/unlisted/status", "online", true), NOW).unwrap();
    assert_eq!(place.hub.counts(), (1, 1));
    for (client, serial, admitted) in [
        (device("cam-17"), 5, false),
        (device("cam-17"), 6, true),
        (device("cam-17"), 9, false),
        (device("cam-18"), 5, false),
        (device("new"), 10, true),
        (relay(), 9, false),
        (relay(), 1, true),
    ] {
        assert_eq!(place.hub.admits(&client, serial), admitted, "{client} {serial}");
    }
}

#[test]
fn there_are_so_many_places() {
    let mut hub = Hub::new(Prefix::default(), 2);
    for (name, connected) in [("a", Ok(())), ("b", Ok(())), ("c", Err(ConnectRefusal::Full)), ("b", Ok(()))] {
        assert_eq!(hub.connect(&device(name), 1, 5, None, Line::default()), connected, "{name}");
    }
    hub.stop();
    assert_eq!(hub.connect(&device("b"), 1, 5, None, Line::default()), Err(ConnectRefusal::Full));
    assert!(hub.is_bare());
}
