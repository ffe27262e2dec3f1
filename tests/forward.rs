//! Forwarding: closed by default, opened by `--allow`, never wider than the key's line says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use sha2::{Digest, Sha256};

use crate::support::*;

const LOCAL: &[&str] = &["--allow", "local-forward"];
const REMOTE: &[&str] = &["--allow", "remote-forward"];
const AGENT: &[&str] = &["--allow", "agent-forward"];

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut all).unwrap();
    all
}

/// A server on loopback, for as long as the test runs.
fn serve(answer: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    port
}

/// Says, after the last byte of the question, its length and hash.
fn digest() -> u16 {
    serve(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let _ = stream.write_all(format!("{} {}", all.len(), hash(&all)).as_bytes());
    })
}

/// Asks, closes this half, and reads the answer.
fn ask(mut stream: impl Read + Write + AsStream, question: &[u8]) -> String {
    stream.write_all(question).unwrap();
    stream.end();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

trait AsStream {
    fn end(&self);
}

impl AsStream for TcpStream {
    fn end(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl AsStream for UnixStream {
    fn end(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

fn expected(question: &[u8]) -> String {
    format!("{} {}", question.len(), hash(question))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// ssh that says what it is refused, and runs nothing.
fn forwarding(home: &Home, door: &Door, options: &[&str]) -> Command {
    let id = home.path("id");
    let all: Vec<_> = ["-oLogLevel=INFO", "-i", id.to_str().unwrap()].iter().chain(options).copied().collect();
    home.ssh_with(door.port, &all)
}

/// ssh -N -L with a Unix socket at this end: the socket, once it is there.
fn local(home: &Home, door: &Door, target: &str) -> (Client, PathBuf) {
    let socket = home.path("local.sock");
    let client = Client::start(&mut forwarding(home, door, &["-N", "-L", &format!("{}:{target}", socket.display())]));
    until("ssh listens", || socket.exists().then_some(()));
    (client, socket)
}

/// A connection to where a client listens: between the socket's making and that, the system refuses.
fn connect(socket: impl AsRef<Path>) -> UnixStream {
    until("somebody listens", || UnixStream::connect(&socket).ok())
}

fn leave(client: Client) {
    client.signal("TERM");
    client.finish();
}

fn open_for(home: &Home, options: &str, more: &[&str]) -> Door {
    let file = home.write("keys", format!("{options} {}", home.read("id.pub")));
    let mut command = home.once_for(&file);
    command.arg("--log").arg(home.path("visit.cast")).args(more);
    Door::open(command)
}

fn refusals(home: &Home) -> Vec<(String, String)> {
    let said = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    home.audits("refusal").iter().map(|event| (said(&event["what"]), said(&event["why"]))).collect()
}

#[test]
fn nothing_is_forwarded_unless_it_is_allowed() {
    let home = Home::new();
    let port = digest();
    let mut door = home.open(&[]);
    let visit = run(&mut forwarding(&home, &door, &["-W", &format!("127.0.0.1:{port}")]));
    let said = text(&visit.stderr);
    assert!(said.contains("administratively prohibited: forwarding is not allowed here"), "{said}");
    assert_eq!(door.wait().0.code(), Some(255));
    assert_eq!(refusals(&home), [("direct-tcpip".into(), format!("127.0.0.1:{port}: forwarding is not allowed here"))]);
    assert!(home.audits("forward").is_empty());
    home.assert_sealed(&door);
}

#[test]
fn what_is_allowed_opens_nothing_else() {
    let home = Home::new();
    let id = home.path("id");
    let mut door = home.open(&["--allow", "remote-forward,agent-forward"]);
    let local = format!("127.0.0.1:{}", digest());
    assert!(!run(&mut forwarding(&home, &door, &["-W", &local])).status.success());
    door.wait();
    let mut door = Door::open({
        let mut command = home.once_to(&home.path("second.cast"));
        command.args(LOCAL);
        command
    });
    let options = ["-oExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "-i", id.to_str().unwrap()];
    assert!(!run(home.ssh_with(door.port, &options).arg("true")).status.success());
    door.wait();
}

#[test]
fn one_connection_goes_through_and_is_counted_and_hashed() {
    let home = Home::new();
    let (port, question) = (digest(), noise(3 << 20));
    let mut door = home.open(LOCAL);
    let visit = run_with(&mut forwarding(&home, &door, &["-W", &format!("localhost:{port}")]), &question);
    assert_eq!((text(&visit.stdout), visit.status.code()), (expected(&question), Some(0)), "{}", text(&visit.stderr));
    assert_eq!(door.wait().0.code(), Some(0), "a visit that was for forwarding ends well");
    let (forward, end) = (&home.audits("forward")[0], &home.audits("forward-end")[0]);
    assert_eq!((&forward["direction"], &forward["target"]), (&"local".into(), &format!("localhost:{port}").into()));
    assert!(forward["origin"].is_string());
    assert_eq!(home.audits("forward-open")[0]["id"], forward["id"]);
    let answer = expected(&question);
    assert_eq!((&end["received"], &end["received_sha256"]), (&question.len().into(), &hash(&question).into()));
    assert_eq!((&end["sent"], &end["sent_sha256"]), (&answer.len().into(), &hash(answer.as_bytes()).into()));
    assert!(end["lasted"].is_u64() && end["reason"].is_null(), "{end}");
    assert!(home.stream("stdout").is_empty(), "of what is forwarded the record keeps length and hash");
    home.assert_sealed(&door);
}

#[test]
fn a_half_that_is_closed_leaves_the_other_open_both_ways_round() {
    let home = Home::new();
    // The server closes its half at once, and listens on.
    let (told, hears) = std::sync::mpsc::channel();
    let port = serve(move |mut stream| {
        stream.write_all(b"welcome").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        told.send(all).unwrap();
    });
    let door = home.open(LOCAL);
    let (client, socket) = local(&home, &door, &format!("127.0.0.1:{port}"));
    let mut stream = connect(&socket);
    let mut welcome = String::new();
    stream.read_to_string(&mut welcome).unwrap();
    assert_eq!(welcome, "welcome");
    stream.write_all(&[7; 300_000]).unwrap();
    drop(stream);
    assert_eq!(hears.recv_timeout(PATIENCE).unwrap(), [7; 300_000]);
    leave(client);
}

#[test]
fn many_bytes_go_through_unchanged_both_ways_at_once() {
    let _turn = big();
    let home = Home::new();
    let port = serve(|stream| {
        let mut reader = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut reader, &mut &stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    });
    let mut door = home.open(LOCAL);
    let before = door.rss();
    let (client, socket) = local(&home, &door, &format!("127.0.0.1:{port}"));
    let (stream, question) = (connect(&socket), noise(64 << 20));
    let (sent, mut writer) = (hash(&question), stream.try_clone().unwrap());
    let writing = thread::spawn(move || {
        writer.write_all(&question).unwrap();
        writer.end();
    });
    let (mut came, mut piece, mut reader) = (Sha256::new(), vec![0; 64 << 10], stream);
    loop {
        let read = reader.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        came.update(&piece[..read]);
    }
    writing.join().unwrap();
    assert_eq!(came.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>(), sent);
    let grown = door.rss();
    assert!(grown < before + (64 << 10), "{before} KiB grew to {grown}");
    leave(client);
    assert_eq!(door.wait().0.code(), Some(0));
    let end = &home.audits("forward-end")[0];
    assert_eq!((&end["received_sha256"], &end["sent_sha256"]), (&sent.clone().into(), &sent.into()));
}

#[test]
fn a_slow_reader_slows_nobody_else() {
    let _turn = big();
    let home = Home::new();
    let torrent = serve(|mut stream| while stream.write_all(&[0; 65536]).is_ok() {});
    let other = digest();
    let door = home.open(LOCAL);
    let before = door.rss();
    let (slow, fast) = (home.path("slow.sock"), home.path("fast.sock"));
    let specification = |socket: &Path, port: u16| format!("{}:127.0.0.1:{port}", socket.display());
    let options = ["-N", "-L", &specification(&slow, torrent), "-L", &specification(&fast, other)];
    let client = Client::start(&mut forwarding(&home, &door, &options));
    until("ssh listens", || (slow.exists() && fast.exists()).then_some(()));
    let mut stuck = connect(&slow);
    stuck.read_exact(&mut [0; 1]).unwrap();
    let question = noise(24 << 20);
    assert_eq!(ask(connect(&fast), &question), expected(&question));
    assert!(door.rss() < before + (96 << 10));
    leave(client);
}

#[test]
fn a_socks_proxy_resolves_names_here() {
    let home = Home::new();
    let port = serve(|mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\npage\n");
    });
    let mut door = home.open(LOCAL);
    let proxy = free_port();
    let client = Client::start(&mut forwarding(&home, &door, &["-N", "-D", &format!("127.0.0.1:{proxy}")]));
    until("ssh listens", || TcpStream::connect(("127.0.0.1", proxy)).ok());
    let url = format!("http://localhost:{port}/");
    let got = run(tool("curl", "curl").args(["-sS", "--noproxy", "", "--socks5-hostname", &format!("127.0.0.1:{proxy}"), &url]));
    assert_eq!(text(&got.stdout), "page\n", "{}", text(&got.stderr));
    leave(client);
    assert_eq!(door.wait().0.code(), Some(0));
    assert_eq!(home.audits("forward")[0]["target"], format!("localhost:{port}"));
}

#[test]
fn a_unix_socket_is_reached() {
    let home = Home::new();
    let socket = home.path("server.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        stream.write_all(all.to_uppercase().as_bytes()).unwrap();
    });
    let mut door = home.open(LOCAL);
    let (client, here) = local(&home, &door, socket.to_str().unwrap());
    assert_eq!(ask(connect(here), b"question"), "QUESTION");
    serving.join().unwrap();
    leave(client);
    assert_eq!(door.wait().0.code(), Some(0));
    assert_eq!(home.audits("forward")[0]["target"], socket.to_str().unwrap());
}

#[test]
fn dbclient_forwards() {
    let home = Home::new();
    let (port, here) = (digest(), free_port());
    let mut door = home.open(LOCAL);
    let key = home.path("id.db");
    assert!(run(tool("dropbearconvert", "dropbear-bin").args(["openssh", "dropbear"]).arg(home.path("id")).arg(&key)).status.success());
    let mut command = tool("dbclient", "dropbear-bin");
    command.env("HOME", home.path("")).args(["-y", "-y", "-p", &door.port.to_string(), "-i"]).arg(key);
    let client = Client::start(command.args(["-N", "-L", &format!("127.0.0.1:{here}:127.0.0.1:{port}"), "anyone@127.0.0.1"]));
    let stream = until("dbclient listens", || TcpStream::connect(("127.0.0.1", here)).ok());
    assert_eq!(ask(stream, b"question"), expected(b"question"));
    leave(client);
    assert_eq!(door.wait().0.code(), Some(0));
}

#[test]
fn a_target_that_is_not_there_is_refused_with_the_systems_words() {
    let home = Home::new();
    let port = free_port();
    let mut door = home.open(LOCAL);
    let said = run(&mut forwarding(&home, &door, &["-W", &format!("127.0.0.1:{port}")]));
    assert!(text(&said.stderr).contains("connect failed: Connection refused"), "{}", text(&said.stderr));
    door.wait();
    assert_eq!(home.audits("forward-end")[0]["reason"], "connect failed: Connection refused");
    assert!(home.audits("forward-open").is_empty());
}

#[test]
fn the_line_of_the_key_says_what_may_be_opened() {
    let (first, second) = (digest(), digest());
    let (only, none) = (format!("permitopen=\"127.0.0.1:{first}\""), "not permitted for this key");
    for (options, target, opens) in [
        (only.as_str(), format!("127.0.0.1:{first}"), true),
        (&only, format!("127.0.0.1:{second}"), false),
        (&only, format!("localhost:{first}"), false),
        ("no-port-forwarding", format!("127.0.0.1:{first}"), false),
        ("restrict", format!("127.0.0.1:{first}"), false),
        ("restrict,port-forwarding", format!("127.0.0.1:{first}"), true),
    ] {
        let home = Home::new();
        let mut door = open_for(&home, options, LOCAL);
        let visit = run_with(&mut forwarding(&home, &door, &["-W", &target]), b"?");
        let (got, said) = (text(&visit.stdout) == expected(b"?"), text(&visit.stderr));
        assert_eq!((got, said.contains(none)), (opens, !opens), "{options} {target}: {said}");
        door.wait();
        assert_eq!(refusals(&home).len(), usize::from(!opens));
    }
}

#[test]
fn a_line_that_names_ports_names_no_sockets() {
    let home = Home::new();
    let _listener = UnixListener::bind(home.path("server.sock")).unwrap();
    let mut door = open_for(&home, "permitopen=\"127.0.0.1:1\",permitlisten=\"1\"", &["--allow", "local-forward,remote-forward"]);
    let (client, here) = local(&home, &door, home.path("server.sock").to_str().unwrap());
    assert_eq!(connect(here).read(&mut [0]).unwrap(), 0);
    leave(client);
    door.wait();
    assert_eq!(refusals(&home)[0].0, "direct-streamlocal");
    let remote = home.path("remote.sock");
    let mut door = Door::open({
        let mut command = home.once_for(&home.path("keys"));
        command.arg("--log").arg(home.path("second.cast")).args(REMOTE);
        command
    });
    let options = ["-oExitOnForwardFailure=yes", "-R", &format!("{}:127.0.0.1:1", remote.display())];
    assert!(!run(forwarding(&home, &door, &options).arg("true")).status.success());
    door.wait();
    assert!(!remote.exists());
}

/// ssh -N -R: the client, and the port that it was given.
fn remote(home: &Home, door: &Door, specification: &str) -> (Client, u16) {
    let mut client = Client::start(&mut forwarding(home, door, &["-N", "-R", specification]));
    let line = client.await_stderr("Allocated port ");
    let port = line.split("Allocated port ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    (client, port)
}

fn refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn a_port_here_leads_to_the_visitor_until_they_leave() {
    let home = Home::new();
    let target = digest();
    let mut door = home.open(REMOTE);
    let (client, port) = remote(&home, &door, &format!("0:127.0.0.1:{target}"));
    let question = noise(1 << 20);
    for address in ["127.0.0.1", "::1"] {
        assert_eq!(ask(TcpStream::connect((address, port)).unwrap(), &question), expected(&question), "{address}");
    }
    leave(client);
    assert_eq!(door.wait().0.code(), Some(0));
    assert!(refused(port));
    let forwards = home.audits("forward");
    assert_eq!((forwards.len(), home.audits("forward-end").len()), (3, 3));
    assert!(forwards[0]["origin"].is_null() && forwards.iter().all(|forward| forward["direction"] == "remote"));
    assert!(forwards[1]["origin"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", forwards[1]);
    let through = home.audits("forward-end").into_iter().find(|end| end["id"] == forwards[1]["id"]).unwrap();
    assert_eq!((&through["sent"], &through["sent_sha256"]), (&question.len().into(), &hash(&question).into()));
    home.assert_sealed(&door);
}

#[test]
fn a_port_here_is_loopbacks_alone_whatever_address_is_asked_for() {
    let home = Home::new();
    let target = digest();
    for (index, address) in ["0.0.0.0:", "*:", "127.0.0.2:"].into_iter().enumerate() {
        let door = Door::open({
            let mut command = home.once_to(&home.path(format!("{index}.cast")));
            command.args(REMOTE);
            command
        });
        let (client, port) = remote(&home, &door, &format!("{address}0:127.0.0.1:{target}"));
        assert_eq!(ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), b"?"), expected(b"?"), "{address}");
        assert!(TcpStream::connect(("127.0.0.2", port)).is_err(), "{address}");
        leave(client);
    }
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut door = home.open(REMOTE);
    let options = ["-oExitOnForwardFailure=yes", "-N", "-R", &format!("{port}:127.0.0.1:1")];
    let visit = run(&mut forwarding(&home, &door, &options));
    assert!(text(&visit.stderr).contains("remote port forwarding failed"), "{}", text(&visit.stderr));
    door.wait();
    assert_eq!(refusals(&home), [("tcpip-forward".into(), format!("localhost:{port}: Address already in use"))]);
}

#[test]
fn the_line_of_the_key_says_where_may_be_listened() {
    let (first, second) = (free_port(), free_port());
    let only = format!("permitlisten=\"localhost:{first}\"");
    for (options, port, listens) in [
        (only.as_str(), first, true),
        (&only, second, false),
        (&only, 0, false),
        ("permitlisten=\"localhost:*\"", 0, true),
        ("no-port-forwarding", first, false),
        ("restrict", first, false),
    ] {
        let home = Home::new();
        let mut door = open_for(&home, options, REMOTE);
        let arguments = ["-oExitOnForwardFailure=yes", "-R", &format!("{port}:127.0.0.1:1")];
        let visit = run(forwarding(&home, &door, &arguments).arg("true"));
        assert_eq!(visit.status.success(), listens, "{options} {port}: {}", text(&visit.stderr));
        door.wait();
        assert_eq!(refusals(&home).len(), usize::from(!listens), "{options} {port}");
    }
}

#[test]
fn a_port_is_given_back_while_the_visitor_stays() {
    let home = Home::new();
    let (target, port, control) = (digest(), free_port(), home.path("control"));
    let specification = format!("{port}:127.0.0.1:{target}");
    let mut door = home.open(REMOTE);
    let control = format!("-oControlPath={}", control.display());
    let master = Client::start(&mut forwarding(&home, &door, &["-N", "-M", &control, "-R", &specification]));
    let through = until("the port is there", || TcpStream::connect(("127.0.0.1", port)).ok());
    let ask_master = |command: &str| run(&mut forwarding(&home, &door, &[&control, "-O", command, "-R", &specification]));
    let cancelled = ask_master("cancel");
    assert!(cancelled.status.success(), "{}", text(&cancelled.stderr));
    assert!(refused(port));
    assert_eq!(ask(through, b"?"), expected(b"?"), "who is connected already goes on");
    // And taken again.
    assert!(ask_master("forward").status.success());
    assert_eq!(ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), b"?"), expected(b"?"));
    leave(master);
    assert_eq!(door.wait().0.code(), Some(0));
    assert!(home.audits("forward-end").iter().any(|end| end["reason"] == "cancelled"));
}

#[test]
fn a_unix_socket_here_leads_to_the_visitor_and_is_removed() {
    let home = Home::new();
    let (target, socket) = (digest(), home.path("remote.sock"));
    let mut door = home.open(REMOTE);
    let specification = format!("{}:127.0.0.1:{target}", socket.display());
    let client = Client::start(&mut forwarding(&home, &door, &["-N", "-R", &specification]));
    let stream = connect(&socket);
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ask(stream, b"question"), expected(b"question"));
    leave(client);
    assert_eq!(door.wait().0.code(), Some(0));
    assert!(!socket.exists());
    assert!(home.audits("forward")[1]["origin"].as_str().unwrap().starts_with("pid "));
}

#[test]
fn a_file_in_the_way_of_a_socket_stays() {
    let home = Home::new();
    let file = home.write("remote.sock", "somebody's");
    let mut door = home.open(REMOTE);
    let options = ["-oExitOnForwardFailure=yes", "-R", &format!("{}:127.0.0.1:1", file.display())];
    assert!(!run(forwarding(&home, &door, &options).arg("true")).status.success());
    door.wait();
    assert_eq!(home.read("remote.sock"), "somebody's");
}

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
        until("the agent is there", || agent.socket.exists().then_some(()));
        assert!(run(Command::new("ssh-add").arg(home.path("id")).env("SSH_AUTH_SOCK", &agent.socket)).status.success());
        agent
    }

    /// ssh -A.
    fn ssh(&self, home: &Home, door: &Door) -> Command {
        let agent = format!("-oIdentityAgent={}", self.socket.display());
        let mut command = forwarding(home, door, &["-A", &agent]);
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
    let mut door = home.open(AGENT);
    let visit = run(agent.ssh(&home, &door).arg(LOOK));
    let said = text(&visit.stdout);
    assert!(said.contains("visitor@test (ED25519)\n700 directory\n600 socket\n"), "{said} {}", text(&visit.stderr));
    let path = PathBuf::from(said.trim().rsplit("at=").next().unwrap());
    assert_eq!(door.wait().0.code(), Some(0));
    assert!(!path.exists() && !path.parent().unwrap().exists());
    let forwards = home.audits("forward");
    assert!(forwards.len() == 2 && forwards.iter().all(|forward| forward["direction"] == "agent"), "{forwards:?}");
    assert_eq!(home.audits("forward-end").len(), 2);
    home.assert_sealed(&door);
}

#[test]
fn the_agents_socket_goes_however_the_visit_ends() {
    for ending in ["client", "door"] {
        let home = Home::new();
        let agent = Agent::start(&home);
        let mut door = home.open(AGENT);
        let mut client = Client::start(agent.ssh(&home, &door).arg("echo at=$SSH_AUTH_SOCK; exec sleep 1000"));
        let path = PathBuf::from(client.await_line("at="));
        assert!(path.exists());
        match ending {
            "client" => client.signal("KILL"),
            _ => door.signal("TERM"),
        }
        door.wait();
        assert!(!path.parent().unwrap().exists(), "{ending}");
        home.assert_sealed(&door);
    }
}

#[test]
fn an_agent_that_may_not_be_forwarded_is_not() {
    for (options, allowed) in [("", &[][..]), ("no-agent-forwarding", AGENT), ("restrict", AGENT)] {
        let home = Home::new();
        let agent = Agent::start(&home);
        let mut door = open_for(&home, options, allowed);
        let visit = run(agent.ssh(&home, &door).arg("echo at=$SSH_AUTH_SOCK").env_remove("SSH_AUTH_SOCK"));
        assert_eq!(text(&visit.stdout), "at=\n", "{options}");
        door.wait();
        assert_eq!(refusals(&home)[0].0, "auth-agent-req", "{options}");
    }
}

#[test]
fn a_certificate_says_what_may_be_forwarded() {
    let home = Home::new();
    let me = text(&run(Command::new("id").arg("-un")).stdout).trim().to_owned();
    home.key("ca", "ed25519");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-s"]).arg(home.path("ca")).args(["-I", "v", "-n", &me, "-O", "no-port-forwarding"]).arg(home.path("id.pub"));
    assert!(run(&mut keygen).status.success());
    let file = home.write("keys", format!("cert-authority {}", home.read("ca.pub")));
    let mut command = home.once_for(&file);
    command.arg("--log").arg(home.path("visit.cast")).args(LOCAL);
    let mut door = Door::open(command);
    let visit = run(&mut forwarding(&home, &door, &["-W", &format!("127.0.0.1:{}", digest())]));
    assert!(text(&visit.stderr).contains("not permitted for this key"), "{}", text(&visit.stderr));
    door.wait();
}

#[test]
fn a_session_ends_and_a_forward_goes_on() {
    let home = Home::new();
    let port = digest();
    let mut door = home.open(LOCAL);
    let socket = home.path("local.sock");
    let specification = format!("{}:127.0.0.1:{port}", socket.display());
    let mut client = Client::start(forwarding(&home, &door, &["-L", &specification]).arg("echo in; read line; exit 3"));
    client.await_line("in");
    let stream = connect(&socket);
    (&stream).write_all(b"half").unwrap();
    until("the forward is open", || (!home.audits("forward-open").is_empty()).then_some(()));
    client.write("go\n");
    until("the session is over", || home.record().contains("\"x\",\"3\"").then_some(()));
    assert_eq!(ask(stream, b"way"), expected(b"halfway"));
    assert_eq!(client.finish().0.code(), Some(3));
    assert_eq!(door.wait().0.code(), Some(3));
}

/// A door with a forward in use: a question is on its way, and its end not said.
fn asked(home: &Home) -> (Door, Client, UnixStream) {
    let door = home.open(LOCAL);
    let (client, socket) = local(home, &door, &format!("127.0.0.1:{}", digest()));
    let mut stream = connect(socket);
    stream.write_all(b"question").unwrap();
    until("the forward is open", || (!home.audits("forward-open").is_empty()).then_some(()));
    (door, client, stream)
}

#[test]
fn being_told_to_stop_ends_the_forwards_on_the_record() {
    let home = Home::new();
    let (mut door, client, _stream) = asked(&home);
    door.signal("TERM");
    assert_eq!(door.wait().0.code(), Some(143));
    assert_eq!(home.audits("forward-end")[0]["reason"], "Stopped by signal 15");
    home.assert_sealed(&door);
    drop(client);
}

#[test]
fn a_forward_that_cannot_be_recorded_ends_the_visit() {
    let home = Home::new();
    let (mut door, client, mut stream) = asked(&home);
    std::fs::remove_file(home.path("visit.cast")).unwrap();
    assert_eq!(door.wait().0.code(), Some(74));
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    client.finish();
}
