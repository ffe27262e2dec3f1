//! Requests on a session channel, and a stock sshd beside the door: the answers to each in every order, and what comes of it.

use crate::support::*;

/// What a scenario of tests/python/beside.py prints at this port.
fn scenario(home: &Home, port: u16, user: &str, arguments: &[&str]) -> Vec<String> {
    let mut client = python("beside.py");
    client.arg(arguments[0]).arg(port.to_string()).arg(home.path("id")).args(&arguments[1..]).env("SSH_USER", user);
    let said = run(&mut client);
    assert!(said.status.success(), "{arguments:?}: {}", text(&said.stderr));
    text(&said.stdout).lines().map(String::from).collect()
}

/// It takes of a client's environment what Debian's does, and is as closed as a door without --allow.
fn sshd(home: &Home, options: &str) -> Sshd {
    home.sshd_for(&format!("{options} {}", home.read("id.pub")), "AcceptEnv LANG LC_*\nAllowAgentForwarding no\n")
}

fn door(home: &Home, options: &str, log: &str) -> Door {
    let keys = home.write("keys", format!("{options} {}", home.read("id.pub")));
    let mut command = home.once_for(&keys);
    command.args(["--max-sessions", "2", "--log"]).arg(home.path(log));
    Door::open(command)
}

/// The same at a door, and at an sshd, for a key with these options: line by line.
fn compared(home: &Home, options: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let (sshd, door) = (sshd(home, options), door(home, options, "visit.cast"));
    let (theirs, ours) = (scenario(home, sshd.port, &whoami(), arguments), scenario(home, door.port, "anyone", arguments));
    assert_eq!(theirs.len(), ours.len(), "{theirs:#?} {ours:#?}");
    theirs.into_iter().zip(ours).collect()
}

#[test]
fn requests_before_a_command_are_answered_and_obeyed_as_by_sshd() {
    let home = Home::new();
    let all = compared(&home, "", &["before"]);
    assert!(all.len() > 100, "{all:#?}");
    for (theirs, ours) in all {
        assert_eq!(theirs, ours);
    }
    // Each size that a terminal had is on the record, that of a window-change before the command too.
    assert!(home.read("visit.cast").contains("\"r\",\"100x40\""), "{}", home.read("visit.cast"));
}

#[test]
fn requests_while_a_command_runs_are_answered_as_by_sshd() {
    let home = Home::new();
    for (theirs, ours) in compared(&home, "", &["after"]) {
        // An sshd of root's passes on no signals at all; another's does.
        if theirs.contains(" signal ") {
            assert!(ours.ends_with(" signal yes 3"), "{ours}");
        } else {
            assert_eq!(theirs, ours);
        }
    }
}

#[test]
fn a_terminal_is_what_it_is_with_sshd_whatever_its_request_says() {
    let home = Home::new();
    // sshd forgets all modes where something stands after their end, and exports a TERM that is no text.
    let different = ["after-the-end :", "undefined-255 :", "term-latin :"];
    for (theirs, ours) in compared(&home, "", &["terminal"]) {
        if different.iter().any(|name| ours.starts_with(name)) {
            assert!(ours.contains(": yes | 24 80 640 480 "), "{ours}");
        } else {
            assert_eq!(theirs, ours);
        }
    }
}

#[test]
fn a_terminal_request_that_is_cut_off_ends_the_connection_as_with_sshd() {
    let home = Home::new();
    let sshd = sshd(&home, "");
    for case in ["argument", "opcode", "length", "sizes", "term"] {
        let door = door(&home, "", case);
        for (port, user) in [(sshd.port, whoami()), (door.port, "anyone".into())] {
            assert_eq!(scenario(&home, port, &user, &["truncated", case]), ["closed"], "{case}");
        }
    }
}

#[test]
fn a_forced_command_hears_no_signals_as_with_sshd() {
    let home = Home::new();
    let options = "command=\"trap '' USR1; echo ready; read line; exit 3\"";
    for (theirs, ours) in compared(&home, options, &["after"]) {
        assert_eq!(theirs, ours);
    }
}

/// Byte by byte; SFTP is `internal-sftp` to what replaces it.
#[test]
fn a_forced_command_is_told_what_was_asked_as_by_sshd() {
    let home = Home::new();
    // What the account's own shell makes of the environment is not compared.
    let options = "command=\"printenv SSH_ORIGINAL_COMMAND | od -An -c; exit 3\"";
    let all = compared(&home, options, &["asked"]);
    assert!(all.iter().any(|(theirs, _)| theirs.starts_with("subsystem sftp yes") && theirs.contains("i   n   t   e   r   n   a   l")));
    for (theirs, ours) in all {
        assert_eq!(theirs, ours);
    }
}
