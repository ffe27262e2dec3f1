//! Symbolic links, whose two paths clients send in either order, by what they take the server for: the link leads where it is to lead.

use std::fs;

use super::{batch, done, folder, over};
use crate::support::*;

/// The link is there, alone, and leads where it was to lead; the record says the same.
fn leads_there(home: &Home, server: &mut Server) {
    let there = folder(home);
    assert_eq!(fs::read_link(there.join("link")).unwrap().to_str(), Some("the target"));
    assert_eq!(fs::read_dir(&there).unwrap().count(), 1);
    over(home, server);
    let made: Vec<_> = done(home).into_iter().filter(|event| event["op"] == "symlink").collect();
    assert_eq!(made.len(), 1, "{made:#?}");
    assert!(made[0]["path"].as_str().unwrap().ends_with("/link") && made[0]["to"] == "the target", "{made:#?}");
}

fn by_library(library: &str) {
    let home = Home::new();
    let there = folder(&home);
    let mut server = home.open(&[]);
    let mut client = python("sftp.py");
    let made = run(client.arg("symlink").arg(server.port.to_string()).arg(home.path("id")).arg(&there).arg(library));
    assert_eq!(text(&made.stdout), "the target ['link']\n", "{library}: {}", text(&made.stderr));
    leads_there(&home, &mut server);
}

#[test]
fn asyncssh_makes_a_link() {
    by_library("asyncssh");
}

#[test]
fn paramiko_makes_a_link() {
    by_library("paramiko");
}

#[test]
fn libssh_makes_a_link() {
    by_library("libssh");
}

#[test]
fn libssh2_makes_a_link() {
    by_library("libssh2");
}

#[test]
fn a_program_for_node_makes_a_link() {
    let home = Home::new();
    let there = folder(&home);
    let mut server = home.open(&[]);
    let made = run(node("symlink.js").arg(server.port.to_string()).arg(home.path("id")).arg("the target").arg(there.join("link")));
    assert!(made.status.success(), "{}", text(&made.stderr));
    leads_there(&home, &mut server);
}

#[test]
fn openssh_makes_a_link() {
    let home = Home::new();
    let there = folder(&home);
    let mut server = home.open(&[]);
    batch(&home, &server, &format!("ln -s \"the target\" {}/link\n", there.display()));
    leads_there(&home, &mut server);
}
