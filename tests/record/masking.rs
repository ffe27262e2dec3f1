//! Passwords that are typed at a prompt are not on the record; everything else that is typed is.

use std::path::Path;

use crate::support::*;

/// As a person types it: key by key.
fn type_slowly(terminal: &mut Terminal, text: &str) {
    for key in text.chars() {
        terminal.keys(&key.to_string());
    }
}

/// A shell on a terminal of the server, and the path of that terminal.
fn shell(home: &Home, server: &Server) -> (Terminal, String) {
    let mut terminal = Terminal::start(home.ssh(server).args(["-tt", "echo tty=$(tty); PS1='prompt> ' exec bash --norc --noprofile -i"]));
    let tty = terminal.await_word("tty=");
    terminal.await_text("prompt> ");
    (terminal, tty)
}

/// A program asks these questions; each is answered with a secret. None of it is on the record; there is a marker.
fn asks(program: &str, questions: &[&str], secrets: &[&str]) {
    let home = Home::new();
    let mut server = home.open(&[]);
    let (mut terminal, tty) = shell(&home, &server);
    terminal.keys(&format!("{}\r", program.replace("HOME", home.path("").to_str().unwrap())));
    for (question, secret) in questions.iter().zip(secrets) {
        terminal.await_text(question);
        await_echo_off(Path::new(&tty));
        type_slowly(&mut terminal, &format!("{secret}\r"));
    }
    terminal.await_text("prompt> ");
    terminal.keys("echo plain-$((6*7)) again\r");
    terminal.await_text("plain-42 again");
    terminal.await_text("prompt> ");
    terminal.keys("exit 0\r");
    terminal.finish();
    assert_eq!(server.wait().0.code(), Some(0));
    let record = home.record();
    for secret in secrets {
        assert!(!record.contains(secret), "{program}: {record}");
        // Nor key by key.
        let typed: String = home.events("visit.cast").into_iter().filter(|(code, _)| code == "i").map(|(_, data)| data).collect();
        assert!(!typed.contains(secret), "{program}: {typed}");
    }
    let masked = home.audits("masked");
    assert_eq!(masked.len(), questions.len(), "{program}: {masked:?}");
    assert!(text(&home.stream("stdin")).contains("echo plain-$((6*7)) again\r"), "{program}: {record}");
    home.assert_sealed(&server);
}

#[test]
fn read_s_of_bash() {
    asks("read -rsp 'secret? ' x; echo; echo read", &["secret? "], &["Hunter-2/bash"]);
}

#[test]
fn getpass_of_python() {
    asks("python3 -c 'import getpass; getpass.getpass(\"secret? \")'", &["secret? "], &["Hunter-2/python"]);
}

/// Between two of them echo is on for microseconds.
#[test]
fn getpass_of_python_six_times_in_a_row() {
    let questions: Vec<_> = (1..=6).map(|n| format!("secret {n}? ")).collect();
    let secrets: Vec<_> = (1..=6).map(|n| format!("Hunter-{n}/again")).collect();
    let program = "python3 -c 'import getpass; [getpass.getpass(f\"secret {n}? \") for n in range(1, 7)]'";
    asks(program, &questions.iter().map(String::as_str).collect::<Vec<_>>(), &secrets.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn ssh_keygen() {
    asks(
        "ssh-keygen -q -t ed25519 -f HOME/new",
        &["Enter passphrase", "Enter same passphrase again"],
        &["Hunter-2/keygen", "Hunter-2/keygen"],
    );
}

#[test]
fn openssl() {
    asks(
        "openssl genpkey -algorithm ed25519 -aes128 -out HOME/new.pem",
        &["pass phrase:", "pass phrase:"],
        &["Hunter-2/ssl", "Hunter-2/ssl"],
    );
}

#[test]
fn passwd() {
    tool("passwd", "passwd");
    if as_root() {
        // Two answers that differ: nothing is changed.
        asks("passwd", &["New password:", "new password:"], &["Hunter-2/first", "Other-3/second"]);
    } else {
        asks("passwd", &["urrent password:"], &["Hunter-2/wrong"]);
    }
}

#[test]
fn su() {
    tool("su", "login");
    // Root is not asked.
    let program = if as_root() { "setpriv --reuid 65534 --regid 65534 --clear-groups su root" } else { "su root" };
    asks(program, &["assword:"], &["Hunter-2/su"]);
}

#[test]
fn sudo_three_times() {
    tool("sudo", "sudo");
    // Root is not asked.
    let program = if as_root() { "setpriv --reuid 65534 --regid 65534 --clear-groups sudo -k id" } else { "sudo -k id" };
    asks(program, &["assword for", "assword for", "assword for"], &["Hunter-2/sudo", "Hunter-3/sudo", "Hunter-4/sudo"]);
}

#[test]
fn the_marker_tells_who_asked_and_no_length() {
    let markers: Vec<_> = ["short", "a-much-longer-secret-of-forty-characters"]
        .map(|secret| {
            let home = Home::new();
            let mut server = home.open(&[]);
            let (mut terminal, tty) = shell(&home, &server);
            terminal.keys("python3 -c 'import getpass; getpass.getpass(\"secret? \")'\r");
            terminal.await_text("secret? ");
            await_echo_off(Path::new(&tty));
            type_slowly(&mut terminal, &format!("{secret}\r"));
            terminal.await_text("prompt> ");
            terminal.keys("exit 0\r");
            terminal.finish();
            server.wait();
            let codes: Vec<_> =
                home.events("visit.cast").into_iter().filter(|(code, data)| code != "h" && !data.contains("stream")).collect();
            let at = codes.iter().position(|(code, data)| code == "a" && data.contains("masked")).unwrap();
            // Up to the prompt, nothing was typed that could be counted.
            let until = codes[at..].iter().position(|(code, data)| code == "o" && data.contains("prompt> ")).unwrap();
            assert!(codes[at..at + until].iter().all(|(code, _)| code != "i"), "{codes:?}");
            home.audits("masked")
        })
        .into();
    assert_eq!(markers[0], markers[1]);
    assert!(markers[0][0]["foreground"].as_str().unwrap().contains("getpass.getpass"), "{markers:?}");
}

/// A program that asks for nothing: what is typed at it is on the record, and nothing is masked.
fn is_plain(program: &str, ready: &str, typed: &str, answer: &str, leave: &str) {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", program]));
    terminal.await_text(ready);
    type_slowly(&mut terminal, typed);
    terminal.await_text(answer);
    terminal.keys(leave);
    terminal.finish();
    server.wait();
    let stdin = text(&home.stream("stdin"));
    assert!(stdin.contains(typed), "{program}: {stdin:?}");
    assert_eq!(home.audits("masked").len(), 0, "{program}");
}

#[test]
fn the_prompt_of_bash_is_plain() {
    is_plain("PS1='prompt> ' exec bash --norc --noprofile -i", "prompt> ", "echo typed-$((6*7))\r", "typed-42", "exit\r");
}

#[test]
fn the_prompt_of_dash_is_plain() {
    is_plain("PS1='prompt> ' exec sh -i", "prompt> ", "echo typed-$((6*7))\r", "typed-42", "exit\r");
}

#[test]
fn python_is_plain() {
    is_plain("exec python3 -i -q", ">>> ", "print('typed', 6*7)\r", "typed 42", "exit()\r");
}

#[test]
fn vim_is_plain() {
    tool("vim", "vim");
    is_plain("exec vim -u NONE -i NONE -n", "~", "ityped in vim\x1b:echo 'answer' 6*7\r", "answer 42", ":q!\r");
}

#[test]
fn less_is_plain() {
    tool("less", "less");
    is_plain("seq 500 | LESS= LESSHISTFILE=- exec less", "23\r\n", "/^321\r", "321", "q");
}

#[test]
fn cat_is_plain() {
    is_plain("echo ready; exec cat", "ready", "typed at cat\r", "typed at cat\r\ntyped at cat", "\x04");
}

#[test]
fn echo_off_does_not_hide_a_session() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", "stty -echo; echo ready; exec sh"]));
    terminal.await_text("ready");
    // A shell shows something after each line, as a program does that asks again; what the visit's own shell reads is masked for two lines.
    for line in 1..=10 {
        terminal.keys(&format!("echo {line}-$((6*7))\r"));
        terminal.await_text(&format!("{line}-42"));
    }
    terminal.keys("exit 0\r");
    terminal.finish();
    server.wait();
    assert_hidden(&home, 2, &(1..=10).map(|line| format!("echo {line}-$((6*7))\r")).collect::<Vec<_>>());
}

/// The first `hidden` lines are not on the record, all others are, with one marker between them.
fn assert_hidden(home: &Home, hidden: usize, lines: &[String]) {
    let record = home.record();
    let stdin = text(&home.stream("stdin"));
    let on_record: Vec<_> = lines.iter().map(|line| stdin.contains(line.as_str())).collect();
    assert_eq!(on_record, (0..lines.len()).map(|line| line >= hidden).collect::<Vec<_>>(), "{record}");
    assert_eq!(home.audits("masked").len(), hidden, "{record}");
    let markers: Vec<_> = home.events("visit.cast").into_iter().filter(|(code, _)| code == "m").map(|(_, text)| text).collect();
    assert_eq!(markers, ["echo is off, but enough was masked: input is recorded again"]);
}

/// Types a line at each prompt of something that turns echo off for each, and on again; then `end`.
fn type_at_each_prompt(terminal: &mut Terminal, tty: &str, lines: &[String]) {
    for line in lines.iter().map(String::as_str).chain(["end\r"]) {
        terminal.await_text("go> ");
        await_echo_off(Path::new(tty));
        terminal.keys(line);
    }
}

fn commands(count: usize) -> Vec<String> {
    (1..=count).map(|line| format!("echo evil-{line}-$((6*7))\r")).collect()
}

#[test]
fn a_shell_that_turns_echo_off_and_on_for_each_line_hides_two() {
    let home = Home::new();
    let mut command = home.once();
    command.env("SHELL", "/bin/bash");
    let mut server = Server::open(command);
    let (mut terminal, tty) = shell(&home, &server);
    let script =
        "while :; do stty -echo; printf 'go> '; IFS= read -r l; stty echo; [ \"$l\" = end ] && break; eval \"$l\"; done; echo over";
    terminal.keys(&format!("{script}\r"));
    terminal.await_text("echo over\r\n");
    let lines = commands(20);
    type_at_each_prompt(&mut terminal, &tty, &lines);
    terminal.await_text("over\r\n");
    terminal.keys("exit 0\r");
    terminal.finish();
    server.wait();
    assert_hidden(&home, 2, &lines);
    home.assert_sealed(&server);
}

/// A program that asks for a line without echo, runs it, and asks again.
const ASKS_AND_RUNS: &str = "import getpass, os\nwhile (line := getpass.getpass('go> ')) != 'end': os.system(line)";

#[test]
fn whatever_reads_without_echo_eight_lines_are_hidden_in_a_visit() {
    let home = Home::new();
    let script = home.write("ask.py", ASKS_AND_RUNS);
    let mut server = home.open(&["--max-sessions", "2"]);
    let (id, control) = (home.path("id"), format!("-oControlPath={}", home.path("control").display()));
    let master = Client::start(home.ssh_with(server.port, &["-i", id.to_str().unwrap(), "-M", &control]).arg("-N"));
    until("the master listens", || home.path("control").exists().then_some(()));
    let all = commands(12);
    // In two sessions: the budget is the visit's.
    for lines in [&all[..5], &all[5..]] {
        let command = format!("read go; echo tty=$(tty); python3 '{}'", script.display());
        let mut terminal = Terminal::start(home.ssh_with(server.port, &[&control]).args(["-tt", &command]));
        terminal.await_raw();
        terminal.keys("\r");
        let tty = terminal.await_word("tty=");
        type_at_each_prompt(&mut terminal, &tty, lines);
        assert!(terminal.finish().0.success());
    }
    master.signal("TERM");
    master.finish();
    server.wait();
    let stdin = text(&home.stream("stdin"));
    let on_record: Vec<_> = all.iter().map(|line| stdin.contains(line.as_str())).collect();
    let hidden = on_record.iter().filter(|there| !*there).count();
    // `end` is a line too, the first time.
    assert_eq!((hidden, on_record[..7].contains(&true)), (7, false), "{stdin}");
    assert_eq!(home.audits("masked").len(), 8);
}

#[test]
fn with_record_passwords_they_are_recorded() {
    let home = Home::new();
    let mut server = home.open(&["--record-passwords"]);
    let (mut terminal, tty) = shell(&home, &server);
    terminal.keys("read -rsp 'secret? ' x\r");
    terminal.await_text("secret? ");
    await_echo_off(Path::new(&tty));
    type_slowly(&mut terminal, "Hunter-2\r");
    terminal.await_text("prompt> ");
    terminal.keys("exit 0\r");
    terminal.finish();
    server.wait();
    assert!(text(&home.stream("stdin")).contains("Hunter-2\r"));
    assert_eq!(home.audits("masked").len(), 0);
}

#[test]
fn without_a_terminal_nothing_is_masked() {
    let home = Home::new();
    let mut server = home.open(&[]);
    run_with(home.ssh(&server).arg("read -r x; echo done"), b"not-a-password\n");
    server.wait();
    assert_eq!(text(&home.stream("stdin")), "not-a-password\n");
}
