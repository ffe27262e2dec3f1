//! The deadlines of thirty seconds, all at once: waiting for one of them is waiting for each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn nobody_is_waited_for_longer_than_thirty_seconds() {
    thread::scope(|scope| {
        scope.spawn(a_slow_login);
        scope.spawn(a_slow_header);
        scope.spawn(a_visit_without_a_session);
        scope.spawn(an_announce_command_that_does_not_end);
    });
}

/// One total deadline, whatever trickles in.
fn a_slow_login() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.rss();
    let trickle = |beginning: &'static [u8], byte: u8, pace: u64| {
        let mut stream = server.connect();
        move || {
            let start = Instant::now();
            stream.write_all(beginning).unwrap();
            // The pace of a slowloris: each byte comes before any time-out for a single read could pass.
            while stream.write_all(&[byte]).is_ok() {
                assert!(start.elapsed() < PATIENCE, "never closed");
                thread::sleep(Duration::from_millis(pace));
            }
            start.elapsed()
        }
    };
    let mut midway = Client::start(python("hostile.py").arg("stall-after-kex").arg(server.port.to_string()));
    let mut asking = Client::start(python("hostile.py").arg("ask-slowly").arg(server.port.to_string()));
    midway.await_line("stalling");
    asking.await_line("asking");
    let mut silent: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    thread::scope(|scope| {
        scope.spawn(trickle(b"", b'\n', 50));
        // Slow enough to stay within a banner's 255 bytes, and within the packet that is announced: the deadline alone ends them.
        let banner = scope.spawn(trickle(b"SSH-2.0-", b'x', 250));
        let packet = scope.spawn(trickle(b"SSH-2.0-x\r\n\x00\x00\x80\x00\x04", 0, 50));
        for ended in [banner, packet] {
            let after = ended.join().unwrap();
            assert!(after > Duration::from_secs(29), "something else ended it, after {after:?}");
        }
    });
    for stream in &mut silent {
        // A reset is an end as well; a time-out is none.
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    midway.await_line("closed");
    asking.await_line("closed");
    assert!(server.rss() < before + (32 << 10), "{before} KiB grew to {}", server.rss());
    assert_eq!(text(&run(home.ssh(&server).arg("echo in")).stdout), "in\n");
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}

/// What a balancer is to say of a connection has no time of its own.
fn a_slow_header() {
    let home = Home::new();
    let server = home.open(&["--proxy-protocol", "127.0.0.1"]);
    let start = Instant::now();
    let mut streams =
        [&b""[..], b"\r\n\r\n\0\r\nQ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\0", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"].map(|begun| {
            let mut stream = server.connect();
            stream.write_all(begun).unwrap();
            stream
        });
    for stream in &mut streams {
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(start.elapsed() > Duration::from_secs(29), "something else ended it, after {:?}", start.elapsed());
    }
}

fn a_visit_without_a_session() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let id = home.path("id");
    let idle = Client::start(home.ssh_with(server.port, &["-N", "-i", id.to_str().unwrap()]).arg("-n"));
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(255), Some("The visit ended: no session was opened within 30 s")));
    let (status, _, told) = idle.finish();
    assert!(status.code() == Some(255) && told.contains(": The visit ended: no session was opened within 30 s"), "{told}");
    assert_eq!(home.audits("close")[0]["reason"], "The visit ended: no session was opened within 30 s");
    home.assert_sealed(&server);
}

fn an_announce_command_that_does_not_end() {
    let home = Home::new();
    let gate = home.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let script = home.write("announce", format!("#!/bin/sh\ntrap '' TERM HUP\necho $$ >{}\nsleep 1000\n", gate.display()));
    assert!(Command::new("chmod").arg("755").arg(&script).status().unwrap().success());
    let mut server = home.open(&["--announce", script.to_str().unwrap()]);
    let pid: u32 = std::fs::read_to_string(gate).unwrap().trim().parse().unwrap();
    let (status, said) = server.wait();
    assert!(status.code() == Some(75) && said.contains("\nAnnounce failed: 124 it took longer than 30 s"), "{said}");
    assert!(!lives(pid));
}
