//! A relay or a jail in a process of its own, and what comes to it: stock ssh as device and visitor, a stock sshd behind the device.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Client, Home, NO_BASHRC, PATIENCE, Stderr, sally, text, tool, until, wait};

/// A running `sally relay` or `sally jail`. Killed when dropped.
pub struct Relay {
    pub child: Child,
    pub port: u16,
    pub audit: PathBuf,
    /// As known_hosts has it.
    pub host_key: String,
    stderr: Stderr,
}

impl Relay {
    /// Starts it and waits until it listens. Its audit log is `audit` of the home.
    pub fn start(home: &Home, mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Stderr::of(&mut child);
        let mut relay = Self { child, port: 0, audit: home.path("audit"), host_key: String::new(), stderr };
        let line = relay.await_stderr("Server listening on ");
        let key = relay.await_stderr("Host key: ");
        relay.host_key = key.split(' ').skip(2).take(2).collect::<Vec<_>>().join(" ");
        relay.port = line.trim_end_matches('.').rsplit(' ').next().unwrap().parse().unwrap();
        relay
    }

    /// Waits for a line on stderr that begins so.
    pub fn await_stderr(&mut self, beginning: &str) -> String {
        self.stderr.await_beginning(beginning)
    }

    /// Waits for another line on stderr that has this in it.
    pub fn await_words(&mut self, words: &str) -> String {
        self.stderr.await_words(words)
    }

    /// What it has said on stderr so far.
    pub fn said(&self) -> &[String] {
        self.stderr.said()
    }

    /// The events of a kind on the audit log.
    pub fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let log = fs::read_to_string(&self.audit).unwrap_or_default();
        // After a failed write a line may be blank.
        let events = log
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        events.filter(|event| event["event"] == kind).collect()
    }

    /// Waits until so many events of a kind are on the audit log; the last of them.
    pub fn await_events(&self, kind: &str, count: usize) -> serde_json::Value {
        until(&format!("{count} {kind} on the audit log"), || self.events(kind).get(count - 1).cloned())
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end: the status.
    pub fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child).code()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// A relay started so, with cam-17 connected and a stock sshd behind that.
pub fn connected(home: &Home, relay: Command) -> (Relay, Client, Sshd) {
    let relay = Relay::start(home, relay);
    let sshd = home.sshd();
    let device = home.hold(&relay, "cam", &format!("cam-17:22:127.0.0.1:{}", sshd.port));
    relay.await_events("register", 1);
    (relay, device, sshd)
}

/// The same in a home of its own, with more options for the relay.
pub fn connected_with(more: &[&str]) -> (Home, Relay, Client, Sshd) {
    let home = Home::new();
    let mut command = home.relay();
    command.args(more);
    let (relay, device, sshd) = connected(&home, command);
    (home, relay, device, sshd)
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Home {
    /// A line of authorized_keys for one of this home's keys, which is made where it isn't there.
    pub fn line(&self, key: &str, options: &str) -> String {
        if !self.path(key).exists() {
            self.key(key, "ed25519");
        }
        format!("{options} {}", self.read(&format!("{key}.pub"))).trim_start().to_owned()
    }

    /// `sally relay` for alice, who may reach cam-*, and a device cam-17, on any port of loopback.
    pub fn relay(&self) -> Command {
        self.write("visitors", self.line("alice", r#"permitopen="cam-*:22""#));
        self.write("devices", self.line("cam", r#"permitlisten="cam-17:22""#));
        self.relay_of_files()
    }

    /// The same for what the files `visitors` and `devices` say.
    pub fn relay_of_files(&self) -> Command {
        self.relay_at(0)
    }

    /// The same on this port.
    pub fn relay_at(&self, port: u16) -> Command {
        let mut command = Command::new(sally());
        command.args(["relay", "--listen", &format!("127.0.0.1:{port}"), "--visitors"]).arg(self.path("visitors"));
        command.arg("--devices").arg(self.path("devices")).arg("--audit").arg(self.path("audit"));
        command
    }

    /// `sally jail` for the key `id`, on any port of loopback.
    pub fn jail(&self, ports: &str) -> Command {
        let mut command = Command::new(sally());
        command.args(["jail", "--listen", "127.0.0.1:0", "--run-as", &rustix::process::getuid().as_raw().to_string()]);
        command.args(["--permit-listen", ports, "--audit"]).arg(self.path("audit"));
        command.env("AUTHORIZED_KEYS", self.read("id.pub")).env_remove("OPEN_PORTS");
        command
    }

    /// The options that make ssh independent of this machine, but for the log level: what a relay says is to be seen.
    pub fn loud(&self) -> Vec<String> {
        self.options().into_iter().filter(|option| !option.contains("LogLevel")).collect()
    }

    /// A configuration for ssh, scp, sftp, rsync and git, in which `relay` is the relay and this key is shown to everybody.
    pub fn config(&self, relay: &Relay, key: &str) -> PathBuf {
        let lines = [
            "Host relay\n HostName 127.0.0.1\n User anyone".into(),
            format!(" Port {}\nHost *\n IdentityFile {}", relay.port, self.path(key).display()),
            " BatchMode yes\n IdentitiesOnly yes\n IdentityAgent none\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n".into(),
        ];
        // Written once: a client that runs may be reading it.
        let name = format!("config-{key}-{}", relay.port);
        if self.path(&name).exists() { self.path(&name) } else { self.write(&name, lines.join("\n")) }
    }

    /// ssh with that configuration.
    pub fn via(&self, relay: &Relay, key: &str) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.config(relay, key)).stdin(Stdio::null());
        command
    }

    /// `ssh -J relay cam-17 …` as whoever runs the tests.
    pub fn jump(&self, relay: &Relay, key: &str, device: &str) -> Command {
        let mut command = self.via(relay, key);
        command.args(["-J", "relay", &format!("{}@{device}", whoami())]);
        command
    }

    /// A stock ssh that holds a tunnel, and keeps it: `ssh -N -R …`.
    pub fn hold(&self, relay: &Relay, key: &str, forward: &str) -> Client {
        Client::start(&mut self.holding(relay, key, forward))
    }

    pub fn holding(&self, relay: &Relay, key: &str, forward: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.loud()).arg("-oExitOnForwardFailure=yes").arg("-i").arg(self.path(key));
        command.args(["-l", "tunuser", "-N", "-R", forward, "-p", &relay.port.to_string(), "127.0.0.1"]);
        command
    }

    /// A stock sshd that lets alice in.
    pub fn sshd(&self) -> Sshd {
        self.sshd_for(&self.read("alice.pub"), "")
    }

    /// A stock sshd for these lines of authorized_keys, with these lines more in its configuration: what Sally does is compared with it.
    pub fn sshd_for(&self, keys: &str, more: &str) -> Sshd {
        Sshd::start(self, keys, more)
    }
}

/// What a relay answers to a monitoring system: the status, and the text.
pub fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// The value of a metric.
pub fn metric(port: u16, name: &str) -> u64 {
    let (status, text) = get(port, "/metrics");
    assert_eq!(status, 200);
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().unwrap()
}

/// Whoever runs the tests.
pub fn whoami() -> String {
    text(&Command::new("id").arg("-un").output().unwrap().stdout).trim().to_owned()
}

/// A port that nobody has, and that nobody gets before it is used: another each time, below those that the kernel gives to outgoing connections.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 18_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Another run of the tests may be under way.
        let number = std::process::id().wrapping_mul(641).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A stock sshd on loopback. Killed when dropped.
pub struct Sshd {
    child: Child,
    pub port: u16,
}

impl Sshd {
    fn start(home: &Home, keys: &str, more: &str) -> Self {
        let _ = fs::create_dir_all("/run/sshd"); // Its privilege separation wants the folder; not ours to make where we are not root.
        let host_key = if home.path("sshd_host").exists() { home.path("sshd_host") } else { home.key("sshd_host", "ed25519") };
        let keys = home.write("sshd_keys", keys);
        let port = free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\n{NO_BASHRC}HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nMaxStartups 100\n\
             Subsystem sftp internal-sftp\n{more}",
            host_key.display(),
            keys.display()
        );
        let config = home.write("sshd_config", config);
        let mut sshd = tool("/usr/sbin/sshd", "openssh-server");
        let child = sshd.args(["-D", "-e", "-f"]).arg(config).stderr(Stdio::null()).spawn().unwrap();
        until("sshd listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, port }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
