//! What stands before a key is obeyed: never wider than the file says.

use std::process::{Command, Stdio};

use crate::support::*;

/// A server for the visitor's key with these options before it.
fn open(home: &Home, options: &str) -> Server {
    open_for(home, &format!("{options} {}", home.read("id.pub")), &[])
}

fn open_for(home: &Home, keys: &str, more: &[&str]) -> Server {
    let file = home.write("keys", keys);
    let mut command = home.once_for(&file);
    command.arg("--log").arg(home.path("visit.cast")).args(more);
    Server::open(command)
}

fn denied(home: &Home, server: &Server) {
    let visit = run(home.ssh(server).arg("echo in"));
    assert_eq!((visit.status.code(), text(&visit.stdout)), (Some(255), String::new()));
    assert!(text(&visit.stderr).contains("Permission denied (publickey)"), "{}", text(&visit.stderr));
}

#[test]
fn a_forced_command_replaces_the_command_and_knows_it() {
    let home = Home::new();
    let mut server = open(&home, "command=\"echo \\\"forced: $SSH_ORIGINAL_COMMAND\\\"; exit 4\"");
    let visit = run(home.ssh(&server).arg("echo asked; exit 5"));
    assert_eq!((text(&visit.stdout), visit.status.code()), ("forced: echo asked; exit 5\n".into(), Some(4)));
    assert_eq!(server.wait().0.code(), Some(4));
    let exec = &home.audits("exec")[0];
    assert_eq!(
        (&exec["command"], &exec["forced"]),
        (&"echo asked; exit 5".into(), &"echo \"forced: $SSH_ORIGINAL_COMMAND\"; exit 4".into())
    );
}

#[test]
fn a_forced_command_replaces_the_shell_and_the_subsystem() {
    for arguments in [&["-T"][..], &["-s", "sftp"], &["-s", "whatever"]] {
        let home = Home::new();
        let server = open(&home, "command=\"echo forced\"");
        let visit = run(home.ssh(&server).args(arguments).stdin(Stdio::null()));
        assert_eq!((text(&visit.stdout), visit.status.code()), ("forced\n".into(), Some(0)), "{arguments:?}: {}", text(&visit.stderr));
        let (event, said) = if arguments[0] == "-T" { ("shell", None) } else { ("subsystem", Some(arguments[1])) };
        let recorded = &home.audits(event)[0];
        assert_eq!((recorded["name"].as_str(), recorded["forced"].as_str()), (said, Some("echo forced")));
    }
}

/// As with sshd, whose MaxAuthTries is 6.
#[test]
fn the_sixth_key_of_an_agent_may_be_the_right_one_and_the_seventh_not() {
    for (wrong, comes_in) in [(5, true), (6, false)] {
        let home = Home::new();
        let server = home.open(&[]);
        let others: Vec<_> = (0..wrong).map(|number| format!("other{number}")).collect();
        let mut arguments = Vec::new();
        for other in &others {
            home.key(other, "ed25519");
            arguments.extend(["-i".to_owned(), home.path(other).display().to_string()]);
        }
        arguments.extend(["-i".to_owned(), home.path("id").display().to_string()]);
        let visit = run(home.ssh_with(server.port, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).arg("true"));
        assert_eq!(visit.status.success(), comes_in, "{}", text(&visit.stderr));
        assert!(comes_in || text(&visit.stderr).contains("Too many authentication attempts"), "{}", text(&visit.stderr));
    }
}

#[test]
fn a_forced_command_may_have_a_terminal_and_restrict_takes_it() {
    let refused = "PTY allocation request failed";
    for (options, said) in
        [("command=\"tty\"", "/dev/pts/"), ("restrict,command=\"tty\"", refused), ("no-pty", refused), ("pty,restrict", refused)]
    {
        let home = Home::new();
        let server = open(&home, options);
        let (_, shown) = Terminal::start(home.ssh(&server).args(["-tt", "tty"])).finish();
        assert!(shown.contains(said) && (said != refused || !shown.contains("/dev/pts/")), "{options}: {shown}");
    }
}

#[test]
fn restrict_with_pty_has_a_terminal_again() {
    let home = Home::new();
    let server = open(&home, "restrict,pty");
    let (status, shown) = Terminal::start(home.ssh(&server).args(["-tt", "tty"])).finish();
    assert!(status.success() && shown.contains("/dev/pts/"), "{shown}");
}

#[test]
fn from_admits_its_addresses_alone() {
    let home = Home::new();
    for nowhere in ["192.0.2.0/24", "127.0.0.1/33", "!127.0.0.1,127.0.0.0/8", "::1"] {
        let keys = format!("from=\"{nowhere}\" {}", home.read("id.pub"));
        let file = home.write("keys", keys);
        let server = Server::open(home.once_for(&file));
        denied(&home, &server);
    }
    let server = open(&home, "from=\"192.0.2.0/24,127.0.0.0/8\"");
    assert!(run(home.ssh(&server).arg("true")).status.success());
}

#[test]
fn an_expired_key_is_refused() {
    let home = Home::new();
    let file = home.write("keys", format!("expiry-time=\"20200101Z\" {}", home.read("id.pub")));
    denied(&home, &Server::open(home.once_for(&file)));
    let server = open(&home, "expiry-time=\"21000101Z\"");
    assert!(run(home.ssh(&server).arg("true")).status.success());
}

#[test]
fn variables_of_the_key_reach_the_session_and_the_first_of_a_name_counts() {
    let home = Home::new();
    let server = open(&home, "environment=\"ROLE=first\",environment=\"ROLE=second\",environment=\"SPACED=a b\"");
    let visit = run(home.ssh(&server).arg("echo \"$ROLE/$SPACED\""));
    assert_eq!(text(&visit.stdout), "first/a b\n");
}

/// As with sshd: over what a login brings, under what the connection brings.
#[test]
fn variables_of_the_key_replace_those_of_the_login() {
    let home = Home::new();
    let names = ["HOME", "SHELL", "USER", "LOGNAME", "TERM", "SSH_CLIENT"];
    let options: Vec<_> = names.iter().map(|name| format!("environment=\"{name}=/of-the-key\"")).collect();
    let server = open(&home, &options.join(","));
    let visit = run(home.ssh(&server).arg("echo $HOME $SHELL $USER $LOGNAME $TERM; echo $SSH_CLIENT"));
    let said = text(&visit.stdout);
    assert_eq!(said.lines().next(), Some(&*["/of-the-key"; 5].join(" ")), "{}", text(&visit.stderr));
    assert!(said.lines().nth(1).unwrap().starts_with("127.0.0.1 "), "{said}");
}

/// A certificate over the visitor's key, signed by `ca`.
fn certify(home: &Home, arguments: &[&str]) {
    if !home.path("ca").exists() {
        home.key("ca", "ed25519");
    }
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-s"]).arg(home.path("ca")).args(["-I", "visitor-7", "-z", "42"]).args(arguments).arg(home.path("id.pub"));
    let signed = run(&mut keygen);
    assert!(signed.status.success(), "{}", text(&signed.stderr));
}

fn authority(home: &Home, options: &str) -> String {
    format!("cert-authority{options} {}", home.read("ca.pub"))
}

#[test]
fn a_certificate_comes_in_under_the_accounts_name() {
    let home = Home::new();
    let me = text(&run(Command::new("id").arg("-un")).stdout).trim().to_owned();
    certify(&home, &["-n", &me]);
    let mut server = open_for(&home, &authority(&home, ""), &[]);
    assert!(run(home.ssh(&server).arg("true")).status.success());
    server.wait();
    let auth = &home.audits("auth")[0];
    assert_eq!((&auth["certificate"]["id"], &auth["certificate"]["serial"]), (&"visitor-7".into(), &42.into()), "{auth}");
}

#[test]
fn where_there_are_authorities_only_the_right_certificate_is_asked_to_sign() {
    let home = Home::new();
    certify(&home, &["-n", "dev"]);
    home.key("other", "ed25519");
    let keys = authority(&home, ",principals=\"dev\"");
    let server = open_for(&home, &keys, &[]);
    let visit = run(home.ssh(&server).arg("-v").arg("-i").arg(home.path("other")).arg("true"));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
    let said = text(&visit.stderr);
    let accepted: Vec<_> = said.lines().filter(|line| line.contains("Server accepts key")).collect();
    assert!(accepted.len() == 1 && accepted[0].contains("-CERT"), "{accepted:#?}");
}

#[test]
fn the_name_that_is_asked_for_makes_no_principal() {
    let home = Home::new();
    // The visitor asks for `anyone`: that is nobody's word but the visitor's.
    certify(&home, &["-n", "anyone"]);
    denied(&home, &open_for(&home, &authority(&home, ""), &[]));
    std::fs::remove_file(home.path("visit.cast")).unwrap();
    let server = open_for(&home, &authority(&home, ""), &["--user", "anyone"]);
    assert!(run(home.ssh(&server).arg("true")).status.success(), "the server's own word is");
}

#[test]
fn principals_name_who_may_come_in() {
    let home = Home::new();
    certify(&home, &["-n", "ops,dev"]);
    denied(&home, &open_for(&home, &authority(&home, ",principals=\"admins\""), &[]));
    std::fs::remove_file(home.path("visit.cast")).unwrap();
    let server = open_for(&home, &authority(&home, ",principals=\"admins,dev\""), &[]);
    assert!(run(home.ssh(&server).arg("true")).status.success());
}

#[test]
fn a_certificate_for_nobody_in_particular_is_for_nobody() {
    let home = Home::new();
    home.key("ca", "ed25519");
    certify(&home, &[]);
    denied(&home, &open_for(&home, &authority(&home, ""), &[]));
}

#[test]
fn a_certificate_outside_its_dates_is_refused_and_it_is_said_why() {
    for (dates, why) in [("20200101:20200102", "the certificate has expired"), ("+1d:+2d", "the certificate is not yet valid")] {
        let home = Home::new();
        certify(&home, &["-n", "dev", "-V", dates]);
        let mut server = open_for(&home, &authority(&home, ",principals=\"dev\""), &["-v"]);
        denied(&home, &server);
        server.await_stderr_with(&format!("refused: {why}"));
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let home = Home::new();
    certify(&home, &["-n", "dev"]);
    home.key("other", "ed25519");
    let keys = format!("cert-authority,principals=\"dev\" {}", home.read("other.pub"));
    denied(&home, &open_for(&home, &keys, &[]));
}

#[test]
fn what_a_certificate_restricts_is_restricted() {
    let home = Home::new();
    certify(&home, &["-n", "dev", "-O", "clear", "-O", "force-command=echo forced; tty", "-O", "source-address=127.0.0.0/8"]);
    let server = open_for(&home, &authority(&home, ",principals=\"dev\""), &[]);
    assert_eq!(text(&run(home.ssh(&server).arg("echo asked")).stdout), "forced\nnot a tty\n");

    let home = Home::new();
    certify(&home, &["-n", "dev", "-O", "source-address=192.0.2.0/24"]);
    denied(&home, &open_for(&home, &authority(&home, ",principals=\"dev\""), &[]));
}

#[test]
fn the_authoritys_own_key_does_not_log_in() {
    let home = Home::new();
    certify(&home, &["-n", "dev"]);
    let server = open_for(&home, &authority(&home, ",principals=\"dev\""), &[]);
    let ca = home.path("ca");
    let visit = run(home.ssh_with(server.port, &["-i", ca.to_str().unwrap()]).arg("true"));
    assert!(text(&visit.stderr).contains("Permission denied"), "{}", text(&visit.stderr));
}

#[test]
fn every_type_of_key_comes_in() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let home = Home::new();
        home.key("mine", kind);
        let server = open_for(&home, &home.read("mine.pub"), &[]);
        let mine = home.path("mine");
        let visit = run(home.ssh_with(server.port, &["-i", mine.to_str().unwrap()]).arg("true"));
        assert!(visit.status.success(), "{kind}: {}", text(&visit.stderr));
    }
}

#[test]
fn rsa_with_sha1_is_refused_and_with_sha2_taken() {
    let home = Home::new();
    home.key("mine", "rsa");
    let server = open_for(&home, &home.read("mine.pub"), &[]);
    let mine = home.path("mine");
    let mine = mine.to_str().unwrap();
    let weak = run(home.ssh_with(server.port, &["-oPubkeyAcceptedAlgorithms=ssh-rsa", "-i", mine]).arg("true"));
    assert_eq!(weak.status.code(), Some(255));
    assert!(run(home.ssh_with(server.port, &["-oPubkeyAcceptedAlgorithms=rsa-sha2-256", "-i", mine]).arg("true")).status.success());
}
