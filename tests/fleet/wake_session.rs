//! A device without an sshd: sessions of Sally's own, recorded there.

use std::fs;

use crate::support::*;

/// cam-17 with these settings of its own, and no sshd.
fn device(live: &Live, more: &str) -> (Agent, std::path::PathBuf) {
    let bundle = live.fleet.add("cam-17");
    let settings = bundle.join("agent.toml");
    fs::write(&settings, format!("{}serve = \"session\"\n{more}", fs::read_to_string(&settings).unwrap())).unwrap();
    let mut command = std::process::Command::new(sally());
    command.args(["-v", "agent", "--bundle"]).arg(&bundle);
    (Agent::start(&mut command), bundle.join("records"))
}

fn records(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_session_is_recorded_on_the_device_and_its_host_key_is_believed() {
    let live = Live::new();
    let (mut agent, folder) = device(&live, "");
    let visit = run(live.jump("cam-17").arg("echo in; echo aside >&2; exit 7"));
    assert_eq!((visit.status.code(), text(&visit.stdout), text(&visit.stderr)), (Some(7), "in\n".into(), "aside\n".into()));
    agent.await_words("a session ended");
    let record = records(&folder);
    assert_eq!(record.len(), 1);
    assert!(fs::read_to_string(&record[0]).unwrap().contains("in\\n"));
    let key = live.fleet.home.read("cam-17/ssh_host_key.pub");
    let (verdict, sentence) = verify(&record[0], Some(&key));
    assert_eq!(verdict, 0, "{sentence}");
}

#[test]
fn only_whom_the_fleet_lets_reach_it_gets_a_session() {
    let live = Live::new();
    let (_agent, _) = device(&live, "");
    live.fleet.home.key("bob", "ed25519");
    live.fleet.sally(&["visitor", "add", "FLEET", "bob.pub", "--for", "door-*"]);
    // The relay lets alice through; whom the session is for, the device decides.
    let config = fs::read_to_string(live.config("bob")).unwrap();
    let through = format!("Host relay\n IdentityFile {}\n", live.fleet.path("alice").display());
    let config = live.fleet.home.write("through", config.replacen("Host relay\n", &through, 1));
    let visit = run(std::process::Command::new("ssh").arg("-F").arg(config).args(["-J", "relay", "cam-17", "true"]));
    assert!(text(&visit.stderr).contains("root@cam-17: Permission denied (publickey)"), "{}", text(&visit.stderr));
}

#[test]
fn when_the_records_are_full_nobody_is_let_in() {
    let live = Live::new();
    let (mut agent, folder) = device(&live, "records_max = \"100K\"\n");
    assert!(run(live.jump("cam-17").arg("true")).status.success());
    agent.await_words("a session ended");
    fs::write(folder.join("old.cast"), vec![b'x'; 90 << 10]).unwrap();
    let refused = run(live.jump("cam-17").arg("true"));
    assert!(text(&refused.stderr).contains("refuses the connection"), "{}", text(&refused.stderr));
    assert!(agent.await_words("a visitor is refused").contains("limit of 102400 bytes"));
}

#[test]
fn a_session_that_fills_the_records_ends() {
    let live = Live::new();
    let (mut agent, _) = device(&live, "records_max = \"100K\"\n");
    let visit = run(live.jump("cam-17").arg("yes"));
    assert_ne!(visit.status.code(), Some(0));
    agent.await_words("Could not write to log file");
    agent.await_words("a session ended");
    assert!(visit.stdout.len() < 100 << 10, "nothing unrecorded was delivered: {}", visit.stdout.len());
}

#[test]
fn a_session_whose_agent_or_relay_is_killed_ends_and_is_sealed() {
    for victim in ["agent", "relay"] {
        let mut live = Live::new();
        let (mut agent, folder) = device(&live, "");
        let mut visitor = Client::start(live.jump("cam-17").arg("echo $$; exec sleep 1000"));
        let shell = visitor.await_pid();
        let _open = visitor.take_stdin();
        let killed = if victim == "agent" { &mut agent.child } else { &mut live.relay.child };
        killed.kill().unwrap();
        let _ = visitor.finish();
        until("the session's process is gone", || (!lives(shell)).then_some(()));
        let key = live.fleet.home.read("cam-17/ssh_host_key.pub");
        until("the record is sealed", || (verify(&records(&folder)[0], Some(&key)).0 == 0).then_some(()));
    }
}

#[test]
fn an_agent_buries_what_it_started() {
    let live = Live::new();
    let (mut agent, _) = device(&live, "");
    for status in 1..4 {
        assert_eq!(run(live.jump("cam-17").arg(format!("sleep 1000 >/dev/null 2>&1 & exit {status}"))).status.code(), Some(status));
    }
    let mut visitor = Client::start(live.jump("cam-17").arg("echo in; exec sleep 1000"));
    visitor.await_line("in");
    visitor.signal("KILL");
    let _ = visitor.finish();
    for _ in 0..4 {
        agent.await_words("a session ended");
    }
    until("no child is left, nor a zombie", || children(agent.child.id()).is_empty().then_some(()));
    live.assert_reached();
}

#[test]
fn a_visitor_who_kills_what_serves_them_leaves_nothing_behind() {
    let live = Live::new();
    let (mut agent, _) = device(&live, "");
    let mut other = Client::start(live.jump("cam-17").arg("echo in; exec sleep 1000"));
    other.await_line("in");
    let script = "setsid sh -c 'echo $$; exec sleep 1000' </dev/null 2>/dev/null & sleep 1000 & read wait; kill -9 $PPID";
    let mut visitor = Client::start(live.jump("cam-17").arg(script));
    let escaped = visitor.await_pid();
    visitor.write("now\n");
    let _ = visitor.finish();
    until("what escaped is gone", || (!lives(escaped)).then_some(()));
    agent.await_words("a session ended");
    until("the other visit's process is left", || (children(agent.child.id()).len() == 1).then_some(()));
    other.signal("KILL");
    until("and nobody after it", || children(agent.child.id()).is_empty().then_some(()));
}

#[test]
fn an_agent_in_front_of_sshd_has_nobody_to_bury() {
    let live = Live::with(&["--linger", "1s"]);
    let (agent, _sshd) = live.device("cam-17");
    for visit in 1..4 {
        live.assert_reached();
        live.relay.await_events("release", visit);
        assert_eq!(children(agent.child.id()), [""; 0]);
    }
}
