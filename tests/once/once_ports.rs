//! A server on a host whose ports are used up.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::*;

/// What the kernel has to give.
const PORTS: [u16; 4] = [50_000, 50_001, 50_002, 50_003];
const TARGET: u16 = 6001;

/// From now on the host has four ports to give.
fn shorten(lab: &Lab) {
    lab.at("relay", || fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{} {}", PORTS[0], PORTS[3])).unwrap());
}

/// Somebody on the host listens at every port that it has to give, on all addresses.
fn take_all(lab: &Lab) -> Vec<TcpListener> {
    lab.at("relay", || PORTS.iter().map(|port| TcpListener::bind(("::", *port)).unwrap()).collect())
}

/// A server on it, at a port that is none of those.
fn server(lab: &Lab, home: &Home) -> Server {
    let mut command = elsewhere(&home.once(), "0.0.0.0");
    command.args(["--allow", "local-forward,remote-forward"]);
    lab.at("relay", || Server::open(command))
}

/// ssh -N, from a host that has ports of its own, that says what it is refused.
fn ssh(home: &Home, server: &Server, options: &[&str]) -> Command {
    let id = home.path("id");
    let all: Vec<_> = ["-N", "-oLogLevel=INFO", "-i", id.to_str().unwrap()].iter().chain(options).copied().collect();
    elsewhere(&home.ssh_with(server.port, &all), RELAY)
}

fn refusals(home: &Home) -> Vec<(String, String)> {
    let said = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    home.audits("refusal").iter().map(|event| (said(&event["what"]), said(&event["why"]))).collect()
}

fn await_audits(home: &Home, name: &str, count: usize) {
    until(&format!("{count} {name} on the record"), || (home.audits(name).len() >= count).then_some(()));
}

/// A server on loopback of a host: who has connected to it.
fn target(lab: &Lab, host: &str) -> Receiver<TcpStream> {
    let listener = lab.at(host, || TcpListener::bind(("127.0.0.1", TARGET)).unwrap());
    let (sender, streams) = channel();
    thread::spawn(move || listener.incoming().map_while(Result::ok).try_for_each(|stream| sender.send(stream)));
    streams
}

/// One connection through the forward: its two ends.
fn through(socket: &Path, arrivals: &Receiver<TcpStream>) -> (UnixStream, TcpStream) {
    let near = until("somebody listens", || UnixStream::connect(socket).ok());
    let far = arrivals.recv_timeout(PATIENCE).unwrap();
    (near, far)
}

#[test]
fn a_forward_without_a_port_left_is_refused_in_the_systems_words() {
    let Some(lab) = Lab::new("a_forward_without_a_port_left_is_refused_in_the_systems_words") else { return };
    let home = Home::new();
    let (mut server, arrivals, socket) = (server(&lab, &home), target(&lab, "relay"), home.path("local.sock"));
    shorten(&lab);
    let mut client = ssh(&home, &server, &["-L", &format!("{}:127.0.0.1:{TARGET}", socket.display())]);
    let mut client = lab.at("device", || Client::start(&mut client));
    let mut open: Vec<_> = PORTS.iter().map(|_| through(&socket, &arrivals)).collect();
    await_audits(&home, "forward-open", 4);
    let mut refused = UnixStream::connect(&socket).unwrap();
    client.await_stderr("open failed: connect failed: Cannot assign requested address");
    assert_eq!(refused.read(&mut [0]).unwrap(), 0);
    await_audits(&home, "forward-end", 1);
    assert_eq!(home.audits("forward-end")[0]["reason"], "connect failed: Cannot assign requested address");
    assert_eq!(home.audits("forward").len(), 5);
    // The far end closes first, and so keeps what TCP has to remember: the port is free at once.
    let (mut near, far) = open.pop().unwrap();
    drop(far);
    assert_eq!(near.read(&mut [0]).unwrap(), 0);
    drop(near);
    await_audits(&home, "forward-end", 2);
    let (mut near, mut far) = through(&socket, &arrivals);
    near.write_all(b"?").unwrap();
    far.read_exact(&mut [0]).unwrap();
    await_audits(&home, "forward-open", 5);
    client.signal("TERM");
    client.finish();
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}

#[test]
fn a_server_without_a_port_left_says_so() {
    let Some(lab) = Lab::new("a_server_without_a_port_left_says_so") else { return };
    shorten(&lab);
    let (home, _taken) = (Home::new(), take_all(&lab));
    let mut once = home.once();
    let ended = lab.at("relay", || run(&mut once));
    let said = text(&ended.stderr);
    assert_eq!((ended.status.code(), said.lines().next()), (Some(69), Some("Could not bind to port 0: Address already in use")));
}

#[test]
fn a_port_for_the_visitor_is_refused_until_one_is_free() {
    let Some(lab) = Lab::new("a_port_for_the_visitor_is_refused_until_one_is_free") else { return };
    let home = Home::new();
    let (mut server, arrivals, control) = (server(&lab, &home), target(&lab, "device"), home.path("control"));
    shorten(&lab);
    let mut taken = take_all(&lab);
    let control = format!("-oControlPath={}", control.display());
    let mut master = ssh(&home, &server, &["-M", &control]);
    let master = lab.at("device", || Client::start(&mut master));
    await_audits(&home, "auth", 1);
    let specification = format!("0:127.0.0.1:{TARGET}");
    let ask = || run(&mut ssh(&home, &server, &[&control, "-O", "forward", "-R", &specification]));
    // Before it listens nobody answers, and nothing is asked.
    let refused = until("the master listens", || Some(ask()).filter(|asked| !text(&asked.stderr).contains("Control socket connect")));
    assert!(!refused.status.success(), "{}", text(&refused.stdout));
    assert_eq!(refusals(&home), [("tcpip-forward".into(), "localhost:0: Address already in use".into())]);
    assert!(home.audits("forward").is_empty());
    let freed = taken.remove(2).local_addr().unwrap().port();
    let granted = ask();
    assert_eq!(text(&granted.stdout).trim(), freed.to_string(), "{}", text(&granted.stderr));
    // Who connects there needs a port as well.
    drop(taken);
    let mut here = lab.at("relay", || TcpStream::connect(("127.0.0.1", freed)).unwrap());
    let mut there = arrivals.recv_timeout(PATIENCE).unwrap();
    here.write_all(b"?").unwrap();
    there.read_exact(&mut [0]).unwrap();
    master.signal("TERM");
    master.finish();
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}
