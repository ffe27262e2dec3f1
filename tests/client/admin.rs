//! A visitor's own commands: `sally ssh`, `scp`, `sftp`, `devices`, `ssh-config`, around the system's OpenSSH.

use std::fs;
use std::process::Command;

use crate::support::*;

/// A relay, and cam-17 behind it.
struct Fleet {
    home: Home,
    relay: Relay,
    _device: Client,
    _sshd: Sshd,
}

impl Fleet {
    fn new() -> Self {
        let home = Home::new();
        let (relay, device, sshd) = connected(&home, home.relay());
        let settings = format!("relay = \"anyone@127.0.0.1:{}\"\nidentity = \"{}\"\n", relay.port, home.path("alice").display());
        home.write("config.toml", settings);
        Self { home, relay, _device: device, _sshd: sshd }
    }

    /// `sally WORD`, and for clients the configuration that asks nothing.
    fn sally(&self, word: &str) -> Command {
        let mut command = Command::new(sally());
        command.arg(word).arg("--config").arg(self.home.path("config.toml")).env_remove("SALLY_RELAY");
        if ["ssh", "scp", "sftp"].contains(&word) {
            command.arg("-F").arg(self.home.config(&self.relay, "alice"));
        }
        command
    }
}

#[test]
fn ssh_to_a_device_by_its_name_gives_what_ssh_gives() {
    let fleet = Fleet::new();
    let visit = run(fleet.sally("ssh").args(["-l", &whoami(), "cam-17", "--", "echo out; echo err >&2; exit 7"]));
    assert_eq!((visit.status.code(), text(&visit.stdout).as_str()), (Some(7), "out\n"), "{}", text(&visit.stderr));
    assert!(text(&visit.stderr).contains("err\n"));
}

#[test]
fn files_go_both_ways() {
    let fleet = Fleet::new();
    fleet.home.write("here", "content\n");
    let there = fleet.home.path("there");
    let remote = format!("{}@cam-17:{}", whoami(), there.display());
    assert!(run(fleet.sally("scp").arg(fleet.home.path("here")).arg(&remote)).status.success());
    assert_eq!(fs::read(&there).unwrap(), b"content\n");
    let batch = fleet.home.write("batch", format!("get {} {}\n", there.display(), fleet.home.path("back").display()));
    assert!(run(fleet.sally("sftp").arg("-b").arg(batch).arg(format!("{}@cam-17", whoami()))).status.success());
    assert_eq!(fleet.home.read("back"), "content\n");
}

#[test]
fn a_device_that_is_not_there_is_told_in_one_sentence() {
    let fleet = Fleet::new();
    let refused = run(fleet.sally("ssh").args(["cam-71", "true"]));
    assert_eq!(refused.status.code(), Some(255));
    let said = text(&refused.stderr);
    let sentence = said.lines().find(|line| line.starts_with("sally: "));
    assert_eq!(sentence, Some("sally: cam-71 is not a known device (did you mean cam-17?)"), "{said}");
    assert!(!said.contains("open failed") && !said.contains("Authenticated to"), "{said}");
}

#[test]
fn a_name_that_a_shell_would_run_is_refused_before_anything_starts() {
    let fleet = Fleet::new();
    let mark = fleet.home.path("mark");
    let refused = run(fleet.sally("ssh").args([&format!("$(touch {})", mark.display()), "true"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(!mark.exists());
}

#[test]
fn without_a_relay_it_says_where_one_is_named() {
    let home = Home::new();
    let mut command = Command::new(sally());
    let refused = run(command.args(["ssh", "cam-17"]).env_remove("SALLY_RELAY").env("HOME", home.path("")).env_remove("XDG_CONFIG_HOME"));
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).starts_with("No relay is named\n  hint: add --relay"), "{}", text(&refused.stderr));
}

#[test]
fn the_printed_configuration_serves_stock_ssh() {
    let fleet = Fleet::new();
    let printed = run(fleet.sally("ssh-config").args(["--for", "cam-*"]));
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let quiet = "Host *\n BatchMode yes\n IdentityAgent none\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n";
    let config = fleet.home.write("stock", text(&printed.stdout) + quiet);
    let visit = run(Command::new("ssh").arg("-F").arg(config).args(["-l", &whoami(), "cam-17", "echo $((6*7))"]));
    assert_eq!(text(&visit.stdout), "42\n", "{}", text(&visit.stderr));
}
