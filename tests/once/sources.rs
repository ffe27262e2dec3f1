//! Keys that are fetched, and keys that somebody is slow to write.

use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::*;

/// A server for the name localhost that shows this home's key as alice's, and its ports: its own, and that of a proxy in front of it.
pub fn key_server(home: &Home) -> (Client, u16, u16) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &Issuer::new(params, authority)).unwrap();
    home.write("root.pem", root.pem());
    let certificate = home.write("certificate.pem", certificate.pem());
    let key = home.write("key.pem", key.serialize_pem());
    let mut key_server = Client::start(python("https_keys.py").arg(certificate).arg(key).arg(home.path("id.pub")));
    let port = key_server.await_line("server ").parse().unwrap();
    let proxy = key_server.await_line("proxy ").parse().unwrap();
    (key_server, port, proxy)
}

/// `sally once` for the keys of a user of that server.
fn once(home: &Home, port: u16, user: &str) -> Command {
    let mut command = Command::new(sally());
    command.args(["once", "--port", "0", "--listen", "127.0.0.1", "--github", user, "--keys-url"]);
    command.arg(format!("https://localhost:{port}/{{user}}.keys")).arg("--log").arg(home.path("visit.cast"));
    command.env("SHELL", "/bin/sh").env("SSL_CERT_FILE", home.path("root.pem"));
    for name in ["AUTHORIZED_KEYS", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn the_keys_that_a_server_shows_let_their_owner_in() {
    let home = Home::new();
    let (mut key_server, port, _) = key_server(&home);
    let mut server = Server::open(once(&home, port, "alice"));
    key_server.await_line("GET /alice.keys");
    assert_eq!(text(&run(home.ssh(&server).arg("echo in")).stdout), "in\n");
    assert_eq!(server.wait().0.code(), Some(0));
    let source = format!("https://localhost:{port}/alice.keys:1");
    assert_eq!(home.audits("auth")[0]["source"], source);
}

#[test]
fn a_proxy_is_asked_where_there_is_one() {
    let home = Home::new();
    let (mut key_server, port, proxy) = key_server(&home);
    let mut command = once(&home, port, "alice");
    command.env("https_proxy", format!("http://localhost:{proxy}"));
    let server = Server::open(command);
    key_server.await_line(&format!("CONNECT localhost:{port}"));
    key_server.await_line("GET /alice.keys");
    assert!(run(home.ssh(&server).arg("true")).status.success());
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_believed() {
    let home = Home::new();
    let (_key_server, port, _) = key_server(&home);
    for (user, roots, reason) in [("alice", None, "certificate"), ("mallory", Some("root.pem"), "404")] {
        let mut command = once(&home, port, user);
        match roots {
            Some(file) => command.env("SSL_CERT_FILE", home.path(file)),
            None => command.env_remove("SSL_CERT_FILE"),
        };
        let output = run(&mut command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(
            said.starts_with(&format!("authorized keys invalid: https://localhost:{port}/{user}.keys could not be fetched. (")),
            "{said}"
        );
        assert!(said.to_lowercase().contains(reason), "{said}");
    }
}

#[test]
fn an_address_without_a_user_is_refused_at_once() {
    let home = Home::new();
    for address in ["https://localhost/keys", "http://localhost/{user}.keys", "https://{user}.example/"] {
        let output = run(once(&home, 1, "alice").args(["--keys-url", address]));
        assert_eq!(output.status.code(), Some(2), "{address}");
    }
}

/// Whoever waits for keys can be told to stop, as at any other time.
#[test]
fn keys_that_never_come_do_not_hold_off_a_signal() {
    let home = Home::new();
    let fifo = home.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (keys, signal, status) in [("-", "TERM", 143), ("-", "INT", 130), (fifo.to_str().unwrap(), "TERM", 143)] {
        let mut command = Command::new(sally());
        command.args(["once", "--authorized-keys", keys]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _held = child.stdin.take();
        // It waits in a thread of that name.
        until("the keys are being read", || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).ok()?;
            let names = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
            names.into_iter().any(|name| name == "keys\n").then_some(())
        });
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(wait(&mut child).code(), Some(status), "{keys} {signal}");
    }
}

/// Their owner may have made one on a newer machine.
#[test]
fn a_key_of_a_newer_type_is_passed_over_and_said_and_the_others_let_their_owner_in() {
    let home = Home::new();
    home.write("id.pub", [NEWER_KEY, " alice@new\n", &home.read("id.pub")].concat());
    let (_key_server, port, _) = key_server(&home);
    let file = home.path("id.pub").display().to_string();
    for (command, source) in [(once(&home, port, "alice"), format!("https://localhost:{port}/alice.keys")), (home.once(), file)] {
        let mut server = Server::open(command);
        server.await_stderr(&format!("{source}, line 1: skipped: keys of type `ssh-new@example.com` are not supported"));
        assert_eq!(text(&run(home.ssh(&server).arg("echo in")).stdout), "in\n");
        assert_eq!(server.wait().0.code(), Some(0));
        std::fs::remove_file(home.path("visit.cast")).unwrap();
    }
}
