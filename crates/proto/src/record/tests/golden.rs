//! Records of each version as they were written once: they stay readable.

use super::*;

/// What one version wrote: whole, with `head=`, and cut off.
struct Version {
    digest: DigestName,
    whole: &'static [u8],
    heads: &'static [u8],
    killed: &'static [u8],
}

const VERSIONS: [Version; 2] = [
    Version {
        digest: DigestName::Sha256,
        whole: include_bytes!("../../../tests/golden/v1.cast"),
        heads: include_bytes!("../../../tests/golden/v1-head.cast"),
        killed: include_bytes!("../../../tests/golden/v1-killed.cast"),
    },
    Version {
        digest: DigestName::Blake3,
        whole: include_bytes!("../../../tests/golden/v2.cast"),
        heads: include_bytes!("../../../tests/golden/v2-head.cast"),
        killed: include_bytes!("../../../tests/golden/v2-killed.cast"),
    },
];
const KEY: &str = include_str!("../../../tests/golden/host_key.pub");

#[test]
fn records_have_the_verdicts_they_had() {
    let key = PublicKey::from_openssh(KEY.trim()).unwrap();
    for version in VERSIONS {
        assert_eq!(verify(version.whole, Some(&key)).unwrap().verdict, Verdict::Sealed);
        assert_eq!(verify(version.whole, None).unwrap().verdict, Verdict::Unproven);
        assert_eq!(verify(version.heads, Some(&key)).unwrap().verdict, Verdict::Partial);
        assert!(matches!(verify(version.killed, Some(&key)).unwrap().verdict, Verdict::NotSealed { signed_to: 2.. }));
    }
}

#[test]
fn every_line_of_them_is_understood() {
    for version in VERSIONS {
        for line in version.whole.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
            let event = RecordLine::parse(line).unwrap().event().unwrap();
            assert!(!matches!(event, RecordEvent::Other(_)));
        }
    }
}

/// The same events give the same bytes; where that changes, the files above stay and new ones are added.
#[test]
fn each_version_is_still_written_so() {
    let key = TestKey::new(7);
    for version in VERSIONS {
        let written = sample(&key, Policy::All, version.digest);
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(version.whole));
    }
}

#[test]
#[ignore = "writes the golden files of the newest version: for a new version only"]
fn write_golden_files() {
    let key = TestKey::new(7);
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let version = DigestName::default();
    let name = |what: &str| format!("{dir}/v{}{what}.cast", version.format());
    let whole = sample(&key, Policy::All, version);
    std::fs::write(name(""), &whole).unwrap();
    std::fs::write(name("-head"), sample(&key, Policy::Head(1 << 20), version)).unwrap();
    std::fs::write(name("-killed"), &whole[..whole.len() - 400]).unwrap();
}
