//! What a hostile device may try. In each case somebody else is served as if nothing were.

use super::*;
use crate::support::mqtt::{PUBLISH, packet, string};

/// Somebody else, before and after.
struct Neighbour<'a> {
    device: Mqtt,
    relay: Relay<'a>,
}

impl<'a> Neighbour<'a> {
    /// From another address of this machine than the hostile one's.
    fn new(listener: &'a Listener) -> Self {
        let mut device = Mqtt::from(2, listener.address);
        device.send(&mqtt::connect("neighbour", 0, None));
        assert_eq!(device.read(), Some((0x20, vec![0, 0])));
        Self { device: device.hearing(&["sally/v1/neighbour/wake"]), relay: listener.relay(&[]) }
    }

    fn is_served(&mut self) {
        self.relay.local.publish("sally/v1/neighbour/wake", "good morning", false).unwrap();
        assert_eq!(self.device.message(), Some(said("sally/v1/neighbour/wake", "good morning")));
    }
}

#[test]
fn nobody_subscribes_to_what_is_not_theirs() {
    let listener = Listener::plain();
    let mut device = Mqtt::connected(listener.address, "cam-17");
    let topics = ["#", "+/v1/cam-17/wake", "sally/v1/+/wake", "sally/v1/cam-18/wake", "sally/v1/cam-18/status", "$SYS/#", ACK, WAKE];
    device.send(&mqtt::subscribe(&topics));
    assert_eq!(device.read(), Some((0x90, vec![0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1])));
    let output = run(mosquitto("mosquitto_sub", &listener, "cam-18").args(["-t", "sally/v1/+/wake"]));
    assert!(text(&output.stderr).contains("All subscription requests were denied"), "{output:?}");
}

#[test]
fn who_publishes_what_is_not_theirs_is_cut_off_and_heard_by_nobody() {
    let listener = Listener::plain();
    let mut neighbour = Neighbour::new(&listener);
    let mut relay = listener.relay(&["sally/v1/cam-18/status", "sally/v1/neighbour/status", ACK]);
    for bytes in [
        mqtt::publish("sally/v1/cam-18/status", "online", true),
        mqtt::publish("sally/v1/neighbour/wake", "forged", false),
        mqtt::publish(WAKE, "forged", false),
        mqtt::publish(ACK, "kept", true),
        mqtt::publish("sally/v1/neighbour/status/", "x", true),
        mqtt::publish("$SYS/broker", "x", true),
        mqtt::publish(STATUS, "x".repeat(513), true),
        mqtt::publish(ACK, "x".repeat(4097), false),
    ] {
        let mut device = Mqtt::connected(listener.address, "cam-17");
        device.send(&bytes);
        device.await_end();
    }
    listener.await_count("forbidden", 8);
    neighbour.is_served();
    assert_eq!(listener.relay(&[STATUS]).message(), said(STATUS, "offline"));
    relay.local.publish(WAKE, "nobody hears", false).unwrap();
    assert!(relay.events.try_recv().is_err());
}

#[test]
fn nobody_is_whom_their_name_does_not_say() {
    let listener = Listener::plain();
    for name in ["", "Cam-17", "cam 17", "sally.relays", "a/b", "+", "-x", &"x".repeat(65)] {
        let mut client = Mqtt::open(listener.address);
        client.send(&mqtt::connect(name, 0, None));
        assert_eq!(client.read(), Some((0x20, vec![0, 2])), "{name}");
        client.await_end();
    }
    // Another's will.
    let mut client = Mqtt::open(listener.address);
    client.send(&mqtt::connect("cam-17", 0, Some(("sally/v1/cam-18/status", "offline"))));
    assert_eq!(client.read(), Some((0x20, vec![0, 5])));
    // MQTT 5, and a version that never was.
    for version in [5, 9] {
        let mut client = Mqtt::open(listener.address);
        client.send(&packet(0x10, &[string("MQTT"), vec![version, 2, 0, 0], string("cam-17")].concat()));
        assert_eq!(client.read(), Some((0x20, vec![0, 1])));
    }
    assert_eq!(listener.counts().connected, 0);
}

#[test]
fn what_is_no_mqtt_ends_the_connection() {
    let listener = Listener::plain();
    let mut neighbour = Neighbour::new(&listener);
    let connect = |body: &[u8]| packet(0x10, body);
    let (start, id) = ([string("MQTT"), vec![4]].concat(), string("cam-17"));
    let before: [Vec<u8>; 8] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x16, 3, 1, 0, 200],
        vec![mqtt::PINGREQ, 0],
        vec![0x10, 0xff, 0xff, 0xff, 0xff],
        vec![0x10, 0xff, 0xff, 0xff, 0x7f],
        connect(&[&start[..], &[3, 0, 0], &id].concat()),
        connect(&[&start[..], &[0x1e, 0, 0], &id, &string(STATUS), &string("x")].concat()),
        connect(&[&start[..], &[2, 0, 0], &id, &b"more"[..]].concat()),
    ];
    let after: [Vec<u8>; 10] = [
        mqtt::connect("cam-17", 0, None),
        vec![0x30, 0xff, 0xff, 0xff, 0x7f],
        vec![0x30, 0xff, 0xff, 0xff, 0xff],
        packet(PUBLISH | 6, &[&string(ACK)[..], &[0, 1]].concat()),
        packet(PUBLISH | 4, &[&string(ACK)[..], &[0, 1]].concat()),
        packet(PUBLISH | 2, &[&string(ACK)[..], &[0, 0]].concat()),
        packet(0x80, &[&[0, 1][..], &string(WAKE), &[1]].concat()),
        packet(mqtt::SUBSCRIBE, &[&[0, 1][..], &string([0xff, 0xfe]), &[1]].concat()),
        packet(mqtt::SUBSCRIBE, &[0, 1]),
        packet(0xf0, &[0; 8]),
    ];
    for bytes in before {
        let mut client = Mqtt::open(listener.address);
        client.try_send(&bytes);
        client.await_end();
    }
    for bytes in after {
        let mut client = Mqtt::connected(listener.address, "cam-17");
        client.try_send(&bytes);
        client.await_end();
    }
    listener.await_count("malformed", 18);
    neighbour.is_served();
}

#[test]
fn a_byte_at_a_time_is_as_good_as_all_at_once() {
    let listener = Listener::plain();
    let relay = listener.relay(&[]);
    let mut device = Mqtt::open(listener.address);
    for byte in [mqtt::connect("cam-17", 0, None), mqtt::subscribe(&[WAKE])].concat() {
        device.send(&[byte]);
    }
    assert_eq!([device.read(), device.read()], [Some((0x20, vec![0, 0])), Some((0x90, vec![0, 1, 1]))]);
    relay.wake("wake up");
    assert_eq!(device.message(), Some(said(WAKE, "wake up")));
    // And all at once: a client need not wait for the answers.
    let mut device = Mqtt::open(listener.address);
    device.send(&[mqtt::connect("cam-17", 0, None), mqtt::subscribe(&[WAKE]), mqtt::publish(ACK, "a", false)].concat());
    let answers = [device.read(), device.read(), device.read()];
    assert_eq!(answers, [Some((0x20, vec![0, 0])), Some((0x90, vec![0, 1, 1])), Some((mqtt::PUBACK, vec![0, 1]))]);
}

#[test]
fn a_flood_of_messages_ends_the_flooder() {
    let listener = Listener::plain();
    let mut neighbour = Neighbour::new(&listener);
    let mut device = Mqtt::connected(listener.address, "cam-17");
    // Retained, each another: there is one place for them.
    for number in 0..2000 {
        device.try_send(&mqtt::publish(STATUS, format!("online {number}"), true));
    }
    device.await_end();
    listener.await_count("too_often", 1);
    assert_eq!(listener.counts().retained, 1);
    neighbour.is_served();
}

#[test]
fn who_does_not_read_is_cut_off_and_slows_nobody() {
    let listener = Listener::plain();
    let mut neighbour = Neighbour::new(&listener);
    let mut deaf = Mqtt::connected(listener.address, "cam-17");
    deaf.send(&packet(mqtt::SUBSCRIBE, &[&[0, 1][..], &string(WAKE), &[0]].concat()));
    assert_eq!(deaf.read(), Some((0x90, vec![0, 1, 0])));
    // More than its socket holds.
    let wake = "x".repeat(1000);
    let mut sent = 0;
    while !listener.counts().ended.contains_key("slow") && sent < 100_000 {
        neighbour.relay.wake(&wake);
        sent += 1;
    }
    listener.await_count("slow", 1);
    neighbour.is_served();
    // And one that reads and never acknowledges.
    let mut mute = Mqtt::connected(listener.address, "cam-17").hearing(&[WAKE]);
    (0..40).for_each(|_| neighbour.relay.wake("w"));
    mute.await_end();
    listener.await_count("slow", 2);
}

#[test]
fn hundreds_who_never_finish_keep_nobody_out() {
    let limits = BrokerLimits { waiting_per_source: 100, entry: Duration::from_millis(500), ..BrokerLimits::default() };
    let listener = Listener::with(limits);
    let mut neighbour = Neighbour::new(&listener);
    let mut crowd: Vec<_> = (0..300).map(|_| Mqtt::open(listener.address)).collect();
    // Half of them have begun.
    crowd.iter_mut().step_by(2).for_each(|one| one.try_send(&mqtt::connect("cam-17", 0, None)[..9]));
    neighbour.is_served();
    let mut newcomer = Mqtt::from(3, listener.address);
    newcomer.send(&mqtt::connect("newcomer", 0, None));
    assert_eq!(newcomer.read(), Some((0x20, vec![0, 0])));
    // Each is gone after its time, and then their source is welcome again.
    crowd.iter_mut().for_each(Mqtt::await_end);
    let counts = listener.counts();
    let refused = |why| counts.refused.get(why).copied().unwrap_or_default();
    assert!(refused("too_late") >= 90 && refused("too_many_of_one_source") > 0, "{counts:?}");
    drop(Mqtt::connected(listener.address, "cam-17"));
}

#[test]
fn when_all_places_are_taken_somebody_makes_room() {
    let limits = BrokerLimits { waiting: 50, waiting_per_source: 40, ..BrokerLimits::default() };
    let listener = Listener::with(limits);
    let crowd: Vec<_> = (0..100).map(|one| Mqtt::from(10 + one / 25, listener.address)).collect();
    listener.await_count("made_room", 50);
    drop(Mqtt::connected(listener.address, "cam-17"));
    drop(crowd);
}

#[test]
fn there_is_no_place_for_one_more_than_there_are() {
    let listener = Listener::with(BrokerLimits { clients: 2, ..BrokerLimits::default() });
    let (_one, _two) = (Mqtt::connected(listener.address, "a"), Mqtt::connected(listener.address, "b"));
    let mut three = Mqtt::open(listener.address);
    three.send(&mqtt::connect("c", 0, None));
    assert_eq!(three.read(), Some((0x20, vec![0, 3])));
    drop(Mqtt::connected(listener.address, "b"));
}

/// Without certificates names cost nothing: what is kept for them is bounded, and not by how many names there are.
#[test]
fn names_that_nobody_proves_are_not_remembered_without_end() {
    let limits = BrokerLimits { retained_unproven: 100, ..BrokerLimits::default() };
    let listener = Listener::with(limits);
    let mut relay = listener.relay(&["sally/v1/x-0/status", "sally/v1/x-149/status"]);
    for number in 0..150 {
        let name = format!("x-{number}");
        let mut client = Mqtt::open(listener.address);
        client.send(&mqtt::connect(&name, 0, None));
        assert_eq!(client.read(), Some((0x20, vec![0, 0])));
        client.send(&mqtt::publish(&format!("sally/v1/{name}/status"), "online", true));
        assert_eq!(client.read(), Some((mqtt::PUBACK, vec![0, 1])));
    }
    // Who is there now hears each all the same.
    assert_eq!([relay.message(), relay.message()], [said("sally/v1/x-0/status", "online"), said("sally/v1/x-149/status", "online")]);
    assert_eq!(listener.counts().retained, 100);
    assert!(BrokerLimits::default().retained_unproven <= 20_000);
}
