//! /metrics and /healthz under whoever only connects to them.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::support::*;

/// A connection from this address of loopback, which says nothing.
fn idle(source: u8, port: u16) -> TcpStream {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0))).unwrap();
    rustix::net::connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn start(http: &str) -> (Home, Relay) {
    let home = Home::new();
    let mut command = home.relay();
    command.args(["--http", http]);
    let relay = Relay::start(&home, command);
    (home, relay)
}

/// A health check of an orchestrator, which would start the relay anew.
#[test]
fn idle_connections_keep_no_health_check_waiting() {
    let http = free_port();
    let (_home, _relay) = start(&format!("127.0.0.1:{http}"));
    // So many that their turns, one after another, would take longer than anybody waits.
    for sources in [vec![1], vec![2], (2..10).collect()] {
        let crowd: Vec<_> = (0..140).map(|number| idle(sources[number % sources.len()], http)).collect();
        assert_eq!(get(http, "/healthz"), (200, "ok\n".into()));
        assert_eq!(metric(http, "sally_visits_total "), 0);
        drop(crowd);
    }
}

/// A scraper keeps its connection; who comes in a crowd makes room for each other first.
#[test]
fn a_crowd_of_one_address_costs_another_no_connection() {
    use std::io::Write as _;
    let http = free_port();
    let (_home, _relay) = start(&format!("127.0.0.1:{http}"));
    let mut scraper = idle(3, http);
    let mut ask = || {
        scraper.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut byte = [0];
            assert_eq!(scraper.read(&mut byte).unwrap(), 1, "{}", text(&answer));
            answer.push(byte[0]);
        }
    };
    ask();
    let mut crowd: Vec<_> = (0..200).map(|_| idle(2, http)).collect();
    ask();
    // Those who made room are hung up on, and the last of them say nothing for too long.
    for stream in &mut crowd {
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
}

#[test]
fn an_address_that_others_reach_is_warned_about() {
    let warning = "warning: http://";
    for (address, warned) in [("127.0.0.1:0", false), ("[::1]:0", false), ("0.0.0.0:0", true), ("[::]:0", true)] {
        let (_home, relay) = start(address);
        assert_eq!(relay.said().iter().any(|line| line.starts_with(warning)), warned, "{address}: {:#?}", relay.said());
    }
}
