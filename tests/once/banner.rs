//! What is shown before authentication: `--banner`.

use std::process::Command;

use crate::support::*;

/// What a client hears before it authenticates, byte for byte.
fn heard(home: &Home, port: u16, key: &str) -> String {
    let script = "import paramiko, sys; t = paramiko.Transport(('127.0.0.1', int(sys.argv[1]))); \
                  t.connect(username='tunuser', pkey=paramiko.Ed25519Key.from_private_key_file(sys.argv[2])); \
                  sys.stdout.buffer.write(t.get_banner() or b'-')";
    let python = python("visits.py");
    let visit = run(Command::new(python.get_program()).args(["-c", script, &port.to_string()]).arg(home.path(key)));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
    text(&visit.stdout)
}

const NOTICE: &str = "Nur für Befugte.\r\n\x1b[1mEverything is recorded.\x1b[0m\n\ttrue\n";

#[test]
fn a_text_is_shown_before_authentication_as_it_is() {
    let home = Home::new();
    let banner = home.write("banner", NOTICE);
    let server = home.open(&["--banner", banner.to_str().unwrap()]);
    assert_eq!(heard(&home, server.port, "id"), NOTICE);
    for (mut command, key) in [(home.relay(), "alice"), (home.jail("2022"), "id")] {
        command.arg("--banner").arg(&banner);
        let relay = Relay::start(&home, command);
        assert_eq!(heard(&home, relay.port, key), NOTICE);
    }
    let quiet = Server::open(home.once_to(&home.path("quiet.cast")));
    assert_eq!(heard(&home, quiet.port, "id"), "-", "nothing is shown where nothing is to be");
}

/// OpenSSH's client shows what it hears, one message after the other; PuTTY takes no packet that is longer than 36 KiB.
#[test]
fn a_text_of_64_kib_is_shown_to_every_client_and_one_byte_more_stops_the_start() {
    let home = Home::new();
    let lines: String = (0..)
        .map(|number| format!("{number} {}\n", "ä".repeat(40)))
        .take_while({
            let mut length = 0;
            move |line| {
                length += line.len();
                length < 64 << 10
            }
        })
        .collect();
    let text_of = |length: usize| lines.clone() + &"x".repeat(length - lines.len());
    let whole = text_of(64 << 10);
    let banner = home.write("banner", &whole);
    let mut command = home.jail("2022");
    command.arg("--banner").arg(&banner);
    let jail = Relay::start(&home, command);
    let id = home.path("id");
    let visit = run(home.ssh_with(jail.port, &["-oLogLevel=INFO", "-oUser=tunuser", "-i", id.to_str().unwrap()]).arg("true"));
    let said = text(&visit.stderr);
    assert!(said.contains("This account can only be used for forwarding"), "{}", said.len());
    assert!(said.matches('x').count() >= whole.matches('x').count() && said.contains("\n400 "), "{}", said.len());
    let ppk = home.path("id.ppk");
    assert!(run(tool("puttygen", "putty-tools").arg(&id).args(["-O", "private", "-o"]).arg(&ppk)).status.success());
    let fingerprint = text(&run(tool("ssh-keygen", "openssh-client").arg("-lf").arg(home.write("host.pub", &jail.host_key))).stdout);
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    let mut plink = tool("plink", "putty-tools");
    plink.args(["-batch", "-ssh", "-P", &jail.port.to_string(), "-l", "tunuser", "-hostkey", fingerprint, "-i"]).arg(&ppk);
    let visit = run(plink.args(["127.0.0.1", "true"]));
    assert!(text(&visit.stderr).contains("This account can only be used for forwarding"), "{}", text(&visit.stderr));
    home.write("banner", text_of((64 << 10) + 1));
    for (content, why) in [(None, "longer than 65536 bytes"), (Some(&b"\xff\n"[..]), "it is not UTF-8")] {
        if let Some(content) = content {
            home.write("banner", content);
        }
        let refused = run(home.once().arg("--banner").arg(&banner));
        let expected = format!("Invalid banner: {} ({why})\n  hint: name a file of UTF-8 text, at most 64 KiB\n", banner.display());
        assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(78), expected));
    }
}

#[test]
fn it_is_shown_through_an_inetd_too() {
    let home = Home::new();
    let banner = home.write("banner", "for the few\n");
    let words = [
        sally().display().to_string(),
        format!("once --inetd --authorized-keys {} --log {}", home.path("id.pub").display(), home.path("visit.cast").display()),
        format!("--banner {}", banner.display()),
    ];
    let id = home.path("id");
    let proxy = format!("-oProxyCommand={}", words.join(" "));
    let visit = run(home.ssh_with(1, &["-oLogLevel=INFO", &proxy, "-i", id.to_str().unwrap()]).arg("echo in").env("SHELL", "/bin/sh"));
    assert_eq!(text(&visit.stdout), "in\n");
    assert!(text(&visit.stderr).lines().any(|line| line == "for the few"), "{}", text(&visit.stderr));
}
