//! The visitor's agent: `ssh -A`.

use super::*;

/// An agent with the visitor's key.
struct Agent {
    process: std::process::Child,
    socket: PathBuf,
}

impl Agent {
    fn start(home: &Home) -> Self {
        let socket = home.path("visitors-agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { process, socket };
        // The file is there before the agent listens.
        until("the agent listens", || UnixStream::connect(&agent.socket).ok());
        assert!(run(Command::new("ssh-add").arg(home.path("id")).env("SSH_AUTH_SOCK", &agent.socket)).status.success());
        agent
    }

    /// ssh -A.
    fn ssh(&self, home: &Home, server: &Server) -> Command {
        let agent = format!("-oIdentityAgent={}", self.socket.display());
        let mut command = forwarding(home, server, &["-A", &agent]);
        command.env("SSH_AUTH_SOCK", &self.socket);
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const LOOK: &str = "ssh-add -l; stat -c '%a %F' $(dirname $SSH_AUTH_SOCK) $SSH_AUTH_SOCK; echo at=$SSH_AUTH_SOCK";

#[test]
fn the_visitors_agent_is_reached_in_the_session_and_gone_after_it() {
    let home = Home::new();
    let agent = Agent::start(&home);
    let mut server = home.open(AGENT);
    let visit = run(agent.ssh(&home, &server).arg(LOOK));
    let said = text(&visit.stdout);
    assert!(said.contains("visitor@test (ED25519)\n700 directory\n600 socket\n"), "{said} {}", text(&visit.stderr));
    let path = PathBuf::from(said.trim().rsplit("at=").next().unwrap());
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(!path.exists() && !path.parent().unwrap().exists());
    let forwards = home.audits("forward");
    assert!(forwards.len() == 2 && forwards.iter().all(|forward| forward["direction"] == "agent"), "{forwards:?}");
    assert_eq!(home.audits("forward-end").len(), 2);
    home.assert_sealed(&server);
}

#[test]
fn the_agents_socket_goes_however_the_visit_ends() {
    for ending in ["client", "server"] {
        let home = Home::new();
        let agent = Agent::start(&home);
        let mut server = home.open(AGENT);
        let mut client = Client::start(agent.ssh(&home, &server).arg("echo at=$SSH_AUTH_SOCK; exec sleep 1000"));
        let path = PathBuf::from(client.await_line("at="));
        assert!(path.exists());
        match ending {
            "client" => client.signal("KILL"),
            _ => server.signal("TERM"),
        }
        server.wait();
        assert!(!path.parent().unwrap().exists(), "{ending}");
        home.assert_sealed(&server);
    }
}

#[test]
fn an_agents_socket_that_no_session_came_to_goes_too() {
    let home = Home::new();
    let temp = home.path("tmp");
    std::fs::create_dir(&temp).unwrap();
    let mut command = home.once();
    command.args(AGENT).env("TMPDIR", &temp);
    let mut server = Server::open(command);
    let mut visitor = python("hostile.py");
    visitor.arg("agent-without-a-session").arg(server.port.to_string()).arg(home.path("id"));
    let mut visitor = Client::start(&mut visitor);
    visitor.await_line("True");
    let there = || std::fs::read_dir(&temp).unwrap().count();
    assert_eq!(there(), 1);
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(143));
    assert_eq!(there(), 0);
    visitor.await_line("closed");
    home.assert_sealed(&server);
}

#[test]
fn an_agent_that_may_not_be_forwarded_is_not() {
    for (options, allowed) in [("", &[][..]), ("no-agent-forwarding", AGENT), ("restrict", AGENT)] {
        let home = Home::new();
        let agent = Agent::start(&home);
        let mut server = open_for(&home, options, allowed);
        let visit = run(agent.ssh(&home, &server).arg("echo at=$SSH_AUTH_SOCK").env_remove("SSH_AUTH_SOCK"));
        assert_eq!(text(&visit.stdout), "at=\n", "{options}");
        server.wait();
        assert_eq!(refusals(&home)[0].0, "auth-agent-req", "{options}");
    }
}

/// CVE-2026-46673: a frame that says 4 GiB, and as much of it as is taken, for an agent that reads none of it.
#[test]
fn what_the_agent_does_not_read_is_not_kept_and_the_visit_goes_on() {
    let _turn = big();
    // Nothing granted, a little, and more than TCP holds.
    for window in ["0", "65536", "0xffffffff"] {
        let home = Home::new();
        let mut server = home.open(&["--allow", "agent-forward", "--max-sessions", "2"]);
        let before = server.peak();
        let mut visitor = python("agent.py");
        let mut visitor = Client::start(visitor.arg(server.port.to_string()).arg(home.path("id")).arg(window).arg(home.path("witness")));
        for line in ["True", "auth-agent@openssh.com", "stuck", "other"] {
            assert_eq!(visitor.await_line(""), line, "a window of {window}");
        }
        let after = server.peak();
        assert!(after < before + (16 << 10), "a window of {window}: the peak of {before} KiB rose to {after}");
        let (status, rest, stderr) = visitor.finish();
        assert_eq!((status.code(), &*rest, &*stderr), (Some(0), "over", ""), "a window of {window}");
        assert_eq!(server.wait().0.code(), Some(0));
        home.assert_sealed(&server);
    }
}
