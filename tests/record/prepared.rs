//! A record and an audit log go into nothing that another account has prepared.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::*;

/// `sally once` and `sally relay`, each about to write to this file.
fn writers(home: &Home, file: &Path) -> [(Command, &'static str, &'static str); 2] {
    let mut relay = Command::new(sally());
    relay.args(["relay", "--listen", "127.0.0.1:0", "--devices"]).arg(home.path("id.pub")).arg("--audit").arg(file);
    let free = "free some disk space, or name a new file: Sally runs nothing that it can't record";
    let own = "name a new file, a file of yours that no other account may write to, or - for stdout";
    [(home.once_to(file), "Could not write to log file", free), (relay, "Could not open audit log", own)]
}

/// Both refuse the file, and leave what it leads to as it was.
fn assert_refused(home: &Home, file: &Path, holds: &Path, reason: &str) {
    for (mut command, words, hint) in writers(home, file) {
        let refused = run(&mut command);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(74), "{said}");
        assert!(said.contains(&format!("{words} {}: {reason}", file.display())) && said.contains(&format!("hint: {hint}")), "{said}");
        assert_eq!(fs::read(holds).unwrap_or_default(), b"", "{words}");
    }
}

fn with_mode(file: &Path, mode: u32) {
    fs::write(file, "").unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_others_may_write_to_is_refused() {
    let home = Home::new();
    let file = home.path("log");
    with_mode(&file, 0o666);
    assert_refused(&home, &file, &file, "other accounts may write to it (mode 0666)");
}

#[test]
fn no_link_is_followed() {
    let home = Home::new();
    let (victim, link) = (home.path("victim"), home.path("log"));
    symlink(&victim, &link).unwrap();
    assert_refused(&home, &link, &victim, "it is a symbolic link");
    with_mode(&victim, 0o600);
    assert_refused(&home, &link, &victim, "it is a symbolic link");
    fs::remove_file(&link).unwrap();
    fs::hard_link(&victim, &link).unwrap();
    assert_refused(&home, &link, &victim, "it has another name as well");
}

#[test]
fn what_another_account_has_made_is_refused() {
    if !as_root() {
        return skipped("what_another_account_has_made_is_refused", "only root can make a file of another account's");
    }
    let home = Home::new();
    let folder = home.path("tmp");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
    let file = folder.join("log");
    with_mode(&file, 0o600);
    chown(&file, Some(65534), Some(65534)).unwrap();
    assert_refused(&home, &file, &file, "it belongs to user 65534, not to this account");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    chown(&file, Some(65534), Some(65534)).unwrap();
    let _reader = fs::File::options().read(true).write(true).open(&file).unwrap();
    for (mut command, words, _) in writers(&home, &file) {
        let refused = run(&mut command);
        assert_eq!(refused.status.code(), Some(74), "{words}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("it belongs to user 65534"), "{}", text(&refused.stderr));
    }
}

#[test]
fn what_is_named_as_a_descriptor_or_device_is_written_to() {
    let home = Home::new();
    let file = home.path("log");
    with_mode(&file, 0o666);
    let inner = home.once_to(Path::new("/dev/fd/3"));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 3>>\"$0\""]).arg(&file).arg(inner.get_program()).args(inner.get_args());
    command.env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    let mut server = Server::open(command);
    assert!(run(home.ssh(&server).arg("true")).status.success());
    server.wait();
    assert_eq!(verify(&file, Some(&server.host_key)).0, 0);
    let mut server = Server::open(home.once_to(Path::new("/dev/null")));
    assert!(run(home.ssh(&server).arg("true")).status.success());
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_record_wants_an_empty_file_and_an_audit_log_is_added_to() {
    let home = Home::new();
    let file = home.path("log");
    with_mode(&file, 0o640);
    fs::write(&file, "before\n").unwrap();
    let [(mut once, ..), (mut relay, ..)] = writers(&home, &file);
    let refused = run(&mut once);
    assert_eq!(refused.status.code(), Some(74));
    assert!(text(&refused.stderr).contains("it is not empty"), "{}", text(&refused.stderr));
    let mut relay = relay.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let added = until("a line is added", || fs::read_to_string(&file).ok().filter(|log| log.contains("\"start\"")));
    relay.kill().unwrap();
    wait(&mut relay);
    assert!(added.starts_with("before\n{"), "{added}");
}
