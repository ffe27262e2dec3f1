//! The main job of each subcommand, once, with the client that most users have. `.ci/run` runs these also with the static release binary.

use std::fs;
use std::process::Command;

use crate::support::*;

/// Runs a command that must succeed; gives its stdout.
fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// `sally WORD…`.
fn says(words: &[&str]) -> Command {
    let mut command = Command::new(sally());
    command.args(words);
    command
}

#[test]
fn once_records_a_command_of_stock_ssh() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run_with(home.ssh(&server).arg("cat; echo aside >&2; exit 3"), b"through\n");
    assert_eq!((visit.status.code(), text(&visit.stdout), text(&visit.stderr)), (Some(3), "through\n".into(), "aside\n".into()));
    assert_eq!(server.wait().0.code(), Some(3));
    home.assert_sealed(&server);
    assert_eq!((home.stream("stdin"), home.stream("stderr")), (b"through\n".to_vec(), b"aside\n".to_vec()));
}

#[test]
fn once_records_a_terminal_and_the_record_is_played_and_exported() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(succeeds(home.ssh(&server).args(["-tt", "stty size; echo h\u{e9}llo"])).lines().last(), Some("h\u{e9}llo"));
    server.wait();
    home.assert_sealed(&server);
    let record = home.path("visit.cast");
    let record = record.to_str().unwrap();
    for words in [&["record", "play", "--speed", "1000"][..], &["record", "cat"], &["record", "export", "--format", "text"]] {
        let shown = succeeds(says(words).arg(record));
        assert!(shown.contains("h\u{e9}llo"), "{words:?}: {shown}");
    }
    assert!(succeeds(says(&["record", "export", "--format", "audit"]).arg(record)).contains("\"event\":\"auth\""));
    assert!(succeeds(says(&["record", "export", "--format", "v3"]).arg(record)).contains("\"version\":3"));
}

#[test]
fn once_serves_sftp() {
    let home = Home::new();
    let content = noise(1 << 20);
    let here = home.write("here", &content);
    let mut server = home.open(&[]);
    let batch = home.write("batch", format!("put {} {}\n", here.display(), home.path("there").display()));
    let mut sftp = tool("sftp", "openssh-client");
    sftp.args(home.options()).arg("-i").arg(home.path("id")).args(["-P", &server.port.to_string(), "-b"]).arg(batch).arg("127.0.0.1");
    succeeds(&mut sftp);
    assert_eq!(fs::read(home.path("there")).unwrap(), content);
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}

#[test]
fn jail_carries_one_tunnel() {
    let (home, port) = (Home::new(), free_port());
    let alice = home.key("alice", "ed25519");
    let (relay, sshd) = (Relay::start(&home, home.jail(&port.to_string())), home.sshd());
    let _tunnel = home.hold(&relay, "id", &format!("{port}:127.0.0.1:{}", sshd.port));
    relay.await_events("register", 1);
    assert_eq!(succeeds(home.ssh_with(port, &["-i", alice.to_str().unwrap(), "-l", &whoami()]).arg("echo in")), "in\n");
}

#[test]
fn relay_leads_to_a_device_by_its_name_with_ssh_and_sally_ssh() {
    let home = Home::new();
    let (relay, _device, _sshd) = connected(&home, home.relay());
    assert_eq!(succeeds(home.jump(&relay, "alice", "cam-17").arg("echo in")), "in\n");
    let settings = format!("relay = \"anyone@127.0.0.1:{}\"\nidentity = \"{}\"\n", relay.port, home.path("alice").display());
    let settings = home.write("config.toml", settings);
    let mut client = says(&["ssh", "--config"]);
    client.arg(settings).arg("-F").arg(home.config(&relay, "alice")).args(["-l", &whoami(), "cam-17", "--", "echo in"]);
    assert_eq!(succeeds(&mut client), "in\n");
}

#[test]
fn a_fleet_wakes_a_device_through_the_relays_own_broker() {
    let live = Live::embedded(&[]);
    let (_agent, _sshd) = live.device("cam-17");
    live.assert_reached();
}

#[test]
fn the_binary_brings_its_manual_and_completions() {
    let home = Home::new();
    succeeds(says(&["man"]).arg(home.path("")));
    assert!(home.read("sally-once.1").contains("authorized"));
    assert!(succeeds(&mut says(&["completions", "bash"])).contains("authorized-keys"));
}
