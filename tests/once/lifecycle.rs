//! The steps of `sally once`, in their order.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::*;

#[test]
fn a_visitor_runs_a_command_and_its_status_is_ours() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run(home.ssh(&server).arg("echo hello; echo oops >&2; exit 7"));
    assert_eq!(visit.status.code(), Some(7), "{}", text(&visit.stderr));
    assert_eq!(text(&visit.stdout), "hello\n");
    assert_eq!(text(&visit.stderr), "oops\n");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(7), "{said}");
    assert_eq!(text(&home.stream("stdout")), "hello\n");
    assert_eq!(text(&home.stream("stderr")), "oops\n");
    home.assert_sealed(&server);
}

#[test]
fn the_key_on_stdout_is_what_known_hosts_takes() {
    let home = Home::new();
    let server = home.open(&[]);
    assert!(server.host_key.starts_with("ssh-ed25519 AAAA"), "{}", server.host_key);
    assert_eq!(server.host_key.split(' ').count(), 2, "no comment: {}", server.host_key);
    let known = home.write("known_hosts", format!("[127.0.0.1]:{} {}\n", server.port, server.host_key));
    let known = format!("-oUserKnownHostsFile={}", known.display());
    let id = home.path("id");
    let visit = run(home.ssh_with(server.port, &["-oStrictHostKeyChecking=yes", &known, "-i", id.to_str().unwrap()]).arg("true"));
    assert!(visit.status.success(), "{}", text(&visit.stderr));
}

#[test]
fn every_server_has_a_key_of_its_own() {
    let home = Home::new();
    let first = home.open(&[]);
    let second = Home::new();
    let second = second.open(&[]);
    assert_ne!(first.host_key, second.host_key);
}

#[test]
fn a_host_key_of_ones_own_is_shown_and_seals() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let home = Home::new();
        let key = home.key("host", kind);
        let mut server = home.open(&["--host-key", key.to_str().unwrap()]);
        let public = home.read("host.pub");
        assert_eq!(server.host_key, public.split(' ').take(2).collect::<Vec<_>>().join(" "));
        let visit = run(home.ssh(&server).arg("exit 3"));
        assert_eq!(visit.status.code(), Some(3), "{kind}: {}", text(&visit.stderr));
        server.wait();
        home.assert_sealed(&server);
    }
}

#[test]
fn without_listen_both_families_come_in() {
    for address in ["127.0.0.1", "::1"] {
        let home = Home::new();
        let mut command = Command::new(sally());
        command.arg("once").arg("--authorized-keys").arg(home.path("id.pub")).args(["--port", "0", "--log"]).arg(home.path("visit.cast"));
        let server = Server::open(command);
        let mut ssh = Command::new("ssh");
        ssh.args(home.options()).arg("-i").arg(home.path("id")).args(["-p", &server.port.to_string(), address, "echo $SSH_CONNECTION"]);
        let visit = run(ssh.stdin(Stdio::null()));
        assert!(visit.status.success(), "{address}: {}", text(&visit.stderr));
        let connection = text(&visit.stdout);
        let fields: Vec<_> = connection.split_whitespace().collect();
        assert_eq!((fields[0], fields[2], fields[3]), (address, address, &*server.port.to_string()), "{connection}");
    }
}

#[test]
fn listen_narrows_the_address() {
    let home = Home::new();
    let server = home.open(&[]);
    let elsewhere = TcpStream::connect(("127.0.0.2", server.port)).unwrap_err();
    assert_eq!(elsewhere.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn without_a_client_the_server_ends_with_status_0() {
    let home = Home::new();
    let mut server = home.open(&["--timeout", "1"]);
    let mut unknown = server.connect();
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.lines().last(), Some("No client logged in within 1 s: Sally exits"));
    assert_eq!(TcpStream::connect(("127.0.0.1", server.port)).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let _ = unknown.read_to_end(&mut Vec::new()); // Closed, with what it had sent before.
    home.assert_sealed(&server);
}

#[test]
fn a_session_outlives_the_timeout() {
    let home = Home::new();
    let mut server = home.open(&["--timeout", "1"]);
    let mut visit = home.visit(&server, "echo in; read line; echo $line", "in");
    // The timeout passes while a second server, opened later, waits for its own.
    let other = Home::new();
    other.open(&["--timeout", "1"]).wait();
    visit.write("still here\n");
    visit.await_line("still here");
    assert!(visit.finish().0.success());
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn after_a_wrong_key_the_right_one_still_comes_in() {
    let home = Home::new();
    home.key("wrong", "ed25519");
    let mut server = home.open(&[]);
    let wrong = home.path("wrong");
    for _ in 0..3 {
        let refused = run(home.ssh_with(server.port, &["-i", wrong.to_str().unwrap()]).arg("true"));
        assert_eq!(refused.status.code(), Some(255));
        assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));
    }
    let id = home.path("id");
    let both = ["-i", wrong.to_str().unwrap(), "-i", id.to_str().unwrap()];
    assert!(run(home.ssh_with(server.port, &both).arg("true")).status.success());
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(home.audits("auth").len(), 1);
    assert!(!home.record().contains("Permission denied"));
}

#[test]
fn any_name_comes_in_and_is_on_the_record() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run(home.ssh(&server).arg("id -un"));
    let me = text(&run(Command::new("id").arg("-un")).stdout);
    assert_eq!(text(&visit.stdout), me, "the session is that of whoever opened the door");
    server.wait();
    let auth = &home.audits("auth")[0];
    assert_eq!(auth["user"], "anyone", "{auth}");
    assert_eq!(auth["comment"], "visitor@test");
    let fingerprint = text(&run(Command::new("ssh-keygen").arg("-lf").arg(home.path("id.pub"))).stdout);
    assert!(fingerprint.contains(auth["fingerprint"].as_str().unwrap()), "{fingerprint}: {auth}");
    assert!(home.audits("connect")[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn with_user_only_that_name_comes_in() {
    let home = Home::new();
    let server = home.open(&["--user", "deploy"]);
    let id = home.path("id");
    let id = id.to_str().unwrap();
    let refused = run(home.ssh_with(server.port, &["-i", id, "-l", "root"]).arg("true"));
    assert!(text(&refused.stderr).contains("Permission denied"), "{}", text(&refused.stderr));
    assert!(run(home.ssh_with(server.port, &["-i", id, "-l", "deploy"]).arg("true")).status.success());
}

#[test]
fn connections_that_stall_hold_no_client_up_and_are_dropped_at_the_claim() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let silent = server.connect();
    let mut halting = server.connect();
    halting.write_all(b"SSH-2.0-half a ban").unwrap();
    let mut midway = Client::start(python("hostile.py").arg("stall-after-kex").arg(server.port.to_string()));
    midway.await_line("stalling");
    let mut visit = home.visit(&server, "echo in; read line", "in");
    for mut unknown in [silent, halting] {
        // An end or a reset, but an end: the read does not wait for its time-out.
        if let Err(error) = unknown.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    midway.await_line("closed");
    assert!(visit.child.try_wait().unwrap().is_none(), "the visit goes on");
    visit.write("done\n");
    assert!(visit.finish().0.success());
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_second_visitor_is_refused_by_the_kernel() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut visit = home.visit(&server, "echo in; read line", "in");
    assert_eq!(TcpStream::connect(("127.0.0.1", server.port)).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let second = run(home.ssh(&server).arg("true"));
    assert_eq!(second.status.code(), Some(255));
    assert!(text(&second.stderr).contains("Connection refused"), "{}", text(&second.stderr));
    visit.write("done\n");
    assert!(visit.finish().0.success());
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(home.audits("auth").len(), 1);
}

#[test]
fn of_many_who_hold_the_key_one_comes_in() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut visitors: Vec<_> = (0..6).map(|_| Client::start(home.ssh(&server).arg("echo in; cat >/dev/null; exit 5"))).collect();
    let statuses: Vec<_> = visitors.drain(..).map(|visitor| visitor.finish().0.code()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == Some(5)).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == Some(255)).count(), 5, "{statuses:?}");
    assert_eq!(server.wait().0.code(), Some(5));
    assert_eq!(home.audits("exec").len(), 1);
}

#[test]
fn a_second_session_on_the_connection_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let socket = format!("-oControlPath={}", home.path("mux").display());
    let id = home.path("id");
    let id = id.to_str().unwrap();
    let master = ["-oLogLevel=INFO", "-oControlMaster=yes", &socket, "-i", id];
    let mut first = Client::start(home.ssh_with(server.port, &master).arg("echo first; cat"));
    first.await_line("first");
    let second = run(home.ssh_with(server.port, &[&socket, "-i", id]).arg("echo second"));
    assert_eq!((second.status.code(), text(&second.stdout)), (Some(255), String::new()));
    first.await_stderr("administratively prohibited");
    first.write("still here\n");
    first.await_line("still here");
    assert!(first.finish().0.success());
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(home.audits("refusal")[0]["what"], "session");
}

#[test]
fn post_quantum_only_refuses_an_older_exchange_and_stays_open() {
    let home = Home::new();
    let mut server = home.open(&["--pq-only"]);
    let id = home.path("id");
    let older = ["-oLogLevel=INFO", "-oKexAlgorithms=curve25519-sha256", "-i", id.to_str().unwrap()];
    let refused = run(home.ssh_with(server.port, &older).arg("true"));
    assert_eq!(refused.status.code(), Some(255));
    assert!(text(&refused.stderr).contains("no matching key exchange method found"), "{}", text(&refused.stderr));
    let visit = run(python("visits.py").arg("post-quantum").arg(server.port.to_string()).arg(home.path("id")));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn the_link_otssh_takes_the_flags_of_its_namesake() {
    let home = Home::new();
    let link = home.path("otssh");
    std::os::unix::fs::symlink(sally(), &link).unwrap();
    let mut command = Command::new(link);
    command.arg(format!("-authorized-keys={}", home.path("id.pub").display()));
    command.arg(format!("-log={}", home.path("visit.cast").display()));
    command.args(["-port", "0", "-timeout=60", "-announce=true"]);
    let mut server = Server::open(command);
    assert_eq!(run(home.ssh(&server).arg("exit 9")).status.code(), Some(9));
    assert_eq!(server.wait().0.code(), Some(9));
    home.assert_sealed(&server);
}
