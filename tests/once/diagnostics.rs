//! What is said on stderr to whoever looks for a reason: `-v`, `--log-format`.

use serde_json::Value;

use crate::support::*;

/// What a server says to this, when somebody without a key has come and then somebody with one.
fn said(options: &[&str]) -> Vec<String> {
    let home = Home::new();
    home.key("wrong", "ed25519");
    let mut server = home.open(options);
    let wrong = home.path("wrong");
    assert!(!run(home.ssh_with(server.port, &["-i", wrong.to_str().unwrap()]).arg("true")).status.success());
    assert!(run(home.ssh(&server).arg("true")).status.success());
    server.wait().1.lines().map(String::from).collect()
}

const REFUSED: &str = "refused: no line has this key";

#[test]
fn without_v_refused_clients_are_not_reported() {
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

/// Everything on stderr of a server at which a client says what a terminal would obey.
fn said_to_hostile_words(format: &str) -> Vec<String> {
    let home = Home::new();
    let mut server = home.open(&["-vv", "--log-format", format]);
    let visit = run(python("hostile.py").arg("words-for-a-log").arg(server.port.to_string()).arg(home.path("id")));
    assert_eq!(text(&visit.stdout), "True\n".repeat(6), "{}", text(&visit.stderr));
    let said = server.wait().1;
    // The words are there: what is checked is something.
    assert!(said.matches("FAKE LINE").count() >= 6, "{said}");
    let obeyed: Vec<_> = said.chars().filter(|c| *c != '\n' && is_obeyed(*c)).collect();
    assert!(obeyed.is_empty(), "{obeyed:?} in {said}");
    said.lines().filter(|line| !line.starts_with("Listening on") && !line.starts_with("Connection closed")).map(String::from).collect()
}

/// What a terminal does something at, other than to show it: control characters, what turns a line around or ends it, what isn't seen.
fn is_obeyed(c: char) -> bool {
    let others = ['\u{61c}', '\u{200b}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}'];
    c.is_control() || others.contains(&c)
}

#[test]
fn what_a_client_says_moves_nothing_on_the_operators_terminal() {
    let lines = said_to_hostile_words("text");
    assert!(lines.iter().all(|line| line.contains("INFO") || line.contains("DEBUG")), "a line is forged: {lines:#?}");
}

#[test]
fn what_a_client_says_is_escaped_in_json() {
    let lines = said_to_hostile_words("json");
    let objects: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let why = objects.iter().find_map(|object| object["fields"]["why"].as_str().filter(|why| why.contains("FAKE"))).expect("it is named");
    assert!(why.contains("\u{1b}[31m\r\nFAKE LINE \u{202e}") && why.contains('\u{e0041}'), "it is the same text once it is read: {why:?}");
}

#[test]
fn another_format_is_refused() {
    let home = Home::new();
    assert_eq!(run(home.once().args(["--log-format", "xml"])).status.code(), Some(2));
}
