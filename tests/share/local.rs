//! The terminal that a share is started on.

use std::process::Command;

use crate::support::*;

/// A share on a terminal of its own, and the port that it prints.
pub fn share_here(home: &Home, columns: u16, rows: u16, program: &[&str]) -> (View, u16) {
    share_here_as(home, (columns, rows), &[], program)
}

/// The same with options, on a wide terminal.
pub fn share_here_with(home: &Home, options: &[&str], program: &[&str]) -> (View, u16) {
    share_here_as(home, (120, 24), options, program)
}

fn share_here_as(home: &Home, (columns, rows): (u16, u16), options: &[&str], program: &[&str]) -> (View, u16) {
    let mut command = home.share();
    command.args(options).arg("--").args(program);
    let view = View::sized(&command, columns, rows);
    let link = until("the link is printed", || {
        let sent = text(&view.sent());
        let after = sent.split("ssh session: ssh ").nth(1)?.to_owned();
        after.split_once('\n')?.0.trim_end().rsplit_once(" -p ")?.1.parse().ok()
    });
    (view, link)
}

#[test]
fn the_host_types_here_and_viewers_see_it() {
    let home = Home::new();
    let (mut here, port) = share_here(&home, 80, 24, &["sh", "-c", "echo ready; while read word; do echo got $word; done; exit 4"]);
    here.await_line("ready");
    here.await_words("shared: 0 write, 0 watch");
    let viewer = View::start(&home.viewer(port, "id"));
    viewer.await_line("ready");
    here.await_words("shared: 1 write, 0 watch");
    here.keys("one\r");
    viewer.await_line("got one");
    here.keys("\x04");
    let (status, screen) = here.finish();
    assert_eq!(status.code(), Some(4), "{screen}");
    let joins = home.audits("join");
    assert_eq!((&joins[0]["via"], &joins[0]["channel"]), (&"local".into(), &1.into()));
}

#[test]
fn the_size_is_this_terminals_without_the_status_line() {
    let home = Home::new();
    let (mut here, _) = share_here(&home, 70, 20, &["sh", "-c", "stty size; trap 'stty size' WINCH; while :; do sleep 0.1; done"]);
    here.await_line("19 70");
    here.resize(90, 30);
    here.await_words("29 90");
}

#[test]
fn the_prefix_twice_opens_a_line_for_commands() {
    let home = Home::new();
    let (mut here, port) = share_here(&home, 100, 24, &["sh", "-c", "echo ready; read x; echo got $x; read x"]);
    here.await_line("ready");
    let mut viewer = View::start(&home.viewer(port, "id"));
    viewer.await_line("ready");
    here.await_words("1 write");
    // A sequence in the line is dropped whole.
    here.keys("\x1c\x1cdemote 3\x1b[D\x7f2");
    here.await_words("sally> demote 2");
    here.keys("\r");
    here.await_words("0 write, 1 watch");
    viewer.keys("\x1c\x1cend\r");
    viewer.await_words("read only");
    here.keys("line\r");
    viewer.await_line("got line");
    here.keys("\x1c\x1cend\r");
    let (status, _) = here.finish();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_terminals_modes_are_as_they_were() {
    let home = Home::new();
    let script = "stty -a > \"$0/before\"; \"$@\"; stty -a > \"$0/after\"";
    let share = home.share();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(home.path("")).arg(share.get_program()).args(share.get_args());
    command.args(["--", "sh", "-c", "echo ready; read x"]);
    for (name, value) in share.get_envs() {
        value.map(|value| command.env(name, value));
    }
    let mut here = View::start(&command);
    here.await_line("ready");
    here.keys("\r");
    assert_eq!(here.finish().0.code(), Some(0));
    assert_eq!(home.read("before"), home.read("after"));
}

#[test]
fn a_terminal_that_is_closed_ends_the_share() {
    let home = Home::new();
    let (here, port) = share_here(&home, 80, 24, &["sh", "-c", "echo ready; read x"]);
    here.await_line("ready");
    let mut viewer = View::start(&home.viewer(port, "id"));
    viewer.await_line("ready");
    let children = children(here.pid());
    assert!(!children.is_empty() || lives(here.pid()));
    assert!(Command::new("kill").args(["-s", "HUP", &here.pid().to_string()]).status().unwrap().success());
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(129), "{screen}");
}
