//! Keys that an agent may use for named hosts only (`ssh-add -h`, OpenSSH's PROTOCOL.agent): over one hop and two, beside sshd.

use std::process::{Child, Command, Stdio};

use crate::support::*;

/// An agent that holds alice's key for certain hosts, known by these names.
struct Agent {
    home: Home,
    process: Child,
    socket: std::path::PathBuf,
    hosts: String,
}

impl Agent {
    fn start() -> Self {
        let home = Home::new();
        home.line("alice", "");
        let socket = home.path("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        until("the agent is there", || std::os::unix::net::UnixStream::connect(&socket).ok());
        Self { home, process, socket, hosts: String::new() }
    }

    /// A host's name and key.
    fn knows(&mut self, name: &str, key: &str) {
        self.hosts += &format!("{name} {}\n", key.trim());
        self.home.write("hosts", &self.hosts);
    }

    /// Takes the key for these destinations: `HOST`, or `FROM>TO`.
    fn hold(&self, destinations: &[&str]) {
        let mut add = Command::new("ssh-add");
        add.env("SSH_AUTH_SOCK", &self.socket).arg("-q").arg("-H").arg(self.home.path("hosts"));
        let added = run(add.args(destinations.iter().flat_map(|host| ["-h", host])).arg(self.home.path("alice")));
        assert!(added.status.success(), "{}", text(&added.stderr));
    }

    /// ssh to a host of this name, as words of a shell.
    fn words(&self, name: &str, port: u16) -> String {
        let hosts = self.home.path("hosts");
        format!(
            "ssh -F /dev/null -oBatchMode=yes -oIdentityFile=none -oStrictHostKeyChecking=yes -oUserKnownHostsFile={} \
             -oGlobalKnownHostsFile=/dev/null -oHostKeyAlias={name} -p {port} {}@127.0.0.1",
            hosts.display(),
            whoami()
        )
    }

    fn run(&self, script: &str) -> std::process::Output {
        run(Command::new("sh").arg("-c").arg(script).env("SSH_AUTH_SOCK", &self.socket))
    }

    /// What a command on a host says.
    fn visit(&self, name: &str, port: u16, command: &str) -> (String, String) {
        let visit = self.run(&format!("{} {command}", self.words(name, port)));
        (text(&visit.stdout), text(&visit.stderr))
    }

    /// What one on the second host says, with the agent forwarded to the first.
    fn visit_over(&self, first: (&str, u16), second: (&str, u16), command: &str) -> (String, String) {
        let visit = self.run(&format!("{} -A \"{} {command}\"", self.words(first.0, first.1), self.words(second.0, second.1)));
        (text(&visit.stdout), text(&visit.stderr))
    }

    /// `sally once` for alice.
    fn server(&self, name: &str) -> Server {
        let mut command = self.home.once_for(&self.home.path("alice.pub"));
        command.arg("--log").arg(self.home.path(format!("{name}.cast"))).args(["--allow", "agent-forward", "--user", &whoami()]);
        Server::open(command)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_key_for_named_hosts_opens_these_from_where_it_may() {
    let mut agent = Agent::start();
    let sshd = agent.home.sshd();
    agent.knows("hop", &agent.home.read("sshd_host.pub"));
    let (near, far, other) = (agent.server("near"), agent.server("far"), agent.server("other"));
    for (name, server) in [("near", &near), ("far", &far), ("other", &other)] {
        agent.knows(name, &server.host_key);
    }
    agent.hold(&["near", "hop", "hop>far"]);
    // Not over the hop, and not from here; nor is a host of the key's own taken for another.
    let (_, denied) = agent.visit_over(("hop", sshd.port), ("near", near.port), "echo in");
    assert!(denied.contains("Permission denied (publickey)"), "{denied}");
    let (_, denied) = agent.visit_over(("hop", sshd.port), ("other", other.port), "echo in");
    assert!(denied.contains("Permission denied (publickey)"), "{denied}");
    let (_, denied) = agent.visit("far", far.port, "echo in");
    assert!(denied.contains("Permission denied (publickey)"), "{denied}");
    let (said, why) = agent.visit("near", near.port, "echo in");
    assert_eq!(said, "in\n", "{why}");
    let (said, why) = agent.visit_over(("hop", sshd.port), ("far", far.port), "echo in");
    assert_eq!(said, "in\n", "{why}");
}

#[test]
fn a_server_is_a_hop_too() {
    let mut agent = Agent::start();
    let sshd = agent.home.sshd();
    agent.knows("end", &agent.home.read("sshd_host.pub"));
    let (first, second, last) = (agent.server("first"), agent.server("second"), agent.server("last"));
    for (name, server) in [("first", &first), ("second", &second), ("last", &last)] {
        agent.knows(name, &server.host_key);
    }
    agent.hold(&["first", "first>end", "second", "second>last"]);
    let (said, why) = agent.visit_over(("first", first.port), ("end", sshd.port), "echo in");
    assert_eq!(said, "in\n", "{why}");
    let (said, why) = agent.visit_over(("second", second.port), ("last", last.port), "echo in");
    assert_eq!(said, "in\n", "{why}");
}

#[test]
fn a_relay_and_a_jail_take_such_a_key_too() {
    let mut agent = Agent::start();
    let sshd = agent.home.sshd();
    agent.knows("hop", &agent.home.read("sshd_host.pub"));
    let relay = Relay::start(&agent.home, agent.home.relay());
    let mut jail = agent.home.jail("2022");
    jail.env("AUTHORIZED_KEYS", agent.home.read("alice.pub")).args(["--user", &whoami()]);
    let jail = Relay::start(&agent.home, jail);
    agent.knows("relay", &relay.host_key);
    agent.knows("jail", &jail.host_key);
    agent.hold(&["hop", "hop>relay", "hop>jail", "relay"]);
    let (said, why) = agent.visit_over(("hop", sshd.port), ("relay", relay.port), "whoami");
    assert!(said.contains("visitor"), "{said}{why}");
    let (said, why) = agent.visit("relay", relay.port, "whoami");
    assert!(said.contains("visitor"), "{said}{why}");
    let (_, said) = agent.visit_over(("hop", sshd.port), ("jail", jail.port), "true");
    assert!(said.contains("This account can only be used for forwarding"), "{said}");
}

/// A server in the middle can't have a client's request signed for another server taken here.
#[test]
fn a_request_that_is_bound_to_another_host_key_is_the_end() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let asked =
        |how: &str| text(&run(python("logins.py").arg("hostbound").arg(server.port.to_string()).arg(home.path("id")).arg(how)).stdout);
    for how in ["another", "none", "longer"] {
        assert_eq!(asked(how), "closed\n", "{how}");
    }
    assert_eq!(asked("offered"), "offered ok: closed\n");
    assert_eq!(asked("unsigned"), "51\n", "a signature of the request without the host key");
    assert_eq!(asked("ours"), "52\n");
    server.signal("TERM");
    server.wait();
    assert_eq!(home.audits("auth").len(), 1);
}
