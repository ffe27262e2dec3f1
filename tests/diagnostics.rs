//! What is said on stderr to whoever looks for a reason: `-v`, `--log-format`.

use serde_json::Value;

use crate::support::*;

/// What a door says to this, when somebody without a key has come and then somebody with one.
fn said(options: &[&str]) -> Vec<String> {
    let home = Home::new();
    home.key("wrong", "ed25519");
    let mut door = home.open(options);
    let wrong = home.path("wrong");
    assert!(!run(home.ssh_with(door.port, &["-i", wrong.to_str().unwrap()]).arg("true")).status.success());
    assert!(run(home.ssh(&door).arg("true")).status.success());
    door.wait().1.lines().map(String::from).collect()
}

const REFUSED: &str = "refused: no line has this key";

#[test]
fn without_asking_nobody_is_told_of_strangers() {
    let lines = said(&[]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

#[test]
fn v_names_who_came_and_why_they_went() {
    let lines = said(&["-v"]);
    let refused = lines.iter().find(|line| line.contains(REFUSED)).expect("it is named");
    assert!(refused.contains("INFO") && refused.contains("peer=127.0.0.1:") && refused.contains("user=\"anyone\""), "{refused}");
    assert!(!refused.contains('\x1b'), "no colours where no terminal is: {refused:?}");
    assert!(said(&["-vv"]).iter().any(|line| line.contains("sally::ssh") && line.contains(REFUSED)), "-vv says where as well");
}

#[test]
fn json_is_one_object_a_line() {
    let lines = said(&["-v", "--log-format", "json"]);
    // The line that says the port is for whoever started it, not a diagnostic.
    let objects: Vec<Value> = lines.iter().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), lines.len() - 1, "{lines:#?}");
    let refused = objects.iter().find(|object| object["fields"]["message"] == REFUSED).expect("it is named");
    assert!(refused["level"] == "INFO" && refused["fields"]["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{refused}");
}

#[test]
fn another_format_is_refused() {
    let home = Home::new();
    assert_eq!(run(home.once().args(["--log-format", "xml"])).status.code(), Some(2));
}
