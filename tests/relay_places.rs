//! Whoever takes many places of a relay, and whom that keeps out: nobody else.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use crate::support::*;

/// A server that listens to everybody and says nothing: its port.
fn silent() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    port
}

/// A relay whose cam-17 also holds a port, behind which connections are accepted and left alone.
struct Flooded {
    home: Home,
    relay: Relay,
    port: u16,
    _device: Client,
    _sshd: Sshd,
}

impl Flooded {
    fn new() -> Self {
        let (home, port) = (Home::new(), free_port());
        let command = home.relay();
        home.write("devices", home.line("cam", &format!(r#"permitlisten="cam-17:22",permitlisten="localhost:{port}""#)));
        let relay = Relay::start(&home, command);
        let (sshd, behind) = (home.sshd(), silent());
        let mut holding = home.holding(&relay, "cam", &format!("cam-17:22:127.0.0.1:{}", sshd.port));
        holding.args(["-R", &format!("{port}:127.0.0.1:{}", behind)]);
        let device = Client::start(&mut holding);
        relay.await_events("register", 2);
        Self { home, relay, port, _device: device, _sshd: sshd }
    }
}

#[test]
fn a_forwarded_port_that_is_flooded_keeps_no_visitor_out() {
    let flooded = Flooded::new();
    let crowd: Vec<_> = (0..600).map(|_| TcpStream::connect(("127.0.0.1", flooded.port)).unwrap()).collect();
    flooded.relay.await_events("open", 128);
    let visit = run(flooded.home.jump(&flooded.relay, "alice", "cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    // Who found no place is hung up on; each of the others waits for a word from behind.
    for stream in &crowd {
        stream.set_nonblocking(true).unwrap();
    }
    let left = until("the others are gone", || {
        let waiting = |mut stream: &TcpStream| matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        let left = crowd.iter().filter(|stream| waiting(stream)).count();
        (left <= 128).then_some(left)
    });
    assert_eq!(left, 128);
    // There is room again when they leave.
    drop(crowd);
    flooded.relay.await_events("close", 129);
    let _again = TcpStream::connect(("127.0.0.1", flooded.port)).unwrap();
    flooded.relay.await_events("open", 130);
}

#[test]
fn a_connection_to_a_forwarded_port_is_asked_for_signs_of_life() {
    let flooded = Flooded::new();
    let _stream = TcpStream::connect(("127.0.0.1", flooded.port)).unwrap();
    flooded.relay.await_events("open", 1);
    until("the kernel asks", || {
        let shown = run(tool("ss", "iproute2").args(["-Htno", "state", "established", &format!("sport = :{}", flooded.port)]));
        text(&shown.stdout).contains("timer:(keepalive").then_some(())
    });
}
