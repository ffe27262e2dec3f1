//! The edge cases of authorized_keys against our checker alone; `authorized_keys_oracle.rs` has a real sshd decide them too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

mod authorized_keys_cases;

use authorized_keys_cases::keys::Keys;
use authorized_keys_cases::{Outcome, Port, Way, agent, cases, forwards};
use sally_proto::authorized_keys::{Context, Enforced, KeyRing, Offer};
use sally_proto::error::KeyDefect;

const NOW: u64 = 1_800_000_000;

#[test]
fn every_case_comes_out_as_written() {
    let keys = Keys::default();
    for case in cases() {
        let read = case.reads(&keys);
        let decided = case.decide(&keys, NOW);
        match case.outcome {
            Outcome::In => {
                assert_eq!(read, Ok(0), "{}", case.name);
                let grant = decided.unwrap_or_else(|denial| panic!("{}: {denial}", case.name));
                if let Some(prints) = case.prints {
                    assert_eq!(grant.forced_command().is_none(), prints.contains("FOO="), "{}", case.name);
                    assert_eq!(grant.allows_pty(), !prints.starts_with("FOO=") && !prints.starts_with("not a tty"), "{}", case.name);
                }
            }
            Outcome::Denied => {
                let nothing_in_it = matches!(read, Err(KeyDefect::Empty));
                assert!(read == Ok(0) || nothing_in_it, "{}: {read:?}", case.name);
                assert!(decided.is_err(), "{}: let in", case.name);
            }
            Outcome::BadLine => {
                assert!(matches!(read, Err(KeyDefect::Unparseable { .. })), "{}: {read:?}", case.name);
                // Left out, such a line lets nobody in; another of the file may.
                let others = case.file.windows(2).any(|pair| pair == b"\n{");
                assert_eq!(decided.is_ok(), others, "{}", case.name);
            }
            Outcome::PassedOver => {
                // The file has the visitor's own line as well, or no line but this one.
                let others = case.file.windows(4).any(|part| part == b"{ed}");
                match read {
                    Ok(passed_over) => assert!(others && passed_over == 1, "{}: {read:?}", case.name),
                    Err(KeyDefect::Unsupported { line: 1, .. }) => assert!(!others, "{}", case.name),
                    Err(_) => panic!("{}: {read:?}", case.name),
                }
                assert_eq!(decided.is_ok(), others, "{}", case.name);
            }
        }
    }
}

#[test]
fn every_name_stands_there_once() {
    let mut names: Vec<&str> = cases().iter().map(|case| case.name).chain(forwards().iter().map(|forward| forward.name)).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

#[test]
fn every_forward_comes_out_as_written() {
    let keys = Keys::default();
    for forward in forwards() {
        let (port, free) = (8080, 9090);
        let file = forward.file.replace("{port}", &port.to_string()).replace("{free}", &free.to_string());
        let ring = KeyRing::read("file", &keys.expand(file.as_bytes()), Enforced::all()).expect(forward.name);
        let context = Context { peer: "127.0.0.1".parse().ok(), now: NOW, account: None };
        let grant = ring.authorize(Offer::from(&keys.public("ed")), &context).expect(forward.name);
        let permitted = match (forward.way, forward.port) {
            (Way::Open, Port::Given) => grant.allows_open(forward.host, port),
            (Way::Open, Port::Zero) => grant.allows_open(forward.host, 0),
            (Way::Listen, Port::Given) => grant.allows_listen(forward.host, free),
            (Way::Listen, Port::Zero) => grant.allows_listen(forward.host, 0),
        };
        assert_eq!(permitted, forward.permitted, "{}", forward.name);
    }
}

#[test]
fn every_security_key_comes_out_as_written() {
    for (options, flags, enters) in agent::CASES {
        assert_eq!(agent::decide(options, *flags), *enters, "{options} {flags}");
    }
}
