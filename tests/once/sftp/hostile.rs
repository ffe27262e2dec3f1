//! What no honest client sends, and what no client hopes for.

use std::fs;

use super::{done, folder, over};
use crate::support::*;

/// Runs a scenario of tests/python/sftp.py: what it says.
pub(super) fn scenario(home: &Home, server: &Server, name: &str) -> String {
    scenario_in(home, server, name, &folder(home))
}

fn scenario_in(home: &Home, server: &Server, name: &str, folder: &std::path::Path) -> String {
    let visit = run(python("sftp.py").arg(name).arg(server.port.to_string()).arg(home.path("id")).arg(folder));
    assert!(visit.status.success(), "{name}: {}", text(&visit.stderr));
    text(&visit.stdout)
}

/// A whole visit: home, and what was said.
fn visit(name: &str) -> (Home, String) {
    let home = Home::new();
    let mut server = home.open(&[]);
    let said = scenario(&home, &server, name);
    over(&home, &mut server);
    (home, said)
}

#[test]
fn packets_of_impossible_lengths_end_the_session() {
    for name in ["zero", "over", "huge", "early", "short"] {
        let home = Home::new();
        let mut server = home.open(&[]);
        assert_eq!(scenario_in(&home, &server, "lengths", &home.path(name)), "255\n", "{name}");
        assert_eq!(server.wait().0.code(), Some(255), "{name}");
        home.assert_sealed(&server);
    }
}

#[test]
fn the_longest_packet_passes_and_no_read_gives_more() {
    // An offset that no file has is a bad message; one beyond the end is the end.
    assert_eq!(visit("longest").1, "0 True\nTrue True\n5\n1\n");
}

#[test]
fn a_packet_that_never_ends_is_nothing_and_the_file_is_on_the_record() {
    let (home, said) = visit("cut-off");
    assert_eq!(said, "0\n0\n");
    let left = done(&home).into_iter().find(|event| event["op"] == "close").unwrap();
    assert_eq!((&left["result"], &left["written"]), (&"left open".into(), &3.into()));
    assert_eq!(left["written_blake3"], "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
}

#[test]
fn what_makes_no_sense_is_answered() {
    assert_eq!(visit("unknown").1, "8 8\n5 9 5 9 5 9 5 9 5 9 kind 105\n5 2\n");
}

#[test]
fn handles_that_were_never_given_are_refused() {
    assert_eq!(visit("handles").1, "4 4 4 4 4 4 4\n".repeat(5) + "4 0 4\n");
}

#[test]
fn twenty_thousand_opens_are_512() {
    let _turn = big();
    let (home, said) = visit("opens");
    assert_eq!(said, "512 {4}\n0 True\n");
    let refused = done(&home).into_iter().filter(|event| event["op"] == "open" && event["result"] == "Too many open files").count();
    assert_eq!(refused, 20_000 - 512);
}

#[test]
fn a_hundred_thousand_files_one_after_another_leave_nothing_open() {
    let _turn = big();
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut client =
        Client::start(python("sftp.py").arg("opens-and-closes").arg(server.port.to_string()).arg(home.path("id")).arg(folder(&home)));
    let held = || fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    client.await_line("so far 5000");
    let before = server.rss();
    for count in (10_000..=100_000).step_by(5000) {
        client.await_line(&format!("so far {count}"));
    }
    assert!(server.rss() < before + (8 << 10), "{before} KiB grew to {}", server.rss());
    assert!(held() < 50, "{} descriptors", held());
    assert!(client.finish().0.success());
    over(&home, &mut server);
    let opened = done(&home).into_iter().filter(|event| event["op"] == "open" && event["result"] == "ok").count();
    assert_eq!(opened, 100_000);
}

#[test]
fn a_packet_may_come_byte_by_byte() {
    assert_eq!(visit("byte-by-byte").1, "[2, 102, 103, 101] True\n");
}

#[test]
fn requests_are_read_ahead_and_answered_in_their_order() {
    assert_eq!(visit("pipelined").1, "True True True\n");
}

#[test]
fn the_limits_that_are_told_hold() {
    assert_eq!(visit("sizes").1, "(262144, 261120, 261120, 512)\n");
}

#[test]
fn who_asks_and_does_not_take_is_not_kept_in_memory() {
    let home = Home::new();
    let server = home.open(&[]);
    let mut client = Client::start(python("sftp.py").arg("greedy").arg(server.port.to_string()).arg(home.path("id")).arg(folder(&home)));
    client.await_line("asked");
    quiet("the session", || cpu(server.child.id()));
    assert!(server.rss() < 64 << 10, "{} KiB", server.rss());
}

#[test]
fn who_vanishes_in_the_middle_leaves_a_hash_of_what_came() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(scenario(&home, &server, "vanish"), "0 0 0\n");
    assert_eq!(server.wait().0.code(), Some(255));
    home.assert_sealed(&server);
    let left = done(&home).into_iter().find(|event| event["op"] == "close").unwrap();
    assert_eq!((&left["result"], &left["written"]), (&"left open".into(), &15.into()));
    // Not in one run: the hash is that of the pieces as they came.
    assert_eq!((&left["written_blake3"], left["written_from"].is_null()), (&b3sum(b"abcdeabcdeabcde").into(), true));
}

#[test]
fn a_disk_that_is_full_is_said_and_the_session_goes_on() {
    let home = Home::new();
    let there = folder(&home);
    let inner = home.once();
    // A small file system in a mount namespace of our own.
    let mut command = tool("unshare", "util-linux");
    command.args(if as_root() { &["-m"][..] } else { &["-r", "-m"] });
    command.args(["sh", "-c", &format!("mount -t tmpfs -o size=1M none '{}' && exec \"$@\"", there.display()), "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    let mut server = Server::open(command);
    assert_eq!(scenario_in(&home, &server, "full", &there), "4 No space left on device\n0 0\n");
    over(&home, &mut server);
    let closed = done(&home).into_iter().find(|event| event["op"] == "close").unwrap();
    assert_eq!((&closed["written"], &closed["written_from"]), (&(1 << 20).into(), &0.into()));
    assert!(fs::read_dir(&there).unwrap().next().is_none());
}
