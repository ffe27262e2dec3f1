//! From here on: `ssh -L`, `-D`, `-W`.

use super::*;

#[test]
fn one_connection_goes_through_and_is_counted_and_hashed() {
    let home = Home::new();
    let (port, question) = (digest(), noise(3 << 20));
    let mut server = home.open(LOCAL);
    let visit = run_with(&mut forwarding(&home, &server, &["-W", &format!("localhost:{port}")]), &question);
    assert_eq!((text(&visit.stdout), visit.status.code()), (expected(&question), Some(0)), "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(0), "a visit that was for forwarding ends well");
    let (forward, end) = (&home.audits("forward")[0], &home.audits("forward-end")[0]);
    assert_eq!((&forward["direction"], &forward["target"]), (&"local".into(), &format!("localhost:{port}").into()));
    assert!(forward["origin"].is_string());
    assert_eq!(home.audits("forward-open")[0]["id"], forward["id"]);
    let answer = expected(&question);
    assert_eq!((&end["received"], &end["received_blake3"]), (&question.len().into(), &b3sum(&question).into()));
    assert_eq!((&end["sent"], &end["sent_blake3"]), (&answer.len().into(), &b3sum(answer.as_bytes()).into()));
    assert!(end["lasted"].is_u64() && end["reason"].is_null(), "{end}");
    assert!(home.stream("stdout").is_empty(), "of what is forwarded the record keeps length and hash");
    home.assert_sealed(&server);
}

#[test]
fn a_half_that_is_closed_leaves_the_other_open_both_ways_round() {
    let home = Home::new();
    // The server closes its half at once, and listens on.
    let (told, hears) = std::sync::mpsc::channel();
    let port = serve(move |mut stream| {
        stream.write_all(b"welcome").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        told.send(all).unwrap();
    });
    let server = home.open(LOCAL);
    let (client, socket) = local(&home, &server, &format!("127.0.0.1:{port}"));
    let mut stream = connect(&socket);
    let mut welcome = String::new();
    stream.read_to_string(&mut welcome).unwrap();
    assert_eq!(welcome, "welcome");
    stream.write_all(&[7; 300_000]).unwrap();
    drop(stream);
    assert_eq!(hears.recv_timeout(PATIENCE).unwrap(), [7; 300_000]);
    leave(client);
}

#[test]
fn many_bytes_go_through_unchanged_both_ways_at_once() {
    let _turn = big();
    let home = Home::new();
    let port = serve(|stream| {
        let mut reader = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut reader, &mut &stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    });
    let mut server = home.open(LOCAL);
    let before = server.rss();
    let (client, socket) = local(&home, &server, &format!("127.0.0.1:{port}"));
    let (stream, question) = (connect(&socket), noise(64 << 20));
    let (sent, mut writer) = (b3sum(&question), stream.try_clone().unwrap());
    let writing = thread::spawn(move || {
        writer.write_all(&question).unwrap();
        writer.end();
    });
    let (mut came, mut piece, mut reader) = (blake3::Hasher::new(), vec![0; 64 << 10], stream);
    loop {
        let read = reader.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        came.update(&piece[..read]);
    }
    writing.join().unwrap();
    assert_eq!(came.finalize().to_string(), sent);
    let grown = server.rss();
    assert!(grown < before + (64 << 10), "{before} KiB grew to {grown}");
    leave(client);
    assert_eq!(server.wait().0.code(), Some(0));
    let end = &home.audits("forward-end")[0];
    assert_eq!((&end["received_blake3"], &end["sent_blake3"]), (&sent.clone().into(), &sent.into()));
}

#[test]
fn a_slow_reader_slows_nobody_else() {
    let _turn = big();
    let home = Home::new();
    let torrent = serve(|mut stream| while stream.write_all(&[0; 65536]).is_ok() {});
    let other = digest();
    let server = home.open(LOCAL);
    let before = server.rss();
    let (slow, fast) = (home.path("slow.sock"), home.path("fast.sock"));
    let specification = |socket: &Path, port: u16| format!("{}:127.0.0.1:{port}", socket.display());
    let options = ["-N", "-L", &specification(&slow, torrent), "-L", &specification(&fast, other)];
    let client = Client::start(&mut forwarding(&home, &server, &options));
    until("ssh listens", || (slow.exists() && fast.exists()).then_some(()));
    let mut stuck = connect(&slow);
    stuck.read_exact(&mut [0; 1]).unwrap();
    let question = noise(24 << 20);
    assert_eq!(ask(connect(&fast), &question), expected(&question));
    assert!(server.rss() < before + (96 << 10));
    leave(client);
}

#[test]
fn a_socks_proxy_resolves_names_here() {
    let home = Home::new();
    let port = serve(|mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\npage\n");
    });
    let mut server = home.open(LOCAL);
    let proxy = free_port();
    let client = Client::start(&mut forwarding(&home, &server, &["-N", "-D", &format!("127.0.0.1:{proxy}")]));
    until("ssh listens", || TcpStream::connect(("127.0.0.1", proxy)).ok());
    let url = format!("http://localhost:{port}/");
    let got = run(tool("curl", "curl").args(["-sS", "--noproxy", "", "--socks5-hostname", &format!("127.0.0.1:{proxy}"), &url]));
    assert_eq!(text(&got.stdout), "page\n", "{}", text(&got.stderr));
    leave(client);
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(home.audits("forward")[0]["target"], format!("localhost:{port}"));
}

#[test]
fn a_unix_socket_is_reached() {
    let home = Home::new();
    let socket = home.path("server.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        stream.write_all(all.to_uppercase().as_bytes()).unwrap();
    });
    let mut server = home.open(LOCAL);
    let (client, here) = local(&home, &server, socket.to_str().unwrap());
    assert_eq!(ask(connect(here), b"question"), "QUESTION");
    serving.join().unwrap();
    leave(client);
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(home.audits("forward")[0]["target"], socket.to_str().unwrap());
}

#[test]
fn dbclient_forwards() {
    let home = Home::new();
    let (port, here) = (digest(), free_port());
    let mut server = home.open(LOCAL);
    let key = home.path("id.db");
    assert!(run(tool("dropbearconvert", "dropbear-bin").args(["openssh", "dropbear"]).arg(home.path("id")).arg(&key)).status.success());
    let mut command = tool("dbclient", "dropbear-bin");
    command.env("HOME", home.path("")).args(["-y", "-y", "-p", &server.port.to_string(), "-i"]).arg(key);
    let client = Client::start(command.args(["-N", "-L", &format!("127.0.0.1:{here}:127.0.0.1:{port}"), "anyone@127.0.0.1"]));
    let stream = until("dbclient listens", || TcpStream::connect(("127.0.0.1", here)).ok());
    assert_eq!(ask(stream, b"question"), expected(b"question"));
    leave(client);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_target_that_is_not_there_is_refused_with_the_systems_words() {
    let home = Home::new();
    let port = free_port();
    let mut server = home.open(LOCAL);
    let said = run(&mut forwarding(&home, &server, &["-W", &format!("127.0.0.1:{port}")]));
    assert!(text(&said.stderr).contains("connect failed: Connection refused"), "{}", text(&said.stderr));
    server.wait();
    assert_eq!(home.audits("forward-end")[0]["reason"], "connect failed: Connection refused");
    assert!(home.audits("forward-open").is_empty());
}

#[test]
fn the_line_of_the_key_says_what_may_be_opened() {
    let (first, second) = (digest(), digest());
    let (only, none) = (format!("permitopen=\"127.0.0.1:{first}\""), "not permitted for this key");
    for (options, target, opens) in [
        (only.as_str(), format!("127.0.0.1:{first}"), true),
        (&only, format!("127.0.0.1:{second}"), false),
        (&only, format!("localhost:{first}"), false),
        ("no-port-forwarding", format!("127.0.0.1:{first}"), false),
        ("restrict", format!("127.0.0.1:{first}"), false),
        ("restrict,port-forwarding", format!("127.0.0.1:{first}"), true),
    ] {
        let home = Home::new();
        let mut server = open_for(&home, options, LOCAL);
        let visit = run_with(&mut forwarding(&home, &server, &["-W", &target]), b"?");
        let (got, said) = (text(&visit.stdout) == expected(b"?"), text(&visit.stderr));
        assert_eq!((got, said.contains(none)), (opens, !opens), "{options} {target}: {said}");
        server.wait();
        assert_eq!(refusals(&home).len(), usize::from(!opens));
    }
}

#[test]
fn a_line_that_names_ports_names_no_sockets() {
    let home = Home::new();
    let _listener = UnixListener::bind(home.path("server.sock")).unwrap();
    let mut server = open_for(&home, "permitopen=\"127.0.0.1:1\",permitlisten=\"1\"", &["--allow", "local-forward,remote-forward"]);
    let (client, here) = local(&home, &server, home.path("server.sock").to_str().unwrap());
    assert_eq!(connect(here).read(&mut [0]).unwrap(), 0);
    leave(client);
    server.wait();
    assert_eq!(refusals(&home)[0].0, "direct-streamlocal");
    let remote = home.path("remote.sock");
    let mut server = Server::open({
        let mut command = home.once_for(&home.path("keys"));
        command.arg("--log").arg(home.path("second.cast")).args(REMOTE);
        command
    });
    let options = ["-oExitOnForwardFailure=yes", "-R", &format!("{}:127.0.0.1:1", remote.display())];
    assert!(!run(forwarding(&home, &server, &options).arg("true")).status.success());
    server.wait();
    assert!(!remote.exists());
}
