//! Sally as process 1 of a container, as deploy/docker/once puts it there.

use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;

use crate::support::*;

/// A container in which a server runs: no root, no /etc/passwd, nothing that can be written to.
struct Container<'a> {
    podman: &'a Podman,
    name: &'static str,
    port: u16,
}

impl<'a> Container<'a> {
    fn open(podman: &'a Podman, home: &Home, name: &'static str) -> Self {
        let keys = format!("AUTHORIZED_KEYS={}", home.read("id.pub"));
        podman.say(
            &[
                &[
                    "run",
                    "--detach",
                    "--name",
                    name,
                    "--log-driver=k8s-file",
                    "--network=host",
                    "--read-only",
                    "--read-only-tmpfs=false",
                    "--passwd=false",
                ],
                &["--env", &keys, "localhost/visited", "once", "--port=0", "--listen=127.0.0.1"][..],
            ]
            .concat(),
        );
        let mut logs = podman.command(&["logs", "--follow", name]);
        let mut logs = logs.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said: Receiver<String> = lines(logs.stderr.take().unwrap());
        let line = loop {
            let line = said.recv_timeout(PATIENCE).expect("the server listens");
            if let Some(rest) = line.strip_prefix("Listening on port ") {
                break rest.to_owned();
            }
        };
        let _ = logs.kill();
        let _ = logs.wait();
        Self { podman, name, port: line.split(';').next().unwrap().parse().unwrap() }
    }

    /// Waits for its end: its exit status.
    fn wait(&self) -> i32 {
        self.podman.say(&["wait", self.name]).parse().unwrap()
    }

    /// The record, from the container's log: sealed by the key that stands before it, in lines that no log driver splits.
    fn assert_sealed(&self, home: &Home) -> String {
        let log = text(&run(&mut self.podman.command(&["logs", self.name])).stdout);
        let (host_key, record) = log.split_once('\n').unwrap();
        assert!(record.lines().all(|line| line.len() < 16 << 10));
        let (status, said) = verify(&home.write("container.log", &log), Some(host_key));
        assert_eq!(status, 0, "{said}");
        record.to_owned()
    }
}

/// One line a fact, from a visitor's command.
fn fact<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_else(|| panic!("no {name} in {:?}", said.get(..200)))
}

#[test]
fn a_visitor_of_a_container_without_anything() {
    let Some(podman) = Podman::new() else { return };
    podman.build();
    let home = Home::new();
    let container = Container::open(&podman, &home, "visited");
    let script = "echo uid=$(id -u); echo first=$(tr '\\0' ' ' </proc/1/cmdline); touch /here 2>/dev/null || echo root=readonly; \
                  ls /etc/passwd 2>/dev/null || echo passwd=none; head -c 300000 /dev/urandom | base64; exit 7";
    let visit = run(home.ssh_to(container.port).arg(script));
    let said = text(&visit.stdout);
    assert_eq!((fact(&said, "uid"), fact(&said, "root"), fact(&said, "passwd")), ("65534", "readonly", "none"), "{}", text(&visit.stderr));
    assert!(fact(&said, "first").starts_with("/usr/local/bin/sally once "), "{said}");
    assert_eq!((visit.status.code(), container.wait()), (Some(7), 7));
    let record = container.assert_sealed(&home);
    assert_eq!(stream(&record, "stdout"), visit.stdout);
}

#[test]
fn a_login_shell_in_a_container_and_nothing_undead() {
    let Some(podman) = Podman::new() else { return };
    podman.build();
    let home = Home::new();
    let container = Container::open(&podman, &home, "shell");
    let mut terminal = Terminal::start(home.ssh_to(container.port).arg("-tt"));
    terminal.await_text("$ ");
    terminal.keys("echo na''me=$0; tty; (sleep 0 &); exec 3>&1\r");
    assert_eq!(terminal.await_word("name="), "-sh");
    terminal.await_text("/dev/pts/");
    // The orphan is process 1's to bury: no zombie stays.
    terminal.keys("until ! grep -l '^State:.Z' /proc/[0-9]*/status; do :; done; echo bu''ried=all; exit 5\r");
    assert_eq!(terminal.await_word("buried="), "all");
    assert_eq!(terminal.finish().0.code(), Some(5));
    assert_eq!(container.wait(), 5);
    container.assert_sealed(&home);
}

#[test]
fn a_container_is_stopped_in_mid_visit() {
    let Some(podman) = Podman::new() else { return };
    podman.build();
    let home = Home::new();
    let container = Container::open(&podman, &home, "stopped");
    let mut visit = Client::start(home.ssh_to(container.port).arg("echo in; exec sleep 1000"));
    visit.await_line("in");
    podman.say(&["kill", "--signal=TERM", "stopped"]);
    assert_eq!(container.wait(), 128 + 15);
    let (status, _, _) = visit.finish();
    assert!(!status.success());
    container.assert_sealed(&home);
}

#[test]
fn the_image_with_the_binary_alone_has_nothing_else() {
    let Some(podman) = Podman::new() else { return };
    podman.build();
    let made = podman.say(&["create", "localhost/sally"]);
    let mut export = podman.command(&["export", &made]);
    let mut export = export.stdout(Stdio::piped()).spawn().unwrap();
    let listed = Command::new("tar").arg("-t").stdin(export.stdout.take().unwrap()).output().unwrap();
    assert!(export.wait().unwrap().success());
    let files: Vec<_> = text(&listed.stdout).lines().filter(|name| !name.ends_with('/')).map(str::to_owned).collect();
    assert_eq!(files, ["usr/local/bin/sally"]);
}
