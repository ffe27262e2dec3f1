//! From here to the visitor: `ssh -R`.

use super::*;

/// ssh -N -R: the client, and the port that it was given.
fn remote(home: &Home, server: &Server, specification: &str) -> (Client, u16) {
    let mut client = Client::start(&mut forwarding(home, server, &["-N", "-R", specification]));
    let line = client.await_stderr("Allocated port ");
    let port = line.split("Allocated port ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    (client, port)
}

fn refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn a_port_here_leads_to_the_visitor_until_they_leave() {
    let home = Home::new();
    let target = digest();
    let mut server = home.open(REMOTE);
    let (client, port) = remote(&home, &server, &format!("0:127.0.0.1:{target}"));
    let question = noise(1 << 20);
    for address in ["127.0.0.1", "::1"] {
        assert_eq!(ask(TcpStream::connect((address, port)).unwrap(), &question), expected(&question), "{address}");
    }
    leave(client);
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(refused(port));
    let forwards = home.audits("forward");
    assert_eq!((forwards.len(), home.audits("forward-end").len()), (3, 3));
    assert!(forwards[0]["origin"].is_null() && forwards.iter().all(|forward| forward["direction"] == "remote"));
    assert!(forwards[1]["origin"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", forwards[1]);
    let through = home.audits("forward-end").into_iter().find(|end| end["id"] == forwards[1]["id"]).unwrap();
    assert_eq!((&through["sent"], &through["sent_blake3"]), (&question.len().into(), &b3sum(&question).into()));
    home.assert_sealed(&server);
}

#[test]
fn a_port_here_is_loopbacks_alone_whatever_address_is_asked_for() {
    let home = Home::new();
    let target = digest();
    for (index, address) in ["0.0.0.0:", "*:", "127.0.0.2:"].into_iter().enumerate() {
        let server = Server::open({
            let mut command = home.once_to(&home.path(format!("{index}.cast")));
            command.args(REMOTE);
            command
        });
        let (client, port) = remote(&home, &server, &format!("{address}0:127.0.0.1:{target}"));
        assert_eq!(ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), b"?"), expected(b"?"), "{address}");
        assert!(TcpStream::connect(("127.0.0.2", port)).is_err(), "{address}");
        leave(client);
    }
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let _of_the_other_family = TcpListener::bind(("::1", port)).unwrap();
    let mut server = home.open(REMOTE);
    let options = ["-oExitOnForwardFailure=yes", "-N", "-R", &format!("{port}:127.0.0.1:1")];
    let visit = run(&mut forwarding(&home, &server, &options));
    assert!(text(&visit.stderr).contains("remote port forwarding failed"), "{}", text(&visit.stderr));
    server.wait();
    assert_eq!(refusals(&home), [("tcpip-forward".into(), format!("localhost:{port}: Address already in use"))]);
}

#[test]
fn the_line_of_the_key_says_where_may_be_listened() {
    let (first, second) = (free_port(), free_port());
    let only = format!("permitlisten=\"localhost:{first}\"");
    for (options, port, listens) in [
        (only.as_str(), first, true),
        (&only, second, false),
        (&only, 0, false),
        ("permitlisten=\"localhost:*\"", 0, true),
        ("no-port-forwarding", first, false),
        ("restrict", first, false),
    ] {
        let home = Home::new();
        let mut server = open_for(&home, options, REMOTE);
        let arguments = ["-oExitOnForwardFailure=yes", "-R", &format!("{port}:127.0.0.1:1")];
        let visit = run(forwarding(&home, &server, &arguments).arg("true"));
        assert_eq!(visit.status.success(), listens, "{options} {port}: {}", text(&visit.stderr));
        server.wait();
        assert_eq!(refusals(&home).len(), usize::from(!listens), "{options} {port}");
    }
}

#[test]
fn a_port_is_given_back_while_the_visitor_stays() {
    let home = Home::new();
    let (target, port, control) = (digest(), free_port(), home.path("control"));
    let specification = format!("{port}:127.0.0.1:{target}");
    let mut server = home.open(REMOTE);
    let control = format!("-oControlPath={}", control.display());
    let master = Client::start(&mut forwarding(&home, &server, &["-N", "-M", &control, "-R", &specification]));
    let through = until("the port is there", || TcpStream::connect(("127.0.0.1", port)).ok());
    let ask_master = |command: &str| run(&mut forwarding(&home, &server, &[&control, "-O", command, "-R", &specification]));
    let cancelled = ask_master("cancel");
    assert!(cancelled.status.success(), "{}", text(&cancelled.stderr));
    assert!(refused(port));
    assert_eq!(ask(through, b"?"), expected(b"?"), "who is connected already goes on");
    // And taken again.
    assert!(ask_master("forward").status.success());
    assert_eq!(ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), b"?"), expected(b"?"));
    leave(master);
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(home.audits("forward-end").iter().any(|end| end["reason"] == "cancelled"));
}

#[test]
fn a_unix_socket_here_leads_to_the_visitor_and_is_removed() {
    let home = Home::new();
    let (target, socket) = (digest(), home.path("remote.sock"));
    let mut server = home.open(REMOTE);
    let specification = format!("{}:127.0.0.1:{target}", socket.display());
    let client = Client::start(&mut forwarding(&home, &server, &["-N", "-R", &specification]));
    let stream = connect(&socket);
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ask(stream, b"question"), expected(b"question"));
    leave(client);
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(!socket.exists());
    assert!(home.audits("forward")[1]["origin"].as_str().unwrap().starts_with("pid "));
}

#[test]
fn a_file_in_the_way_of_a_socket_stays() {
    let home = Home::new();
    let file = home.write("remote.sock", "somebody's");
    let mut server = home.open(REMOTE);
    let options = ["-oExitOnForwardFailure=yes", "-R", &format!("{}:127.0.0.1:1", file.display())];
    assert!(!run(forwarding(&home, &server, &options).arg("true")).status.success());
    server.wait();
    assert_eq!(home.read("remote.sock"), "somebody's");
}

/// Nobody is led elsewhere by a link: neither to what is there, nor to make something where it points.
#[test]
fn a_link_in_the_way_of_a_socket_is_not_followed() {
    let home = Home::new();
    let _listener = UnixListener::bind(home.path("somebody's")).unwrap();
    for target in ["somebody's", "nothing"] {
        let link = home.path(format!("to-{target}"));
        std::os::unix::fs::symlink(home.path(target), &link).unwrap();
        let mut server = Server::open({
            let mut once = home.once_to(&home.path(format!("{target}.cast")));
            once.args(REMOTE);
            once
        });
        let options = ["-oExitOnForwardFailure=yes", "-R", &format!("{}:127.0.0.1:1", link.display())];
        assert!(!run(forwarding(&home, &server, &options).arg("true")).status.success(), "{target}");
        server.wait();
        assert_eq!(std::fs::read_link(&link).unwrap(), home.path(target));
    }
    assert!(UnixStream::connect(home.path("somebody's")).is_ok(), "it still listens");
    assert!(!home.path("nothing").exists());
}

/// What the umask says doesn't open a socket to others.
#[test]
fn a_socket_is_the_owners_whatever_the_umask() {
    let home = Home::new();
    let socket = home.path("remote.sock");
    let plain = home.once();
    let mut command = tool("sh", "dash");
    command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args()).args(REMOTE).env("SHELL", "/bin/sh");
    let server = Server::open(command);
    let options = ["-oExitOnForwardFailure=yes", "-R", &format!("{}:127.0.0.1:1", socket.display())];
    let mut visit = Client::start(forwarding(&home, &server, &options).arg(format!("stat -c %a {}; read -r _", socket.display())));
    assert_eq!(visit.await_line(""), "600");
    visit.write("\n");
    assert!(visit.finish().0.success());
}
