//! Forwarding: closed by default, opened by `--allow`, never wider than the key's line says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::support::*;

mod agent;
mod local;
mod remote;

const LOCAL: &[&str] = &["--allow", "local-forward"];
const REMOTE: &[&str] = &["--allow", "remote-forward"];
const AGENT: &[&str] = &["--allow", "agent-forward"];

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

/// ssh that says what it is refused, and runs nothing.
fn forwarding(home: &Home, server: &Server, options: &[&str]) -> Command {
    let id = home.path("id");
    let all: Vec<_> = ["-oLogLevel=INFO", "-i", id.to_str().unwrap()].iter().chain(options).copied().collect();
    home.ssh_with(server.port, &all)
}

/// ssh -N -L with a Unix socket at this end: the socket, once it is there.
fn local(home: &Home, server: &Server, target: &str) -> (Client, PathBuf) {
    let socket = home.path("local.sock");
    let client = Client::start(&mut forwarding(home, server, &["-N", "-L", &format!("{}:{target}", socket.display())]));
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

fn open_for(home: &Home, options: &str, more: &[&str]) -> Server {
    let file = home.write("keys", format!("{options} {}", home.read("id.pub")));
    let mut command = home.once_for(&file);
    command.arg("--log").arg(home.path("visit.cast")).args(more);
    Server::open(command)
}

fn refusals(home: &Home) -> Vec<(String, String)> {
    let said = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    home.audits("refusal").iter().map(|event| (said(&event["what"]), said(&event["why"]))).collect()
}

#[test]
fn nothing_is_forwarded_unless_it_is_allowed() {
    let home = Home::new();
    let port = digest();
    let mut server = home.open(&[]);
    let visit = run(&mut forwarding(&home, &server, &["-W", &format!("127.0.0.1:{port}")]));
    let said = text(&visit.stderr);
    assert!(said.contains("administratively prohibited: forwarding is not allowed here"), "{said}");
    assert_eq!(server.wait().0.code(), Some(255));
    assert_eq!(refusals(&home), [("direct-tcpip".into(), format!("127.0.0.1:{port}: forwarding is not allowed here"))]);
    assert!(home.audits("forward").is_empty());
    home.assert_sealed(&server);
}

#[test]
fn what_is_allowed_opens_nothing_else() {
    let home = Home::new();
    let id = home.path("id");
    let mut server = home.open(&["--allow", "remote-forward,agent-forward"]);
    let local = format!("127.0.0.1:{}", digest());
    assert!(!run(&mut forwarding(&home, &server, &["-W", &local])).status.success());
    server.wait();
    let mut server = Server::open({
        let mut command = home.once_to(&home.path("second.cast"));
        command.args(LOCAL);
        command
    });
    let options = ["-oExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "-i", id.to_str().unwrap()];
    assert!(!run(home.ssh_with(server.port, &options).arg("true")).status.success());
    server.wait();
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
    let mut server = Server::open(command);
    let visit = run(&mut forwarding(&home, &server, &["-W", &format!("127.0.0.1:{}", digest())]));
    assert!(text(&visit.stderr).contains("not permitted for this key"), "{}", text(&visit.stderr));
    server.wait();
}

#[test]
fn a_session_ends_and_a_forward_goes_on() {
    let home = Home::new();
    let port = digest();
    let mut server = home.open(LOCAL);
    let socket = home.path("local.sock");
    let specification = format!("{}:127.0.0.1:{port}", socket.display());
    let mut client = Client::start(forwarding(&home, &server, &["-L", &specification]).arg("echo in; read line; exit 3"));
    client.await_line("in");
    let stream = connect(&socket);
    (&stream).write_all(b"half").unwrap();
    until("the forward is open", || (!home.audits("forward-open").is_empty()).then_some(()));
    client.write("go\n");
    until("the session is over", || home.record().contains("\"x\",\"3\"").then_some(()));
    assert_eq!(ask(stream, b"way"), expected(b"halfway"));
    assert_eq!(client.finish().0.code(), Some(3));
    assert_eq!(server.wait().0.code(), Some(3));
}

/// A server with a forward in use: a question is on its way, and its end not said.
fn asked(home: &Home) -> (Server, Client, UnixStream) {
    let server = home.open(LOCAL);
    let (client, socket) = local(home, &server, &format!("127.0.0.1:{}", digest()));
    let mut stream = connect(socket);
    stream.write_all(b"question").unwrap();
    until("the forward is open", || (!home.audits("forward-open").is_empty()).then_some(()));
    (server, client, stream)
}

#[test]
fn being_told_to_stop_ends_the_forwards_on_the_record() {
    let home = Home::new();
    let (mut server, client, _stream) = asked(&home);
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(143));
    assert_eq!(home.audits("forward-end")[0]["reason"], "Stopped by signal 15");
    home.assert_sealed(&server);
    drop(client);
}

#[test]
fn a_forward_that_cannot_be_recorded_ends_the_visit() {
    let home = Home::new();
    let (mut server, client, mut stream) = asked(&home);
    std::fs::remove_file(home.path("visit.cast")).unwrap();
    assert_eq!(server.wait().0.code(), Some(74));
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    client.finish();
}
