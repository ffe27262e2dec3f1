//! What goes wrong between a visitor and a sleeping device, and what the visitor is told of it.

use crate::support::*;

/// What a visitor is told: ssh's words before it taken away.
fn told(live: &Live, name: &str) -> String {
    let output = run(live.jump(name).arg("true"));
    assert_eq!(output.status.code(), Some(255));
    let said = text(&output.stderr);
    let sentence = said.split_once("open failed: connect failed: ").unwrap_or_else(|| panic!("{said}")).1;
    sentence.lines().next().unwrap().to_owned()
}

#[test]
fn a_device_that_has_said_goodbye_is_offline_since_then() {
    let live = Live::with(&["--wake-deadline", "1s"]);
    let mut owner = live.broker.overhear("sally/v1/cam-17/status");
    let (mut agent, _sshd) = live.device("cam-17");
    agent.signal("TERM");
    assert_eq!(agent.wait(), Some(0));
    // Its own word is the last: a will after it would date from the beginning of the connection.
    live.broker.publish("sally/v1/cam-17/status", "the end");
    let said = std::iter::from_fn(|| Some(owner.await_line("")).filter(|line| line != "the end"));
    assert_eq!(said.filter(|line| line.contains(r#""s":"offline""#)).count(), 1);
    let sentence = told(&live, "cam-17");
    assert!(
        sentence.starts_with("cam-17 is offline: last seen 20") && sentence.contains(" UTC (") && sentence.ends_with(" s ago)"),
        "{sentence}"
    );
}

#[test]
fn a_device_that_vanished_is_offline_by_its_will() {
    let live = Live::with(&["--wake-deadline", "1s"]);
    let (agent, _sshd) = live.device("cam-17");
    drop(agent); // kill -9: the broker publishes the will.
    assert!(told(&live, "cam-17").starts_with("cam-17 is offline: last seen 20"));
}

#[test]
fn a_device_that_was_never_there_does_not_answer() {
    let live = Live::with(&["--wake-deadline", "1s"]);
    live.fleet.add("cam-17");
    assert_eq!(told(&live, "cam-17"), "cam-17 did not answer within 1 s");
}

#[test]
fn a_device_whose_sshd_is_down() {
    let live = Live::new();
    let (_agent, device) = live.device("cam-17");
    device.sshd.signal("KILL");
    until("sshd is down", || std::net::TcpStream::connect(("127.0.0.1", device.port)).err());
    assert_eq!(told(&live, "cam-17"), "cam-17 is connected, but what it forwards to refuses the connection");
}

#[test]
fn without_the_broker_live_tunnels_go_on_and_with_it_everything_does() {
    let mut live = Live::new();
    let (_agent, _sshd) = live.device("cam-17");
    live.fleet.add("cam-18");
    let mut visitor = Client::start(live.jump("cam-17").arg("echo in; cat"));
    visitor.await_line("in");
    live.broker.stop();
    live.relay.await_words("no connection to the broker");
    assert_eq!(told(&live, "cam-18"), "the broker is unreachable");
    live.assert_reached();
    visitor.write("still\n");
    visitor.await_line("still");
    live.broker.start_again();
    live.relay.await_words("connected to the broker");
    let (_, _, said) = visitor.finish();
    assert_eq!(said, "");
}

#[test]
fn a_relay_that_the_device_can_not_reach() {
    let dead = free_port();
    let live = Live::at(&[dead], &["--advertise", &format!("127.0.0.1:{dead}")]);
    let (_agent, _sshd) = live.device("cam-17");
    assert_eq!(told(&live, "cam-17"), format!("cam-17 is awake but could not reach 127.0.0.1:{dead} (Connection refused)"));
}

#[test]
fn a_relay_that_the_device_does_not_know() {
    let elsewhere = free_port();
    let live = Live::with(&["--advertise", &format!("127.0.0.1:{elsewhere}")]);
    let (mut agent, _sshd) = live.device("cam-17");
    assert_eq!(told(&live, "cam-17"), "cam-17 is awake but refuses (it names no relay that is permitted here)");
    agent.await_words("it names no relay that is permitted here");
}

#[test]
fn a_relay_with_another_host_key_is_not_spoken_to() {
    let home = Home::new();
    let (impostor, _device, _sshd) = connected(&home, home.relay());
    let live = Live::at(&[impostor.port], &["--advertise", &format!("127.0.0.1:{}", impostor.port)]);
    let (_agent, _sshd) = live.device("cam-17");
    let sentence = told(&live, "cam-17");
    assert!(
        sentence.starts_with(&format!("cam-17 is awake but could not reach 127.0.0.1:{} (its host key SHA256:", impostor.port)),
        "{sentence}"
    );
    assert_eq!(impostor.events("auth").len(), 1, "only its own device came in");
}

#[test]
fn a_clock_that_is_days_off_is_said_and_one_that_is_not_asked_does_not_matter() {
    for (asked, offset) in [(true, "+60h"), (true, "-60h"), (false, "+60h")] {
        let live = Live::new();
        let device = Device::start(&live.fleet, "cam-17", &[]);
        device.set("clock = true", &format!("clock = {asked}"));
        let _agent = Agent::start(&mut off_by(offset, device.agent()));
        if asked {
            assert_eq!(told(&live, "cam-17"), "cam-17's clock is 2 days off");
        } else {
            live.assert_reached();
        }
    }
}

#[test]
fn a_visitor_who_gives_up_leaves_no_ticket_behind() {
    let live = Live::new();
    let (mut agent, _sshd) = live.device("cam-17");
    agent.signal("STOP");
    let visitor = Client::start(live.jump("cam-17").arg("true"));
    until("the wake", || live.relay.events("wake").iter().find(|event| event["what"] == "woken").cloned());
    visitor.signal("KILL");
    let _ = visitor.finish();
    until("the visitor has left", || live.relay.events("disconnect").len().checked_sub(1));
    agent.signal("CONT");
    let refused = until("the ticket", || live.relay.events("wake").iter().find(|event| event["what"] == "ticket refused").cloned());
    assert_eq!(refused["device"], "cam-17");
    agent.await_words("no visitor waits for this device with that ticket");
    assert_eq!(live.relay.events("register").len(), 0);
    live.assert_reached();
}

#[test]
fn a_relay_that_dies_between_wake_and_dial_back() {
    let mut live = Live::new();
    let device = Device::start(&live.fleet, "cam-17", &[]);
    device.set("clock = true", "clock = false"); // A wake is old after 30 s; this test may be slow.
    let mut agent = Agent::start(&mut device.agent());
    agent.signal("STOP");
    let mut owner = live.broker.overhear("sally/v1/cam-17/wake");
    let visitor = Client::start(live.jump("cam-17").arg("true"));
    owner.await_line("eyJ"); // The broker has it: what a relay has only begun to send dies with it.
    live.new_relay(&[]);
    let _ = visitor.finish();
    agent.signal("CONT");
    // The new relay has no such ticket: whoever holds the old one gets in nowhere.
    agent.await_words("no visitor waits for this device with that ticket");
    live.assert_reached();
}

#[test]
fn a_device_that_reboots_in_mid_visit_is_reached_again() {
    let live = Live::new();
    let (agent, device) = live.device("cam-17");
    let mut visitor = Client::start(live.jump("cam-17").arg("echo in; cat"));
    visitor.await_line("in");
    drop(agent);
    let (status, _, _) = visitor.finish();
    assert_eq!(status.code(), Some(255));
    let _agent = Agent::start(&mut device.agent());
    live.assert_reached();
}

#[test]
fn two_devices_with_one_bundle_take_turns() {
    let live = Live::new();
    let (_agent, device) = live.device("cam-17");
    let _copy = Agent::start(&mut device.agent());
    live.assert_reached();
    assert_eq!(live.relay.events("register").len(), 1);
}

/// A certificate is looked at by the newest files; a client that shows one may not have them all read again, for ever.
#[test]
fn a_folder_that_cannot_be_read_is_not_read_for_each_unknown_key() {
    let (fleet, http) = (Fleet::new(), free_port());
    fleet.visitor("alice");
    let mut relay = fleet.lonely_relay(&["--http", &format!("127.0.0.1:{http}")]);
    let ask = || run(fleet.home.via(&relay, "alice").args(["relay", "whoami"])).status.success();
    assert!(ask());
    let list = fleet.path("FLEET/relay/revoked");
    let content = std::fs::read(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    assert!(!ask());
    let reads = metric(http, "sally_fleet_reads_total ");
    for _ in 0..30 {
        assert!(!ask());
    }
    let again = metric(http, "sally_fleet_reads_total ") - reads;
    assert!(again < 10, "read {again} times");
    assert_eq!(metric(http, "sally_fleet_failures_total "), 1);
    // It is mended at once all the same.
    std::fs::write(&list, content).unwrap();
    assert!(ask());
    relay.await_words("Invalid fleet: ");
}
