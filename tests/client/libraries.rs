//! The libraries that other programs come in with.

use crate::support::*;

/// A visit of tests/python/libraries.py.
fn library(name: &str) {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run(python("libraries.py").arg(name).arg(server.port.to_string()).arg(home.path("id")));
    assert_eq!(text(&visit.stdout), "b'through\\n' b'oops\\n' 7\n", "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(7));
    home.assert_sealed(&server);
}

#[test]
fn libssh2_runs_a_command() {
    library("libssh2");
}

#[test]
fn libssh_runs_a_command() {
    library("libssh");
}

/// Of ciphers it has CTR and CBC, and no encrypt-then-MAC.
#[test]
fn twisted_conch_runs_a_command() {
    library("conch");
}

/// A visit of tests/node/visit.js.
fn visit(home: &Home, server: &Server, more: &[&str]) -> String {
    let visit = run(node("visit.js").arg(server.port.to_string()).arg(home.path("id")).args(more));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
    text(&visit.stdout)
}

#[test]
fn a_program_for_node_runs_a_command() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(visit(&home, &server, &[]), "[\"through\\n\",\"oops\\n\",7]\n");
    assert_eq!(server.wait().0.code(), Some(7));
    home.assert_sealed(&server);
}

#[test]
fn a_program_for_node_has_a_terminal_and_hears_of_a_signal() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(visit(&home, &server, &["pty"]), "[\"30 100\\r\\n\",\"\",\"SIGTERM\"]\n");
    assert_eq!(server.wait().0.code(), Some(128 + 15));
}
