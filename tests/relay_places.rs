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

/// Two people who wait for a day for a device that is off take no place of somebody who wants in now, and make room for a third who waits.
#[test]
fn whoever_waits_for_a_day_keeps_nobody_from_a_device() {
    let (fleet, http) = (Fleet::new(), free_port());
    fleet.add("cam-2");
    for name in ["alice", "bob", "carol"] {
        fleet.visitor(name);
    }
    let relay = fleet.lonely_relay(&["--http", &format!("127.0.0.1:{http}")]);
    let ask = |name: &str, host: &str| {
        let mut ssh = fleet.home.via(&relay, name);
        ssh.args(["-W", &format!("{host}:22"), "relay"]);
        ssh
    };
    let patient = |name: &str| Client::start(&mut ask(name, "cam-2?wait=86400"));
    let (mut alices, mut bobs) = (Vec::new(), Vec::new());
    for number in 1..=16 {
        alices.push(patient("alice"));
        bobs.push(patient("bob"));
        until("they wait", || (metric(http, "sally_waiting ") == 2 * number).then_some(()));
    }
    let now = text(&run(&mut ask("carol", "cam-2")).stderr);
    assert!(now.contains("cam-2 did not answer within 1 s"), "{now}");
    let _carol = patient("carol");
    let crowded = relay.await_events("refused", 2);
    assert_eq!((&crowded["why"], &crowded["said"]), (&"too_many".into(), &"too many are waiting: the limit is 32".into()));
    assert_eq!(metric(http, "sally_waiting "), 32);
}
