//! A person in front of a terminal.

use std::process::Command;

use crate::support::*;

/// bash on a terminal, the same on every machine, ready for a command.
fn bash(home: &Home, server: &Server) -> Terminal {
    let mut terminal = Terminal::start(home.ssh(server).args(["-tt", "PS1='prompt> ' exec bash --norc --noprofile -i"]));
    terminal.await_text("prompt> ");
    terminal
}

#[test]
fn a_login_shell_has_a_terminal_and_its_status_is_ours() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = Terminal::start(home.ssh(&server).arg("-tt"));
    terminal.await_text(if as_root() { "# " } else { "$ " });
    // What is typed differs from what is said, for it is echoed.
    terminal.keys("echo na''me=$0; tty; exit 5\r");
    assert_eq!(terminal.await_word("name="), "-sh");
    terminal.await_text("/dev/pts/");
    let (status, _) = terminal.finish();
    assert_eq!(status.code(), Some(5));
    assert_eq!(server.wait().0.code(), Some(5));
    assert_eq!(home.stream("stdin"), b"echo na''me=$0; tty; exit 5\r");
    home.assert_sealed(&server);
}

#[test]
fn a_new_window_size_arrives() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let script = "trap 'echo now=$(stty size)' WINCH; trap 'exit 3' TERM; echo first=$(stty size); while :; do sleep 1000 & wait $!; done";
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", script]));
    assert_eq!(terminal.await_word("first="), "24 80");
    terminal.resize(132, 43);
    assert_eq!(terminal.await_word("now="), "43 132");
    terminal.resize(40, 10);
    assert_eq!(terminal.await_word("now="), "10 40");
    terminal.keys("\x03");
    terminal.finish();
    assert_eq!(server.wait().0.code(), Some(130));
    let sizes: Vec<_> = home.events("visit.cast").into_iter().filter(|(code, _)| code == "r").map(|(_, size)| size).collect();
    assert_eq!(sizes, ["80x24", "132x43", "40x10"]);
}

#[test]
fn control_c_ends_the_command_and_not_the_shell() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = bash(&home, &server);
    terminal.keys("echo rea''dy; cat\r"); // As below: not before the shell has given the terminal back.
    terminal.await_text("ready\r\n");
    terminal.keys("ping\r");
    terminal.await_text("ping\r\nping\r\n");
    terminal.keys("\x03");
    terminal.await_text("prompt> ");
    terminal.keys("echo sta''tus=$?\r");
    assert_eq!(terminal.await_word("status="), "130");
    terminal.keys("exit 0\r");
    assert!(terminal.finish().0.success());
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn jobs_are_stopped_and_fetched_back() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = bash(&home, &server);
    // Only then has the shell given the terminal's line editing back to the terminal.
    terminal.keys("echo rea''dy; cat\r");
    terminal.await_text("ready\r\n");
    terminal.keys("one\r");
    terminal.await_text("one\r\none\r\n");
    terminal.keys("\x1a");
    terminal.await_text("Stopped");
    terminal.await_text("prompt> ");
    terminal.keys("fg\r");
    terminal.await_text("cat\r\n");
    terminal.keys("two\r");
    terminal.await_text("two\r\ntwo\r\n");
    terminal.keys("\x04");
    terminal.await_text("prompt> ");
    terminal.keys("sleep 1000 &\r");
    terminal.await_text("prompt> ");
    terminal.keys("kill %1; wait %1; echo go''ne=$?\r");
    assert_eq!(terminal.await_word("gone="), "143");
    terminal.keys("exit 0\r");
    assert!(terminal.finish().0.success());
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_paste_arrives_whole() {
    let home = Home::new();
    let server = home.open(&[]);
    let file = home.path("pasted");
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", &format!("echo ready; cat >{}", file.display())]));
    terminal.await_text("ready");
    let line = "a line of some sixty characters, as people paste them: äöü €\r";
    for _ in 0..2000 {
        terminal.keys(line);
    }
    terminal.keys("\x04");
    assert!(terminal.finish().0.success());
    assert_eq!(home.read("pasted"), line.replace('\r', "\n").repeat(2000));
    assert_eq!(text(&home.stream("stdin")), line.repeat(2000) + "\x04");
}

#[test]
fn a_torrent_on_the_terminal_arrives_whole_and_is_recorded_whole() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", "seq 200000; printf 'größe €\\n'"]));
    let (status, shown) = terminal.finish();
    assert!(status.success());
    let expected: String = (1..=200_000).map(|n| format!("{n}\r\n")).collect::<String>() + "größe €\r\n";
    assert!(shown == expected, "{} bytes of {}", shown.len(), expected.len());
    server.wait();
    assert!(home.recorded("o") == expected, "characters are never cut: all of it is text");
}

#[test]
fn terminal_modes_of_the_visitor_are_taken_over() {
    let home = Home::new();
    let server = home.open(&[]);
    let mut setting = tool("sh", "dash");
    let ssh = home.ssh(&server);
    let words: Vec<_> = ssh.get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    setting.args(["-c", &format!("stty intr ^G; exec ssh {} -tt 'stty -a'", words.join(" "))]);
    let (status, shown) = Terminal::start(&setting).finish();
    assert!(status.success() && shown.contains("intr = ^G;") && shown.contains("erase = ^?;"), "{shown}");
}

#[test]
fn ssh_without_a_command_or_a_terminal_is_a_shell_on_pipes() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run_with(home.ssh(&server).arg("-T"), b"tty; echo out; echo err >&2; exit 2\n");
    assert_eq!(text(&visit.stdout), "not a tty\nout\n");
    assert!(text(&visit.stderr).ends_with("err\n"), "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(2));
}

#[test]
fn expect_drives_a_session() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let words: Vec<_> = home.ssh(&server).get_args().map(|word| format!("{{{}}}", word.to_str().unwrap())).collect();
    let script = home.write(
        "script.exp",
        format!(
            r#"set timeout 60
spawn ssh {} -tt {{PS1='prompt> ' exec sh -i}}
expect "prompt> " {{}} timeout {{ exit 90 }}
send "echo \$((6*7))\r"
expect "\r\n42\r\n" {{}} timeout {{ exit 91 }}
expect "prompt> " {{}} timeout {{ exit 92 }}
send "exit 7\r"
expect eof {{}} timeout {{ exit 93 }}
lassign [wait] pid spawnid error status
exit $status
"#,
            words.join(" ")
        ),
    );
    let visit = run(tool("expect", "expect").arg(script));
    assert_eq!(visit.status.code(), Some(7), "{}", text(&visit.stdout));
    assert_eq!(server.wait().0.code(), Some(7));
}

#[test]
fn a_visit_from_within_tmux_follows_its_window() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let tmux = |arguments: &[&str]| {
        let output =
            run(tool("tmux", "tmux").arg("-S").arg(home.path("tmux")).args(["-f", "/dev/null"]).args(arguments).env("TERM", "xterm"));
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let words: Vec<_> = home.ssh(&server).get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let ssh = format!("ssh {} -tt 'PS1=\"prompt> \" exec bash --norc --noprofile -i'", words.join(" "));
    tmux(&["new-session", "-d", "-s", "visit", "-x", "90", "-y", "20", &ssh]);
    let shows =
        |what: &str| until(&format!("tmux shows {what}"), || tmux(&["capture-pane", "-p", "-t", "visit"]).contains(what).then_some(()));
    shows("prompt>");
    tmux(&["set-option", "-w", "-t", "visit", "window-size", "manual"]);
    tmux(&["resize-window", "-t", "visit", "-x", "70", "-y", "15"]);
    until("the size arrives", || home.events("visit.cast").contains(&("r".into(), "70x15".into())).then_some(()));
    tmux(&["send-keys", "-t", "visit", "stty size", "Enter"]);
    shows("15 70");
    tmux(&["send-keys", "-t", "visit", "exit 6", "Enter"]);
    assert_eq!(server.wait().0.code(), Some(6));
    let _ = run(Command::new("tmux").arg("-S").arg(home.path("tmux")).arg("kill-server"));
}
