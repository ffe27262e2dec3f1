//! What happens after a minute or an hour, by a clock that the tests put forward.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::thread;

use crate::scale::multiplex::{master, through};
use crate::support::*;

fn open(home: &Home, clock: &Clock, options: &[&str]) -> Server {
    let mut command = home.once();
    command.args(options);
    Server::open(clock.govern(command))
}

/// The connection is there, and nobody is at its other end.
#[test]
fn a_client_that_answers_no_keepalive_is_gone() {
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut server = open(&home, &clock, &["-v"]);
    let mut client = home.visit(&server, "echo in; echo $$; exec sleep 100000", "in");
    let program = client.await_pid();
    client.signal("STOP");
    clock.hurry(30);
    let (status, said) = server.wait();
    assert!(said.contains("Keepalive timeout"), "{said}");
    assert_eq!((status.code(), said.lines().last()), (Some(255), Some("Connection closed unexpectedly")));
    assert!(!lives(program));
    assert_eq!(home.audits("close")[0]["reason"], "no answer to keepalives");
    home.assert_sealed(&server);
}

/// As sshd: it asks after 15, 30 and 45 s of silence, and the last question has as long to be answered as the others.
#[test]
fn silence_is_asked_about_three_times_and_lasts_a_minute() {
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut server = open(&home, &clock, &[]);
    let mut client = Client::start(python("hostile.py").arg("answer-nothing").arg(server.port.to_string()).arg(home.path("id")));
    client.await_line("silent");
    clock.hurry(30);
    assert_eq!(server.wait().0.code(), Some(255));
    assert_eq!(client.await_line("asked "), "3");
    assert_eq!(home.audits("close")[0]["reason"], "no answer to keepalives");
    let record = home.record();
    let last = record.lines().rfind(|line| line.starts_with('[')).unwrap();
    let (lasted, _, _): (f64, String, String) = serde_json::from_str(last).unwrap();
    assert!(lasted >= 60.0, "{lasted} s");
    home.assert_sealed(&server);
}

/// A job in the background that holds the streams and never falls silent, nor hears SIGHUP.
fn a_job_that_goes_on_talking(terminal: &[&str]) {
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut server = open(&home, &clock, &[]);
    let script = "trap '' HUP; echo in; (while :; do echo still; sleep 0.01; done) & echo job=$!; exit 3";
    let mut client = Client::start(home.ssh(&server).args(terminal).arg(script));
    client.await_line("in");
    let job = client.await_line("job=").trim().parse().unwrap(); // Whoever of the two speaks first.
    client.await_line("still");
    clock.hurry(30);
    assert_eq!(server.wait().0.code(), Some(3));
    assert!(!lives(job));
    assert_eq!(client.finish().0.code(), Some(3));
    home.assert_sealed(&server);
}

#[test]
fn a_job_that_goes_on_talking_is_not_listened_to_for_ever() {
    a_job_that_goes_on_talking(&[]);
    a_job_that_goes_on_talking(&["-tt"]);
}

#[test]
fn a_client_that_stays_when_all_is_over_is_not_waited_for() {
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut server = open(&home, &clock, &[]);
    let (client, control) = master(&home, &server);
    assert_eq!(run(through(&home, &server, &control).arg("exit 3")).status.code(), Some(3));
    clock.hurry(30);
    assert_eq!(server.wait().0.code(), Some(3), "the visit was over");
    assert_eq!(client.finish().0.code(), Some(255));
    home.assert_sealed(&server);
}

/// A server that says back what it hears, to one client.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 16];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..read]).unwrap();
        }
    });
    port
}

#[test]
fn forwards_alone_are_idle_when_they_carry_nothing() {
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut server = open(&home, &clock, &["--allow", "local-forward", "--idle-timeout", "100"]);
    let socket = home.path("local.sock");
    let (id, local) = (home.path("id"), format!("{}:127.0.0.1:{}", socket.display(), echo()));
    let client = Client::start(&mut home.ssh_with(server.port, &["-N", "-L", &local, "-i", id.to_str().unwrap()]));
    let mut stream = until("ssh listens", || UnixStream::connect(&socket).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut ask = || {
        stream.write_all(b"anybody?").unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).map(|()| answer)
    };
    // Longer than the limit in all, and never so long between two of them.
    for minute in 0..5 {
        clock.put_forward_to(60 * minute);
        assert_eq!(&ask().unwrap(), b"anybody?");
    }
    clock.put_forward_to(60 * 4 + 101);
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(124), Some("The visit ended: idle for 100 s")));
    let (status, _, told) = client.finish();
    assert!(status.code() == Some(255) && told.contains(": The visit ended: idle for 100 s"), "{told}");
    assert_eq!(home.audits("close")[0]["reason"], "The visit ended: idle for 100 s");
    home.assert_sealed(&server);
}

/// After an hour the server asks for new keys, whoever is in mid-transfer.
#[test]
fn a_server_rekeys_every_hour_in_the_middle_of_both_ways() {
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut server = open(&home, &clock, &[]);
    let id = home.path("id");
    let mut client = Client::start(home.ssh_with(server.port, &["-v", "-i", id.to_str().unwrap()]).arg("cat"));
    client.await_stderr("Sending command");
    let piece = "a line of an upload and of a download\n".repeat(1000);
    for hour in 1..=4 {
        // What comes back shows that the session is open, and that the server has the keys of the last exchange.
        client.write(format!("hour {hour}\n"));
        client.await_line(&format!("hour {hour}"));
        client.write(&piece);
        clock.put_forward_to(hour * 3601);
        client.write(&piece);
        let first = client.await_stderr("SSH2_MSG_KEXINIT");
        assert!(first.contains("received"), "the server began: {first}");
        client.await_stderr("SSH2_MSG_NEWKEYS received");
    }
    client.write("over\n");
    client.await_line("over");
    let sent = (1..=4).map(|hour| format!("hour {hour}\n{}", piece.repeat(2))).collect::<String>() + "over";
    assert!(client.said().join("\n") == sent, "what came back is what was sent");
    assert_eq!((client.finish().0.code(), server.wait().0.code()), (Some(0), Some(0)));
    home.assert_sealed(&server);
}
