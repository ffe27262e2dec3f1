//! A genuine record with forged output around it: whatever a player shows of that, `record verify` doesn't say that it is sealed.

use std::process::Command;

use crate::support::*;

const SEALED: i32 = 0;
const BROKEN: i32 = 6;
const SEVERAL: i32 = 7;

const HEADER: &str = "{\"version\":2,\"width\":80,\"height\":24}\n";
const EVENT: &str = "[0.1,\"o\",\"FORGED\\r\\n\"]\n";
const LAST_EVENT: &str = "[99.0,\"o\",\"FORGED\\r\\n\"]\n";

/// The record of a short visit, and the key that sealed it.
fn genuine() -> (Home, String, String) {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert!(run(home.ssh(&server).arg("echo hello")).status.success());
    server.wait();
    let record = home.record();
    (home, server.host_key.clone(), record)
}

/// Whether Debian's asciinema shows forged output of this file.
fn asciinema_is_taken_in(home: &Home, file: &std::path::Path) -> bool {
    let mut player = tool("asciinema", "asciinema");
    player.arg("cat").arg(file).envs([("LC_ALL", "C.UTF-8"), ("TERM", "xterm")]).env("ASCIINEMA_CONFIG_HOME", home.path(""));
    Terminal::start(&player).finish().1.contains("FORGED")
}

#[test]
fn nothing_that_a_player_shows_before_the_header_or_after_the_seal_is_sealed() {
    let (home, key, record) = genuine();
    let long = "x".repeat(70_000);
    let before = [
        format!("{HEADER}{EVENT}"),
        format!(" \t{HEADER} {EVENT}"),
        format!("{}\r{EVENT}", HEADER.trim_end()),
        format!("{{\"version\":2,\"width\":80,\"height\":24,\"x\":\"{long}\"}}\n{EVENT}"),
        format!("{}{EVENT}", HEADER.replace("version", "\\u0076ersion")),
        format!("\u{feff}{HEADER}{EVENT}"),
        "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n".to_owned() + EVENT,
        "{\"log\":\"starting\\n\",\"stream\":\"stdout\"}\n".to_owned(),
    ];
    let after = [
        LAST_EVENT.to_owned(),
        format!(" \t{LAST_EVENT}"),
        LAST_EVENT.trim_end().to_owned(),
        format!("\"xyz\"\r{LAST_EVENT}"),
        format!("\"{long}\"\r{LAST_EVENT}"),
        format!("[99.0,\"o\",\"FORGED{long}\"]\n"),
        LAST_EVENT.replace("99.0", "NaN"),
        LAST_EVENT.replace("99.0", "[99.0]"),
        LAST_EVENT.replace("]\n", ",1]\n"),
        "{\"time\":99,\"code\":\"o\",\"data\":\"FORGED\"}\n".to_owned(),
        format!("Killed\n{LAST_EVENT}"),
        format!("\u{feff}\0{LAST_EVENT}"),
    ];
    let files = before.map(|forged| forged + &record).into_iter().chain(after.map(|forged| record.clone() + &forged));
    let mut taken_in = 0;
    for content in files {
        let file = home.write("forged.cast", &content);
        taken_in += usize::from(asciinema_is_taken_in(&home, &file));
        let (verdict, said) = verify(&file, Some(&key));
        let shown: String = content.replace(&record, "RECORD").chars().take(100).collect();
        assert_eq!(verdict, BROKEN, "{shown}: {said}");
        assert!(said.contains("a player") || said.contains("too long"), "{shown}: {said}");
    }
    assert!(taken_in >= 8, "the player shows what is forged: {taken_in}");
}

#[test]
fn what_other_programs_print_around_a_record_is_passed_over() {
    let (home, key, record) = genuine();
    let around = "[INFO] connected to \"db\"\n[2026-11-01 10:00:00,123] [main] GET \"/\"\n\u{1b}[32mINFO\u{1b}[0m \"db\"\n50%\r100%\n\nat {\"a\":1}\n";
    let (verdict, said) = verify(&home.write("log", format!("{around}{record}{around}")), Some(&key));
    assert!(verdict == SEALED && said.contains("the record begins at line 7") && said.contains("6 lines after the seal"), "{said}");
}

#[test]
fn two_records_in_a_file_are_a_verdict_of_their_own() {
    let (home, key, record) = genuine();
    let lines: Vec<_> = record.split_inclusive('\n').collect();
    for (first, what) in [(lines.clone(), "after the seal"), (lines[..lines.len() - 1].to_vec(), "after kill -9")] {
        let next = first.len() + 2;
        let file = home.write("two.cast", format!("{}Killed\n{record}", first.concat()));
        let (verdict, said) = verify(&file, Some(&key));
        assert_eq!(verdict, SEVERAL, "{what}: {said}");
        assert!(said.starts_with("Several records: ") && said.contains(&format!("another begins at line {next}")), "{said}");
        let answer = run(Command::new(sally()).args(["record", "verify", "--json", "--host-key", &key]).arg(&file));
        let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
        assert_eq!((&answer["verdict"], &answer["exit_status"], &answer["next_record"]), (&"several".into(), &7.into(), &next.into()));
        // As it says: each by itself.
        let second = run_with(Command::new(sally()).args(["record", "verify", "--host-key", &key, "-"]), record.as_bytes());
        assert_eq!(second.status.code(), Some(SEALED));
        // Nor are they shown as one.
        let shown = run(Command::new(sally()).args(["record", "cat"]).arg(&file));
        assert_eq!(text(&shown.stdout), "hello\n", "{what}");
    }
}
