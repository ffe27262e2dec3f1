//! A fleet on disk, and everything that makes it live: a stock mosquitto, a relay, agents, and a stock sshd behind each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sally::fleet::relay_dir::RelayDir;
use sally_proto::error::Fault;
use serde_json::Value;

use super::broker::{Broker, Make};
use super::{Client, Home, NO_BASHRC, Relay, Stderr, free_port, run, sally, text, wait};

/// A fleet in a home of its own.
pub struct Fleet {
    pub home: Home,
}

impl Fleet {
    pub fn new() -> Self {
        Self::at(&["relay.example.com:2222".into()], "mqtts://broker.example.com")
    }

    pub fn at(relays: &[String], broker: &str) -> Self {
        let fleet = Self { home: Home::new() };
        let relays = relays.iter().flat_map(|relay| ["--relay", relay]);
        fleet.sally(&["init", "FLEET"].into_iter().chain(relays).chain(["--broker", broker]).collect::<Vec<_>>());
        fleet
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(sally());
        command.arg("fleet").args(args).current_dir(self.home.path("."));
        command
    }

    /// Does it; what it said on stdout.
    pub fn sally(&self, args: &[&str]) -> String {
        let output = run(&mut self.command(args));
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Is refused: the status and the first line on stderr.
    pub fn refused(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = run(&mut self.command(args));
        (output.status.code(), text(&output.stderr).lines().next().unwrap_or_default().to_owned())
    }

    pub fn add(&self, id: &str) -> PathBuf {
        self.sally(&["add", "FLEET", id, "--out", id]);
        self.path(id)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path(name)
    }

    /// A relay that is its own broker, to which no device comes.
    pub fn lonely_relay(&self, more: &[&str]) -> Relay {
        let mut command = Command::new(sally());
        command.args(["relay", "--listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--fleet"]).arg(self.path("FLEET/relay"));
        command.args(["--wake-deadline", "1s", "--audit"]).arg(self.path("audit")).args(more);
        Relay::start(&self.home, command)
    }

    /// A visitor of cam-*, by a key of this name.
    pub fn visitor(&self, name: &str) {
        self.home.key(name, "ed25519");
        self.sally(&["visitor", "add", "FLEET", &format!("{name}.pub"), "--for", "cam-*"]);
    }

    pub fn relay_dir(&self) -> Result<RelayDir, Fault> {
        RelayDir::load(&self.path("FLEET/relay"))
    }

    pub fn list(&self) -> Vec<Value> {
        self.sally(&["list", "FLEET", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A device: a bundle where it belongs, and an sshd that has its drop-in and no other keys.
pub struct Device {
    pub folder: tempfile::TempDir,
    pub port: u16,
    pub sshd: Client,
}

impl Device {
    /// sshd runs the bundle's script only from a folder that nobody but root can write to, up to /.
    pub fn start(fleet: &Fleet, id: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir_in("/run").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let bundle = folder.path().join("sally").to_str().unwrap().to_owned();
        fleet.sally(&[&["add", "FLEET", id, "--out", &bundle, "--installed", &bundle], more].concat());
        let port = free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\n{NO_BASHRC}PidFile none\nUsePAM no\nPasswordAuthentication no\nAuthorizedKeysFile none\n\
             LogLevel VERBOSE\nSubsystem sftp internal-sftp\nInclude {bundle}/sshd_config.d/sally.conf\n"
        );
        let file = folder.path().join("sshd_config");
        fs::write(&file, config).unwrap();
        let mut sshd = Client::start(Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(&file));
        sshd.await_stderr("Server listening on 127.0.0.1");
        Self { folder, port, sshd }
    }

    /// A stock ssh that knows no host but by this known_hosts.
    pub fn log_in(&self, fleet: &Fleet, key: &str, name: &str) -> (bool, String) {
        self.log_in_with(fleet, key, name, &[])
    }

    /// The same with more options.
    pub fn log_in_with(&self, fleet: &Fleet, key: &str, name: &str, more: &[&str]) -> (bool, String) {
        let mut ssh = Command::new("ssh");
        ssh.args(more);
        ssh.args(["-F", "/dev/null", "-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oIdentityAgent=none", "-oStrictHostKeyChecking=yes"]);
        ssh.arg(format!("-oUserKnownHostsFile={}", fleet.path("known_hosts").display())).arg(format!("-oHostKeyAlias={name}"));
        ssh.arg("-i").arg(fleet.path(key)).args(["-p", &self.port.to_string(), "root@127.0.0.1", "echo in"]);
        let output = run(&mut ssh);
        (text(&output.stdout) == "in\n", text(&output.stderr))
    }

    /// Changes a line of its settings.
    pub fn set(&self, line: &str, other: &str) {
        let file = self.folder.path().join("sally/agent.toml");
        let settings = fs::read_to_string(&file).unwrap();
        assert!(settings.contains(line), "{settings}");
        fs::write(&file, settings.replace(line, other)).unwrap();
    }

    /// Its agent, to be started.
    pub fn agent(&self) -> Command {
        let mut command = Command::new(sally());
        command.args(["-v", "agent", "--to", &format!("127.0.0.1:{}", self.port), "--bundle"]).arg(self.folder.path().join("sally"));
        command
    }
}

/// A running `sally agent`. Killed when dropped.
pub struct Agent {
    pub child: Child,
    stderr: Stderr,
}

impl Agent {
    /// Starts it, and waits until it listens for wakes.
    pub fn start(command: &mut Command) -> Self {
        let mut agent = Self::begin(command);
        agent.await_words("connected to the broker");
        agent
    }

    pub fn begin(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Stderr::of(&mut child);
        Self { child, stderr }
    }

    pub fn await_words(&mut self, words: &str) -> String {
        self.stderr.await_words(words)
    }

    /// What has been awaited so far.
    pub fn said(&self) -> &[String] {
        self.stderr.said()
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child).code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A fleet that lives: a broker, a relay, and alice, who may reach cam-*.
pub struct Live {
    pub fleet: Fleet,
    pub broker: Broker,
    pub relay: Relay,
    known_hosts: String,
}

impl Live {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With more arguments for the relay.
    pub fn with(more: &[&str]) -> Self {
        Self::at(&[], more)
    }

    /// Whose relay is the broker too.
    pub fn embedded(more: &[&str]) -> Self {
        Self::made(&[], more, Make::Sally)
    }

    /// Whose broker is neither mosquitto nor ours.
    pub fn aedes(more: &[&str]) -> Self {
        Self::made(&[], more, Make::Aedes)
    }

    /// Of which devices believe that there are relays at these ports too.
    pub fn at(others: &[u16], more: &[&str]) -> Self {
        Self::made(others, more, Make::Mosquitto)
    }

    fn made(others: &[u16], more: &[&str], make: Make) -> Self {
        let (port, mqtt) = (free_port(), free_port());
        let relays: Vec<_> = [port].iter().chain(others).map(|port| format!("127.0.0.1:{port}")).collect();
        let fleet = Fleet::at(&relays, &format!("mqtts://127.0.0.1:{mqtt}"));
        fleet.home.key("alice", "ed25519");
        let known_hosts = fleet.sally(&["visitor", "add", "FLEET", "alice.pub", "--for", "cam-*"]);
        let listen = format!("127.0.0.1:{mqtt}");
        let more = if make == Make::Sally { [&["--mqtt-listen", &listen], more].concat() } else { more.to_vec() };
        let broker = match make {
            Make::Mosquitto => Broker::mosquitto(&fleet, mqtt),
            Make::Aedes => Broker::aedes(&fleet, mqtt),
            Make::Sally => Broker::none(mqtt),
        };
        let relay = Self::relay_of(&fleet, port, &more);
        let live = Self { fleet, broker, relay, known_hosts };
        live.config("alice");
        live
    }

    fn relay_of(fleet: &Fleet, port: u16, more: &[&str]) -> Relay {
        let mut command = Command::new(sally());
        command.args(["-v", "relay", "--listen", &format!("127.0.0.1:{port}"), "--fleet"]).arg(fleet.path("FLEET/relay"));
        command.arg("--audit").arg(fleet.path("audit")).args(more);
        let mut relay = Relay::start(&fleet.home, command);
        relay.await_words("connected to the broker");
        relay
    }

    /// Another relay of the same fleet, at the same broker.
    pub fn another_relay(&self, port: u16) -> Relay {
        Self::relay_of(&self.fleet, port, &["--advertise", &format!("127.0.0.1:{port}")])
    }

    /// The port of the relay's own broker.
    pub fn mqtt_port(&self) -> u16 {
        self.broker.owners_port
    }

    /// The relay is killed, and another takes its place.
    pub fn new_relay(&mut self, more: &[&str]) {
        let _ = self.relay.child.kill();
        let _ = self.relay.child.wait();
        // On the same port: the audit log goes on.
        self.relay = Self::relay_of(&self.fleet, self.relay.port, more);
    }

    /// A device that is part of the fleet, with an sshd that its agent leads to.
    pub fn device(&self, id: &str) -> (Agent, Device) {
        let device = Device::start(&self.fleet, id, &[]);
        (Agent::start(&mut device.agent()), device)
    }

    /// ssh that knows hosts by the fleet's word alone, as alice.
    pub fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.config("alice")).stdin(Stdio::null());
        command
    }

    /// A configuration in which `relay` is the relay; every host has to be believed on the fleet's word.
    pub fn config(&self, key: &str) -> PathBuf {
        let file = format!("config-{key}");
        if self.fleet.path(&file).exists() {
            return self.fleet.path(&file);
        }
        let known = self.fleet.home.write("known_hosts", &self.known_hosts);
        let config = format!(
            "Host relay\n HostName 127.0.0.1\n Port {}\nHost *\n User root\n IdentityFile {}\n BatchMode yes\n IdentitiesOnly yes\n \
             IdentityAgent none\n StrictHostKeyChecking yes\n UserKnownHostsFile {}\n",
            self.relay.port,
            self.fleet.path(key).display(),
            known.display()
        );
        self.fleet.home.write(&file, config)
    }

    /// cam-17 is reached.
    pub fn assert_reached(&self) {
        let visit = run(self.jump("cam-17").arg("echo in"));
        assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    }

    /// `ssh -J relay NAME …` as alice.
    pub fn jump(&self, name: &str) -> Command {
        let mut command = self.ssh();
        command.args(["-J", "relay", name]);
        command
    }
}
