//! Who may write, and who only watches.

use crate::support::*;

/// Repeats each line in capitals.
const REPEAT: &str = "echo ready; while read word; do echo $word | tr a-z A-Z; done";

#[test]
fn a_key_that_may_only_watch_types_nothing_and_is_never_promoted() {
    let home = Home::new();
    let watcher = home.watcher("watcher");
    let share = home.shared(&watcher.each_ref().map(String::as_str), REPEAT);
    let (mut writer, mut watcher) = (home.join(&share, "id"), home.join(&share, "watcher"));
    writer.await_line("ready");
    watcher.await_line("ready");
    watcher.keys("xyz\r");
    watcher.await_words("read only: q leaves, w asks to write");
    writer.keys("seen\r");
    watcher.await_line("SEEN");
    assert!(!writer.lines().iter().any(|line| line == "XYZ"), "{:?}", writer.lines());
    let number = share.people().into_iter().find(|person| person["role"] == "watch").unwrap()["number"].to_string();
    let promoted = share.command(&["promote", &number]);
    assert_eq!(promoted.status.code(), Some(1));
    assert!(text(&promoted.stderr).contains("never write"), "{}", text(&promoted.stderr));
    watcher.keys("q");
    assert_eq!(watcher.finish().0.code(), Some(0));
    assert_eq!(home.stream("stdin"), b"seen\r");
    assert_eq!(home.audits("leave")[0]["reason"], "the viewer left");
}

#[test]
fn a_share_that_is_read_only_has_no_writer() {
    let home = Home::new();
    let share = home.shared(&["--read-only"], "echo ready; read x; echo got $x");
    let mut view = home.join(&share, "id");
    view.await_line("ready");
    view.keys("x\r");
    view.await_words("read only");
    let number = share.people()[0]["number"].to_string();
    assert_eq!(share.command(&["promote", &number]).status.code(), Some(1));
    assert_eq!(share.people()[0]["role"], "watch");
    assert_eq!(home.stream("stdin"), b"");
}

#[test]
fn demoted_and_promoted_while_it_goes_on() {
    let home = Home::new();
    home.key("other", "ed25519");
    let share = home.shared(&["--authorized-keys", home.path("other.pub").to_str().unwrap()], REPEAT);
    let (mut one, two) = (home.join(&share, "id"), home.join(&share, "other"));
    two.await_line("ready");
    let people = share.await_people(2);
    let one_is = fingerprint(&home, "id");
    let number = people.iter().find(|person| person["fingerprint"] == *one_is).unwrap()["number"].to_string();
    // Half a line is at the program already; the rest is not, and never will be.
    one.keys("fir");
    until("the beginning is on the record", || (home.stream("stdin") == b"fir").then_some(()));
    assert_eq!(share.command(&["demote", &number]).status.code(), Some(0));
    one.keys("st\r");
    one.await_words("read only");
    assert_eq!(share.command(&["promote", &number]).status.code(), Some(0));
    one.keys("\r");
    two.await_line("FIR");
    let roles = home.audits("role");
    assert_eq!((&roles[0]["role"], &roles[1]["role"], &roles[1]["by"]), (&"watch".into(), &"write".into(), &whoami().into()));
}

#[test]
fn a_viewer_who_is_kicked_leaves_and_the_key_does_not_return() {
    let home = Home::new();
    home.key("other", "ed25519");
    let share = home.shared(&["--authorized-keys", home.path("other.pub").to_str().unwrap()], REPEAT);
    let (mut one, mut again, mut other) = (home.join(&share, "id"), home.join(&share, "id"), home.join(&share, "other"));
    for view in [&one, &again, &other] {
        view.await_line("ready");
    }
    let people = share.await_people(3);
    let key = fingerprint(&home, "id");
    let number = people.iter().find(|person| person["fingerprint"] == *key).unwrap()["number"].to_string();
    assert_eq!(share.command(&["kick", &number]).status.code(), Some(0));
    for view in [&mut one, &mut again] {
        let (status, screen) = view.finish();
        assert_eq!(status.code(), Some(1));
        assert!(screen.contains("the host has removed you from the share"), "{screen}");
    }
    let (status, screen) = home.join(&share, "id").finish();
    assert_eq!(status.code(), Some(1));
    assert!(screen.contains("removed this key"), "{screen}");
    assert_eq!(share.command(&["allow", &key]).status.code(), Some(0));
    home.join(&share, "id").await_line("ready");
    other.keys("still\r");
    other.await_line("STILL");
    assert_eq!(home.audits("kick").len(), 1);
}

#[test]
fn what_a_terminal_answers_is_not_typed() {
    let home = Home::new();
    let script = "stty raw -echo; printf 'ready\\r\\n'; dd bs=1 count=3 2>/dev/null | od -An -tx1; read x";
    let share = home.shared(&[], script);
    let mut view = home.join(&share, "id");
    view.await_line("ready");
    for answer in ["\x1b[?1;2c", "\x1b[>0;276;0c", "\x1b[12;40R", "\x1b]11;rgb:0000/0000/0000\x1b\\", "\x1bP1$r0m\x1b\\", "\x1b[I"] {
        view.keys(answer);
    }
    view.keys("abc");
    view.await_words("61 62 63");
    assert_eq!(home.stream("stdin"), b"abc");
}

#[test]
fn the_shares_own_screen_alone_answers_the_program() {
    let home = Home::new();
    let script = "stty raw -echo; printf 'ready\\r\\n\\033[6n'; dd bs=1 count=6 2>/dev/null | od -An -c; read x";
    let share = home.shared(&[], script);
    let (one, two) = (home.join(&share, "id"), home.join(&share, "id"));
    one.await_words("033   [   2   ;   1   R");
    two.await_words("033   [   2   ;   1   R");
    for view in [&one, &two] {
        assert!(!text(&view.sent()).contains("\x1b[6n"), "a query reached a viewer");
    }
    assert_eq!(home.stream("stdin"), b"\x1b[2;1R");
}

/// The fingerprint of a key.
fn fingerprint(home: &Home, key: &str) -> String {
    let said = run(std::process::Command::new("ssh-keygen").arg("-lf").arg(home.path(format!("{key}.pub"))));
    text(&said.stdout).split(' ').nth(1).unwrap().to_owned()
}
