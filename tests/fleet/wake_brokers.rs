//! What holds through any broker: the relay's own, mosquitto, and one of another make, aedes from npm.

use crate::support::*;

/// What a visitor to cam-17 is told.
fn sentence(live: &Live) -> String {
    text(&run(live.jump("cam-17").arg("true")).stderr)
}

/// `--linger` is short.
fn a_device_sleeps_and_wakes(live: &Live) {
    let (_agent, _sshd) = live.device("cam-17");
    live.assert_reached();
    // Asleep again, and woken again.
    live.relay.await_events("release", 1);
    live.assert_reached();
    assert_eq!(live.relay.events("register").len(), 2);
}

/// `--wake-deadline` is short.
fn what_became_of_a_device_is_known(live: &Live) {
    let (mut agent, device) = live.device("cam-17");
    agent.signal("TERM");
    assert_eq!(agent.wait(), Some(0));
    assert!(sentence(live).contains("cam-17 is offline: last seen 20"), "{}", sentence(live));
    // Online again; and vanished, by its will.
    let agent = Agent::start(&mut device.agent());
    live.assert_reached();
    drop(agent);
    assert!(sentence(live).contains("cam-17 is offline: last seen 20"), "{}", sentence(live));
}

fn after_the_broker_came_back_a_device_is_woken(mut live: Live) {
    let (mut agent, _sshd) = live.device("cam-17");
    live.broker.stop();
    live.relay.await_words("no connection to the broker");
    agent.await_words("no connection to the broker");
    live.broker.start_again();
    live.relay.await_words("connected to the broker");
    agent.await_words("connected to the broker");
    live.assert_reached();
}

#[test]
fn a_device_sleeps_and_wakes_with_nothing_but_sally() {
    a_device_sleeps_and_wakes(&Live::embedded(&["--linger", "1s"]));
}

#[test]
fn a_sleeping_device_is_reached_through_a_broker_of_another_make() {
    a_device_sleeps_and_wakes(&Live::aedes(&["--linger", "1s"]));
}

#[test]
fn what_became_of_a_device_is_known_without_another_broker() {
    what_became_of_a_device_is_known(&Live::embedded(&["--wake-deadline", "1s"]));
}

#[test]
fn what_became_of_a_device_is_known_of_a_broker_of_another_make() {
    what_became_of_a_device_is_known(&Live::aedes(&["--wake-deadline", "1s"]));
}

#[test]
fn after_mosquitto_came_back_a_device_is_woken() {
    after_the_broker_came_back_a_device_is_woken(Live::new());
}

#[test]
fn after_a_broker_of_another_make_came_back_a_device_is_woken() {
    after_the_broker_came_back_a_device_is_woken(Live::aedes(&[]));
}
