//! Envelopes of version 1 as they were written once: they stay readable.

use super::*;

const WAKE: &str = include_str!("../../../tests/golden/wake-v1.txt");
const ACKNOWLEDGEMENT: &str = include_str!("../../../tests/golden/acknowledgement-v1.txt");
const STATUS: &str = include_str!("../../../tests/golden/status-v1.json");

fn acknowledgement() -> Acknowledgement {
    Acknowledgement::new("relay-1".parse().unwrap(), Jti::new([1; 16]), NOW, WakeAnswer::Clock, "it ended 5 s ago")
}

fn status() -> StatusMessage {
    StatusMessage { v: VERSION, s: DevicePresence::Online, sid: "Zm9v".into(), t: NOW, ver: "0.1.0".into() }
}

#[test]
fn envelopes_of_version_1_are_read() {
    assert_eq!(checker().admit(WAKE.trim().as_bytes(), moment(NOW), 0), Ok(wake(1)));
    let opened = Acknowledgement::open(ACKNOWLEDGEMENT.trim().as_bytes(), &"relay-1".parse().unwrap(), &devices(), &Krl::default(), NOW);
    assert_eq!(opened, Ok(("cam-17".parse().unwrap(), 5, acknowledgement())));
    assert_eq!(StatusMessage::parse(STATUS.trim().as_bytes()), Some(status()));
}

/// The same fields give the same bytes; where that changes, the files above stay and new ones are added.
#[test]
fn version_1_is_still_written_so() {
    assert_eq!(wake(1).seal(&wake_key(1)).unwrap(), WAKE.trim());
    assert_eq!(acknowledgement().seal(&private(20), &certificate(10, "cam-17")).unwrap(), ACKNOWLEDGEMENT.trim());
    assert_eq!(status().payload(), STATUS.trim());
}

/// As docs/wire.md says: what a reader in another language has to do.
#[test]
fn the_payload_is_json_with_the_documented_fields() {
    let [payload, signature] = split(WAKE.trim().as_bytes(), WAKE_MAX).unwrap();
    let value: Value = serde_json::from_slice(&payload).unwrap();
    let fields: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    let mut documented = ["v", "kid", "aud", "jti", "iat", "exp", "relay", "hk", "svc", "tkt", "rid"];
    documented.sort_unstable();
    assert_eq!(fields, documented);
    assert_eq!(signature.len(), 64);
}

#[test]
#[ignore = "writes the golden files: for a new version only"]
fn write_golden_files() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let write = |name: &str, text: String| std::fs::write(format!("{dir}/{name}"), text + "\n").unwrap();
    write("wake-v1.txt", wake(1).seal(&wake_key(1)).unwrap());
    write("acknowledgement-v1.txt", acknowledgement().seal(&private(20), &certificate(10, "cam-17")).unwrap());
    write("status-v1.json", status().payload());
}
