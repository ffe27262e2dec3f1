//! A jail: one reverse tunnel, and nothing else that ssh can ask for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::support::*;

/// A jail with one port.
pub(super) struct Jail {
    pub(super) home: Home,
    pub(super) relay: Relay,
    pub(super) port: u16,
}

impl Jail {
    pub(super) fn new() -> Self {
        let (home, port) = (Home::new(), free_port());
        let command = home.jail(&port.to_string());
        Self::of(home, command, port)
    }

    pub(super) fn of(home: Home, command: Command, port: u16) -> Self {
        let relay = Relay::start(&home, command);
        Self { home, relay, port }
    }

    /// ssh as tunuser, with what follows.
    pub(super) fn ssh(&self, arguments: &[&str]) -> Command {
        self.ssh_as("tunuser", arguments)
    }

    pub(super) fn ssh_as(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.home.loud()).arg("-i").arg(self.home.path("id")).args(["-l", user, "-p", &self.relay.port.to_string()]);
        command.args(arguments).arg("127.0.0.1");
        command
    }

    /// What a tunnel is refused with.
    pub(super) fn refused(&self, forward: &str) -> String {
        let refused = run(&mut self.home.holding(&self.relay, "id", forward));
        let said = text(&refused.stderr);
        said.lines().find_map(|line| line.split_once(":11: ")).unwrap_or_else(|| panic!("{forward}: {said}")).1.to_owned()
    }
}

/// Something that greets whoever connects, and echoes.
pub(super) struct Echo {
    pub(super) port: u16,
}

impl Echo {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut write = stream.try_clone().unwrap();
                    let mut read = stream;
                    let _ = write.write_all(b"hello\n");
                    let _ = std::io::copy(&mut read, &mut write);
                    let _ = write.shutdown(std::net::Shutdown::Write);
                });
            }
        });
        Self { port }
    }
}

/// Says something through a tunnel, closes its half, and gives all that comes back.
fn ask(address: (&str, u16), question: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_tunnel_is_held_and_carries_bytes_both_ways() {
    let jail = Jail::new();
    let echo = Echo::start();
    let _tunnel = jail.home.hold(&jail.relay, "id", &format!("*:{}:127.0.0.1:{}", jail.port, echo.port));
    jail.relay.await_events("register", 1);
    assert_eq!(ask(("127.0.0.1", jail.port), "there and back").unwrap(), "hello\nthere and back");
    assert_eq!(ask(("::1", jail.port), "six").unwrap(), "hello\nsix");
    let close = jail.relay.await_events("close", 2);
    assert_eq!((&close["up"], &close["down"], &close["slot"]), (&3.into(), &9.into(), &format!("port {}", jail.port).into()));
}

#[test]
fn a_port_is_bound_as_the_client_says() {
    let jail = Jail::new();
    let echo = Echo::start();
    let others = [("", true), ("*:", true), ("localhost:", false), ("127.0.0.1:", false)];
    for (count, (address, everywhere)) in others.into_iter().enumerate() {
        let tunnel = jail.home.hold(&jail.relay, "id", &format!("{address}{}:127.0.0.1:{}", jail.port, echo.port));
        jail.relay.await_events("register", count + 1);
        assert_eq!(ask(("127.0.0.1", jail.port), "x").unwrap(), "hello\nx", "{address}");
        // `-R 2022:` is OpenSSH's `localhost`.
        let beside = ask(("127.0.0.2", jail.port), "x");
        assert_eq!(beside.is_ok(), everywhere && !address.is_empty(), "{address:?}: {beside:?}");
        drop(tunnel);
        jail.relay.await_events("release", count + 1);
        TcpListener::bind(("0.0.0.0", jail.port)).expect("the port is free at once");
    }
}

#[test]
fn the_start_says_what_the_seed_says() {
    let mut jail = Jail::new();
    let port = jail.relay.port;
    jail.relay.await_stderr("Running. To test setup run:");
    let said = jail.relay.said().join("\n");
    let host_key = said.lines().find(|line| line.starts_with("Host key: ")).unwrap().to_owned();
    let said = said.replace(&host_key, "Host key: …").replace(&format!("{port}"), "PORT").replace(&jail.port.to_string(), "2022");
    insta::assert_snapshot!(said);
}

#[test]
fn without_a_key_it_does_not_start() {
    let home = Home::new();
    for (variable, status, said) in [
        (None, 78, "authorized keys invalid: no source of keys was given."),
        (Some(""), 78, "authorized keys invalid: AUTHORIZED_KEYS contained no keys."),
        (Some("# nothing\\n"), 78, "authorized keys invalid: AUTHORIZED_KEYS contained no keys."),
    ] {
        let mut command = home.jail("2022");
        match variable {
            Some(value) => command.env("AUTHORIZED_KEYS", value),
            None => command.env_remove("AUTHORIZED_KEYS"),
        };
        let ended = run(&mut command);
        assert_eq!(ended.status.code(), Some(status), "{}", text(&ended.stderr));
        assert!(text(&ended.stderr).starts_with(said), "{}", text(&ended.stderr));
    }
    let mut command = home.jail("2022");
    command.env("OPEN_PORTS", "none");
    let ended = run(Command::new(sally())
        .args(["jail", "--listen", "127.0.0.1:0"])
        .env("OPEN_PORTS", "none")
        .env("AUTHORIZED_KEYS", home.read("id.pub")));
    assert_eq!(ended.status.code(), Some(2), "{}", text(&ended.stderr));
}

#[test]
fn a_dead_holder_makes_room_and_a_live_one_does_not() {
    let jail = Jail::new();
    let echo = Echo::start();
    let forward = format!("{}:127.0.0.1:{}", jail.port, echo.port);
    let first = jail.home.hold(&jail.relay, "id", &forward);
    jail.relay.await_events("register", 1);
    assert!(jail.refused(&forward).contains("which is alive"));
    // Half-dead: the process is there and says nothing.
    first.signal("STOP");
    let _second = jail.home.hold(&jail.relay, "id", &forward);
    jail.relay.await_events("register", 2);
    let takeover = jail.relay.await_events("takeover", 1);
    assert_eq!(takeover["slot"], format!("port {}", jail.port));
    assert_eq!(ask(("127.0.0.1", jail.port), "x").unwrap(), "hello\nx");
    first.signal("CONT");
}

#[test]
fn a_dead_peer_is_noticed_and_its_port_is_free() {
    let (home, port) = (Home::new(), free_port());
    let mut command = home.jail(&port.to_string());
    command.args(["--alive-interval", "1s", "--alive-count", "1", "--takeover", "never"]);
    let jail = Jail::of(home, command, port);
    let tunnel = jail.home.hold(&jail.relay, "id", &format!("{port}:127.0.0.1:1"));
    jail.relay.await_events("register", 1);
    tunnel.signal("STOP");
    let left = jail.relay.await_events("disconnect", 1);
    assert_eq!(left["why"], "no answer to keepalives");
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    tunnel.signal("CONT");
}

#[test]
fn a_port_that_another_process_has_is_refused_with_the_reason() {
    let jail = Jail::new();
    let _others = ["127.0.0.1", "::1"].map(|address| TcpListener::bind((address, jail.port)).unwrap());
    for address in ["", "*:", "127.0.0.1:", "[::]:"] {
        let said = jail.refused(&format!("{address}{}:127.0.0.1:1", jail.port));
        assert_eq!(said, format!("port {} can't be bound: Address already in use", jail.port), "{address}");
    }
    assert!(jail.relay.events("register").is_empty());
}

#[test]
fn nobody_cancels_what_is_anothers() {
    let (home, port) = (Home::new(), free_port());
    let mut command = home.jail(&port.to_string());
    command.env("AUTHORIZED_KEYS", [home.read("id.pub"), home.line("other", "")].concat());
    let jail = Jail::of(home, command, port);
    let echo = Echo::start();
    let _tunnel = jail.home.hold(&jail.relay, "id", &format!("{port}:127.0.0.1:{}", echo.port));
    jail.relay.await_events("register", 1);
    let cancelled = run(python("cancel_forward.py").arg(jail.relay.port.to_string()).arg(jail.home.path("other")).arg(port.to_string()));
    assert_eq!(text(&cancelled.stdout).trim(), "refused", "{}", text(&cancelled.stderr));
    assert_eq!(ask(("127.0.0.1", port), "x").unwrap(), "hello\nx");
}

#[test]
fn autossh_comes_back_to_its_port_time_after_time() {
    let jail = Jail::new();
    let echo = Echo::start();
    let mut command = tool("autossh", "autossh");
    let tunnel = jail.home.holding(&jail.relay, "id", &format!("*:{}:127.0.0.1:{}", jail.port, echo.port));
    command.args(["-M", "0", "-oServerAliveInterval=60", "-oServerAliveCountMax=3"]).args(tunnel.get_args());
    command.env("AUTOSSH_GATETIME", "0").env("AUTOSSH_POLL", "5");
    let _autossh = Client::start(&mut command);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", jail.relay.child.id())).unwrap().count();
    let mut settled = 0;
    for round in 1..=20 {
        let held = jail.relay.await_events("register", round);
        assert_eq!(ask(("127.0.0.1", jail.port), "x").unwrap(), "hello\nx");
        jail.relay.await_events("close", round);
        if round == 5 {
            settled = descriptors();
        }
        // What autossh runs is killed without a word; the port is free for the next one at once.
        let auth = jail.relay.events("auth").into_iter().find(|event| event["connection"] == held["connection"]).unwrap();
        let peer = auth["peer"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        let killed = run(tool("ss", "iproute2").args(["-K", "dst", "127.0.0.1", "dport", "=", &peer]));
        if !killed.status.success() || killed.stdout.iter().filter(|byte| **byte == b'\n').count() < 2 {
            run(tool("pkill", "procps").args(["-KILL", "-f", &format!("^/usr/bin/ssh.*{}:127.0.0.1:{}", jail.port, echo.port)]));
        }
        jail.relay.await_events("release", round);
    }
    assert!(descriptors() <= settled + 1, "{settled} descriptors after 5 rounds, {} after 20", descriptors());
}

#[test]
fn the_host_key_is_kept_where_it_is_said() {
    let home = Home::new();
    let state = home.path("state");
    let start = || {
        let mut command = home.jail("2022");
        command.arg("--state").arg(&state);
        let mut relay = Relay::start(&home, command);
        relay.await_stderr("Host key: ")
    };
    assert_eq!(start(), start());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(state.join("ssh_host_ed25519_key")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_jail_started_as_root_becomes_somebody_else() {
    if !as_root() {
        return;
    }
    let home = Home::new();
    let mut command = Command::new(sally());
    command.args(["jail", "--listen", "127.0.0.1:0"]).env("AUTHORIZED_KEYS", home.read("id.pub"));
    let relay = Relay::start(&home, command);
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.child.id())).unwrap();
    for (field, wanted) in [("Uid:", "65532"), ("Gid:", "65532"), ("CapEff:", "0000000000000000"), ("Groups:", "")] {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        assert!(line.split_whitespace().all(|word| word == wanted), "{field} {line}");
    }
    for thread in std::fs::read_dir(format!("/proc/{}/task", relay.child.id())).unwrap().flatten() {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap();
        assert!(status.contains("Uid:\t65532\t65532\t65532\t65532"), "{status}");
    }
}

/// The README of the tool that this replaces, line by line: a container with a key in its environment, a tunnel, somebody at its far end.
#[test]
fn a_container_replays_the_readme() {
    let Some(podman) = Podman::new() else { return };
    podman.build();
    podman.build_jail();
    let home = Home::new();
    let keys = format!("AUTHORIZED_KEYS={}", home.read("id.pub"));
    // Without a key it does not start.
    let refused = run(&mut podman.command(&["run", "--rm", "localhost/jail"]));
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused.stderr));
    podman.say(&["run", "--detach", "--name", "jail", "--log-driver=k8s-file", "--env", &keys, "localhost/jail"]);
    let address = podman.say(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "jail"]);
    let said = until("it listens", || {
        let logs = text(&run(&mut podman.command(&["logs", "jail"])).stderr);
        logs.contains("Server listening on ").then_some(logs)
    });
    assert!(said.contains("The keys of tunuser come from AUTHORIZED_KEYS"), "{said}");
    assert!(said.contains(&format!("Running. To test setup run:\n ssh -TN -R 2022:localhost:8022 tunuser@{address}\n")), "{said}");
    let echo = Echo::start();
    let mut tunnel = tool("autossh", "autossh");
    tunnel.args(["-M", "0", "-oExitOnForwardFailure=yes", "-oServerAliveCountMax=3", "-oServerAliveInterval=60"]).args(home.loud());
    tunnel.arg("-i").arg(home.path("id")).args(["-TN", "-R", &format!("*:2022:127.0.0.1:{}", echo.port), &format!("tunuser@{address}")]);
    let _tunnel = Client::start(tunnel.env("AUTOSSH_GATETIME", "0"));
    let answer = until("the tunnel is open", || ask((&address, 2022), "there and back").ok());
    assert_eq!(answer, "hello\nthere and back");
    let status = podman.say(&["top", "jail", "user", "capeff"]);
    assert!(status.lines().nth(1).is_some_and(|line| line.starts_with("65532") && line.contains("none")), "{status}");
}
