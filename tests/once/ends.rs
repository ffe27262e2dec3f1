//! Every way in which a visit can end, and what is left: nothing but the record.

use std::path::PathBuf;
use std::process::Command;

use crate::support::*;

/// A server whose session's processes can all be found again.
fn open(home: &Home) -> (Server, String) {
    let mark = format!("VISIT_MARK={}", home.path("").display());
    let mut command = home.once();
    command.env("VISIT_MARK", home.path(""));
    (Server::open(command), mark)
}

fn gone(mark: &str) {
    until("nothing of the session is left", || marked(mark).is_empty().then_some(()));
}

/// A script on a terminal, which has said the number of its shell.
fn on_terminal(home: &Home, server: &Server, script: &str) -> (Terminal, u32) {
    let mut terminal = Terminal::start(home.ssh(server).args(["-tt", &format!("echo pid=$$; {script}")]));
    let pid = terminal.await_word("pid=").parse().unwrap();
    (terminal, pid)
}

/// A script without a terminal, which has said the number of its shell.
fn on_pipes(home: &Home, server: &Server, script: &str) -> (Client, u32) {
    let mut client = Client::start(home.ssh(server).arg(format!("echo $$; {script}")));
    let pid = client.await_pid();
    (client, pid)
}

fn not_sealed(home: &Home, server: &Server) {
    let record = home.record();
    assert!(record.ends_with('\n'), "valid to the last line");
    assert!(events(&record).len() >= 4);
    let (verdict, sentence) = home.verify(server);
    assert!(verdict == 5 && sentence.to_lowercase().contains("not sealed"), "{verdict} {sentence}");
}

#[test]
fn kill_9_of_the_server_takes_the_terminal_with_it() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let (mut terminal, pid) = on_terminal(&home, &server, "sleep 1000 & sleep 1000");
    assert!(marked(&mark).contains(&pid));
    server.child.kill().unwrap();
    server.wait();
    gone(&mark);
    assert_eq!(terminal.finish().0.code(), Some(255));
    not_sealed(&home, &server);
}

#[test]
fn kill_9_of_the_server_takes_a_command_with_it() {
    let home = Home::new();
    let (mut server, _) = open(&home);
    let (_visit, pid) = on_pipes(&home, &server, "exec sleep 1000");
    server.child.kill().unwrap();
    server.wait();
    until("the direct child is gone", || (!lives(pid)).then_some(()));
    not_sealed(&home, &server);
}

#[test]
fn after_kill_9_all_that_the_visitor_saw_is_on_the_record() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let mut visit = Client::start(home.ssh(&server).arg("n=0; while :; do n=$((n+1)); echo line $n; done"));
    visit.await_line("line 1000");
    server.child.kill().unwrap();
    server.wait();
    let (_, rest, _) = visit.finish();
    let seen = rest.lines().last().unwrap_or("line 1000").to_owned();
    let recorded = text(&home.stream("stdout"));
    assert!(recorded.contains(&seen), "{seen}");
    until("nothing is left", || marked(&mark).is_empty().then_some(()));
}

/// A signal in the midst of a session.
fn stopped_by(signal: &str, number: i32) {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let trapped = home.path("hup");
    let script = format!("trap 'echo hup >{}' HUP; echo ready; while :; do sleep 1000 & wait; done", trapped.display());
    let (mut visit, _) = on_pipes(&home, &server, &script);
    visit.await_line("ready");
    server.signal(signal);
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(128 + number), "{said}");
    assert_eq!(said.lines().last(), Some(&*format!("Stopped by signal {number}")));
    assert_eq!(home.read("hup"), "hup\n", "first HUP, then KILL");
    gone(&mark);
    let (status, _, heard) = visit.finish();
    assert_eq!(status.code(), Some(128 + number));
    assert!(heard.contains(&format!("sally: Stopped by signal {number}")), "the visitor is told: {heard}");
    assert!(text(&home.stream("stderr")).contains("sally: Stopped by signal"), "and that is on the record");
    home.assert_sealed(&server);
}

#[test]
fn sigterm_in_a_session_ends_it_in_order() {
    stopped_by("TERM", 15);
}

#[test]
fn a_program_that_has_something_to_put_in_order_hears_sigterm_too() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let done = home.path("done");
    let script = format!("trap '' HUP; trap 'echo in order >{}; exit' TERM; echo in; while :; do sleep 1000 & wait; done", done.display());
    let mut visit = Client::start(home.ssh(&server).arg(script));
    visit.await_line("in");
    server.signal("TERM");
    assert_eq!((server.wait().0.code(), visit.finish().0.code()), (Some(143), Some(143)));
    assert_eq!(std::fs::read_to_string(done).unwrap(), "in order\n");
    gone(&mark);
}

/// SHELL may come from anywhere: whoever started the server is told that it can't be started.
#[test]
fn a_shell_that_is_not_there_is_named() {
    let home = Home::new();
    let mut command = home.once();
    command.env("SHELL", "/nope/sh");
    let mut server = Server::open(command);
    assert_eq!(run(home.ssh(&server).arg("true")).status.code(), Some(255));
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(78));
    assert!(said.contains("\nCould not start shell /nope/sh: No such file or directory\n  hint: "), "{said}");
    assert_eq!(home.audits("refusal")[0]["why"], "Could not start shell /nope/sh: No such file or directory");
    home.assert_sealed(&server);
}

#[test]
fn sigint_and_sighup_do_the_same() {
    stopped_by("INT", 2);
    stopped_by("HUP", 1);
}

#[test]
fn sigterm_is_told_on_the_terminal_too() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let (mut terminal, _) = on_terminal(&home, &server, "exec sleep 1000");
    server.signal("TERM");
    terminal.await_text("sally: Stopped by signal 15");
    assert_eq!(server.wait().0.code(), Some(143));
    assert_eq!(terminal.finish().0.code(), Some(143));
    gone(&mark);
    home.assert_sealed(&server);
}

#[test]
fn sigterm_before_a_client_came_ends_the_server() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let _waiting = server.connect();
    server.signal("TERM");
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(143), Some("Stopped by signal 15")));
    home.assert_sealed(&server);
}

#[test]
fn sigterm_with_a_stopped_client_is_bounded() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let (visit, _) = on_pipes(&home, &server, "exec yes");
    visit.signal("STOP");
    quiet("the record", || home.record_length());
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(143));
    gone(&mark);
    home.assert_sealed(&server);
}

/// The client dies; whatever the script, nothing of it lives on.
fn client_dies(script: &str, terminal: bool) {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    if terminal {
        let (mut terminal, pid) = on_terminal(&home, &server, &format!("{script}; echo ready; while :; do sleep 1000; done"));
        terminal.await_text("ready");
        assert!(lives(pid));
        terminal.child.kill().unwrap();
    } else {
        let (mut client, pid) = on_pipes(&home, &server, &format!("{script}; echo ready; while :; do sleep 1000; done"));
        client.await_line("ready");
        assert!(lives(pid));
        client.child.kill().unwrap();
    }
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(255), "{said}");
    assert_eq!(said.lines().last(), Some("Connection closed unexpectedly"));
    gone(&mark);
    home.assert_sealed(&server);
    assert_eq!(home.audits("close")[0]["reason"], "Connection closed unexpectedly");
}

#[test]
fn a_client_that_dies_takes_its_terminal_with_it() {
    client_dies("true", true);
}

#[test]
fn a_client_that_dies_takes_a_shell_that_ignores_hup_with_it() {
    client_dies("trap '' HUP", true);
}

#[test]
fn a_client_that_dies_takes_a_command_without_terminal_with_it() {
    client_dies("true", false);
}

#[test]
fn a_client_that_dies_takes_everything_that_was_set_apart_with_it() {
    client_dies("setsid sleep 1000 & (trap '' HUP TERM; setsid sh -c 'nohup sleep 1000 & wait' &) ", true);
    client_dies("setsid sleep 1000 >/dev/null 2>&1 </dev/null & (setsid sh -c 'sleep 1000 & sleep 1000' &)", false);
}

#[test]
fn a_stopped_job_is_hung_up_too() {
    client_dies("sh -c 'kill -STOP $$' & trap '' HUP", true);
}

#[test]
fn a_connection_that_is_reset_ends_the_session() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let mut visit = python("visits.py");
    let mut visit = Client::start(visit.arg("reset").arg(server.port.to_string()).arg(home.path("id")));
    visit.await_line("in");
    visit.write("go\n");
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(255), Some("Connection closed unexpectedly")));
    gone(&mark);
    assert_eq!(home.audits("close")[0]["reason"], "Connection closed unexpectedly");
    home.assert_sealed(&server);
}

#[test]
fn a_visitor_who_opens_nothing_and_leaves_ends_the_visit() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let id = home.path("id");
    let mut idle = Client::start(&mut home.ssh_with(server.port, &["-N", "-oLogLevel=VERBOSE", "-i", id.to_str().unwrap()]));
    idle.await_stderr("Authenticated to");
    idle.child.kill().unwrap();
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(255), Some("Connection closed unexpectedly")));
    home.assert_sealed(&server);
}

#[test]
fn a_background_job_on_the_terminal_does_not_delay_the_end() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let (mut terminal, _) = on_terminal(&home, &server, "sleep 1000 & exit 3");
    assert_eq!(terminal.finish().0.code(), Some(3));
    assert_eq!(server.wait().0.code(), Some(3));
    gone(&mark);
}

#[test]
fn a_background_job_without_terminal_is_waited_for_within_bounds() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let visit = run(home.ssh(&server).arg("sleep 1000 & echo last; exit 3"));
    assert_eq!((text(&visit.stdout), visit.status.code()), ("last\n".into(), Some(3)));
    assert_eq!(server.wait().0.code(), Some(3));
    gone(&mark);
}

#[test]
fn a_visitor_who_leaves_while_a_background_job_is_waited_for_ends_the_visit() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let (mut visit, pid) = on_pipes(&home, &server, "sleep 1000 & exit 3");
    until("the program has ended", || (!lives(pid)).then_some(()));
    visit.child.kill().unwrap();
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(255), Some("Connection closed unexpectedly")), "{said}");
    gone(&mark);
    home.assert_sealed(&server);
}

#[test]
fn the_last_word_of_a_background_job_is_heard() {
    let home = Home::new();
    let server = home.open(&[]);
    let gate = home.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let script = format!("{{ read line; echo heard $line; }} <{} & echo first; exit 0", gate.display());
    let mut visit = Client::start(home.ssh(&server).arg(script));
    visit.await_line("first");
    std::fs::write(gate, "this\n").unwrap();
    visit.await_line("heard this");
    assert!(visit.finish().0.success());
}

#[test]
fn a_child_in_a_session_of_its_own_ends_with_the_visit() {
    let home = Home::new();
    let (mut server, mark) = open(&home);
    let script = "setsid sleep 1000 >/dev/null 2>&1 & (setsid sh -c 'trap \"\" HUP TERM INT; setsid sleep 1000 & sleep 1000' >/dev/null 2>&1 &); exit 2";
    let visit = run(home.ssh(&server).arg(script));
    assert_eq!(visit.status.code(), Some(2));
    assert_eq!(server.wait().0.code(), Some(2));
    gone(&mark);
}

#[test]
fn orphans_of_the_session_are_buried() {
    let home = Home::new();
    let server = home.open(&[]);
    // Hundreds of orphans end one after the other while the session lives on.
    let mut visit = Client::start(home.ssh(&server).arg("for i in $(seq 300); do (sh -c 'exit 0' &); done; echo done; read line"));
    visit.await_line("done");
    let zombies = || {
        let table = run(Command::new("ps").args(["-o", "stat=", "--ppid", &server.child.id().to_string()]));
        text(&table.stdout).lines().filter(|line| line.starts_with('Z')).count()
    };
    until("no zombie is left", || (zombies() == 0).then_some(()));
    visit.write("\n");
    assert!(visit.finish().0.success());
}

/// A thousand visits, each `sally once` and ssh. Every status 0 to 255 passes through some four times.
#[test]
fn a_thousand_visits_leave_nothing_but_records() {
    let home = Home::new();
    let temp: PathBuf = home.path("temp");
    std::fs::create_dir(&temp).unwrap();
    let records = home.path("records");
    std::fs::create_dir(&records).unwrap();
    let mark = format!("VISIT_MARK={}", temp.display());
    std::thread::scope(|scope| {
        for lane in 0..3 {
            let (home, temp, records) = (&home, &temp, &records);
            scope.spawn(move || {
                for visit in (lane..1000).step_by(3) {
                    let mut command = home.once_to(&records.join(format!("{visit}.cast")));
                    command.env("TMPDIR", temp).env("VISIT_MARK", temp);
                    let mut server = Server::open(command);
                    let expected = visit % 256;
                    let tail = ["", "sleep 1000 >/dev/null 2>&1 & ", "setsid sleep 1000 >/dev/null 2>&1 & "][visit as usize % 3];
                    let seen = run(home.ssh(&server).arg(format!("echo {visit}; {tail}exit {expected}")));
                    assert_eq!((seen.status.code(), text(&seen.stdout)), (Some(expected), format!("{visit}\n")), "{}", text(&seen.stderr));
                    let (status, said) = server.wait();
                    assert_eq!(status.code(), Some(expected), "{said}");
                }
            });
        }
    });
    gone(&mark);
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0, "no file is left");
    assert_eq!(std::fs::read_dir(&records).unwrap().count(), 1000);
}
