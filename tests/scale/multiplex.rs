//! Several sessions on one connection: `--max-sessions`, for clients that multiplex.

use std::process::Command;
use std::thread;

use crate::support::*;

/// In KiB: nothing of a session may stay in memory. What does is the allocator's.
const GROWTH: u64 = 8 << 10;

/// A ControlMaster that stays, and the option for those who go through it.
pub fn master(home: &Home, server: &Server) -> (Client, String) {
    let socket = home.path("control");
    let control = format!("-oControlPath={}", socket.display());
    let id = home.path("id");
    let mut command = home.ssh_with(server.port, &["-M", "-N", &control, "-i", id.to_str().unwrap()]);
    let client = Client::start(&mut command);
    until("the master is there", || socket.exists().then_some(()));
    (client, control)
}

pub fn through(home: &Home, server: &Server, control: &str) -> Command {
    home.ssh_with(server.port, &["-oControlMaster=no", "-oLogLevel=INFO", control])
}

#[test]
fn eight_sessions_go_at_once_and_more_follow() {
    let home = Home::new();
    let mut server = home.open(&["--max-sessions", "8"]);
    let (client, control) = master(&home, &server);
    for round in 0..3 {
        // Each waits for all: so all of them run at once.
        let gate = home.path(format!("gate{round}"));
        let command =
            format!("mkdir -p {0}; touch {0}/$$; until [ $(ls {0} | wc -l) = 8 ]; do sleep 0.01; done; echo through; cat", gate.display());
        thread::scope(|scope| {
            for number in 0..8 {
                let mut session = through(&home, &server, &control);
                session.arg(&command);
                scope.spawn(move || {
                    let said = run_with(&mut session, format!("{number}\n").as_bytes());
                    assert_eq!(text(&said.stdout), format!("through\n{number}\n"), "{}", text(&said.stderr));
                });
            }
        });
    }
    assert_eq!(run(through(&home, &server, &control).arg("exit 3")).status.code(), Some(3));
    client.signal("TERM");
    client.finish();
    assert_eq!(server.wait().0.code(), Some(3), "the status of the last");
    assert_eq!(home.audits("exec").len(), 25);
    home.assert_sealed(&server);
}

/// Ten thousand sessions on one connection, or what `$SALLY_SESSIONS` says.
#[test]
fn ten_thousand_sessions_leave_nothing_in_the_server() {
    let _turn = big();
    let home = Home::new();
    let temp = home.path("temp");
    std::fs::create_dir(&temp).unwrap();
    let mut command = home.once();
    command.args(["--max-sessions", "8"]).env("TMPDIR", &temp).env("SHELL", "/bin/sh");
    let mut server = Server::open(command);
    let count = std::env::var("SALLY_SESSIONS").unwrap_or_else(|_| "10000".into());
    let mut visit = Client::start(python("many.py").args([&server.port.to_string(), home.path("id").to_str().unwrap(), &count]));
    let pid = server.child.id();
    let left = || {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        (descriptors, children(pid).len(), std::fs::read_dir(&temp).unwrap().count())
    };
    visit.await_line("early");
    let early = until("the first are buried", || (left().1 == 0).then(left));
    let memory = server.rss();
    visit.write("\n");
    visit.await_line("late");
    until("no descriptor, process or file is left of all", || (left() == early).then_some(()));
    assert_eq!(early.2, 0);
    let grown = server.rss().saturating_sub(memory);
    assert!(grown < GROWTH, "{grown} KiB more than after a tenth");
    visit.write("\n");
    assert!(visit.finish().0.success());
    server.wait();
    home.assert_sealed(&server);
}

#[test]
fn one_more_than_so_many_is_refused_with_a_reason() {
    let home = Home::new();
    let mut server = home.open(&["--max-sessions", "2"]);
    let (client, control) = master(&home, &server);
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut session = Client::start(through(&home, &server, &control).arg("echo in; read line"));
            session.await_line("in");
            session
        })
        .collect();
    assert!(!run(through(&home, &server, &control).arg("true")).status.success());
    assert_eq!(home.audits("refusal")[0]["why"], "2 sessions are open, which is the limit");
    for session in held {
        session.finish();
    }
    assert!(run(through(&home, &server, &control).arg("true")).status.success(), "there is room again");
    client.signal("TERM");
    client.finish();
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn one_is_one_in_all() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let (client, control) = master(&home, &server);
    assert!(run(through(&home, &server, &control).arg("true")).status.success());
    assert!(!run(through(&home, &server, &control).arg("true")).status.success());
    assert_eq!(home.audits("refusal")[0]["why"], "this visit permits only one session");
    client.signal("TERM");
    client.finish();
    assert_eq!(server.wait().0.code(), Some(0));
}

/// Ansible over one connection; `transfer` is how it sends files.
fn play(home: &Home, server: &Server, transfer: &str, arguments: &[&str]) {
    let mut command = from_requirements("ansible");
    let port = format!("127.0.0.1:{},", server.port);
    let options = home.options().into_iter().filter(|option| option != "-F" && option != "/dev/null").collect::<Vec<_>>().join(" ");
    command.args(["all", "-i", &port, "-u", "anyone", "-e", "ansible_python_interpreter=/usr/bin/python3"]);
    command.arg("--private-key").arg(home.path("id")).args(arguments);
    command.env("HOME", home.path("")).env("ANSIBLE_LOCAL_TEMP", home.path("ansible")).env("ANSIBLE_REMOTE_TEMP", home.path("remote"));
    command.env("ANSIBLE_SSH_ARGS", format!("-F /dev/null -oControlMaster=auto -oControlPersist=60s {options}"));
    command.env("ANSIBLE_SSH_CONTROL_PATH", home.path("cp")).env("ANSIBLE_SSH_TRANSFER_METHOD", transfer).env("LC_ALL", "C.UTF-8");
    command.env("ANSIBLE_PIPELINING", if transfer == "piped" { "1" } else { "0" });
    let said = run(&mut command);
    assert!(said.status.success(), "{transfer} {arguments:?}: {}{}", text(&said.stdout), text(&said.stderr));
}

fn ansible(transfer: &str) {
    let home = Home::new();
    let mut server = home.open(&["--max-sessions", "8"]);
    let file = home.write("file", "from the controller\n");
    let copy = format!("src={} dest={}", file.display(), home.path("copied").display());
    for arguments in [&["-m", "ping"][..], &["-m", "command", "-a", "echo in"], &["-m", "copy", "-a", &copy]] {
        play(&home, &server, transfer, arguments);
    }
    assert_eq!(home.read("copied"), "from the controller\n");
    let control = format!("-oControlPath={}", home.path("cp").display());
    assert!(run(through(&home, &server, &control).args(["-O", "exit"])).status.success());
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(home.audits("auth").len(), 1, "one connection for all of it");
    home.assert_sealed(&server);
}

#[test]
fn ansible_works_by_pipe() {
    ansible("piped");
}

#[test]
fn ansible_works_by_scp() {
    ansible("scp");
}

#[test]
fn ansible_works_by_sftp() {
    ansible("sftp");
}

/// The visitor is told that it is over, and asks for one more while the first puts things in order.
#[test]
fn nothing_begins_once_the_visit_is_over() {
    let home = Home::new();
    let mut server = home.open(&["--max-sessions", "8"]);
    let (client, control) = master(&home, &server);
    let mut first = Client::start(through(&home, &server, &control).arg("trap '' HUP; echo in; while :; do sleep 1000; done"));
    first.await_line("in");
    server.signal("TERM");
    first.await_stderr("sally: Stopped by signal 15");
    let late = run(through(&home, &server, &control).arg(format!("touch {}", home.path("late").display())));
    assert_eq!(late.status.code(), Some(255), "{}", text(&late.stderr));
    assert_eq!(server.wait().0.code(), Some(143));
    let _ = (client.finish(), first.finish());
    assert!(!home.path("late").exists());
    assert_eq!(home.audits("exec").len(), 1);
    home.assert_sealed(&server);
}
