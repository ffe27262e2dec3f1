//! The edge cases of authorized_keys against a real sshd: whoever it lets in, our checker lets in, and nobody else.
//!
//! Runs its own sshd on loopback, as root (another user's sshd lets in that user alone), with the stock ssh as the visitor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

mod authorized_keys_cases;

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use authorized_keys_cases::keys::Keys;
use authorized_keys_cases::{Case, Forward, Outcome, Port, Visitor, Way, agent, cases, forwards};
use ssh_key::LineEnding;

/// A login takes a tenth of a second; this is for a machine that is busy.
const LOGIN_DEADLINE: Duration = Duration::from_secs(30);

/// What a visitor runs: says whether it has a terminal, and an environment variable.
const PROBE: &str = "[ -t 0 ] && echo PTY; echo FOO=$FOO";

/// Keys that ssh-keygen makes: name, type, bits.
const MADE: [(&str, &str, &str); 6] = [
    ("rsa", "rsa", "2048"),
    ("rsa1024", "rsa", "1024"),
    ("dsa", "dsa", "1024"),
    ("ecdsa256", "ecdsa", "256"),
    ("ecdsa384", "ecdsa", "384"),
    ("ecdsa521", "ecdsa", "521"),
];

#[test]
fn sshd_lets_in_whom_we_let_in() {
    let oracle = Oracle::start();
    let (mut agreed, mut on_purpose, mut wrong) = (0, 0, Vec::new());
    for case in cases() {
        let ours = case.decide(&oracle.keys, now());
        let login = oracle.log_in(&case);
        let entered = login.is_some();
        match (entered == ours.is_ok(), case.sshd_differs) {
            // A file with a bad line is refused whole, where sshd reads on: agreed, once that line is left out.
            (true, None) => agreed += 1,
            (true, Some(_)) if case.outcome == Outcome::BadLine && ours.is_ok() => on_purpose += 1,
            (true, Some(reason)) => wrong.push(format!("{}: sshd decides the same, in spite of: {reason}", case.name)),
            (false, Some(_)) if entered => on_purpose += 1,
            (false, _) => wrong.push(format!("{}: sshd {login:?}, we {ours:?}", case.name)),
        }
        if let (Some(printed), Some(expected)) = (login, case.prints)
            && printed != expected
        {
            wrong.push(format!("{}: sshd's session printed {printed:?}", case.name));
        }
    }
    println!("{agreed} cases: sshd decides as we do; {on_purpose}: differs on purpose, we the narrower");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sshd_forwards_what_we_forward() {
    let oracle = Oracle::start();
    let wrong: Vec<&str> =
        forwards().iter().filter(|forward| oracle.forwards(forward) != forward.permitted).map(|forward| forward.name).collect();
    println!("{} forwards", forwards().len());
    assert!(wrong.is_empty(), "sshd decides otherwise: {wrong:?}");
}

#[test]
fn sshd_wants_the_touch_that_we_want() {
    let oracle = Oracle::start();
    let wrong: Vec<_> = agent::CASES.iter().filter(|(options, flags, enters)| oracle.touches(options, *flags) != *enters).collect();
    println!("{} signatures of security keys", agent::CASES.len());
    assert!(wrong.is_empty(), "sshd decides otherwise: {wrong:?}");
}

/// An sshd of our own, and the visitor's keys.
struct Oracle {
    dir: PathBuf,
    port: u16,
    keys: Keys,
    sshd: Child,
}

impl Oracle {
    fn start() -> Self {
        for (file, package) in
            [("/usr/sbin/sshd", "openssh-server"), ("/usr/bin/ssh", "openssh-client"), ("/usr/bin/ssh-keygen", "openssh-client")]
        {
            assert!(Path::new(file).exists(), "{file} is missing: install the package {package}");
        }
        assert!(fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t"), "this test needs root, for an sshd of its own");
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("sally-oracle-{}-{port}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        // Where sshd's unprivileged half lives; the Debian service makes it otherwise.
        fs::create_dir_all("/run/sshd").unwrap();
        let keys = make_keys(&dir);
        let config = dir.join("sshd_config");
        fs::write(&config, sshd_config(&dir, port)).unwrap();
        let log = fs::File::create(dir.join("sshd.log")).unwrap();
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let oracle = Self { dir, port, keys, sshd };
        let deadline = Instant::now() + LOGIN_DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd doesn't start:\n{}", fs::read_to_string(oracle.dir.join("sshd.log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        oracle
    }

    /// What the session printed, lines joined by a space; `None` if sshd let nobody in.
    fn log_in(&self, case: &Case) -> Option<String> {
        fs::write(self.dir.join("authorized_keys"), self.keys.expand(case.file)).unwrap();
        let probe = |terminal: &str| {
            let mut ssh = self.ssh(case.visitor);
            ssh.arg(terminal).arg(format!("root@{}", case.peer)).arg(PROBE);
            run(ssh)
        };
        let mut login = probe("-tt");
        // Let in, and refused a terminal: ssh -tt gives up then.
        if text(&login.stderr).contains("PTY allocation request failed") {
            login = probe("-T");
        }
        let lines: Vec<String> = text(&login.stdout).lines().map(|line| line.trim_end().to_owned()).collect();
        (login.status.code() != Some(255)).then(|| lines.join(" "))
    }

    fn client(&self) -> Command {
        let mut ssh = Command::new("/usr/bin/ssh");
        ssh.args(["-F", "none", "-p", &self.port.to_string()]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "LogLevel=ERROR",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "ConnectTimeout=20",
            // The quickest, as there are hundreds of logins.
            "KexAlgorithms=curve25519-sha256",
        ] {
            ssh.args(["-o", option]);
        }
        ssh
    }

    fn ssh(&self, visitor: Visitor) -> Command {
        let mut ssh = self.client();
        ssh.args(["-o", "IdentityAgent=none"]);
        if let Visitor::Key(name) = visitor {
            ssh.args(["-o", "PubkeyAcceptedAlgorithms=+ssh-dss", "-i"]).arg(self.dir.join(name));
        }
        if let Some(line) = self.keys.certificate_line(visitor, now()) {
            fs::write(self.dir.join("certified-cert.pub"), line).unwrap();
            // The certificate alone: ssh would offer the bare key next.
            ssh.args(["-o", "PubkeyAcceptedAlgorithms=ssh-ed25519-cert-v01@openssh.com", "-i"]).arg(self.dir.join("certified"));
        }
        ssh
    }

    fn touches(&self, options: &str, flags: u8) -> bool {
        fs::write(self.dir.join("authorized_keys"), agent::line(options)).unwrap();
        let (socket, public) = (self.dir.join("agent"), self.dir.join("sk.pub"));
        // An agent for the last case may be there.
        drop(fs::remove_file(&socket));
        agent::start(&socket, flags);
        fs::write(&public, agent::line("")).unwrap();
        let mut ssh = self.client();
        ssh.arg("-o").arg(format!("IdentityAgent={}", socket.display())).arg("-i").arg(public);
        run_ok(ssh.args(["root@127.0.0.1", "true"]))
    }

    fn forwards(&self, forward: &Forward) -> bool {
        let target = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, free) = (target.local_addr().unwrap().port(), free_port());
        let file = forward.file.replace("{port}", &port.to_string()).replace("{free}", &free.to_string());
        fs::write(self.dir.join("authorized_keys"), self.keys.expand(file.as_bytes())).unwrap();
        let mut ssh = self.ssh(Visitor::Key("ed"));
        match forward.way {
            Way::Open => {
                let greeter = std::thread::spawn(move || {
                    let (mut stream, _) = target.accept().unwrap();
                    stream.write_all(b"hello").is_ok()
                });
                ssh.arg("-W").arg(format!("{}:{port}", forward.host)).arg("root@127.0.0.1");
                let greeted = text(&run(ssh).stdout) == "hello";
                // So that the greeter ends, where nobody was let through to it.
                drop(TcpStream::connect(("127.0.0.1", port)));
                greeter.join().unwrap();
                greeted
            }
            Way::Listen => {
                let listen = if forward.port == Port::Zero { 0 } else { free };
                ssh.args(["-o", "ExitOnForwardFailure=yes", "-R"]).arg(format!("{}:{listen}:127.0.0.1:1", forward.host));
                run_ok(ssh.args(["root@127.0.0.1", "true"]))
            }
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.sshd.kill());
        drop(self.sshd.wait());
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Every option that could decide otherwise than the key file is opened.
fn sshd_config(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "ListenAddress 127.0.0.1:{port}\nListenAddress [::1]:{port}\nHostKey {dir}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
         AuthorizedKeysFile {dir}/authorized_keys\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitUserEnvironment yes\nGatewayPorts clientspecified\nAllowTcpForwarding yes\nPermitTTY yes\nPrintMotd no\nPrintLastLog no\n\
         MaxStartups 100\nLogLevel VERBOSE\n"
    )
}

fn make_keys(dir: &Path) -> Keys {
    let mut keys = Keys::default();
    for (file, name) in [("ed", "ed"), ("certified", "ed"), ("host", "other")] {
        let file = dir.join(file);
        fs::write(&file, keys.private(name).unwrap().to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    for (name, kind, bits) in MADE {
        let file = dir.join(name);
        let made = run_ok(Command::new("/usr/bin/ssh-keygen").args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", "", "-f"]).arg(&file));
        assert!(made, "ssh-keygen makes no {name}");
        keys.replace(name, &fs::read_to_string(file.with_extension("pub")).unwrap());
    }
    keys
}

/// Runs to the end, or kills at the deadline.
fn run(mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + LOGIN_DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn run_ok(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
