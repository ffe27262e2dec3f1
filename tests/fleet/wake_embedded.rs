//! A fleet that has no broker but its relay; and several relays that have one broker.

use crate::support::*;

#[test]
fn a_relay_that_is_the_broker_comes_back_and_so_do_its_devices() {
    let mut live = Live::embedded(&[]);
    let (mut agent, _sshd) = live.device("cam-17");
    live.assert_reached();
    let listen = format!("127.0.0.1:{}", live.mqtt_port());
    live.new_relay(&["--mqtt-listen", &listen]);
    agent.await_words("connected to the broker");
    live.assert_reached();
}

#[test]
fn a_revoked_device_is_gone_from_the_broker_too() {
    let http = free_port();
    let live = Live::embedded(&["--http", &format!("127.0.0.1:{http}")]);
    let (mut agent, _sshd) = live.device("cam-17");
    let (_other, _other_sshd) = live.device("cam-18");
    let clients = metric(http, "sally_mqtt_clients ");
    live.fleet.sally(&["revoke", "FLEET", "cam-17"]);
    agent.await_words("no connection to the broker");
    until("the broker has cut it off", || get(http, "/metrics").1.contains("sally_mqtt_ended_total{why=\"revoked\"} 1\n").then_some(()));
    assert_eq!(metric(http, "sally_mqtt_clients "), clients - 1, "the other device stays");
}

#[test]
fn two_relays_wake_one_device_at_once() {
    let port = free_port();
    let live = Live::at(&[port], &[]);
    let first = format!("127.0.0.1:{}", live.relay.port);
    let (_agent, _sshd) = live.device("cam-17");
    // What the fleet's addresses are, each relay is told: it is the one that it answers at.
    let second = live.another_relay(port);
    let other = live.fleet.home.write(
        "config-second",
        std::fs::read_to_string(live.config("alice")).unwrap().replace(&format!("Port {}", live.relay.port), &format!("Port {port}")),
    );
    let mut visitors: Vec<_> = [live.config("alice"), other.clone()]
        .iter()
        .map(|config| {
            Client::start(std::process::Command::new("ssh").arg("-F").arg(config).args(["-J", "relay", "cam-17", "echo in; cat"]))
        })
        .collect();
    for visitor in &mut visitors {
        visitor.await_line("in");
    }
    assert_eq!(second.events("register").len() + live.relay.events("register").len(), 4, "both write one log: {first}");
    // One of them dies; whoever dials again is served by the other.
    drop(second);
    live.assert_reached();
}
