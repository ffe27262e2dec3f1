//! Text as it was shown, however it came: characters that were written in two halves, marks, concealed text.

use std::process::Command;

use crate::support::*;

/// What `sally record` shows of this home's record: `export` in a format, or another command with its arguments.
fn shown(home: &Home, arguments: &[&str]) -> String {
    let output = run(Command::new(sally()).arg("record").args(arguments).arg(home.path("visit.cast")));
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn v3_output(home: &Home) -> String {
    let v3 = shown(home, &["export", "--format", "v3"]);
    let events = v3.lines().skip(1).map(|line| serde_json::from_str::<(f64, String, String)>(line).unwrap());
    events.filter(|(_, code, _)| code == "o").map(|(.., data)| data).collect()
}

/// The first half is on the record before the second is written.
const HALVES: &str = "printf 'a\\346'; read go; printf '\\274\\242b\\n'";

#[test]
fn a_character_in_two_halves_is_shown_whole_from_a_terminal() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", &format!("stty -echo; {HALVES}")]));
    until("the first half is on the record", || home.record().contains("\"b\",\"o:5g==").then_some(()));
    terminal.keys("\r");
    assert!(terminal.finish().0.success());
    server.wait();
    for arguments in [&["play", "--speed", "100"][..], &["cat"], &["export", "--format", "text"]] {
        assert!(shown(&home, arguments).contains("a\u{6f22}b"), "{arguments:?}: {}", shown(&home, arguments));
    }
    assert_eq!(v3_output(&home), "a\u{6f22}b\r\n");
}

#[test]
fn a_character_in_two_halves_is_shown_whole_from_a_pipe() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut client = Client::start(home.ssh(&server).arg(format!("{HALVES}; printf 'end\\346'")));
    until("the first half is on the record", || home.record().contains("\"b\",\"o:5g==").then_some(()));
    client.write("\n");
    client.finish();
    server.wait();
    for arguments in [&["play", "--speed", "100"][..], &["cat"]] {
        assert!(shown(&home, arguments).replace('\r', "").starts_with("a\u{6f22}b\nend"), "{arguments:?}: {}", shown(&home, arguments));
    }
    assert_eq!(shown(&home, &["export", "--format", "text"]), "a\u{6f22}b\nend<E6>");
    // What never was finished is not forgotten.
    assert_eq!(v3_output(&home), "a\u{6f22}b\r\nend\u{fffd}");
}

/// A session on a terminal that shows this (for printf), and then waits until it is over.
fn session(home: &Home, printf: &str) {
    let mut server = home.open(&[]);
    assert!(Terminal::start(home.ssh(&server).args(["-tt", &format!("printf '{printf}'")])).finish().0.success());
    server.wait();
}

#[test]
fn marks_do_not_move_what_stands_behind_them_and_what_is_concealed_is_not_told() {
    let home = Home::new();
    // A decomposed accent, an emoji of three, then a place on the line; a password that was typed in concealed letters.
    session(
        &home,
        "cafe\\314\\201 \\360\\237\\221\\250\\342\\200\\215\\360\\237\\221\\251\\033[1;12Hhere\\r\\nuser \\033[8msecret\\033[0m end\\r\\n",
    );
    let text = shown(&home, &["export", "--format", "text"]);
    assert_eq!(text, "cafe\u{301} \u{1f468}\u{200d}\u{1f469}  here\nuser        end\n");
}

#[test]
fn a_player_that_seeks_draws_the_screen_as_it_was() {
    let home = Home::new();
    session(&home, "cafe\\314\\201|\\033[2;3Hat \\033[4:3mcurly\\033[0m \\033[8msecret\\033[0m\\033[5;9r\\033[4;1H");
    let mut player = Command::new(sally());
    player.args(["record", "play", "--seek", "1000"]).arg(home.path("visit.cast"));
    let (status, drawn) = Terminal::start(&player).finish();
    assert!(status.success());
    for part in ["cafe\u{301}\u{1b}[5G|", "\u{1b}[3Gat ", "\u{1b}[0;4:3m", "curly", "\u{1b}[0;8m", "\u{1b}[5;9r", "\u{1b}[4;1H"] {
        assert!(drawn.contains(part), "{part:?}: {drawn:?}");
    }
}
