//! `sally once --relay`: a server without a port, reached by its name on a relay.

use std::process::{Command, Stdio};

use crate::support::*;

/// A relay that knows the key `app` as a device, and a home whose `id` may visit the server.
fn start(devices: &str) -> (Home, Relay) {
    let home = Home::new();
    home.line("app", "");
    home.write("visitors", home.line("alice", ""));
    home.write("devices", home.line("app", devices));
    let relay = Relay::start(&home, home.relay_of_files());
    (home, relay)
}

/// `sally once` on the relay, recording to `visit.cast`, or another file where that is taken.
fn once(home: &Home, relay: &Relay) -> Command {
    once_as(home, relay, "app")
}

fn once_as(home: &Home, relay: &Relay, key: &str) -> Command {
    let mut command = Command::new(sally());
    let mut logs = std::iter::once("visit.cast".to_owned()).chain((2..).map(|number| format!("visit-{number}.cast")));
    let log = logs.find(|log| !home.path(log).exists()).unwrap();
    command.arg("once").arg("--authorized-keys").arg(home.path("id.pub")).arg("--log").arg(home.path(log));
    command.args(["--relay", &format!("127.0.0.1:{}", relay.port), "--identity"]).arg(home.path(key));
    command.arg("--relay-host-key").arg(&relay.host_key);
    command.env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS").stdin(Stdio::null());
    command
}

#[test]
fn a_visit_through_a_name_that_the_relay_makes() {
    let (home, relay) = start("");
    let mut server = Client::start(&mut once(&home, &relay));
    let host_key = format!("ssh-ed25519 {}", server.await_line("ssh-ed25519 "));
    let name = server.await_line("");
    assert!(name.len() == 26 && name.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)), "{name}");
    // The server's own visitor passes the relay to this name, without being one of its visitors.
    let refused = run(home.via(&relay, "id").args(["-W", "other:22", "relay"]));
    assert!(text(&refused.stderr).contains("not permitted"), "{}", text(&refused.stderr));
    let known = home.write("known", format!("{name} {host_key}\n"));
    let proxy = format!("ssh -F {} -W %h:%p relay", home.config(&relay, "id").display());
    let mut visit = home.via(&relay, "id");
    visit
        .args(["-o", &format!("ProxyCommand={proxy}"), "-oStrictHostKeyChecking=yes"])
        .arg(format!("-oUserKnownHostsFile={}", known.display()));
    let visit = run(visit.arg(format!("anyone@{name}")).arg("echo from $SSH_CONNECTION; exit 7"));
    assert_eq!(
        (visit.status.code(), text(&visit.stdout)),
        (Some(7), "from UNKNOWN 65535 UNKNOWN 65535\n".into()),
        "{}",
        text(&visit.stderr)
    );
    let (status, _, said) = server.finish();
    assert_eq!(status.code(), Some(7), "{said}");
    relay.await_events("release", 1);
    let (verdict, said) = verify(&home.path("visit.cast"), Some(&host_key));
    assert_eq!(verdict, 0, "{said}");
}

#[test]
fn a_name_of_ones_own_and_announce_is_told() {
    let (home, relay) = start(r#"permitlisten="my-app:22""#);
    let told = home.path("told");
    let announce = home.write("announce", format!("#!/bin/sh\necho \"$SALLY_NAME $1\" >{}\n", told.display()));
    let made = Command::new("chmod").arg("755").arg(&announce).status().unwrap();
    assert!(made.success());
    let mut server = Client::start(once(&home, &relay).args(["--name", "My-App", "--announce"]).arg(&announce));
    let host_key = format!("ssh-ed25519 {}", server.await_line("ssh-ed25519 "));
    assert_eq!(server.await_line(""), "my-app");
    until("announce was told", || std::fs::read_to_string(&told).ok().filter(|said| *said == format!("my-app {host_key}\n")));
    // One of the relay's own visitors comes as far as the server, whose keys decide.
    let refused = run(home.jump(&relay, "alice", "my-app").arg("true"));
    assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));
    let visit = run(home.jump(&relay, "id", "my-app").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    assert!(server.finish().0.success());
}

#[test]
fn who_may_reach_a_server_may_not_reach_what_has_its_name_afterwards() {
    let (home, relay) = start(r#"permitlisten="my-app:22""#);
    let mut server = Client::start(once(&home, &relay).args(["--name", "my-app"]));
    server.await_line("my-app");
    let control = home.path("control");
    let _admitted = Client::start(home.via(&relay, "id").args(["-N", "-M", "-S"]).arg(&control).arg("relay"));
    until("the client is in", || control.exists().then_some(()));
    server.signal("TERM");
    server.finish();
    relay.await_events("release", 1);
    let _device = home.hold(&relay, "app", "my-app:22:127.0.0.1:1");
    relay.await_events("register", 2);
    let mut again = home.via(&relay, "id");
    let refused = run(again.arg("-S").arg(&control).args(["-W", "my-app:22", "relay"]));
    assert!(!refused.status.success());
    assert_eq!(relay.await_events("refused", 1)["why"], "not_permitted");
}

#[test]
fn what_a_relay_refuses_is_said() {
    let (home, relay) = start(r#"permitlisten="my-app:22""#);
    home.key("unknown", "ed25519");
    let asked = |change: &dyn Fn(&mut Command)| {
        let mut command = once(&home, &relay);
        change(&mut command);
        let ended = run(&mut command);
        assert_eq!(ended.status.code(), Some(69), "{}", text(&ended.stderr));
        let said = text(&ended.stderr);
        said.lines().next().unwrap().split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(
        asked(&|command| {
            command.args(["--name", "other"]);
        }),
        "this key may not hold other"
    );
    // A key with names of its own gets no other.
    assert_eq!(asked(&|_| ()), "not permitted");
    let other = Home::new().read("id.pub");
    let wrong_key = run(Command::new(sally())
        .args(["once", "--relay", &format!("127.0.0.1:{}", relay.port), "--relay-host-key", &other, "--identity"])
        .arg(home.path("app"))
        .arg("--authorized-keys")
        .arg(home.path("id.pub"))
        .arg("--log")
        .arg(home.path("x.cast")));
    assert_eq!(wrong_key.status.code(), Some(69));
    assert!(text(&wrong_key.stderr).contains("is not known"), "{}", text(&wrong_key.stderr));
    let unknown = run(Command::new(sally())
        .args(["once", "--relay", &format!("127.0.0.1:{}", relay.port), "--identity"])
        .arg(home.path("app"))
        .arg("--authorized-keys")
        .arg(home.path("id.pub"))
        .arg("--log")
        .arg(home.path("y.cast"))
        .env("HOME", home.path("nowhere")));
    assert!(text(&unknown.stderr).contains("is not known"), "{}", text(&unknown.stderr));
}

/// A relay that keeps its host key, on this port or any.
fn keeping(home: &Home, port: u16) -> Relay {
    let mut command = home.relay_at(port);
    command.arg("--state").arg(home.path("state"));
    Relay::start(home, command)
}

/// A server on that relay: its name.
fn open(home: &Home, relay: &Relay, more: &[&str]) -> (Client, String) {
    let mut server = Client::start(once(home, relay).args(more));
    server.await_line("ssh-ed25519 ");
    let name = server.await_line("");
    (server, name)
}

#[test]
fn a_relay_that_is_killed_and_started_again_has_the_server_under_its_name() {
    for (options, more) in [("", &[][..]), (r#"permitlisten="my-app:22""#, &["--name", "my-app"])] {
        let (home, _) = start(options);
        let relay = keeping(&home, 0);
        let (mut server, name) = open(&home, &relay, more);
        relay.await_events("register", 1);
        let port = relay.port;
        drop(relay); // SIGKILL
        server.await_stderr("dialling again in ");
        let relay = keeping(&home, port);
        let shown = if more.is_empty() { "NAME~" } else { &name };
        server.await_stderr(&format!("Reached again as: ssh -J 127.0.0.1:{port} {shown}"));
        let visit = run(home.jump(&relay, "id", &name).arg("echo in; exit 7"));
        assert_eq!((visit.status.code(), text(&visit.stdout)), (Some(7), "in\n".into()), "{}", text(&visit.stderr));
        assert_eq!(server.finish().0.code(), Some(7));
    }
}

/// The key that the relay knows it by may be another account's, or gone, when it is dialled again.
#[test]
fn the_identity_is_read_once() {
    let (home, _) = start("");
    let relay = keeping(&home, 0);
    let (mut server, _) = open(&home, &relay, &[]);
    let port = relay.port;
    std::fs::remove_file(home.path("app")).unwrap();
    drop(relay);
    server.await_stderr("dialling again in ");
    let _relay = keeping(&home, port);
    server.await_stderr("Reached again as: ssh -J ");
}

#[test]
fn a_name_that_the_relay_made_is_nobody_elses_and_no_other_relays() {
    let (home, relay) = start("");
    home.write("devices", [home.read("devices"), home.line("other", "")].concat());
    relay.signal("HUP");
    relay.await_events("keys", 2);
    let (mut server, name) = open(&home, &relay, &[]);
    server.signal("TERM");
    server.await_stderr("Stopped by signal 15");
    relay.await_events("release", 1);
    // The key that had it gets it back; another doesn't, nor does anybody get one that was never made.
    let (_again, back) = open(&home, &relay, &["--name", &name]);
    assert_eq!(back, name);
    let ask = |key: &str, name: &str| {
        let refused = run(once_as(&home, &relay, key).arg("--name").arg(name));
        (refused.status.code(), text(&refused.stderr).lines().next().unwrap().split_once(": ").unwrap().1.to_owned())
    };
    for (key, name) in [("app", "abcdefghijklmnopqrstuvwxyz"), ("other", &name)] {
        assert_eq!(ask(key, name), (Some(69), format!("this key may not hold NAME~{}", &hash(name.as_bytes())[..12])));
    }
}

#[test]
fn a_relay_that_comes_back_as_another_or_lets_the_key_in_no_more_ends_it() {
    let (home, _) = start("");
    let relay = keeping(&home, 0);
    let (mut server, _) = open(&home, &relay, &[]);
    let port = relay.port;
    drop(relay);
    server.await_stderr("dialling again in ");
    home.write("devices", home.line("other", ""));
    let relay = keeping(&home, port);
    let (status, _, said) = server.finish();
    assert_eq!(status.code(), Some(69), "{said}");
    assert!(said.contains("it doesn't accept the key of"), "{said}");
    home.write("devices", home.line("app", ""));
    relay.signal("HUP");
    relay.await_events("keys", 2);
    let (mut server, _) = open(&home, &relay, &[]);
    drop(relay);
    server.await_stderr("dialling again in ");
    // A fresh host key: whoever answers there now is not who was dialled.
    let _relay = Relay::start(&home, home.relay_at(port));
    let (status, _, said) = server.finish();
    assert_eq!(status.code(), Some(69), "{said}");
    assert!(said.contains("is not known"), "{said}");
}

#[test]
fn a_relay_that_stays_away_is_dialled_until_the_time_is_up() {
    let (home, relay) = start("");
    let (mut server, _) = open(&home, &relay, &["--timeout", "4"]);
    drop(relay);
    server.await_stderr("dialling again in ");
    let (status, _, said) = server.finish();
    assert!(status.success(), "{said}");
    assert!(said.contains("No client logged in within 4 s"), "{said}");
}
