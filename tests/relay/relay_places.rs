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

/// Connections of one key, as many as it gets of so many: how many are in, and what one more was told.
fn crowd(home: &Home, relay: &Relay, key: &str, most: usize) -> (Client, usize, String) {
    let mut crowd = python("crowd.py");
    let mut crowd = Client::start(crowd.arg(relay.port.to_string()).arg(home.path(key)).arg(most.to_string()));
    let said = crowd.await_line("");
    let (count, why) = said.split_once(" in ").unwrap();
    (crowd, count.parse().unwrap(), why.to_owned())
}

/// A key may hold as much as is free, and so never all of it.
#[test]
fn a_key_with_very_many_connections_keeps_nobody_out() {
    let (home, http) = (Home::new(), free_port());
    let mut limited = tool("prlimit", "util-linux");
    limited.arg("--nofile=150:150").arg(sally()).args(home.relay().get_args()).args(["--http", &format!("127.0.0.1:{http}")]);
    home.write("visitors", [home.line("alice", ""), home.line("bob", ""), home.line("carol", "")].concat());
    let relay = Relay::start(&home, limited);
    let (_alices, count, why) = crowd(&home, &relay, "alice", 600);
    assert_eq!((count, why.as_str()), (57, "too many connections and ports of this key: the limit is 57"));
    let refused = relay.await_events("refused", 1);
    assert_eq!((&refused["what"], &refused["why"], &refused["said"]), (&"connection".into(), &"too_many".into(), &why.into()));
    let (_bobs, count, _) = crowd(&home, &relay, "bob", 600);
    assert_eq!(count, 28);
    let visit = run(home.via(&relay, "carol").args(["relay", "whoami"]));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
    assert_eq!(metric(http, "sally_connections_turned_away_total "), 2);
    // A device with its name too.
    let _device = home.hold(&relay, "cam", "cam-17:22:127.0.0.1:1");
    relay.await_events("register", 1);
}

#[test]
fn a_key_has_as_many_connections_as_it_is_given() {
    let home = Home::new();
    let mut command = home.relay();
    let port = free_port();
    home.write("devices", home.line("cam", &format!(r#"permitlisten="cam-17:22",permitlisten="localhost:{port}""#)));
    command.args(["--max-connections-per-key", "3"]);
    let relay = Relay::start(&home, command);
    let (mut crowd, count, why) = crowd(&home, &relay, "alice", 4);
    assert_eq!((count, why.as_str()), (3, "too many connections and ports of this key: the limit is 3"));
    crowd.write("\n");
    crowd.await_line("one has left");
    relay.await_events("disconnect", 1);
    assert!(run(home.via(&relay, "alice").args(["relay", "whoami"])).status.success());
    // A port of this machine is up to two sockets more; a name is none.
    let both = |port: u16| {
        let mut holding = home.holding(&relay, "cam", "cam-17:22:127.0.0.1:1");
        holding.args(["-R", &format!("{port}:127.0.0.1:1")]);
        Client::start(&mut holding)
    };
    let _device = both(port);
    relay.await_events("register", 2);
    let mut another = Client::start(&mut home.holding(&relay, "cam", "cam-17:22:127.0.0.1:1"));
    another.await_stderr("too many connections and ports of this key: the limit is 3");
}

/// Whom a fleet knows by a name is one, with however many keys.
#[test]
fn a_fleets_visitor_is_one_with_two_keys() {
    let fleet = Fleet::new();
    let relay = fleet.lonely_relay(&["--max-connections-per-key", "2"]);
    for key in ["one", "two"] {
        fleet.home.key(key, "ed25519");
        fleet.sally(&["visitor", "add", "FLEET", &format!("{key}.pub"), "--name", "alice", "--for", "cam-*"]);
    }
    let stay = |key: &str| Client::start(fleet.home.via(&relay, key).args(["-oLogLevel=INFO", "-N", "relay"]));
    let _in = [stay("one"), stay("two")];
    relay.await_events("auth", 2);
    stay("two").await_stderr("too many connections and ports of this key: the limit is 2");
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
