//! Clients that don't log in. Nothing they send ends the server, fills its memory, or keeps the right
//! visitor out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::support::*;

/// What a server may grow by in KiB.
const GROWTH: u64 = 32 << 10;
/// How many may be mid-authentication at once.
const PLACES: usize = 100;
/// Descriptors that a server has for itself, and some who are about to go.
const OWN: usize = 30;

/// Sends this, then reads until the other side closes.
fn send(mut stream: TcpStream, bytes: &[u8]) {
    // The server may close while we still send: that is what is awaited.
    let _ = stream.write_all(bytes);
    closed(&mut stream);
}

fn closed(stream: &mut TcpStream) {
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert!(!matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "never closed: {error}");
    }
}

/// Whether the other side has closed a connection that doesn't block.
fn ended(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 512]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

fn still_open(home: &Home, server: &mut Server, before: u64) {
    let after = server.rss();
    assert!(after < before + GROWTH, "{before} KiB grew to {after}");
    let visit = run(home.ssh(server).arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(server);
}

/// A packet in the clear: length, padding length, payload, padding.
fn packet(claimed: u32, payload: &[u8]) -> Vec<u8> {
    [&claimed.to_be_bytes()[..], &[4], payload, &[0; 4]].concat()
}

/// What somebody hears after the other side's identification who says this, to the end.
fn answer(mut stream: TcpStream, said: &[u8]) -> String {
    stream.write_all(said).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    let heard = text(&heard);
    assert!(heard.starts_with("SSH-2.0-"), "{heard:?}");
    heard.split_once("\r\n").unwrap().1.to_owned()
}

#[test]
fn somebody_who_speaks_no_ssh_is_told_so_at_once_and_as_by_sshd() {
    let home = Home::new();
    home.line("alice", "");
    let (server, jail, sshd) = (home.open(&[]), Relay::start(&home, home.jail("2022")), home.sshd());
    let browser = b"GET / HTTP/1.1\r\nHost: door\r\nAccept: */*\r\n\r\n";
    // sshd resets the connection under whoever says more than a line.
    let theirs = answer(TcpStream::connect(("127.0.0.1", sshd.port)).unwrap(), b"GET / HTTP/1.1\r\n");
    assert_eq!(theirs, "Invalid SSH identification string.\r\n");
    // A TLS client's first bytes have no line end.
    for said in [&browser[..], b"\x16\x03\x01\x00\xc0\x01", b"\0", b"SSH-2.1-x\r\n"] {
        assert_eq!(answer(server.connect(), said), theirs);
        assert_eq!(answer(jail.connect(), said), theirs);
    }
}

#[test]
fn garbage_and_huge_packets_are_closed() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.rss();
    let banner = b"SSH-2.0-x\r\n";
    let noise: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let messages: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        noise.clone(),
        vec![b'a'; 1_000_000],
        vec![b'\n'; 1_000_000],
        b"SSH-1.5-old\r\n".to_vec(),
        [&b"SSH-2.0-"[..], &[b'x'; 1_000_000]].concat(),
        [&banner[..], &noise].concat(),
        [&banner[..], &packet(u32::MAX, &[20; 64])].concat(),
        [&banner[..], &packet(0x7fff_fff0, &vec![0; 4_000_000])].concat(),
        [&banner[..], &packet(0, &[])].concat(),
        [&banner[..], &packet(1, &[20])].concat(),
        [&banner[..], &packet(12, &[20; 7])].concat(),
        [&banner[..], &packet(69, &[30; 64])].concat(),
        [&banner[..], &packet(69, &[1; 64])].concat(),
        vec![0; 100_000],
    ];
    thread::scope(|scope| {
        for message in &messages {
            let stream = server.connect();
            // What is not closed for what it is, is closed when its time is over.
            scope.spawn(move || send(stream, message));
        }
    });
    still_open(&home, &mut server, before);
}

#[test]
fn many_silent_connections_keep_no_client_out() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.rss();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let mut crowd: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    crowd.iter().for_each(|unknown| unknown.set_nonblocking(true).unwrap());
    until("most of the crowd has made room", || {
        let gone = crowd.iter_mut().map(ended).filter(|gone| *gone).count();
        (gone >= 850 && server.descriptors() <= PLACES + OWN).then_some(())
    });
    still_open(&home, &mut server, before);
    for mut unknown in crowd {
        unknown.set_nonblocking(false).unwrap();
        closed(&mut unknown);
    }
}

#[test]
fn a_crowd_that_comes_and_goes_keeps_nobody_out() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.rss();
    for _ in 0..1000 {
        let mut unknown = server.connect();
        unknown.write_all(b"SSH-2.0-x\r\n").unwrap();
    }
    still_open(&home, &mut server, before);
}

/// Those who use up a server's descriptors.
const CROWD: usize = 60;

/// A server with so many descriptors, and a crowd that has used them up. Now that nothing happens, the server does nothing.
fn with_descriptors(home: &Home, number: u32) -> (Server, Vec<TcpStream>) {
    let inner = home.once();
    let mut command = tool("prlimit", "util-linux");
    command.arg(format!("--nofile={number}:{number}")).arg(inner.get_program()).args(inner.get_args());
    command.env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    let mut server = Server::open(command);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| server.connect()).collect();
    server.await_stderr_with("accept failed");
    crowd.iter().for_each(|unknown| unknown.set_nonblocking(true).unwrap());
    quiet("the crowd", || crowd.iter_mut().map(ended).filter(|gone| *gone).count() as u64);
    let before = cpu(server.child.id());
    for _ in 0..3 {
        quiet("nothing", || 0);
    }
    let busy = cpu(server.child.id()) - before;
    assert!(busy < 20, "it spins: {busy} ticks");
    (server, crowd)
}

/// Each of the crowd was in the way once at most, and so was the visitor.
fn assert_few_failures(said: &str) {
    let failures = said.matches("accept failed").count();
    assert!(failures <= CROWD + 10, "{failures} times");
}

/// The crowd stays, and each time that descriptors run out one of it makes room.
#[test]
fn descriptors_that_a_crowd_has_used_up_are_had_again() {
    let home = Home::new();
    let (mut server, crowd) = with_descriptors(&home, 32);
    let visit = run(home.ssh(&server).arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_few_failures(&said);
    drop(crowd);
}

#[test]
fn too_few_descriptors_for_a_session_are_a_clean_failure() {
    let home = Home::new();
    let (mut server, _crowd) = with_descriptors(&home, 16);
    let visit = run(home.ssh(&server).arg("echo in"));
    let (status, log) = server.wait();
    let said = text(&visit.stderr);
    // Whether six pipes and a process can still be had is the machine's affair; that somebody is told is not.
    match visit.status.code() {
        Some(0) => assert_eq!((text(&visit.stdout), status.code()), ("in\n".into(), Some(0))),
        code => {
            assert!(code == Some(255) && status.code() == Some(78) && said.contains("exec request failed"), "{code:?} {said}");
            assert!(log.contains("\nCould not start shell "), "{log}");
        }
    }
    assert_few_failures(&log);
    home.assert_sealed(&server);
}
