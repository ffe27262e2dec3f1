//! A fleet whose broker is neither mosquitto nor a relay: any that speaks MQTT 3.1.1 will do. Here aedes, from npm.

use crate::support::*;

#[test]
fn a_sleeping_device_is_reached_through_a_broker_of_another_make() {
    let live = Live::aedes(&["--linger", "1s"]);
    let (_agent, _sshd) = live.device("cam-17");
    live.assert_reached();
    // Asleep again, and woken again.
    live.relay.await_events("release", 1);
    live.assert_reached();
    assert_eq!(live.relay.events("register").len(), 2);
}

#[test]
fn what_became_of_a_device_is_known_of_a_broker_of_another_make() {
    let live = Live::aedes(&["--wake-deadline", "1s"]);
    let sentence = || text(&run(live.jump("cam-17").arg("true")).stderr);
    let (mut agent, device) = live.device("cam-17");
    agent.signal("TERM");
    assert_eq!(agent.wait(), Some(0));
    assert!(sentence().contains("cam-17 is offline: last seen 20"), "{}", sentence());
    // Online again; and vanished, by its will.
    let agent = Agent::start(&mut device.agent());
    live.assert_reached();
    drop(agent);
    assert!(sentence().contains("cam-17 is offline: last seen 20"), "{}", sentence());
}

#[test]
fn after_a_broker_of_another_make_came_back_a_device_is_woken() {
    let mut live = Live::aedes(&[]);
    let (mut agent, _sshd) = live.device("cam-17");
    live.broker.stop();
    live.relay.await_words("no connection to the broker");
    agent.await_words("no connection to the broker");
    live.broker.start_again();
    live.relay.await_words("connected to the broker");
    agent.await_words("connected to the broker");
    live.assert_reached();
}
