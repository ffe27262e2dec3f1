//! Passwords that are typed at a prompt are not on the record; everything else that is typed is.

use std::path::Path;

use crate::support::*;

/// As a person types it: key by key.
fn type_slowly(terminal: &mut Terminal, text: &str) {
    for key in text.chars() {
        terminal.keys(&key.to_string());
    }
}

/// A shell on a terminal of the door, and the path of that terminal.
fn shell(home: &Home, door: &Door) -> (Terminal, String) {
    let mut terminal = Terminal::start(home.ssh(door).args(["-tt", "echo tty=$(tty); PS1='prompt> ' exec bash --norc --noprofile -i"]));
    let tty = terminal.await_word("tty=");
    terminal.await_text("prompt> ");
    (terminal, tty)
}

/// A program asks these questions; each is answered with a secret. None of it is on the record; there is a marker.
fn asks(program: &str, questions: &[&str], secrets: &[&str]) {
    let home = Home::new();
    let mut door = home.open(&[]);
    let (mut terminal, tty) = shell(&home, &door);
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
    assert_eq!(door.wait().0.code(), Some(0));
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
    home.assert_sealed(&door);
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
fn the_marker_tells_who_asked_and_no_length() {
    let markers: Vec<_> = ["short", "a-much-longer-secret-of-forty-characters"]
        .map(|secret| {
            let home = Home::new();
            let mut door = home.open(&[]);
            let (mut terminal, tty) = shell(&home, &door);
            terminal.keys("python3 -c 'import getpass; getpass.getpass(\"secret? \")'\r");
            terminal.await_text("secret? ");
            await_echo_off(Path::new(&tty));
            type_slowly(&mut terminal, &format!("{secret}\r"));
            terminal.await_text("prompt> ");
            terminal.keys("exit 0\r");
            terminal.finish();
            door.wait();
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
    let mut door = home.open(&[]);
    let mut terminal = Terminal::start(home.ssh(&door).args(["-tt", program]));
    terminal.await_text(ready);
    type_slowly(&mut terminal, typed);
    terminal.await_text(answer);
    terminal.keys(leave);
    terminal.finish();
    door.wait();
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
    let mut door = home.open(&[]);
    let mut terminal = Terminal::start(home.ssh(&door).args(["-tt", "stty -echo; echo ready; exec sh"]));
    terminal.await_text("ready");
    // A shell shows something after each line, as a program does that asks again: seven prompts, the last one with its two lines, are masked.
    for line in 1..=10 {
        terminal.keys(&format!("echo {line}-$((6*7))\r"));
        terminal.await_text(&format!("{line}-42"));
    }
    terminal.keys("exit 0\r");
    terminal.finish();
    door.wait();
    let stdin = text(&home.stream("stdin"));
    assert_eq!(stdin, "echo 9-$((6*7))\recho 10-$((6*7))\rexit 0\r");
    assert_eq!(home.audits("masked").len(), 7);
    let markers: Vec<_> = home.events("visit.cast").into_iter().filter(|(code, _)| code == "m").map(|(_, text)| text).collect();
    assert_eq!(markers, ["echo is still off: input is recorded again"]);
}

#[test]
fn with_record_passwords_they_are_recorded() {
    let home = Home::new();
    let mut door = home.open(&["--record-passwords"]);
    let (mut terminal, tty) = shell(&home, &door);
    terminal.keys("read -rsp 'secret? ' x\r");
    terminal.await_text("secret? ");
    await_echo_off(Path::new(&tty));
    type_slowly(&mut terminal, "Hunter-2\r");
    terminal.await_text("prompt> ");
    terminal.keys("exit 0\r");
    terminal.finish();
    door.wait();
    assert!(text(&home.stream("stdin")).contains("Hunter-2\r"));
    assert_eq!(home.audits("masked").len(), 0);
}

#[test]
fn without_a_terminal_nothing_is_masked() {
    let home = Home::new();
    let mut door = home.open(&[]);
    run_with(home.ssh(&door).arg("read -r x; echo done"), b"not-a-password\n");
    door.wait();
    assert_eq!(text(&home.stream("stdin")), "not-a-password\n");
}
