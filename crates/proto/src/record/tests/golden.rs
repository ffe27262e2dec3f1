//! Records of version 1 as they were written once: they stay readable.

use super::*;

const WHOLE: &[u8] = include_bytes!("../../../tests/golden/v1.cast");
const HEADS: &[u8] = include_bytes!("../../../tests/golden/v1-head.cast");
const KILLED: &[u8] = include_bytes!("../../../tests/golden/v1-killed.cast");
const KEY: &str = include_str!("../../../tests/golden/host_key.pub");

#[test]
fn records_of_version_1_have_the_verdicts_they_had() {
    let key = PublicKey::from_openssh(KEY.trim()).unwrap();
    assert_eq!(verify(WHOLE, Some(&key)).unwrap().verdict, Verdict::Sealed);
    assert_eq!(verify(WHOLE, None).unwrap().verdict, Verdict::Unproven);
    assert_eq!(verify(HEADS, Some(&key)).unwrap().verdict, Verdict::Partial);
    assert!(matches!(verify(KILLED, Some(&key)).unwrap().verdict, Verdict::NotSealed { signed_to: 2.. }));
}

#[test]
fn every_line_of_them_is_understood() {
    for line in WHOLE.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
        let event = Line::parse(line).unwrap().event().unwrap();
        assert!(!matches!(event, Event::Other(_)));
    }
}

/// The same events give the same bytes; where that changes, the files above stay and new ones are added.
#[test]
fn version_1_is_still_written_so() {
    let key = TestKey::new(7);
    assert_eq!(String::from_utf8_lossy(&sample(&key, Policy::All)), String::from_utf8_lossy(WHOLE));
}

#[test]
#[ignore = "writes the golden files: for a new version only"]
fn write_golden_files() {
    let key = TestKey::new(7);
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let whole = sample(&key, Policy::All);
    std::fs::write(format!("{dir}/v1.cast"), &whole).unwrap();
    std::fs::write(format!("{dir}/v1-head.cast"), sample(&key, Policy::Head(1 << 20))).unwrap();
    std::fs::write(format!("{dir}/v1-killed.cast"), &whole[..whole.len() - 400]).unwrap();
    std::fs::write(format!("{dir}/host_key.pub"), key.public_key() + "\n").unwrap();
}
