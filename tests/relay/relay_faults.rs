//! What goes wrong around a relay, and whom it must not hurt.

use std::io::Read;
use std::thread;

use crate::support::*;

/// What a second claim is refused with.
fn refused(home: &Home, relay: &Relay, key: &str) -> String {
    let refused = run(&mut home.holding(relay, key, "cam-17:22:127.0.0.1:1"));
    let said = text(&refused.stderr);
    said.lines().find_map(|line| line.split_once(":11: ")).unwrap_or_else(|| panic!("{said}")).1.to_owned()
}

#[test]
fn a_thousand_stalled_handshakes_keep_no_visitor_out() {
    let (home, relay, _device, _sshd) = connected_with(&[]);
    let mut crowd = Vec::new();
    for round in 0..5 {
        crowd.extend((0..200).map(|_| relay.connect()));
        let visit = run(home.jump(&relay, "alice", "cam-17").arg("echo in"));
        assert_eq!(text(&visit.stdout), "in\n", "{round}: {}", text(&visit.stderr));
    }
    // Most were dropped to make room.
    for stream in crowd.iter_mut().take(800) {
        let _ = stream.read_to_end(&mut Vec::new()); // The greeting, then an end: well before the time that everybody has.
    }
    assert!(status_field(relay.child.id(), "VmRSS:").unwrap() < 150 << 10);
}

/// What a hostile client meets with at the relay, with alice's key.
fn hostile(home: &Home, relay: &Relay, scenario: &str, arguments: &[&str]) -> String {
    let mut client = python("hostile.py");
    let said = run(client.arg(scenario).arg(relay.port.to_string()).arg(home.path("alice")).args(arguments));
    text(&said.stdout).trim().to_owned()
}

#[test]
fn whoever_asks_for_ever_is_cut_off() {
    let (home, relay, _device, _sshd) = connected_with(&[]);
    assert_eq!(hostile(&home, &relay, "global-requests", &["20000", "no-such-request@test"]), "closed");
    assert_eq!(hostile(&home, &relay, "channels", &["5000"]), "closed 10");
    assert_eq!(hostile(&home, &relay, "forwards", &["5000", "22"]), "closed 0");
    let refused = relay.events("refused");
    assert!(refused.iter().any(|event| event["what"] == "connection" && event["why"] == "too_many"), "{:?}", refused.last());
    assert!(run(home.jump(&relay, "alice", "cam-17").arg("true")).status.success());
}

#[test]
fn answers_that_nobody_takes_are_few() {
    let (home, relay, _device, _sshd) = connected_with(&[]);
    assert_eq!(hostile(&home, &relay, "unread-answers", &["200"]), "open 10");
}

#[test]
fn a_visitor_that_is_stopped_slows_nobody_else_on_the_same_tunnel() {
    let _turn = big();
    let (home, relay, _device, _sshd) = connected_with(&[]);
    let mut stuck = Client::start(home.jump(&relay, "alice", "cam-17").arg("echo in; exec cat /dev/zero"));
    stuck.await_line("in");
    stuck.signal("STOP");
    // Whatever fits into windows and buffers on the way is on its way; then it is quiet.
    let held = || status_field(relay.child.id(), "VmRSS:").unwrap();
    let before = quiet("what the relay holds", held);
    let bytes = 10_000_000;
    let script = format!("head -c {bytes} /dev/zero");
    // All made before any runs: each writes the configuration that they read.
    let visits: Vec<_> = (0..9)
        .map(|_| {
            let mut visit = home.jump(&relay, "alice", "cam-17");
            visit.arg(&script);
            visit
        })
        .collect();
    let running: Vec<_> = visits.into_iter().map(|mut visit| thread::spawn(move || run(&mut visit))).collect();
    for other in running {
        let other = other.join().unwrap();
        assert_eq!(other.stdout.len(), bytes, "{}", text(&other.stderr));
    }
    // Two windows of 2 MiB a visit, should nobody read.
    assert!(held() < before + 10 * (4 << 10) + (40 << 10), "{before} KiB before, {} after", held());
    relay.await_events("close", 9);
    assert_eq!(relay.events("close").len(), 9, "the one that was stopped is there still");
    let _ = stuck.child.kill();
    relay.await_events("close", 10);
}

#[test]
fn without_descriptors_it_neither_spins_nor_ends() {
    let home = Home::new();
    let relay = home.relay();
    let mut limited = tool("prlimit", "util-linux");
    limited.arg("--nofile=40").arg(sally()).args(relay.get_args());
    let relay = Relay::start(&home, limited);
    let crowd: Vec<_> = (0..100).map(|_| relay.connect()).collect();
    let before = cpu(relay.child.id());
    quiet("nothing", || 0);
    assert!(cpu(relay.child.id()) - before < 40, "it spins");
    drop(crowd);
    let visit = run(home.via(&relay, "alice").args(["relay", "whoami"]));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
}

#[test]
fn of_two_devices_that_claim_one_name_the_live_one_keeps_it() {
    let (home, relay, device, sshd) = connected_with(&[]);
    home.write("devices", [home.read("devices"), home.line("thief", r#"permitlisten="cam-17:22""#)].concat());
    relay.signal("HUP");
    relay.await_events("keys", 2);
    assert_eq!(refused(&home, &relay, "thief"), "cam-17:22 is held by another key");
    assert!(refused(&home, &relay, "cam").starts_with("cam-17:22 is held by a connection of the same key from 127.0.0.1:"));
    let visit = run(home.jump(&relay, "alice", "cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "the first is undisturbed: {}", text(&visit.stderr));
    // Once it is silent, the newer of the same key has it.
    device.signal("STOP");
    let _second = home.hold(&relay, "cam", &format!("cam-17:22:127.0.0.1:{}", sshd.port));
    relay.await_events("takeover", 1);
    relay.await_events("register", 2);
    let visit = run(home.jump(&relay, "alice", "cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    // The other key stays out as long as anybody of the first holds it.
    assert_eq!(refused(&home, &relay, "thief"), "cam-17:22 is held by another key");
    device.signal("CONT");
}

#[test]
fn the_newest_wins_at_once_where_it_is_told_to() {
    let (home, relay, mut device, _sshd) = connected_with(&["--takeover", "at-once"]);
    let _second = home.hold(&relay, "cam", "cam-17:22:127.0.0.1:1");
    device.await_stderr("replaced by a newer connection of the same key from 127.0.0.1:");
    relay.await_events("register", 2);
}

#[test]
fn a_device_that_is_killed_leaves_its_name_free() {
    let (home, relay, device, sshd) = connected_with(&["--takeover", "never"]);
    drop(device); // SIGKILL
    relay.await_events("release", 1);
    let refused = run(home.via(&relay, "alice").args(["-W", "cam-17:22", "relay"]));
    assert!(text(&refused.stderr).contains("cam-17 is not connected"), "{}", text(&refused.stderr));
    let _again = home.hold(&relay, "cam", &format!("cam-17:22:127.0.0.1:{}", sshd.port));
    relay.await_events("register", 2);
}

#[test]
fn two_hundred_reconnects_of_one_device_leave_its_name_with_the_newest() {
    let (home, relay, first, sshd) = connected_with(&[]);
    let forward = format!("cam-17:22:127.0.0.1:{}", sshd.port);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", relay.child.id())).unwrap().count();
    let (mut device, mut settled, mut silent) = (first, 0, Vec::new());
    for round in 1..=200 {
        // Most are killed; of twenty, one is there no more and says nothing.
        if round % 20 == 0 {
            device.signal("STOP");
            silent.push(device);
        } else {
            drop(device);
        }
        device = home.hold(&relay, "cam", &forward);
        relay.await_events("register", round + 1);
        if round % 20 == 10 {
            let visit = run(home.jump(&relay, "alice", "cam-17").arg("echo in"));
            assert_eq!(text(&visit.stdout), "in\n", "{round}: {}", text(&visit.stderr));
        }
        if round == 50 {
            relay.await_events("disconnect", round + 1);
            settled = descriptors();
        }
    }
    assert!(relay.events("takeover").len() >= silent.len());
    relay.await_events("disconnect", 200);
    assert!(descriptors() <= settled + 1, "{settled} descriptors after 50 rounds, {} after 200", descriptors());
}
