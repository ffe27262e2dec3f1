//! The audit log under whoever would fill it: clients without a key are summed up, and a log has a size.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::*;

/// A server that says a word to everybody and hangs up: its port.
fn curt() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"served\n"))));
    port
}

fn sum(events: &[Value], field: &str) -> u64 {
    events.iter().map(|event| event[field].as_u64().unwrap()).sum()
}

#[test]
fn connections_to_a_forwarded_port_are_summed_up_and_visits_are_not() {
    let (home, port, http) = (Home::new(), free_port(), free_port());
    let mut command = home.relay();
    home.write("devices", home.line("cam", &format!(r#"permitlisten="cam-17:22",permitlisten="localhost:{port}""#)));
    command.args(["--http", &format!("127.0.0.1:{http}")]);
    let relay = Relay::start(&home, command);
    let sshd = home.sshd();
    let mut holding = home.holding(&relay, "cam", &format!("cam-17:22:127.0.0.1:{}", sshd.port));
    let _device = Client::start(holding.args(["-R", &format!("{port}:127.0.0.1:{}", curt())]));
    relay.await_events("register", 2);
    for _ in 0..1000 {
        let mut said = String::new();
        TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "served\n");
    }
    let visit = run(home.jump(&relay, "alice", "cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    let slot = format!("port {port}");
    let listed = || relay.events("open").iter().filter(|event| event["slot"] == *slot).count() as u64;
    let sums = until("all are summed up", || {
        let sums = relay.events("counted");
        (listed() + sum(&sums, "count") == 1000 && sum(&sums, "count") == sum(&sums, "closed")).then_some(sums)
    });
    assert!((256..400).contains(&listed()), "{}", listed());
    assert_eq!((sum(&sums, "down"), sum(&sums, "up")), (7 * sum(&sums, "count"), 0));
    assert!(sums.iter().all(|sum| sum["what"] == "open" && sum["slot"] == *slot && sum["from"] == "127.0.0.1"), "{sums:?}");
    // Before the first one that isn't listed there is a line that says so.
    let begins = relay.events("counting");
    assert_eq!((&begins[0]["what"], &begins[0]["slot"], &begins[0]["from"]), (&"open".into(), &(*slot).into(), &"127.0.0.1".into()));
    assert_eq!(relay.events("open").iter().filter(|event| event["slot"] == "cam-17:22").count(), 1);
    assert_eq!(metric(http, "sally_audit_left_out_total "), 2 * sum(&sums, "count"));
    assert_eq!(metric(http, "sally_audit_bytes_total "), fs::metadata(home.path("audit")).unwrap().len());
}

#[test]
fn keys_that_are_refused_are_summed_up() {
    let home = Home::new();
    let mut relay = Relay::start(&home, home.relay());
    assert!(run(python("noise.py").args(["keys", &relay.port.to_string(), "400"])).status.success());
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(0));
    // What isn't due yet is summed up when it stops.
    let (listed, sums) = (relay.events("auth_refused").len() as u64, relay.events("counted"));
    assert_eq!(listed + sum(&sums, "count"), 400);
    assert!((256..380).contains(&listed), "{listed}");
    assert!(sums.iter().all(|sum| sum["what"] == "auth_refused" && sum["from"] == "127.0.0.1" && sum.get("slot").is_none()), "{sums:?}");
}

/// The lines of a log and of those before it, the oldest first.
fn lines(files: &[&Path]) -> Vec<Value> {
    let lines = files.iter().flat_map(|file| fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

#[test]
fn a_log_has_a_size_and_so_many_before_it_are_kept() {
    let (home, http) = (Home::new(), free_port());
    let mut command = home.relay();
    command.args(["--audit-max", "64K", "--audit-keep", "2", "--http", &format!("127.0.0.1:{http}")]);
    let relay = Relay::start(&home, command);
    let noise = || run(python("noise.py").args(["refused", &relay.port.to_string()]).arg(home.path("alice")).arg("900"));
    assert!(noise().status.success() && noise().status.success());
    relay.await_events("disconnect", 1);
    let [older, old, newest] = ["audit.2", "audit.1", "audit"].map(|name| home.path(name));
    for file in [&older, &old, &newest] {
        let facts = fs::metadata(file).unwrap();
        assert!(facts.len() <= 64 << 10, "{}: {}", file.display(), facts.len());
        assert_eq!(facts.permissions().mode() & 0o777, 0o600);
    }
    assert!(fs::metadata(&older).unwrap().len() > 60 << 10);
    assert!(!home.path("audit.3").exists());
    // None is missing between them: the events of a connection follow each other.
    let all = lines(&[&older, &old, &newest]);
    assert!(all.len() > 400 && all.iter().all(|line| line["v"] == 1), "{}", all.len());
    let times: Vec<_> = all.iter().map(|line| line["t"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    assert!(metric(http, "sally_audit_rotations_total ") >= 5);
    // logrotate goes its own way beside it.
    fs::rename(home.path("audit"), home.path("moved")).unwrap();
    relay.signal("HUP");
    until("the log is opened anew", || home.path("audit").exists().then_some(()));
}

#[test]
fn a_log_that_could_not_be_rotated_stops_the_start() {
    let home = Home::new();
    let stopped = |command: &mut Command| {
        let ended = run(command);
        (ended.status.code(), text(&ended.stderr))
    };
    home.relay();
    let devices = home.path("devices").display().to_string();
    let (status, said) = stopped(Command::new(sally()).args(["relay", "--devices", &devices, "--audit", "-", "--audit-max", "1M"]));
    assert_eq!(status, Some(2), "{said}");
    let (status, said) = stopped(home.relay().args(["--audit-keep", "2"]));
    assert_eq!(status, Some(2), "{said}");
    if !as_root() {
        return skipped("a_log_that_could_not_be_rotated_stops_the_start", "only root becomes another account");
    }
    // The account that it becomes may write the file, and not the folder.
    let (status, said) = stopped(home.relay().args(["--audit-max", "1M", "--run-as", "65534"]));
    assert_eq!(status, Some(74), "{said}");
    assert!(said.contains("Could not open audit log ") && said.contains("--audit-max needs to rename files in its folder"), "{said}");
}
