//! A server in a process of its own, and the clients that come to it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

mod account;
mod broker;
mod client;
mod clock;
mod evidence;
mod fleet;
mod lab;
pub mod mqtt;
mod podman;
mod process;
mod relay;
mod share;
mod stderr;
mod terminal;
mod view;

pub use account::{VISITOR, VisitorAccount, as_number, open_up};
pub use client::Client;
pub use clock::{Clock, off_by};
pub use evidence::{events, stream, verify};
pub use fleet::{Agent, Device, Fleet, Live};
pub use lab::{Lab, RELAY, elsewhere};
pub use podman::{Podman, SHARE_IMAGE};
pub use process::{as_root, children, cpu, from_requirements, lives, marked, node, python, quiet, rooted, status_field, tool, without};
pub use relay::{Relay, Sshd, connected, connected_with, free_port, get, metric, whoami};
pub use share::Share;
pub use stderr::Stderr;
pub use terminal::{Terminal, await_echo_off};
pub use view::View;

/// Nothing that a test waits for takes so long on the slowest machine; a wait that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test: the debug build, or the one that SALLY_TESTS_BINARY names.
pub fn sally() -> &'static Path {
    static BINARY: LazyLock<PathBuf> =
        LazyLock::new(|| env::var_os("SALLY_TESTS_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_sally").into(), PathBuf::from));
    &BINARY
}

/// For an sshd: bash reads the account's ~/.bashrc where it takes itself for the first shell. What is in there is the machine's affair, and
/// may hold a lock when a test kills it.
pub const NO_BASHRC: &str = "SetEnv SHLVL=1\n";

/// A whole public key of a type that nothing here knows.
pub const NEWER_KEY: &str = "ssh-new@example.com AAAAE3NzaC1uZXdAZXhhbXBsZS5jb20AAAAEYWJjZA==";

/// A folder with a key pair in it.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        home.key("id", "ed25519");
        home
    }

    /// Makes a key pair NAME, NAME.pub of a type.
    pub fn key(&self, name: &str, kind: &str) -> PathBuf {
        let file = self.path(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-C", "visitor@test", "-f"]).arg(&file).status().unwrap();
        assert!(made.success());
        file
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.path(name);
        fs::write(&file, content).unwrap();
        file
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap()).into_owned()
    }

    /// `sally once` for this home's key, on any port of loopback, recording to `visit.cast`; more arguments may follow.
    pub fn once(&self) -> Command {
        self.once_to(&self.path("visit.cast"))
    }

    /// The same with another record.
    pub fn once_to(&self, log: &Path) -> Command {
        let mut command = self.once_for(&self.path("id.pub"));
        command.arg("--log").arg(log);
        command
    }

    /// For these keys, and recording to stdout.
    pub fn once_for(&self, keys: &Path) -> Command {
        let mut command = Command::new(sally());
        command.arg("once").arg("--authorized-keys").arg(keys).args(["--port", "0", "--listen", "127.0.0.1"]);
        command.env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
        command
    }

    /// Opens a server with a record in `visit.cast`.
    pub fn open(&self, more: &[&str]) -> Server {
        let mut command = self.once();
        command.args(more);
        Server::open(command)
    }

    /// A stock ssh to a server, with nothing of this machine's configuration.
    pub fn ssh(&self, server: &Server) -> Command {
        self.ssh_to(server.port)
    }

    pub fn ssh_to(&self, port: u16) -> Command {
        self.ssh_with(port, &["-i", self.path("id").to_str().unwrap()])
    }

    /// As [`Home::ssh`], with options that go before all others, the key among them.
    pub fn ssh_with(&self, port: u16, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(options).args(self.options()).arg("-p").arg(port.to_string()).arg("-l").arg("anyone");
        command.arg("127.0.0.1");
        command.stdin(Stdio::null());
        command
    }

    /// ssh as a value of `rsync -e`, GIT_SSH_COMMAND and the like.
    pub fn ssh_line(&self, server: &Server) -> String {
        format!("ssh {} -i {} -p {}", self.options().join(" "), self.path("id").display(), server.port)
    }

    /// A visitor without a terminal, in the middle of a command that has said this line.
    pub fn visit(&self, server: &Server, script: &str, line: &str) -> Client {
        let mut client = Client::start(self.ssh(server).arg(script));
        client.await_line(line);
        client
    }

    /// The options for ssh, scp and sftp that make a test independent of the machine.
    pub fn options(&self) -> Vec<String> {
        [
            "-F",
            "/dev/null",
            "-oBatchMode=yes",
            "-oIdentitiesOnly=yes",
            "-oIdentityAgent=none",
            "-oStrictHostKeyChecking=no",
            "-oUserKnownHostsFile=/dev/null",
            "-oLogLevel=ERROR",
        ]
        .map(String::from)
        .into()
    }
}

/// A running `sally once`. Killed when dropped.
pub struct Server {
    pub child: Child,
    pub port: u16,
    /// The public key, as printed on stdout.
    pub host_key: String,
    stderr: Stderr,
    stdout: Receiver<String>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn open(command: Command) -> Self {
        Self::open_with(command, Stdio::null())
    }

    /// The same with something on its stdin.
    pub fn open_with(mut command: Command, stdin: Stdio) -> Self {
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = Stderr::of(&mut child);
        let mut server = Self { child, port: 0, host_key: String::new(), stderr, stdout };
        let line = server.await_stderr("Listening on port ");
        server.port = line.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty()).unwrap().parse().unwrap();
        server.host_key = server.stdout.recv_timeout(PATIENCE).expect("the public key on stdout");
        server
    }

    /// Waits for a line on stderr that begins so.
    pub fn await_stderr(&mut self, beginning: &str) -> String {
        self.stderr.await_beginning(beginning)
    }

    /// Waits for a line on stderr that has this in it.
    pub fn await_stderr_with(&mut self, words: &str) -> String {
        self.stderr.await_words(words)
    }

    /// Waits for its end; what it said on stderr.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        (status, self.stderr.whole())
    }

    /// Everything on stdout after the public key; waits for its end.
    pub fn rest_of_stdout(&mut self) -> Vec<String> {
        wait(&mut self.child);
        self.stdout.iter().collect()
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Connects a bare TCP stream.
    pub fn connect(&self) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Resident memory in KiB.
    pub fn rss(&self) -> u64 {
        status_field(self.child.id(), "VmRSS:").unwrap()
    }

    /// The most memory that it has had so far, in KiB.
    pub fn peak(&self) -> u64 {
        status_field(self.child.id(), "VmHWM:").unwrap()
    }

    /// How many descriptors are open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process, no longer than [`PATIENCE`].
pub fn wait(child: &mut Child) -> ExitStatus {
    until("the process ends", || child.try_wait().unwrap())
}

/// Polls for a condition that has no event of its own.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Runs to the end within [`PATIENCE`].
pub fn run(command: &mut Command) -> Output {
    run_with(command, b"")
}

/// As [`run`], with this on stdin.
pub fn run_with(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = slurp(child.stdout.take().unwrap());
    let stderr = slurp(child.stderr.take().unwrap());
    let status = wait(&mut child);
    let output = Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    let _ = feeding.join();
    output
}

fn slurp(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        all
    })
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// SHA-256, as `sha256sum` says it.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// BLAKE3, as stock `b3sum` says it.
pub fn b3sum(bytes: &[u8]) -> String {
    let output = run_with(tool("b3sum", "b3sum").arg("--no-names"), bytes);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// Bytes that nothing can be known of.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut all).unwrap();
    all
}

/// Says on stderr, loudly and past the test runner's capture, that a test can't run here; with SALLY_TESTS_REQUIRE=1 it fails instead.
pub fn skipped(test: &str, why: &str) {
    assert!(env::var_os("SALLY_TESTS_REQUIRE").is_none_or(|required| required != "1"), "{test} is required to run here: {why}");
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {test}: {why} ***\n");
}

/// Whoever moves many bytes waits for their turn: two such tests at once would only slow each other down.
pub fn big() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
