//! `--announce`: a command is told how to join.

use std::path::PathBuf;
use std::process::Command;

use crate::support::*;

/// An executable script.
fn script(home: &Home, text: &str) -> PathBuf {
    let file = home.path("announce");
    // By another process: a child that another test forks while WE have it open for writing would make it "text file busy".
    let installed =
        run_with(Command::new("install").args(["-m", "755", "/dev/stdin"]).arg(&file), format!("#!/bin/sh\n{text}\n").as_bytes());
    assert!(installed.status.success());
    file
}

/// What the script writes into the fifo `told` up to its end.
fn fifo(home: &Home) -> PathBuf {
    let file = home.path("told");
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    file
}

/// Starts a share of `sh -c SCRIPT` with this announce command.
fn announced(home: &Home, announce: &str, program: &str) -> Share {
    home.shared(&["--announce", script(home, announce).to_str().unwrap()], program)
}

#[test]
fn the_command_reads_the_links_and_gets_the_key() {
    let home = Home::new();
    let told = fifo(&home);
    let said = r#"echo "$#"; echo "$1"; echo "$SALLY_HOST_KEY"; echo "$SALLY_PORT"; echo "$SALLY_FINGERPRINT"; cat"#;
    let share = announced(&home, &format!("{{ {said}; }} >{}", told.display()), "read line");
    let said = std::fs::read_to_string(told).unwrap();
    let said: Vec<_> = said.lines().collect();
    let (key, port) = (share.host_key.as_str(), share.port.to_string());
    assert_eq!(said[..4], ["1", key, key, &port]);
    let public = home.write("host.pub", format!("{key}\n"));
    let fingerprint = text(&run(Command::new("ssh-keygen").arg("-lf").arg(public)).stdout);
    assert!(fingerprint.contains(said[4]), "{fingerprint}: {}", said[4]);
    let links = text(&share.command(&["links"]).stdout);
    assert_eq!(said[5..], links.lines().collect::<Vec<_>>());
    assert!(said[6].starts_with("ssh session: ssh ") && said[6].ends_with(&port), "{}", said[6]);
}

#[test]
fn no_name_on_a_relay_is_in_its_arguments_or_its_environment() {
    let home = Home::new();
    home.write("visitors", home.line("alice", ""));
    home.write("devices", home.line("app", ""));
    let relay = Relay::start(&home, home.relay_at(0));
    let told = fifo(&home);
    let announce =
        script(&home, &format!("{{ cat /proc/$$/cmdline /proc/$$/environ | tr '\\0' '\\n'; echo -- links; cat; }} >{}", told.display()));
    let mut command = home.share();
    command.args(["--foreground", "--relay", &format!("127.0.0.1:{}", relay.port), "--relay-host-key", &relay.host_key, "--identity"]);
    command.arg(home.path("app")).arg("--announce").arg(announce).args(["--", "sh", "-c", "read line"]);
    let _share = Share::start(&mut command, &home);
    let said = std::fs::read_to_string(told).unwrap();
    let (public, links) = said.split_once("-- links\n").unwrap();
    let beginning = format!("-J 127.0.0.1:{} ", relay.port);
    let names: Vec<_> = links.lines().filter_map(|line| line.split_once(&beginning)).map(|(_, name)| name).collect();
    assert_eq!(names.len(), 4, "{links}");
    assert!(public.contains("SALLY_FINGERPRINT="), "{public}");
    assert!(names.iter().all(|name| !public.contains(name)), "{public}");
}

#[test]
fn those_who_are_told_can_already_join() {
    let home = Home::new();
    let told = fifo(&home);
    let ssh = format!("ssh {} -i {} -p $SALLY_PORT 127.0.0.1 who", home.options().join(" "), home.path("id").display());
    let _share = announced(&home, &format!("{{ {ssh} </dev/null; echo \" status $?\"; }} >{} 2>&1", told.display()), "read line");
    let said = std::fs::read_to_string(told).unwrap();
    assert!(said.ends_with(" status 0\n"), "{said}");
}

#[test]
fn its_failure_ends_the_share_on_the_record() {
    let home = Home::new();
    let mut share = announced(&home, "cat >/dev/null; echo no one listens >&2; exit 3", "read line");
    share.process.await_stderr("Announce failed: 3 no one listens");
    assert_eq!(share.process.finish().0.code(), Some(75));
    let record = std::fs::read_to_string(home.path("visit.cast")).unwrap();
    assert!(record.contains("Announce failed: 3"), "{record}");
}

#[test]
fn what_cannot_run_stops_the_start() {
    let home = Home::new();
    let plain = home.write("plain", "");
    let output = run(home.share().arg("--foreground").arg("--announce").arg(&plain).args(["--", "true"]));
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(text(&output.stderr).contains(&format!("Invalid announce command: {} (not executable)", plain.display())), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}
