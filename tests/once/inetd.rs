//! `--inetd`: the one connection is on stdin and stdout, as with `sshd -i`.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use crate::support::*;

/// `sally once --inetd` for this home's key, recording to `visit.cast`.
fn inetd(home: &Home) -> Command {
    let mut command = Command::new(sally());
    command.args(["once", "--inetd", "--authorized-keys"]).arg(home.path("id.pub")).arg("--log").arg(home.path("visit.cast"));
    command.env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    command
}

fn line(command: &Command) -> String {
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).map(|word| word.to_str().unwrap()).collect();
    words.join(" ")
}

/// ssh with this as its ProxyCommand.
fn through(home: &Home, proxy: &str) -> Command {
    let id = home.path("id");
    let mut ssh = home.ssh_with(1, &["-i", id.to_str().unwrap()]);
    ssh.arg("-o").arg(format!("ProxyCommand={proxy}")).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    ssh
}

/// The host key of the record: what seals it.
fn sealed(home: &Home, stderr: &str) {
    let key = stderr.lines().find(|line| line.starts_with("ssh-ed25519 ")).expect("the host key is on stderr");
    let (verdict, said) = verify(&home.path("visit.cast"), Some(key));
    assert_eq!(verdict, 0, "{said}");
}

#[test]
fn a_proxy_command_serves_a_visit() {
    let home = Home::new();
    let mut ssh = through(&home, &line(&inetd(&home)));
    let visit = run_with(ssh.arg("cat; echo \"$SSH_CONNECTION\"; exit 7"), b"both ways\n");
    assert_eq!((text(&visit.stdout), visit.status.code()), ("both ways\nUNKNOWN 65535 UNKNOWN 65535\n".into(), Some(7)));
    sealed(&home, &text(&visit.stderr));
    assert_eq!(home.audits("connect")[0]["peer"], "unknown");
}

#[test]
fn a_terminal_works_through_it() {
    let home = Home::new();
    let mut ssh = through(&home, &line(&inetd(&home)));
    let mut terminal = Terminal::start(ssh.args(["-tt", "echo size=$(stty size); tty"]));
    assert_eq!(terminal.await_word("size="), "24 80");
    assert!(terminal.finish().1.contains("/dev/pts/"));
}

/// Whoever serves a TCP connection, as inetd and systemd do.
fn serve(command: &Command, stderr_too: bool) -> (u16, JoinHandle<Child>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut inner = Command::new(command.get_program());
    inner.args(command.get_args()).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    let accepting = thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let end = |tcp: &TcpStream| Stdio::from(OwnedFd::from(tcp.try_clone().unwrap()));
        let errors = if stderr_too { end(&tcp) } else { Stdio::piped() };
        inner.stdin(end(&tcp)).stdout(end(&tcp)).stderr(errors).spawn().unwrap()
    });
    (port, accepting)
}

#[test]
fn a_socket_of_an_inetd_tells_where_the_visitor_comes_from() {
    let home = Home::new();
    home.write("id.pub", format!("from=\"127.0.0.0/8\" {}", home.read("id.pub")));
    // As the old inetd does it: stderr is the connection too, and nothing of ours may be said there.
    for stderr_too in [false, true] {
        let _ = std::fs::remove_file(home.path("visit.cast"));
        let (port, accepting) = serve(&inetd(&home), stderr_too);
        let visit = run(home.ssh_to(port).arg("echo $SSH_CLIENT; exit 5"));
        let said = text(&visit.stdout);
        assert!(said.starts_with("127.0.0.1 ") && said.ends_with(&format!(" {port}\n")), "{said} {}", text(&visit.stderr));
        assert_eq!(visit.status.code(), Some(5));
        let mut server = accepting.join().unwrap();
        assert_eq!(wait(&mut server).code(), Some(5));
        assert!(home.audits("connect")[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
}

#[test]
fn a_balancer_before_an_inetd_tells_where_the_visitor_comes_from() {
    let home = Home::new();
    home.write("id.pub", format!("from=\"198.51.100.7\" {}", home.read("id.pub")));
    let mut command = inetd(&home);
    command.args(["--proxy-protocol", "127.0.0.0/8"]);
    let (port, accepting) = serve(&command, false);
    let mut balancer = Client::start(python("balancer.py").args([&port.to_string(), "tcp"]));
    let visit = run(home.ssh_to(balancer.await_line("port ").parse().unwrap()).arg("echo $SSH_CLIENT"));
    assert_eq!(text(&visit.stdout), "198.51.100.7 50000 22\n", "{}", text(&visit.stderr));
    assert_eq!(wait(&mut accepting.join().unwrap()).code(), Some(0));
    // On a pipe there is no balancer, whatever is said: the visit is over.
    std::fs::remove_file(home.path("visit.cast")).unwrap();
    let mut command = inetd(&home);
    command.args(["--proxy-protocol", "127.0.0.0/8", "--proxy-protocol", "::1"]);
    let said = run_with(&mut command, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0SSH-2.0-x\r\n");
    assert!(text(&said.stdout).ends_with("Invalid SSH identification string.\r\n"), "{}", text(&said.stdout));
}

#[test]
fn an_address_that_nobody_can_prove_is_no_address() {
    let home = Home::new();
    home.write("id.pub", format!("from=\"127.0.0.0/8,::1\" {}", home.read("id.pub")));
    let visit = run(through(&home, &line(&inetd(&home))).arg("echo in"));
    assert_eq!((text(&visit.stdout), visit.status.code()), (String::new(), Some(255)));
    assert!(text(&visit.stderr).contains("Permission denied (publickey)"), "{}", text(&visit.stderr));
}

#[test]
fn a_pair_of_sockets_and_two_pipes_will_do() {
    for kind in ["socketpair", "pipes"] {
        let home = Home::new();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = inetd(&home);
        match kind {
            "pipes" => command.stdin(Stdio::piped()).stdout(Stdio::piped()),
            _ => command.stdin(OwnedFd::from(theirs.try_clone().unwrap())).stdout(OwnedFd::from(theirs)),
        };
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let banner = match kind {
            "pipes" => first_line(child.stdout.take().unwrap()),
            _ => first_line(ours.try_clone().unwrap()),
        };
        assert!(banner.starts_with("SSH-2.0-Sally_"), "{kind}: {banner}");
        ours.shutdown(Shutdown::Both).unwrap();
        drop(child.stdin.take());
        // The other side is gone before anybody was in.
        assert_eq!(wait(&mut child).code(), Some(255), "{kind}");
    }
}

fn first_line(stream: impl std::io::Read + Send + 'static) -> String {
    lines(stream).recv_timeout(PATIENCE).unwrap()
}

#[test]
fn what_is_no_connection_is_an_error() {
    let home = Home::new();
    let mut command = inetd(&home);
    let file = std::fs::File::open(home.path("id.pub")).unwrap();
    let status = command.stdin(file).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(status.status.code(), Some(69));
    assert!(text(&status.stderr).starts_with("Could not serve stdin and stdout: "), "{}", text(&status.stderr));
}

#[test]
fn arguments_that_contradict_it_are_refused() {
    let home = Home::new();
    let keys = home.path("id.pub");
    let keys = keys.to_str().unwrap();
    for wrong in [
        &["--authorized-keys", keys][..],
        &["--authorized-keys", keys, "--log", "x", "--port", "2022"],
        &["--authorized-keys", keys, "--log", "x", "--listen", "::1"],
        &["--authorized-keys", "-", "--log", "x"],
        &["--authorized-keys", keys, "--log", "-"],
    ] {
        let output = run(Command::new(sally()).args(["once", "--inetd"]).args(wrong));
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_record_to_the_visitors_own_stream_is_refused() {
    let home = Home::new();
    let mut command = Command::new(sally());
    command.args(["once", "--inetd", "--log", "/dev/stdout", "--authorized-keys"]).arg(home.path("id.pub"));
    let visit = run(through(&home, &line(&command)).arg("echo in"));
    assert!(!visit.status.success() && visit.stdout.is_empty());
    assert!(text(&visit.stderr).contains("Could not write to log file stdout: No space left on device"), "{}", text(&visit.stderr));
}

#[test]
fn announce_has_no_port_to_tell() {
    let home = Home::new();
    let script = home.write("announce", format!("#!/bin/sh\necho \"port=$SALLY_PORT. $1\" >{}\n", home.path("told").display()));
    assert!(Command::new("chmod").arg("755").arg(&script).status().unwrap().success());
    let mut command = inetd(&home);
    command.arg("--announce").arg(&script);
    let told = home.path("told");
    let visit = run(through(&home, &line(&command)).arg(format!("until [ -s {} ]; do :; done; cat {}", told.display(), told.display())));
    assert!(text(&visit.stdout).starts_with("port=. ssh-ed25519 AAAA"), "{}", text(&visit.stdout));
}

#[test]
fn a_host_key_of_ones_own_is_the_same_each_time() {
    let home = Home::new();
    let key = home.key("host", "ed25519");
    let known = home.read("host.pub").split(' ').take(2).collect::<Vec<_>>().join(" ");
    let hosts = home.write("known_hosts", format!("[127.0.0.1]:1 {known}\n"));
    for _ in 0..2 {
        let _ = std::fs::remove_file(home.path("visit.cast"));
        let mut command = inetd(&home);
        command.arg("--host-key").arg(&key);
        let id = home.path("id");
        let known_hosts = format!("-oUserKnownHostsFile={}", hosts.display());
        let mut ssh = home.ssh_with(1, &["-i", id.to_str().unwrap(), "-oStrictHostKeyChecking=yes", &known_hosts]);
        let visit = run(ssh.arg("-o").arg(format!("ProxyCommand={}", line(&command))).arg("echo in"));
        assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    }
}

#[test]
fn whoever_authenticates_nobody_leaves_no_record() {
    let home = Home::new();
    for said in [&b""[..], b"SSH-2.0-x\r\n", b"GET / HTTP/1.0\r\n\r\n"] {
        let ended = run_with(&mut inetd(&home), said);
        assert!(text(&ended.stdout).starts_with("SSH-2.0-Sally"), "{}", text(&ended.stderr));
        assert!(!home.path("visit.cast").exists(), "{}", home.record());
    }
    let other = home.key("other", "ed25519");
    let mut ssh = home.ssh_with(1, &["-i", other.to_str().unwrap()]);
    ssh.arg("-o").arg(format!("ProxyCommand={}", line(&inetd(&home)))).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    let refused = run(ssh.arg("true"));
    assert!(text(&refused.stderr).contains("Permission denied"), "{}", text(&refused.stderr));
    assert!(!home.path("visit.cast").exists());
}

#[test]
fn a_record_that_could_not_be_made_is_told_before_anybody_comes() {
    let home = Home::new();
    let mut command = Command::new(sally());
    command.args(["once", "--inetd", "--authorized-keys"]).arg(home.path("id.pub")).args(["--log", "/nowhere/visit.cast"]);
    let ended = run(command.env_remove("AUTHORIZED_KEYS"));
    assert_eq!((ended.status.code(), text(&ended.stdout)), (Some(74), String::new()), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("Could not write to log file /nowhere/visit.cast: No such file or directory"));
}
