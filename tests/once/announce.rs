//! `--announce`: a command is told where the server listens.

use std::os::unix::fs::PermissionsExt;
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

fn fifo(home: &Home, name: &str) -> PathBuf {
    let file = home.path(name);
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    file
}

fn open(home: &Home, text: &str) -> Server {
    home.open(&["--announce", script(home, text).to_str().unwrap()])
}

#[test]
fn the_command_gets_the_key_and_knows_the_port() {
    let home = Home::new();
    let told = fifo(&home, "told");
    let mut command = home.once();
    command.arg("--announce").arg(script(
        &home,
        &format!("{{ echo \"$#\"; echo \"$1\"; echo \"$SALLY_HOST_KEY\"; echo \"$SALLY_PORT\"; echo \"$SALLY_FINGERPRINT\"; echo \"$KEPT\"; }} >{}", told.display()),
    ));
    command.env("KEPT", "a b").env("SALLY_TICKET", "secret");
    let server = Server::open(command);
    let said = std::fs::read_to_string(told).unwrap();
    let said: Vec<_> = said.lines().collect();
    let key = server.host_key.as_str();
    assert_eq!(said[..4], ["1", key, key, &server.port.to_string()]);
    let public = home.write("host.pub", format!("{key}\n"));
    let fingerprint = text(&run(Command::new("ssh-keygen").arg("-lf").arg(public)).stdout);
    assert!(fingerprint.contains(said[4]), "{fingerprint}: {}", said[4]);
    assert_eq!(said[5], "a b");
}

#[test]
fn whoever_is_told_can_already_connect() {
    let home = Home::new();
    let result = fifo(&home, "result");
    let ssh = format!("ssh {} -i {} -p $SALLY_PORT 127.0.0.1", home.options().join(" "), home.path("id").display());
    let mut server = open(&home, &format!("{ssh} 'echo in; exit 3' >{0} 2>&1 </dev/null; exit 0", result.display()));
    assert_eq!(std::fs::read_to_string(result).unwrap(), "in\n");
    assert_eq!(server.wait().0.code(), Some(3));
}

#[test]
fn what_it_prints_is_not_on_our_stdout() {
    let home = Home::new();
    let mut command = home.once_for(&home.path("id.pub"));
    command.arg("--announce").arg(script(&home, "echo told everybody"));
    let mut server = Server::open(command);
    server.await_stderr("told everybody");
    assert!(run(home.ssh(&server).arg("true")).status.success());
    assert!(server.rest_of_stdout().iter().all(|line| !line.contains("told everybody")));
}

#[test]
fn its_failure_ends_everything() {
    let home = Home::new();
    let mut server = open(&home, "echo first >&2; echo nobody listens to me >&2; exit 3");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(75));
    assert!(said.contains("\nAnnounce failed: 3 first\nnobody listens to me\n"), "{said}");
    home.assert_sealed(&server);
}

#[test]
fn its_failure_is_not_kept_back_by_what_it_leaves_running() {
    let home = Home::new();
    let (status, said) = open(&home, "sleep 1000 & echo regrets >&2; exit 4").wait();
    assert!(status.code() == Some(75) && said.contains("\nAnnounce failed: 4 regrets\n"), "{said}");
}

#[test]
fn what_may_not_be_executed_is_passed_over_in_path() {
    let home = Home::new();
    let (first, second) = (home.path("first"), home.path("second"));
    std::fs::create_dir(&first).unwrap();
    std::fs::create_dir(&second).unwrap();
    std::fs::write(first.join("announce"), "").unwrap();
    let told = fifo(&home, "told");
    std::fs::rename(script(&home, &format!("echo second >{}", told.display())), second.join("announce")).unwrap();
    let mut command = home.once();
    command.args(["--announce", "announce"]);
    command.env("PATH", format!("{}:{}:{}", first.display(), second.display(), std::env::var("PATH").unwrap()));
    let _server = Server::open(command);
    assert_eq!(std::fs::read_to_string(told).unwrap(), "second\n");
}

#[test]
fn its_death_by_a_signal_ends_everything() {
    let home = Home::new();
    let (status, said) = open(&home, "kill -KILL $$").wait();
    assert!(status.code() == Some(75) && said.contains("\nAnnounce failed: 137"), "{said}");
}

#[test]
fn what_it_says_can_not_move_the_cursor() {
    let home = Home::new();
    let (status, said) = open(&home, r"printf '\033[2Jgone\007' >&2; exit 1").wait();
    assert!(status.code() == Some(75) && said.contains("Announce failed: 1 \u{fffd}[2Jgone\u{fffd}"), "{said:?}");
}

#[test]
fn a_flood_on_its_stderr_is_cut() {
    let home = Home::new();
    let (status, said) = open(&home, "yes flood | head -c 1200000 >&2; echo the end >&2; exit 1").wait();
    assert!(status.code() == Some(75) && said.len() < 10_000 && said.contains("\nthe end"), "{} bytes", said.len());
}

#[test]
fn its_failure_ends_a_session_that_has_begun() {
    let home = Home::new();
    let gate = fifo(&home, "gate");
    let mut server = open(&home, &format!("read line <{}; echo regrets >&2; exit 4", gate.display()));
    let mut visit = home.visit(&server, "echo in; echo $$; exec sleep 1000", "in");
    let pid = visit.await_pid();
    std::fs::write(gate, "now\n").unwrap();
    let (status, said) = server.wait();
    assert!(status.code() == Some(75) && said.contains("\nAnnounce failed: 4 regrets"), "{said}");
    assert!(!lives(pid), "the session is over");
    let (status, _, heard) = visit.finish();
    assert_eq!(status.code(), Some(75), "{heard}");
    assert!(heard.contains("Announce failed: 4 regrets"), "{heard}");
    home.assert_sealed(&server);
}

#[test]
fn a_command_that_can_not_be_run_is_refused_before_anything_listens() {
    let home = Home::new();
    let plain = home.write("plain", "#!/bin/sh\n");
    let folder = home.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let with_arguments = format!("{} --with arguments", sally().display());
    for (command, reason) in [
        (home.path("missing").to_str().unwrap(), "not found"),
        ("no-such-command-at-all", "not found"),
        (&with_arguments, "not found"),
        (plain.to_str().unwrap(), "not executable"),
        (folder.to_str().unwrap(), "not executable"),
    ] {
        let output = run(home.once().args(["--announce", command]));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert_eq!(said.lines().next().unwrap(), format!("Invalid announce command: {command} ({reason})"));
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    }
}

#[test]
fn a_script_without_interpreter_is_a_failure_that_is_named() {
    let home = Home::new();
    let file = home.write("announce", "#!/no/such/interpreter\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (status, said) = home.open(&["--announce", file.to_str().unwrap()]).wait();
    assert!(status.code() == Some(75) && said.contains("\nAnnounce failed: 126 "), "{said}");
}

#[test]
fn it_ends_with_the_visit() {
    let home = Home::new();
    let told = fifo(&home, "told");
    let mut server = open(&home, &format!("echo $$ >{}; exec sleep 1000", told.display()));
    let pid: u32 = std::fs::read_to_string(told).unwrap().trim().parse().unwrap();
    assert!(lives(pid));
    assert!(run(home.ssh(&server).arg("true")).status.success());
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(!lives(pid));
}
