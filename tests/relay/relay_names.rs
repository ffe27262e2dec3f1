//! A name that a relay made opens as much as a key to whoever may reach any name: no log has it.

use std::process::{Command, Stdio};

use crate::support::*;

/// As logs show it.
fn veiled(name: &str) -> String {
    format!("NAME~{}", &hash(name.as_bytes())[..12])
}

struct Made {
    home: Home,
    relay: Relay,
    server: Client,
    name: String,
}

impl Made {
    /// A server for the key `id` on a relay that has administrators, and says all it does.
    fn new() -> Self {
        let home = Home::new();
        home.write("visitors", home.line("alice", ""));
        home.write("devices", home.line("app", ""));
        home.write("admins", home.line("root", ""));
        let mut command = Command::new(sally());
        command.arg("-v").args(home.relay_of_files().get_args()).arg("--admins").arg(home.path("admins"));
        let relay = Relay::start(&home, command);
        let mut once = Command::new(sally());
        once.args(["-v", "once", "--authorized-keys"]).arg(home.path("id.pub")).arg("--log").arg(home.path("visit.cast"));
        once.args(["--relay", &format!("127.0.0.1:{}", relay.port), "--identity"]).arg(home.path("app"));
        once.arg("--relay-host-key").arg(&relay.host_key).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS").stdin(Stdio::null());
        let mut server = Client::start(&mut once);
        server.await_line("ssh-ed25519 ");
        let name = server.await_line("");
        Self { home, relay, server, name }
    }

    fn ask(&self, key: &str, command: &str) -> String {
        let answer = run(self.home.via(&self.relay, key).args(["-oLogLevel=ERROR", "relay", command]));
        text(&answer.stdout) + &text(&answer.stderr)
    }
}

#[test]
fn no_log_and_no_administrator_sees_a_made_name() {
    let mut made = Made::new();
    let (name, shown) = (made.name.clone(), veiled(&made.name));
    made.server.await_stderr(&format!("Reached as: ssh -J 127.0.0.1:{} {shown} (its name is on stdout); SHA256:", made.relay.port));
    // Only an administrator sees that it is there, and what it is called in the logs: of a share's two names, a guest may know one.
    let devices = made.ask("root", "devices --json");
    assert!(!made.ask("id", "devices").contains(&name) && devices.contains(&shown), "{devices}");
    let who = made.ask("id", "whoami --json");
    assert!(who.contains(&shown) && !who.contains(&name), "{who}");
    // Whatever may stand in a log: requests that are refused, however they are spelt, a user's name, a command.
    for (key, host) in [("alice", format!("{name}?wait=10")), ("alice", name.to_uppercase()), ("root", name.clone())] {
        let refused = run(made.home.via(&made.relay, key).args(["-W", &format!("{host}:80"), "relay"]));
        assert!(!refused.status.success());
    }
    run(made.home.via(&made.relay, "id").args(["-l", &name, "relay", "whoami"]));
    made.home.key("unknown", "ed25519");
    run(made.home.via(&made.relay, "unknown").args(["-l", &name, "relay", "whoami"]));
    made.ask("alice", &format!("kick {name}"));
    run(&mut made.home.holding(&made.relay, "app", &format!("{name}:22:127.0.0.1:1")));
    let mistyped = format!("{}{}", &name[1..], &name[..1]);
    let suggested = text(&run(made.home.via(&made.relay, "root").args(["-W", &format!("{mistyped}:22"), "relay"])).stderr);
    assert_eq!(made.ask("root", &format!("kick {shown}")), format!("{shown} disconnected\n"));
    made.server.await_stderr(&format!("Reached again as: ssh -J 127.0.0.1:{} {shown} (its name is on stdout)", made.relay.port));
    let mut visit = Client::start(made.home.jump(&made.relay, "id", &name).arg("echo in; read x"));
    visit.await_line("in");
    let sessions = made.ask("root", "sessions --json");
    assert!(sessions.contains(&format!("{shown}:22")), "{sessions}");
    visit.write("over\n");
    assert!(visit.finish().0.success());
    let (_, _, said) = made.server.finish();
    made.relay.await_events("close", 1);
    let log = made.home.read("audit");
    let relay = made.relay.said().join("\n");
    for (what, logged) in [
        ("audit", &log),
        ("relay", &relay),
        ("server", &said),
        ("devices", &devices),
        ("sessions", &sessions),
        ("did you mean", &suggested),
    ] {
        assert!(!logged.to_lowercase().contains(&name), "{what}: {logged}");
    }
    let events = ["register", "open", "close", "release", "refused", "console", "auth"];
    for event in events {
        assert!(made.relay.events(event).iter().any(|event| event.to_string().contains(&shown)), "{event}: {log}");
    }
}

#[test]
fn a_made_name_that_is_dialled_again_or_refused_is_not_said() {
    let mut made = Made::new();
    let (port, shown) = (made.relay.port, veiled(&made.name));
    drop(made.relay);
    made.server.await_stderr("dialling again in ");
    // Another relay, which never made it: its host key is another's too.
    let relay = Relay::start(&made.home, made.home.relay_at(port));
    let (_, _, said) = made.server.finish();
    assert!(!said.contains(&made.name), "{said}");
    let mut once = Command::new(sally());
    once.args(["once", "--authorized-keys"]).arg(made.home.path("id.pub")).arg("--log").arg(made.home.path("again.cast"));
    once.args(["--relay", &format!("127.0.0.1:{port}"), "--name", &made.name, "--identity"]).arg(made.home.path("app"));
    let refused = run(once.arg("--relay-host-key").arg(&relay.host_key).env_remove("AUTHORIZED_KEYS"));
    let said = text(&refused.stderr);
    assert!(said.starts_with(&format!("Could not hold a name on relay 127.0.0.1:{port}: this key may not hold {shown}\n")), "{said}");
}
