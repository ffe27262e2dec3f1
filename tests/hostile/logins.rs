//! Authentication in ways that no honest client takes: in several steps, with another's key, in numbers.

use super::hostile::{scenario_of, still_open};
use crate::support::*;

/// Runs a scenario of tests/python/logins.py: what it says.
fn scenario(server: &Server, name: &str, arguments: &[&str]) -> String {
    scenario_of("logins.py", server, name, arguments)
}

/// A server for these lines of authorized_keys; its record is `visit.cast`.
fn open_for(home: &Home, lines: &str) -> Server {
    let file = home.write("keys", lines);
    let mut command = home.once_for(&file);
    command.arg("--log").arg(home.path("visit.cast"));
    Server::open(command)
}

/// One login by the key of this line, and the record whole.
fn assert_in_by(home: &Home, server: &mut Server, line: u32) {
    assert_eq!(server.wait().0.code(), Some(0));
    let logins = home.audits("auth");
    assert_eq!(logins.len(), 1, "{logins:?}");
    assert_eq!(logins[0]["source"], format!("{}:{line}", home.path("keys").display()));
    home.assert_sealed(server);
}

/// CVE-2024-45337.
#[test]
fn permissions_are_those_of_the_key_that_signed() {
    let home = Home::new();
    home.key("other", "ed25519");
    let keys = format!("command=\"echo first\" {}command=\"echo second\" {}", home.read("id.pub"), home.read("other.pub"));
    let server = open_for(&home, &keys);
    let (first, second) = (home.path("id"), home.path("other"));
    let said = scenario(&server, "offer-one-sign-with-another", &[first.to_str().unwrap(), second.to_str().unwrap()]);
    assert_eq!(said, "True\nTrue\nsecond\n");
    assert_eq!(home.audits("auth")[0]["source"], format!("{}:2", home.path("keys").display()));
}

#[test]
fn a_good_key_with_a_bad_signature_is_refused() {
    let home = Home::new();
    home.key("other", "ed25519");
    let mut server = home.open(&[]);
    let (id, other) = (home.path("id"), home.path("other"));
    let (id, other) = (id.to_str().unwrap(), other.to_str().unwrap());
    assert_eq!(scenario(&server, "forged-signature", &[id]), "True\nFalse\n");
    assert_eq!(scenario(&server, "name-one-sign-with-another", &[id, other]), "False\n");
    assert_eq!(scenario(&server, "signature-of-another-session", &[id]), "False\n");
    still_open(&home, &mut server);
}

#[test]
fn only_public_keys_are_offered_and_passwords_lead_nowhere() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(scenario(&server, "none", &[]), "51 publickey\n");
    let said = scenario(&server, "password", &[]);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[..lines.len() - 1].iter().all(|line| *line == "51 publickey"), "{said}");
    assert_eq!(lines.last(), Some(&"closed True"), "attempts are bounded");
    still_open(&home, &mut server);
}

#[test]
fn guesses_at_keys_are_bounded() {
    let home = Home::new();
    home.key("wrong", "ed25519");
    let mut server = home.open(&[]);
    let wrong = home.path("wrong");
    assert_eq!(scenario(&server, "probe-for-ever", &[wrong.to_str().unwrap()]), "closed\n");
    still_open(&home, &mut server);
}

#[test]
fn a_user_name_that_changes_is_the_end() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let id = home.path("id");
    assert_eq!(scenario(&server, "user-name-changes", &[id.to_str().unwrap()]), "closed\n");
    still_open(&home, &mut server);
}

/// A good request with an unrestricted key, after another has let its owner in: the first one's restrictions stay.
#[test]
fn a_second_key_after_the_login_lifts_no_restriction() {
    // The channel is confirmed (91); what follows is whether there is a terminal, and what the command says.
    for (options, expected) in [("command=\"echo forced\"", "True\n91\nTrue\nforced\n"), ("restrict", "True\n91\nFalse\nasked\n")] {
        let home = Home::new();
        home.key("other", "ed25519");
        let mut server = open_for(&home, &format!("{options} {}{}", home.read("id.pub"), home.read("other.pub")));
        let (first, second) = (home.path("id"), home.path("other"));
        let said = scenario(&server, "again-after-success", &[first.to_str().unwrap(), second.to_str().unwrap()]);
        assert_eq!(said, expected, "{options}");
        assert_in_by(&home, &mut server, 1);
        assert_eq!(home.audits("exec").len(), 1);
    }
}

/// The signature is good and the address is not: neither what that line permits nor what it forces is left over.
#[test]
fn a_key_that_is_refused_leaves_nothing_to_the_next() {
    let away = "from=\"192.0.2.1\"";
    for (first, second, expected) in [
        (format!("{away},command=\"echo first\""), "", "asked"),
        (format!("{away},restrict"), "command=\"echo second\"", "second"),
        (away.into(), "command=\"echo second\"", "second"),
    ] {
        let home = Home::new();
        home.key("other", "ed25519");
        let mut server = open_for(&home, &format!("{first} {}{second} {}", home.read("id.pub"), home.read("other.pub")));
        let (refused, used) = (home.path("id"), home.path("other"));
        let said = scenario(&server, "refused-then", &[refused.to_str().unwrap(), used.to_str().unwrap()]);
        assert_eq!(said, format!("True\nTrue\n{expected}\n"), "{first}");
        assert_in_by(&home, &mut server, 2);
    }
}

#[test]
fn a_certificate_that_is_refused_leaves_nothing_to_its_key() {
    // With an authority in the file the server looks at certificates otherwise than without.
    for authority in ["", "cert-authority "] {
        for (line, force, expected) in [("", "force-command=echo certificate", "asked"), ("command=\"echo plain\" ", "permit-pty", "plain")]
        {
            let home = Home::new();
            home.key("unknown", "ed25519");
            home.key("other", "ed25519");
            let me = text(&run(std::process::Command::new("id").arg("-un")).stdout).trim().to_owned();
            let mut keygen = tool("ssh-keygen", "openssh-client");
            keygen.args(["-q", "-s"]).arg(home.path("unknown")).args(["-I", "v", "-n", &me, "-O", force]).arg(home.path("id.pub"));
            assert!(run(&mut keygen).status.success());
            let mut server = open_for(&home, &format!("{authority}{}{line}{}", home.read("other.pub"), home.read("id.pub")));
            let said = scenario(&server, "certificate-then-key", &[home.path("id").to_str().unwrap()]);
            assert_eq!(said, format!("True\nTrue\n{expected}\n"), "{authority}{line}");
            assert_in_by(&home, &mut server, 2);
            assert!(home.audits("auth")[0]["certificate"].is_null());
        }
    }
}

/// CVE-2026-42189: a number of answers is no reason to make room for them.
#[test]
fn four_billion_answers_to_a_question_that_nobody_put_are_a_failure() {
    /// A connection's own buffers, in KiB.
    const PEAK: u64 = 6 << 10;
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.peak();
    // As often as anybody may try who has not asked first what there is to try.
    assert_eq!(scenario(&server, "responses", &["100"]), "51\n".repeat(7) + "closed\n");
    let after = server.peak();
    assert!(after < before + PEAK, "the peak of {before} KiB rose to {after}");
    still_open(&home, &mut server);
}

/// chisel's CVE-2024-43798: the credential was in the environment, nobody read it, and the server was open to all. `in_file` names the key in
/// the file, where there is one; "id" is in the variable.
fn with_keys_in_the_environment(in_file: Option<&str>) -> (Home, Server) {
    let home = Home::new();
    home.key("other", "ed25519");
    home.key("unknown", "ed25519");
    let mut command = std::process::Command::new(sally());
    command.args(["once", "--port", "0", "--listen", "127.0.0.1", "--log"]).arg(home.path("visit.cast"));
    if let Some(name) = in_file {
        command.arg("--authorized-keys").arg(home.path(format!("{name}.pub")));
    }
    command.env("SHELL", "/bin/sh").env("AUTHORIZED_KEYS", format!("command=\"echo forced\" {}", home.read("id.pub")));
    let server = Server::open(command);
    let denied = run(home.ssh_with(server.port, &["-i", home.path("unknown").to_str().unwrap()]).arg("echo in"));
    assert_eq!(denied.status.code(), Some(255));
    assert!(text(&denied.stderr).contains("Permission denied (publickey)"), "{}", text(&denied.stderr));
    (home, server)
}

#[test]
fn keys_in_the_environment_alone_keep_other_keys_out() {
    let (home, mut server) = with_keys_in_the_environment(None);
    assert_eq!(text(&run(home.ssh(&server).arg("echo in")).stdout), "forced\n");
    assert_eq!(server.wait().0.code(), Some(0));
    let logins = home.audits("auth");
    assert_eq!((logins.len(), &logins[0]["source"]), (1, &"AUTHORIZED_KEYS:1".into()));
}

#[test]
fn keys_in_the_environment_count_beside_those_in_a_file() {
    for (name, said, from_file) in [("id", "forced\n", false), ("other", "in\n", true)] {
        let (home, mut server) = with_keys_in_the_environment(Some("other"));
        let visit = run(home.ssh_with(server.port, &["-i", home.path(name).to_str().unwrap()]).arg("echo in"));
        assert_eq!(text(&visit.stdout), said, "{name}: {}", text(&visit.stderr));
        assert_eq!(server.wait().0.code(), Some(0));
        let source = if from_file { format!("{}:1", home.path("other.pub").display()) } else { "AUTHORIZED_KEYS:1".into() };
        let logins = home.audits("auth");
        assert_eq!((logins.len(), logins[0]["source"].as_str()), (1, Some(&*source)), "{name}");
    }
}
