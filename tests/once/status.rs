//! How a session ended, as everybody hears it.

use crate::support::*;

#[test]
fn every_exit_status_arrives() {
    let home = Home::new();
    for status in [0, 1, 2, 126, 127, 128, 129, 143, 254, 255] {
        let log = home.path(format!("{status}.cast"));
        let mut server = Server::open(home.once_to(&log));
        let visit = run(home.ssh(&server).arg(format!("exit {status}")));
        assert_eq!(visit.status.code(), Some(status), "{}", text(&visit.stderr));
        assert_eq!(server.wait().0.code(), Some(status));
        let exits: Vec<_> = home.events(&format!("{status}.cast")).into_iter().filter(|(code, _)| code == "x").collect();
        assert_eq!(exits, [("x".into(), status.to_string())]);
    }
}

#[test]
fn a_command_that_is_not_there_is_the_shells_127() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run(home.ssh(&server).arg("no-such-command-at-all"));
    assert_eq!(visit.status.code(), Some(127));
    assert!(text(&visit.stderr).contains("not found"), "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(127));
}

#[test]
fn a_signal_is_128_and_its_number() {
    let home = Home::new();
    for (name, number) in [("HUP", 1), ("INT", 2), ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("TERM", 15), ("RTMIN", 34)] {
        let log = home.path(format!("{name}.cast"));
        let mut server = Server::open(home.once_to(&log));
        // OpenSSH's client reports any signal as 255.
        let visit = run(home.ssh(&server).arg(format!("ulimit -c 0; kill -{number} $$; echo survived")));
        assert_eq!((visit.status.code(), text(&visit.stdout)), (Some(255), String::new()), "{name}");
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(128 + number), "{name}: {said}");
        let record = home.read(&format!("{name}.cast"));
        assert!(events(&record).contains(&("x".into(), (128 + number).to_string())), "{record}");
        assert!(record.contains("exit-signal"), "{record}");
    }
}

#[test]
fn asyncssh_hears_which_signal_it_was() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run(python("visits.py").arg("exit-signal").arg(server.port.to_string()).arg(home.path("id")));
    assert_eq!(text(&visit.stdout), "('TERM', False, '', '')\n", "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(143));
}

#[test]
fn a_login_shell_ends_with_its_own_status() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run_with(home.ssh(&server).arg("-T"), b"echo $0; exit 6\n");
    assert_eq!((visit.status.code(), text(&visit.stdout)), (Some(6), "-sh\n".into()), "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(6));
}

#[test]
fn a_shell_that_is_not_there_is_a_failure_and_not_a_hang() {
    let home = Home::new();
    let mut command = home.once();
    command.env("SHELL", "/no/such/shell");
    let mut server = Server::open(command);
    let visit = run(home.ssh(&server).arg("true"));
    assert_eq!(visit.status.code(), Some(255));
    let (status, _) = server.wait();
    assert_ne!(status.code(), Some(0), "nothing ran, so nothing succeeded");
    assert_eq!(home.audits("refusal")[0]["what"], "session");
    home.assert_sealed(&server);
}
