//! Tests `sally record verify|cat|export` on records with every kind of event.

use std::path::PathBuf;

use crate::record::cmd::{CatArgs, Format, StreamName, VerifyArgs};
use crate::record::source::RecordReader;
use crate::record::{cat, export, verify};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tests/golden");
const KEY: &str = "ssh-ed25519 SHA256:";

fn golden(name: &str) -> PathBuf {
    PathBuf::from(GOLDEN).join(name)
}

fn judge(file: PathBuf, host_key: Option<&str>, json: bool) -> (String, u8, Vec<String>) {
    let args = VerifyArgs { file, host_key: host_key.map(str::to_owned), known_hosts: None, host: None, json };
    let (line, status, notes) = verify::judge(&args).unwrap();
    (line.unwrap_or_default(), status, notes)
}

#[test]
fn each_verdict_is_a_sentence_with_an_exit_status() {
    let key = golden("host_key.pub");
    let key = key.to_str();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let cases = [
        ("", key, 0, "Sealed by ", "complete and unchanged"),
        ("-head", key, 3, "Partial, sealed by ", "head=1048576"),
        ("", None, 4, "Self-consistent, signer unproven: ", "only the file itself names"),
        ("-killed", key, 5, "Not sealed: signed to line ", "the rest is unproven"),
        ("", Some(other), 6, "Broken at or after line 1: ", "it is signed by another key, SHA256:"),
    ];
    for (version, (file, key, status, begins, contains)) in ["v1", "v2"].into_iter().flat_map(|version| cases.map(|case| (version, case))) {
        let (sentence, exit, notes) = judge(golden(&format!("{version}{file}.cast")), key, false);
        assert!(sentence.starts_with(begins) && sentence.contains(contains) && !sentence.contains('\n'), "{sentence}");
        assert!(exit == 6 || sentence.contains(KEY), "{sentence}");
        assert_eq!((exit, notes.len()), (status, 0), "{sentence}");
    }
    let (line, status, notes) = judge(golden("host_key.pub"), None, false);
    assert_eq!((line.as_str(), status), ("", 65));
    assert!(notes[0].ends_with("there is no record in it"));
    assert_eq!(judge(golden("missing"), None, false).1, 66);
}

#[test]
fn a_key_that_is_none_is_refused_before_anything_is_read() {
    let args = VerifyArgs {
        file: golden("missing"),
        host_key: Some(golden("v1.cast").display().to_string()),
        known_hosts: None,
        host: None,
        json: false,
    };
    assert!(verify::judge(&args).unwrap_err().contains("is not a file of public keys"));
}

#[test]
fn json_answers_have_the_documented_fields() {
    let key = golden("host_key.pub");
    let (json, status, _) = judge(golden("v1.cast"), key.to_str(), true);
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status, 0);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/record-format.md")).unwrap();
    for (name, _) in answer.as_object().unwrap() {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
    assert_eq!(
        (answer["verdict"].as_str(), answer["signer_proven"].as_bool(), answer["exit_status"].as_u64()),
        (Some("sealed"), Some(true), Some(0))
    );
    assert_eq!(answer["signed_time"], 10.7);
    let fingerprint = answer["fingerprint"].as_str().unwrap();
    assert_eq!(judge(golden("v1.cast"), Some(fingerprint), false).1, 0, "the fingerprint is enough");
    let (json, status, _) = judge(golden("missing"), None, true);
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((answer["verdict"].as_str(), status), (Some("none"), 66));
}

#[test]
fn lines_around_the_record_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let record = std::fs::read_to_string(golden("v1.cast")).unwrap();
    std::fs::write(&file, format!("starting\n{record}stopped\n")).unwrap();
    let key = golden("host_key.pub");
    let (_, status, notes) = judge(file, key.to_str(), false);
    assert_eq!((status, notes.len()), (0, 2), "{notes:?}");
}

/// Returns the bytes, which must be equal for both versions of the format.
fn cat(stream: Option<StreamName>, channel: Option<u32>, raw: bool) -> Vec<u8> {
    let [older, newer] = ["v1.cast", "v2.cast"].map(|name| {
        let args = CatArgs { file: golden(name), stream, channel, raw };
        let mut out = Vec::new();
        cat::copy(RecordReader::open(&args.file).unwrap(), &args, raw, &mut out).unwrap();
        out
    });
    assert_eq!(older, newer);
    newer
}

#[test]
fn cat_gives_the_bytes_of_a_stream() {
    let terminal = "$ \x1b[1mgrüße\x1b[0m \"q\" \\ \r\ncaf".as_bytes();
    let expected = [terminal, b"\xe9\r\n"].concat();
    assert_eq!(cat(Some(StreamName::Stdout), Some(0), true), expected);
    assert_eq!(cat(Some(StreamName::Stdout), None, true), [&expected[..], b"plain\n"].concat());
    assert_eq!(cat(Some(StreamName::Stderr), None, true), b"error\n");
    assert_eq!(cat(Some(StreamName::Stdin), None, true), [&b"ls\r"[..], &[0; 40]].concat());
    assert_eq!(cat(None, None, true), [&expected[..], b"plain\nerror\n"].concat());
    assert_eq!(cat(None, Some(0), false), "$ ^[[1mgrüße^[[0m \"q\" \\ \ncaf<E9>\n".as_bytes());
}

/// Returns the export, which must be equal for both versions of the format.
fn exported(format: Format) -> String {
    let [older, newer] = ["v1.cast", "v2.cast"].map(|name| {
        let mut out = Vec::new();
        export::write(RecordReader::open(&golden(name)).unwrap(), format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    });
    assert_eq!(older, newer);
    newer
}

#[test]
fn v3_has_intervals_and_everything_a_player_shows() {
    let v3 = exported(Format::V3);
    assert!(
        v3.starts_with(concat!(
            r#"{"env":{"SHELL":"/bin/bash"},"term":{"cols":80,"rows":24},"timestamp":1790000000,"version":3}"#,
            "\n",
            r#"[0.002000,"r","100x30"]"#,
            "\n",
            r#"[0.008000,"o","$ \u001b[1mgrüße\u001b[0m \"q\" \\ \r\n"]"#,
            "\n",
            r#"[0.010000,"i","ls\r"]"#,
            "\n",
        )),
        "{v3}"
    );
    let lines: Vec<(f64, String, String)> = v3.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let total: f64 = lines.iter().map(|line| line.0).sum();
    assert!((total - 5.4).abs() < 1e-6, "{total}");
    assert_eq!(lines.last().unwrap().1, "x");
    assert!(lines.iter().any(|line| line.2 == "plain\r\n") && lines.iter().any(|line| line.2 == "\u{fffd}\r\n"));
}

#[test]
fn text_is_what_was_shown_without_a_control_character() {
    let text = exported(Format::Text);
    assert!(text.contains("grüße") && text.contains("plain\nerror\n"), "{text}");
    assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{text:?}");
}

#[test]
fn audit_is_one_json_object_a_line() {
    let audit = exported(Format::Audit);
    let events: Vec<serde_json::Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["connect", "exec", "pty", "resize", "marker", "exit", "close"]);
    assert_eq!((events[0]["time"].as_f64(), events[5]["status"].as_u64()), (Some(0.001), Some(137)));
}
