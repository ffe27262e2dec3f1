//! Whom a name on a relay admits: the keys of `sally once --relay`, all of them, or it doesn't start.

use std::path::Path;
use std::process::{Command, Stdio};

use ssh_key::PublicKey;
use ssh_key::public::Ed25519PublicKey;

use crate::support::*;

/// A relay that knows the key `app` as a device, and visitors whom nobody here is.
fn start() -> (Home, Relay) {
    let home = Home::new();
    home.write("visitors", home.line("alice", ""));
    home.write("devices", home.line("app", ""));
    let relay = Relay::start(&home, home.relay_of_files());
    (home, relay)
}

/// `sally once` on the relay for these keys, recording to `visit.cast`.
fn once(home: &Home, relay: &Relay, keys: &Path) -> Command {
    let mut command = Command::new(sally());
    let _ = std::fs::remove_file(home.path("visit.cast"));
    command.arg("once").arg("--authorized-keys").arg(keys).arg("--log").arg(home.path("visit.cast"));
    command.args(["--relay", &format!("127.0.0.1:{}", relay.port), "--identity"]).arg(home.path("app"));
    command.arg("--relay-host-key").arg(&relay.host_key);
    command.env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS").stdin(Stdio::null());
    command
}

/// A server for these keys, and its name.
fn open(home: &Home, relay: &Relay, keys: &str, more: &[&str]) -> (Client, String) {
    let keys = home.write("keys", keys);
    let mut server = Client::start(once(home, relay, &keys).args(more));
    server.await_line("ssh-ed25519 ");
    let name = server.await_line("");
    (server, name)
}

/// So many keys, each a line.
fn others(count: u32) -> String {
    let key = |number: u32| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PublicKey::from(Ed25519PublicKey(bytes)).to_openssh().unwrap() + "\n"
    };
    (0..count).map(key).collect()
}

fn assert_reached(home: &Home, relay: &Relay, key: &str, name: &str, said: &str) {
    let visit = run(home.jump(relay, key, name).arg("echo in"));
    assert_eq!(text(&visit.stdout), said, "{}", text(&visit.stderr));
}

#[test]
fn the_last_of_a_thousand_keys_reaches_the_name() {
    let (home, relay) = start();
    let (server, name) = open(&home, &relay, &(others(1023) + &home.read("id.pub")), &[]);
    assert_reached(&home, &relay, "id", &name, "in\n");
    assert!(server.finish().0.success());
}

/// What a line permits is the server's affair; who may come, and until when, the relay's too.
#[test]
fn a_key_with_options_reaches_the_name() {
    let (home, relay) = start();
    for (options, said) in [
        (r#"command="echo forced""#, "forced\n"),
        (r#"restrict,environment="A=b",permitopen="localhost:80""#, "in\n"),
        (r#"expiry-time="20990101Z",no-touch-required"#, "in\n"),
    ] {
        let (_server, name) = open(&home, &relay, &format!("{options} {}", home.read("id.pub")), &[]);
        assert_reached(&home, &relay, "id", &name, said);
    }
    let (_server, name) = open(&home, &relay, &format!("expiry-time=\"20200101Z\" {}\n{}", home.read("id.pub"), others(1)), &[]);
    let refused = text(&run(home.jump(&relay, "id", &name).arg("true")).stderr);
    assert!(refused.contains("Permission denied (publickey)"), "{refused}");
}

#[test]
fn a_security_key_reaches_the_name_once_it_is_touched() {
    let (home, relay) = start();
    assert!(run(python("security_key.py").args(["make", "ed25519"]).arg(home.path("sk"))).status.success());
    let (_server, name) = open(&home, &relay, &home.read("sk.pub"), &[]);
    let reach = |flags: &str| {
        let mut command = python("security_key.py");
        let output = run(command.arg("reach").arg(relay.port.to_string()).arg(home.path("sk")).args([flags, &name]));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(reach("0"), "denied");
    assert_eq!(relay.await_events("auth_refused", 1)["reason"], "the security key was not touched");
    assert!(reach("1").starts_with("SSH-2.0-Sally_"));
}

#[test]
fn a_certificate_of_an_admitted_authority_reaches_the_name() {
    let (home, relay) = start();
    home.key("ca", "ed25519");
    let certify = |name: &str| {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-s"]).arg(home.path("ca")).args(["-I", "visitor", "-n", name]).arg(home.path("id.pub"));
        assert!(run(&mut keygen).status.success());
    };
    let authority = home.read("ca.pub");
    for (line, more) in
        [(format!("cert-authority,principals=\"dev\" {authority}"), &[][..]), (format!("cert-authority {authority}"), &["--user", "dev"])]
    {
        let (_server, name) = open(&home, &relay, &line, more);
        certify("ops");
        let refused = text(&run(home.jump(&relay, "id", &name).arg("true")).stderr);
        assert!(refused.contains("Permission denied (publickey)"), "{refused}");
        certify("dev");
        let visit = run(home.via(&relay, "id").args(["-J", "relay", &format!("dev@{name}"), "echo in"]));
        assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    }
}

#[test]
fn a_key_that_no_relay_could_admit_stops_the_start() {
    let (home, relay) = start();
    let id = home.read("id.pub");
    let long = format!("cert-authority,principals=\"{}\" {id}", "dev,".repeat(10_000));
    for (keys, line, reason) in [
        (
            format!("{id}from=\"192.0.2.0/24\" {id}"),
            2,
            "from= admits no client through a relay: only the relay's word says where a visitor comes from",
        ),
        (others(1025), 1025, "a relay admits 1024 keys at most"),
        (long, 1, "what it says of who may come is longer than 32768 bytes, the most that a relay takes"),
    ] {
        let keys = home.write("keys", keys);
        let ended = run(&mut once(&home, &relay, &keys));
        assert_eq!((ended.status.code(), text(&ended.stdout).as_str()), (Some(78), ""), "{}", text(&ended.stderr));
        assert!(!home.path("visit.cast").exists());
        let said = format!("authorized keys invalid: {} contains unparseable data. (line {line}: {reason})\n", keys.display());
        assert!(text(&ended.stderr).starts_with(&said), "{}", text(&ended.stderr));
    }
    assert_eq!(relay.events("register").len(), 0);
}

#[test]
fn a_relay_takes_a_thousand_keys_and_says_what_it_does_not_take() {
    let (home, relay) = start();
    let admitting = |files: &[&str]| {
        let mut device = python("admitted_keys.py");
        device.arg(relay.port.to_string()).arg(home.path("app")).args(files.iter().map(|file| home.path(file)));
        Client::start(&mut device)
    };
    home.write("none", "");
    for number in 0..5 {
        let all = others(1280);
        home.write(&format!("part-{number}"), all.split_inclusive('\n').skip(256 * number).take(256).collect::<String>());
    }
    let name = admitting(&["part-0", "part-1", "part-2", "part-3"]).await_line("registered ");
    assert_eq!(name.len(), 26, "{name}");
    admitting(&["part-0", "part-1", "part-2", "part-3", "part-4"]).await_line("too many keys to admit: the limit is 1024");
    home.write("options", format!("# who comes from there\nfrom=\"192.0.2.0/24\" {}", home.read("id.pub")));
    admitting(&["options"]).await_line("line 2 of the keys to admit is refused: option from is not enforced here");
    admitting(&["none", "options"]).await_line("line 2 of the keys to admit is refused: option from is not enforced here");
    home.write("long", others(500));
    admitting(&["long"]).await_line("too many bytes of keys to admit in one request: the limit is 32768");
}

/// ssh that is told of its certificate shows it first, and is let in by it; the server admits the key that the certificate is for.
#[test]
fn a_fleets_visitor_reaches_a_name_that_admits_their_key() {
    let fleet = Fleet::new();
    let home = &fleet.home;
    home.write("devices", home.line("app", ""));
    let devices = home.path("devices").display().to_string();
    let relay = fleet.lonely_relay(&["--devices", &devices]);
    let ssh = |key: &str| {
        fleet.visitor(key);
        let config = std::fs::read_to_string(home.config(&relay, key)).unwrap();
        let config = home.write("config", format!("{config} CertificateFile {}\n", home.path(format!("{key}-cert.pub")).display()));
        move |words: &[&str]| run(Command::new("ssh").arg("-F").arg(&config).args(words).stdin(Stdio::null()))
    };
    let alice = ssh("alice");
    let (server, name) = open(home, &relay, &home.read("alice.pub"), &[]);
    let who: serde_json::Value = serde_json::from_str(&text(&alice(&["relay", "whoami", "--json"]).stdout)).unwrap();
    assert_eq!(
        (&who["roles"], &who["guest_of"]),
        (&serde_json::json!(["visitor", "guest"]), &serde_json::json!([format!("NAME~{}", &hash(name.as_bytes())[..12])]))
    );
    let visit = alice(&["-J", "relay", &name, "echo in"]);
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    assert!(server.finish().0.success());
    // Nobody else's certificate helps.
    let (_server, name) = open(home, &relay, &home.read("alice.pub"), &[]);
    let refused = text(&ssh("bob")(&["-J", "relay", &name, "true"]).stderr);
    assert!(refused.contains("not permitted"), "{refused}");
}
