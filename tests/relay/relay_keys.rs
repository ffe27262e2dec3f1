//! A relay's keys while it runs: sources that are slow, that can be read once, that change at a bad moment; permissions that end.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::OFlags;

use crate::support::*;

/// The writing end, once somebody reads.
fn writer(fifo: &Path) -> File {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    until("it is read", || options.open(fifo).ok())
}

fn fifo(home: &Home, name: &str) -> std::path::PathBuf {
    let file = home.path(name);
    assert!(run(tool("mkfifo", "coreutils").arg(&file)).status.success());
    file
}

#[test]
fn a_source_that_is_slow_to_read_holds_up_nothing_else() {
    let home = Home::new();
    let (mut relay, mut device, _sshd) = connected(&home, home.relay());
    let slow = fifo(&home, "slow");
    fs::rename(&slow, home.path("visitors")).unwrap();
    // Nothing is ever written.
    let _writer = writer(&home.path("visitors"));
    let who = run(home.via(&relay, "alice").args(["relay", "whoami"]));
    assert!(who.status.success(), "{}", text(&who.stderr));
    fs::rename(home.path("audit"), home.path("audit.1")).unwrap();
    relay.signal("HUP");
    until("the log is opened anew", || home.path("audit").exists().then_some(()));
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(0));
    device.await_stderr("the relay is stopping");
    let logs = home.read("audit.1") + &home.read("audit");
    assert!(!logs.contains("keys_failed"), "it ended because the source did: {logs}");
}

#[test]
fn keys_from_stdin_or_a_pipe_of_the_shells_stay_when_files_are_read_again() {
    let home = Home::new();
    home.relay();
    home.write("admins", home.line("root", ""));
    let mut shell = tool("bash", "bash");
    let script = r#"exec "$0" "${@:2}" --visitors - --devices "$1" --admins <(cat "${1%devices}admins") <"${1%devices}visitors""#;
    shell.args(["-c", script]).arg(sally()).arg(home.path("devices"));
    shell.args(["relay", "--listen", "127.0.0.1:0", "--audit"]).arg(home.path("audit"));
    let relay = Relay::start(&home, shell);
    let counts = |event: &serde_json::Value| [&event["visitors"], &event["devices"], &event["admins"]].map(|count| count.as_u64().unwrap());
    assert_eq!(counts(&relay.await_events("keys", 1)), [1, 1, 1]);
    home.write("devices", [home.read("devices"), home.line("other", "")].concat());
    relay.signal("HUP");
    assert_eq!(counts(&relay.await_events("keys", 2)), [1, 2, 1]);
    for key in ["alice", "root"] {
        let who = run(home.via(&relay, key).args(["relay", "whoami"]));
        assert!(who.status.success(), "{key}: {}", text(&who.stderr));
    }
}

#[test]
fn a_key_of_a_newer_type_is_passed_over_said_and_audited() {
    let home = Home::new();
    let command = home.relay();
    home.write("visitors", [NEWER_KEY, " alice@new\n", &home.read("visitors")].concat());
    let mut relay = Relay::start(&home, command);
    relay.await_stderr(&format!("{}, line 1: skipped: keys of type `ssh-new@example.com`", home.path("visitors").display()));
    assert_eq!(relay.await_events("line_skipped", 1)["line"], 1);
    assert!(run(home.via(&relay, "alice").args(["relay", "whoami"])).status.success());
    // A source that holds no other stops a start, and says why it is empty.
    home.write("devices", NEWER_KEY);
    let alone = run(&mut home.relay_of_files());
    let said = text(&alone.stderr);
    assert!(alone.status.code() == Some(78) && said.contains("contained no keys."), "{said}");
    assert!(said.contains("devices, line 1: skipped: keys of type `ssh-new@example.com`"), "{said}");
}

#[test]
fn a_file_that_changes_while_the_relay_starts_is_read_again() {
    let home = Home::new();
    let mut command = home.relay();
    let last = fifo(&home, "admins");
    command.arg("--admins").arg(&last);
    let admin = home.line("root", "");
    let both = [home.read("devices"), home.line("other", "")].concat();
    let devices = home.path("devices");
    // What can be read once is read first of all: by then the others have been looked at.
    let writing = std::thread::spawn(move || {
        let mut writer = writer(&last);
        fs::write(&devices, both.replace("cam-17", "cam-18")).unwrap();
        writer.write_all(admin.as_bytes()).unwrap();
    });
    let relay = Relay::start(&home, command);
    writing.join().unwrap();
    let _device = home.hold(&relay, "cam", "cam-18:22:127.0.0.1:1");
    relay.await_events("register", 1);
}

#[test]
fn a_device_whose_permission_ends_is_let_go_and_no_other_is() {
    let home = Home::new();
    let command = home.relay();
    let expiry = text(&run(Command::new("date").args(["-u", "-d", "1 hour", "+%Y%m%d%H%MZ"])).stdout).trim().to_owned();
    let lines = [
        home.line("cam", &format!(r#"permitlisten="cam-17:22",expiry-time="{expiry}""#)),
        home.line("other", r#"permitlisten="cam-18:22""#),
    ];
    home.write("devices", lines.concat());
    let clock = Clock::new(&home);
    let mut command = clock.govern(command);
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    let (relay, mut device, _sshd) = connected(&home, command);
    let _other = home.hold(&relay, "other", "cam-18:22:127.0.0.1:1");
    relay.await_events("register", 2);
    clock.put_forward_to(24 * 3600);
    device.await_stderr("the permission of this key has expired");
    assert_eq!(relay.await_events("release", 1)["slot"], "cam-17:22");
    let refused = run(&mut home.holding(&relay, "cam", "cam-17:22:127.0.0.1:1"));
    assert!(text(&refused.stderr).contains("Permission denied"), "{}", text(&refused.stderr));
    assert_eq!(relay.events("release").len(), 1, "the other device stays");
}
