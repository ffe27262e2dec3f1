//! A relay over its life: keys that change, an audit log that fails, stopping, being asked how it is.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use crate::support::*;

#[test]
fn keys_are_reloaded_at_sighup_and_those_taken_out_lose_their_connections() {
    let (home, relay, mut device, _sshd) = connected_with(&[]);
    home.write("visitors", [home.read("visitors"), home.line("bob", "")].concat());
    relay.signal("HUP");
    relay.await_events("keys", 2);
    let visit = run(home.via(&relay, "bob").args(["relay", "whoami"]));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
    home.write("devices", home.line("other", r#"permitlisten="cam-18:22""#));
    relay.signal("HUP");
    device.await_stderr("this key is no longer permitted");
    relay.await_events("release", 1);
    let refused = run(&mut home.holding(&relay, "cam", "cam-17:22:127.0.0.1:1"));
    assert!(text(&refused.stderr).contains("Permission denied"), "{}", text(&refused.stderr));
}

/// A connection of this key that stays.
fn staying(home: &Home, relay: &Relay, key: &str) -> Client {
    let control = home.path(format!("control-{key}"));
    let client = Client::start(home.via(relay, key).args(["-N", "-M", "-S"]).arg(&control).arg("relay"));
    until("the connection is shared", || control.exists().then_some(()));
    client
}

#[test]
fn who_loses_a_role_or_may_less_loses_the_connection_and_nobody_else_does() {
    let home = Home::new();
    let mut command = home.relay();
    home.write("admins", home.line("alice", ""));
    command.arg("--admins").arg(home.path("admins"));
    let (relay, _device, _sshd) = connected(&home, command);
    home.write("visitors", [home.read("visitors"), home.line("bob", "")].concat());
    relay.signal("HUP");
    relay.await_events("keys", 2);
    let (mut alice, mut bob) = (staying(&home, &relay, "alice"), staying(&home, &relay, "bob"));
    // Alice is no administrator any more; bob's line is another line of the file, and says the same.
    home.write("admins", home.line("root", ""));
    home.write("visitors", [home.line("bob", ""), home.line("alice", r#"permitopen="cam-*:22""#)].concat());
    relay.signal("HUP");
    alice.await_stderr("this key is no longer permitted");
    relay.await_events("keys", 3);
    home.write("visitors", [home.line("bob", r#"permitopen="lab-*:22""#), home.line("alice", r#"permitopen="cam-*:22""#)].concat());
    relay.signal("HUP");
    bob.await_stderr("this key is no longer permitted");
    assert_eq!(relay.events("release").len(), 0, "the device stays");
}

#[test]
fn a_changed_file_is_noticed_and_a_bad_line_is_skipped_and_said() {
    let (home, mut relay, _device, _sshd) = connected_with(&[]);
    home.write("visitors", format!("nonsense\n{}", home.line("bob", "")));
    let skipped = relay.await_events("line_skipped", 1);
    assert_eq!(skipped["line"], 1);
    relay.await_stderr(&format!("{}, line 1: skipped: ", home.path("visitors").display()));
    relay.await_events("keys", 2);
    assert!(run(home.via(&relay, "bob").args(["relay", "whoami"])).status.success());
    assert!(!run(home.via(&relay, "alice").args(["relay", "whoami"])).status.success());
}

#[test]
fn a_file_that_is_gone_leaves_the_last_good_keys() {
    let (home, relay, _device, _sshd) = connected_with(&[]);
    fs::remove_file(home.path("visitors")).unwrap();
    relay.signal("HUP");
    relay.await_events("keys_failed", 1);
    assert!(run(home.via(&relay, "alice").args(["relay", "whoami"])).status.success());
}

#[test]
fn told_to_stop_it_lets_visits_end_and_takes_no_new_ones() {
    let (home, mut relay, mut device, _sshd) = connected_with(&["--drain", "60s"]);
    let mut shared = Client::start(home.via(&relay, "alice").args(["-N", "-M", "-S"]).arg(home.path("control")).arg("relay"));
    until("the shared connection", || home.path("control").exists().then_some(()));
    let mut visit = Client::start(home.jump(&relay, "alice", "cam-17").arg("echo in; read x; echo got $x"));
    visit.await_line("in");
    relay.signal("TERM");
    relay.await_stderr("Stopping by signal 15: 1 visit(s) may continue for 60 s");
    until("nobody listens", || TcpStream::connect(("127.0.0.1", relay.port)).err());
    // A connection that is there already opens nothing more.
    let refused = run(Command::new("ssh").arg("-F").arg(home.config(&relay, "alice")).arg("-S").arg(home.path("control")).args([
        "-W",
        "cam-17:22",
        "relay",
    ]));
    assert!(!refused.status.success());
    shared.await_stderr("the relay is stopping");
    visit.write("word\n");
    visit.await_line("got word");
    assert!(visit.finish().0.success());
    assert_eq!(relay.wait(), Some(0));
    device.await_stderr("the relay is stopping: try again in a moment");
    relay.await_events("stop", 1);
}

#[test]
fn a_visit_that_does_not_end_is_ended() {
    let (home, mut relay, _device, _sshd) = connected_with(&["--drain", "1s"]);
    let mut visit = Client::start(home.jump(&relay, "alice", "cam-17").arg("echo in; sleep 1000"));
    visit.await_line("in");
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(0));
    assert!(!visit.finish().0.success());
}

#[test]
fn killed_it_leaves_its_port_free_and_autossh_comes_back() {
    let (home, relay, device, sshd) = connected_with(&[]);
    drop(device);
    let tunnel = home.holding(&relay, "cam", &format!("cam-17:22:127.0.0.1:{}", sshd.port));
    let mut autossh = tool("autossh", "autossh");
    autossh.args(["-M", "0"]).args(tunnel.get_args()).env("AUTOSSH_GATETIME", "0").env("AUTOSSH_POLL", "5");
    let _autossh = Client::start(&mut autossh);
    relay.await_events("register", 2);
    let port = relay.port;
    drop(relay); // SIGKILL
    let relay = Relay::start(&home, home.relay_at(port));
    assert_eq!(relay.port, port);
    relay.await_events("register", 3);
    let visit = run(home.jump(&relay, "alice", "cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
}

#[test]
fn nothing_begins_while_the_audit_log_cannot_be_written() {
    let home = Home::new();
    // A log on a disk that fills up: a file limit is the same to write(2), and needs no mount.
    let command = home.relay();
    let args: Vec<_> = command.get_args().map(|arg| arg.to_owned()).collect();
    let http = free_port();
    let mut limited = tool("prlimit", "util-linux");
    limited.arg("--fsize=1500").arg(sally()).args(args).args(["--http", &format!("127.0.0.1:{http}")]);
    let mut relay = Relay::start(&home, limited);
    assert_eq!(get(http, "/healthz"), (200, "ok\n".into()));
    let refused = until("the log is full", || {
        let asked = run(home.via(&relay, "alice").args(["relay", "whoami"]));
        (!asked.status.success()).then_some(text(&asked.stderr))
    });
    assert!(refused.contains("the audit log can't be written, and the relay does nothing unrecorded"), "{refused}");
    relay.await_stderr("The audit log ");
    assert_eq!(get(http, "/healthz").0, 503);
    assert_eq!(metric(http, "sally_audit_failing "), 1);
    // There is room again: so is the relay.
    fs::write(home.path("audit"), "").unwrap();
    let visit = run(home.via(&relay, "alice").args(["relay", "whoami"]));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
    assert_eq!(get(http, "/healthz").0, 200);
    assert!(relay.await_events("lost", 1)["lines"].as_u64().unwrap() > 0);
}

#[test]
fn a_relay_may_be_told_to_go_on_unaudited() {
    let home = Home::new();
    home.relay();
    let mut command = Command::new(sally());
    command.args(["relay", "--listen", "127.0.0.1:0", "--audit", "/dev/full", "--audit-may-fail", "--visitors"]).arg(home.path("visitors"));
    command.arg("--devices").arg(home.path("devices"));
    let relay = Relay::start(&home, command);
    assert!(run(home.via(&relay, "alice").args(["relay", "whoami"])).status.success());
    let mut strict = Command::new(sally());
    strict.args(["relay", "--listen", "127.0.0.1:0", "--audit", "/dev/full", "--devices"]).arg(home.path("devices"));
    let refused = run(&mut strict);
    assert_eq!(refused.status.code(), Some(74), "{}", text(&refused.stderr));
}

#[test]
fn the_log_is_opened_anew_after_it_was_moved() {
    let (home, relay, _device, _sshd) = connected_with(&[]);
    fs::rename(home.path("audit"), home.path("audit.1")).unwrap();
    relay.signal("HUP");
    relay.await_events("keys", 1);
    assert!(home.read("audit.1").contains("\"event\":\"start\""));
}

#[test]
fn metrics_count_what_happens() {
    let http = free_port();
    let (home, relay, _device, _sshd) = connected_with(&["--http", &format!("127.0.0.1:{http}")]);
    run(home.jump(&relay, "alice", "cam-17").arg("head -c 100000 /dev/zero"));
    relay.await_events("close", 1);
    run(home.via(&relay, "alice").args(["-W", "nas:22", "relay"]));
    relay.await_events("refused", 1);
    assert_eq!(metric(http, "sally_tunnels{kind=\"name\"} "), 1);
    assert_eq!(metric(http, "sally_visits_total "), 1);
    assert_eq!(metric(http, "sally_visits "), 0);
    assert!(metric(http, "sally_bytes_total{direction=\"down\"} ") > 100_000);
    assert_eq!(metric(http, "sally_refused_total{why=\"not_permitted\"} "), 1);
    assert_eq!(get(http, "/healthz"), (200, "ok\n".into()));
    assert_eq!(get(http, "/").0, 404);
    // A check of the format by those who made it, where it is installed.
    let (_, text) = get(http, "/metrics");
    assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("sally_")), "{text}");
}
