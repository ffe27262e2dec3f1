//! A clock that is a day off, or jumps. What expires fails closed; what is waited for is not affected.

use std::process::Command;

use crate::support::*;

/// A server for a key that expires at this moment, under this clock: whether its owner comes in.
fn comes_in(expiry: &str, offset: &str) -> bool {
    let home = Home::new();
    let keys = home.write("keys", format!("expiry-time=\"{expiry}\" {}", home.read("id.pub")));
    let server = Server::open(off_by(offset, home.once_for(&keys)));
    let visit = run(home.ssh(&server).arg("true"));
    visit.status.success()
}

#[test]
fn a_key_expires_by_the_clock_of_the_server() {
    let in_an_hour = text(&run(Command::new("date").args(["-u", "-d", "1 hour", "+%Y%m%d%H%MZ"])).stdout).trim().to_owned();
    let an_hour_ago = text(&run(Command::new("date").args(["-u", "-d", "1 hour ago", "+%Y%m%d%H%MZ"])).stdout).trim().to_owned();
    assert!(comes_in(&in_an_hour, "+0"));
    assert!(!comes_in(&in_an_hour, "+1d"), "by a clock a day ahead it has expired");
    assert!(!comes_in(&an_hour_ago, "+0"));
    assert!(comes_in(&an_hour_ago, "-1d"), "by a clock a day behind it has not: nothing else can be known");
}

#[test]
fn a_clock_that_is_off_shortens_no_deadline() {
    for offset in ["+1d", "-1d"] {
        let home = Home::new();
        let mut command = off_by(offset, home.once());
        command.args(["--idle-timeout", "3600", "--max-duration", "3600"]);
        let mut server = Server::open(command);
        let mut client = home.visit(&server, "echo in; read line; echo $line; exit 4", "in");
        client.write("still here\n");
        client.await_line("still here");
        assert_eq!((client.finish().0.code(), server.wait().0.code()), (Some(4), Some(4)), "{offset}");
        home.assert_sealed(&server);
    }
}

/// A clock that runs a thousand times too fast, as one that is set while somebody is in.
#[test]
fn timers_run_by_a_clock_that_nobody_can_set() {
    let home = Home::new();
    let mut command = off_by("+0 x1000", home.once());
    command.args(["--idle-timeout", "600", "--max-duration", "600", "--timeout", "600"]);
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    let mut server = Server::open(command);
    let mut client = home.visit(&server, "echo in; sleep 2; echo out; exit 4", "in");
    client.await_line("out");
    assert_eq!((client.finish().0.code(), server.wait().0.code()), (Some(4), Some(4)));
}

#[test]
fn a_clock_that_is_set_back_and_forth_in_mid_visit_ends_nothing() {
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut command = clock.govern_dates(home.once());
    command.args(["-v", "--idle-timeout", "3600", "--max-duration", "3600"]);
    let mut server = Server::open(command);
    let mut client = home.visit(&server, "echo in; while read -r line; do echo $line; done", "in");
    for offset in ["-1d", "+1d", "-3650d", "+3650d"] {
        clock.set_off_by(offset);
        client.write(format!("after {offset}\n"));
        client.await_line(&format!("after {offset}"));
    }
    // What the server says of it has a date.
    client.signal("KILL");
    let year: i32 = text(&run(Command::new("date").arg("+%Y")).stdout).trim().parse().unwrap();
    let dated = server.await_stderr_with("connection ended")[..4].parse::<i32>().unwrap();
    assert!(dated > year + 5, "the server goes by that clock: {dated}");
    assert_eq!(server.wait().0.code(), Some(255));
    home.assert_sealed(&server);
    let times: Vec<f64> =
        home.read("visit.cast").lines().skip(1).map(|line| line[1..].split(',').next().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|time| (0.0..3600.0).contains(time)), "{times:?}");
}
