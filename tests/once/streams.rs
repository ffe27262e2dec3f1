//! stdin, stdout and stderr without a terminal: each has its own end.

use std::io::Write;

use crate::support::*;

#[test]
fn the_end_of_stdin_is_honoured() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run_with(home.ssh(&server).arg("cat; echo after"), b"x");
    assert_eq!(text(&visit.stdout), "xafter\n");
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(home.stream("stdin"), b"x");
}

#[test]
fn stdout_and_stderr_stay_apart() {
    let home = Home::new();
    let server = home.open(&[]);
    let visit = run(home.ssh(&server).arg("for i in 1 2 3; do echo out$i; echo err$i >&2; done"));
    assert_eq!((text(&visit.stdout), text(&visit.stderr)), ("out1\nout2\nout3\n".into(), "err1\nerr2\nerr3\n".into()));
    assert_eq!(home.stream("stdout"), visit.stdout);
    assert_eq!(home.stream("stderr"), visit.stderr);
}

#[test]
fn nothing_is_translated_without_a_terminal() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let visit = run_with(home.ssh(&server).arg("cat; tty"), &bytes);
    let (echoed, rest) = visit.stdout.split_at(bytes.len());
    assert!(echoed == bytes && rest == b"not a tty\n", "{}", text(rest));
    server.wait();
    assert_eq!(home.stream("stdin"), bytes);
}

#[test]
fn a_command_that_does_not_read_is_not_waited_for() {
    let home = Home::new();
    let mut server = home.open(&[]);
    // More than any window and every buffer between here and there.
    let flood = vec![b'x'; 40 << 20];
    let visit = run_with(home.ssh(&server).arg("head -c 3; exit 4"), &flood);
    assert_eq!((text(&visit.stdout), visit.status.code()), ("xxx".into(), Some(4)));
    assert_eq!(server.wait().0.code(), Some(4));
}

#[test]
fn a_command_that_closes_its_stdin_goes_on() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let flood = vec![b'x'; 40 << 20];
    let visit = run_with(home.ssh(&server).arg("exec <&-; head -c 300000 /dev/zero | wc -c; exit 4"), &flood);
    assert_eq!((text(&visit.stdout), visit.status.code()), ("300000\n".into(), Some(4)));
    assert_eq!(server.wait().0.code(), Some(4));
}

#[test]
fn a_command_that_closes_its_stdout_goes_on() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut visit = Client::start(home.ssh(&server).arg("exec >&-; echo closed >&2; cat >&2; exit 4"));
    visit.await_stderr("closed");
    visit.write("still heard\n");
    visit.await_stderr("still heard");
    assert_eq!(visit.finish().0.code(), Some(4));
    assert_eq!(server.wait().0.code(), Some(4));
}

#[test]
fn output_of_the_last_moment_arrives() {
    let home = Home::new();
    for round in 0..10 {
        let log = home.path(format!("{round}.cast"));
        let server = Server::open(home.once_to(&log));
        let visit = run(home.ssh(&server).arg("head -c 400000 /dev/zero | tr '\\0' x; echo last >&2; exit 3"));
        assert_eq!((visit.stdout.len(), text(&visit.stderr), visit.status.code()), (400_000, "last\n".into(), Some(3)), "round {round}");
    }
}

/// PuTTY closes the channel as soon as it hears EOF: a status that comes after it is lost.
#[test]
fn the_status_is_said_before_the_end_of_the_output() {
    let home = Home::new();
    let server = home.open(&[]);
    let said = run(python("hostile.py").arg("ending").arg(server.port.to_string()).arg(home.path("id")));
    assert_eq!(text(&said.stdout), "exit-status eof close ", "{}", text(&said.stderr));
}

/// Runs a command line of this length, which prints its length: what came back, and the status.
fn command_of(home: &Home, server: &mut Server, length: usize) -> String {
    let mut visit = python("hostile.py");
    visit.arg("command-of-length").arg(server.port.to_string()).arg(home.path("id")).arg(length.to_string());
    let visit = run(&mut visit);
    server.wait();
    home.assert_sealed(server);
    text(&visit.stdout) + &text(&visit.stderr)
}

#[test]
fn a_command_of_no_length_is_an_empty_script() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(command_of(&home, &mut server, 0), "b'' 0\n");
}

#[test]
fn a_command_of_100_kb_runs_and_one_of_200_kb_fails_plainly() {
    // Linux takes 128 KiB in one argument.
    for (length, expected) in [(100_000, "b'100000' 0\n"), (200_000, "refused\n")] {
        let home = Home::new();
        let mut server = home.open(&[]);
        assert_eq!(command_of(&home, &mut server, length), expected);
        let parts: String = home.audits("part").iter().map(|part| part["text"].as_str().unwrap().to_owned()).collect();
        assert!(parts.len() > length && parts.starts_with("{\"event\":\"exec\""), "the whole command is on the record");
    }
}

#[test]
fn an_upload_into_a_slow_reader_waits_for_it() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let gate = home.path("gate");
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let command = format!("read go <{}; wc -c", gate.display());
    let mut visit = Client::start(home.ssh(&server).arg(&command));
    let mut stdin = visit.take_stdin();
    let size: usize = 24 << 20;
    let feeding = std::thread::spawn(move || stdin.write_all(&vec![b'x'; size]));
    let held = quiet("the upload", || home.record_length());
    assert!(held < 40 << 20, "what nobody reads is not taken without end: {held}");
    std::fs::write(&gate, "go\n").unwrap();
    feeding.join().unwrap().unwrap();
    assert_eq!(visit.await_line(""), size.to_string());
    assert!(visit.finish().0.success());
    assert_eq!(server.wait().0.code(), Some(0));
}
