//! People join with stock ssh, and see and type the same.

use crate::support::*;

/// Says when it runs, then repeats each line in capitals, until a line says `end N`.
const REPEAT: &str = "echo ready; while read word number; do [ $word = end ] && exit $number; echo $word | tr a-z A-Z; done";

#[test]
fn two_stock_clients_see_the_same_and_both_type() {
    let home = Home::new();
    let share = home.shared(&[], REPEAT);
    let (mut one, mut two) = (home.join(&share, "id"), home.join(&share, "id"));
    one.await_line("ready");
    two.await_line("ready");
    one.keys("hello\n");
    two.await_line("HELLO");
    two.keys("world\n");
    one.await_line("WORLD");
    assert_eq!(one.lines()[..5], ["ready", "hello", "HELLO", "world", "WORLD"]);
    one.keys("end 7\n");
    for view in [&mut one, &mut two] {
        let (status, screen) = view.finish();
        assert_eq!(status.code(), Some(7), "{screen}");
        assert!(screen.contains("the share has ended: the program exited with status 7"), "{screen}");
    }
    let (status, _, _) = share.process.finish();
    assert_eq!(status.code(), Some(7));
    let (verdict, said) = verify(&home.path("visit.cast"), Some(&share.host_key));
    assert_eq!(verdict, 0, "{said}");
}

#[test]
fn a_viewer_who_joins_late_sees_the_screen_as_it_is() {
    let home = Home::new();
    let script = "printf 'one\\r\\n\\033[1;31mtwo\\033[0m\\033[5;10Hthree\\033[2;5H'; echo; read x";
    let share = home.shared(&["--size", "60x10"], script);
    let mut early = View::sized(&home.viewer(share.port, "id"), 60, 10);
    early.await_words("three");
    let mut late = View::sized(&home.viewer(share.port, "id"), 60, 10);
    late.await_words("three");
    let (early_screen, late_screen) = (early.screen(), late.screen());
    assert_eq!(late_screen.cell(4, 9).unwrap().contents(), "t");
    assert_eq!(late_screen.cell(1, 0).unwrap().fgcolor(), vt100::Color::Idx(1));
    assert!(late_screen.cell(1, 0).unwrap().bold());
    for row in 0..9 {
        for column in 0..60 {
            assert_eq!(early_screen.cell(row, column), late_screen.cell(row, column), "{row} {column}");
        }
    }
    assert_eq!(early_screen.cursor_position(), late_screen.cursor_position());
    late.keys("\n");
    assert_eq!(early.finish().0.code(), Some(0));
    assert_eq!(late.finish().0.code(), Some(0));
}

#[test]
fn each_keyboard_has_its_author_on_the_record_and_joins_precede_what_is_seen() {
    let home = Home::new();
    home.key("other", "ed25519");
    let share = home.shared(&["--authorized-keys", home.path("other.pub").to_str().unwrap()], REPEAT);
    let (mut one, mut two) = (home.join(&share, "id"), home.join(&share, "other"));
    one.await_line("ready");
    two.await_line("ready");
    let people = share.await_people(2);
    one.keys("alpha\n");
    two.await_line("ALPHA");
    two.keys("beta\n");
    one.await_line("BETA");
    one.keys("end 0\n");
    assert_eq!(one.finish().0.code(), Some(0));
    assert_eq!(share.process.finish().0.code(), Some(0));
    assert!(home.record().starts_with(r#"{"version":2,"#) && home.record().lines().next().unwrap().contains(r#""sally":"2.1""#));
    assert_eq!(home.audits("pty")[0]["term"], "xterm-256color");
    assert!(home.audits("share")[0]["program"].as_str().unwrap().ends_with("/sh"));
    let joins = home.audits("join");
    assert_eq!(joins.len(), 2);
    for person in &people {
        let join = joins.iter().find(|join| join["channel"] == person["number"]).unwrap();
        assert_eq!((&join["fingerprint"], &join["role"], &join["via"]), (&person["fingerprint"], &"write".into(), &"direct".into()));
    }
    for (typed, key) in [("alpha\rend 0\r", "id"), ("beta\r", "other")] {
        let fingerprint = run(std::process::Command::new("ssh-keygen").arg("-lf").arg(home.path(format!("{key}.pub"))));
        let person = people.iter().find(|person| text(&fingerprint.stdout).contains(person["fingerprint"].as_str().unwrap())).unwrap();
        let mut cat = std::process::Command::new(sally());
        cat.args(["record", "cat", "--raw", "--stream", "stdin", "--channel", &person["number"].to_string()]);
        let said = run(cat.arg(home.path("visit.cast")));
        assert_eq!(text(&said.stdout), typed.replace('\r', "\n"), "{}", text(&said.stderr));
    }
}

#[test]
fn a_viewer_of_another_size_sees_a_part_and_changes_nothing_for_others() {
    let home = Home::new();
    let share = home.shared(&["--size", "60x10"], "stty size; trap 'stty size' WINCH; while :; do read x && echo got $x; done");
    let mut small = View::sized(&home.viewer(share.port, "id"), 30, 6);
    let large = View::sized(&home.viewer(share.port, "id"), 100, 30);
    large.await_words("10 60");
    small.await_words("10 60");
    small.keys("x\n");
    large.await_words("got x");
    assert!(!large.screen().contents().contains("6 30"), "{:?}", large.lines());
}

#[test]
fn words_after_the_name_are_answered_and_no_command_runs() {
    let home = Home::new();
    let share = home.shared(&[], REPEAT);
    let ask = |words: &str| run(home.ssh_to(share.port).arg(words));
    let refused = ask("touch /tmp/never");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("This is a shared terminal: it runs no commands"), "{}", text(&refused.stderr));
    let view = home.join(&share, "id");
    view.await_line("ready");
    assert!(text(&ask("who").stdout).contains("write"), "who lists people");
    let who: serde_json::Value = serde_json::from_slice(&ask("who --json").stdout).unwrap();
    assert_eq!(who["role"], "write");
    let without_terminal = run(&mut home.ssh_to(share.port));
    assert_eq!(without_terminal.status.code(), Some(2));
    let files = run(home.ssh_to(share.port).args(["-s", "sftp"]));
    assert_ne!(files.status.code(), Some(0));
}

#[test]
fn nobody_starts_without_keys_or_joins_without_one_that_is_listed() {
    let home = Home::new();
    let mut none = home.share();
    let fails = |command: &mut std::process::Command| {
        let output = run(command);
        (output.status.code(), text(&output.stderr))
    };
    home.write("empty", "# nothing\n");
    let empty = home.path("empty").display().to_string();
    let (status, said) = fails(none.args(["--foreground", "--view-keys", &empty]));
    assert_eq!(status, Some(78), "{said}");
    let mut unnamed = std::process::Command::new(sally());
    unnamed.args(["share", "--foreground", "--listen", "127.0.0.1:0"]).env_remove("AUTHORIZED_KEYS").env_remove("VIEW_KEYS");
    unnamed.arg("--log").arg(home.path("unnamed.cast"));
    assert_eq!(fails(&mut unnamed).0, Some(78));
    assert!(!home.path("unnamed.cast").exists());
    let mut nowhere = std::process::Command::new(sally());
    let (status, said) = fails(nowhere.args(["share", "--foreground", "--authorized-keys"]).arg(home.path("id.pub")));
    assert_eq!(status, Some(78));
    assert!(said.starts_with("No relay is named, and no --listen"), "{said}");
    let options = home.line("id", r#"environment="A=b""#);
    home.write("sets", options);
    let (status, said) = fails(home.share().args(["--foreground", "--view-keys"]).arg(home.path("sets")));
    assert_eq!(status, Some(78), "{said}");

    home.key("unknown", "ed25519");
    let share = home.shared(&[], REPEAT);
    let stranger = home.join(&share, "unknown").finish();
    assert_eq!(stranger.0.code(), Some(255), "{}", stranger.1);
}

#[test]
fn a_key_that_runs_a_command_or_has_no_terminal_does_not_join() {
    let home = Home::new();
    let lines = [home.line("runs", r#"command="id""#), home.line("bare", "restrict")].concat();
    let keys = home.write("lines", lines).display().to_string();
    let share = home.shared(&["--authorized-keys", &keys], REPEAT);
    for key in ["runs", "bare"] {
        let (status, screen) = home.join(&share, key).finish();
        assert_ne!(status.code(), Some(0), "{screen}");
        assert!(!screen.contains("ready"), "{screen}");
    }
    assert_eq!(share.people().len(), 0);
}
