//! The limits of time that a user sets: `--idle-timeout`, `--max-duration`. The visitor is told, and the statuses are timeout(1)'s.

use crate::support::*;

const IDLE: &str = "The visit ended: idle for 1 s";

#[test]
fn an_idle_visit_ends_and_says_so() {
    let home = Home::new();
    let mut server = home.open(&["--idle-timeout", "1"]);
    let visit = run(home.ssh(&server).arg("echo in; sleep 1000"));
    assert_eq!((text(&visit.stdout), text(&visit.stderr)), ("in\n".into(), format!("sally: {IDLE}\n")));
    let (status, said) = server.wait();
    assert_eq!((status.code(), visit.status.code(), said.lines().last()), (Some(124), Some(124), Some(IDLE)));
    assert!(text(&home.stream("stderr")).contains(IDLE), "what is said is on the record");
    home.assert_sealed(&server);
}

#[test]
fn an_idle_terminal_is_left_at_the_beginning_of_a_line() {
    let home = Home::new();
    let mut server = home.open(&["--idle-timeout", "1"]);
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", "printf 'no newline'; exec cat"]));
    let (status, shown) = terminal.finish();
    assert!(shown.contains(&format!("no newline\r\nsally: {IDLE}\r\n")), "{shown:?}");
    assert_eq!((status.code(), server.wait().0.code()), (Some(124), Some(124)));
}

#[test]
fn keepalives_are_nobodys_activity() {
    let home = Home::new();
    let mut server = home.open(&["--idle-timeout", "3"]);
    let id = home.path("id");
    let mut ssh = home.ssh_with(server.port, &["-oServerAliveInterval=1", "-oServerAliveCountMax=1000", "-i", id.to_str().unwrap()]);
    assert_eq!(run(ssh.arg("exec sleep 1000")).status.code(), Some(124));
    assert_eq!(server.wait().0.code(), Some(124));
}

#[test]
fn a_visit_that_is_never_idle_ends_when_it_has_lasted_long_enough() {
    let home = Home::new();
    let mut server = home.open(&["--idle-timeout", "3600", "--max-duration", "1"]);
    // Its reader is slow: the last word gets through, or is not waited for.
    let visit = run(home.ssh(&server).arg("while :; do echo busy; sleep 0.1; done"));
    assert!(text(&visit.stdout).starts_with("busy\n"));
    let said = "The visit ended: it lasted 1 s, the longest allowed";
    assert_eq!((text(&visit.stderr), visit.status.code()), (format!("sally: {said}\n"), Some(125)));
    assert_eq!((server.wait().0.code(), home.verify(&server).0), (Some(125), 0));
}

#[test]
fn a_flood_is_ended_as_well() {
    let home = Home::new();
    let mut server = home.open(&["--max-duration", "1", "--record", "head=1K"]);
    let mut client = Client::start(home.ssh(&server).arg("exec yes"));
    client.await_line("y");
    client.signal("STOP");
    assert_eq!(server.wait().0.code(), Some(125), "a visitor who doesn't read is not waited for");
    client.signal("CONT");
}

#[test]
fn a_visit_that_ends_by_itself_has_its_own_status() {
    let home = Home::new();
    let mut server = home.open(&["--idle-timeout", "3600", "--max-duration", "3600"]);
    assert_eq!(run(home.ssh(&server).arg("exit 3")).status.code(), Some(3));
    assert_eq!(server.wait().0.code(), Some(3));
}

#[test]
fn no_time_at_all_is_no_limit() {
    let home = Home::new();
    for option in ["--idle-timeout", "--max-duration"] {
        assert_eq!(run(home.once().args([option, "0"])).status.code(), Some(2));
    }
}
