//! Every line of a record, and what can be done to it.

use proptest::prelude::*;

use super::*;

/// A sealed record, cut into lines, and which of them are hashes and signatures.
struct Subject {
    key: TestKey,
    lines: Vec<Vec<u8>>,
    hashes: Vec<u64>,
    signed: Vec<u64>,
}

impl Subject {
    fn new() -> Self {
        let key = TestKey::new(7);
        let file = sample(&key, Policy::All, DigestName::Blake3);
        let lines: Vec<Vec<u8>> = file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let (mut hashes, mut signed) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(&lines) {
            if let Ok(hash) = RecordLine::parse(line.strip_suffix(b"\n").unwrap()).and_then(|line| line.hash()) {
                hashes.push(number);
                if hash.seal.is_some() {
                    signed.push(number);
                }
            }
        }
        Self { key, lines, hashes, signed }
    }

    fn count(&self) -> u64 {
        self.lines.len() as u64
    }

    fn verdict(&self, lines: &[Vec<u8>]) -> Verdict {
        verify(&lines.concat(), Some(&self.key.public())).unwrap().verdict
    }

    /// The last signed line before `line`; 0 for none.
    fn signed_before(&self, line: u64) -> u64 {
        self.signed.iter().copied().filter(|signed| *signed < line).max().unwrap_or(0)
    }

    fn assert_broken_after(&self, lines: &[Vec<u8>], proven: u64, what: &str) {
        match self.verdict(lines) {
            Verdict::Broken { line, .. } => assert_eq!(line, proven + 1, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn an_untouched_record_is_sealed_by_the_key_that_is_given_from_outside() {
    let subject = Subject::new();
    let file = subject.lines.concat();
    let report = verify(&file, Some(&subject.key.public())).unwrap();
    assert_eq!(report.verdict, Verdict::Sealed);
    assert_eq!(
        (report.first_line, report.last_line, report.signed_to, report.chained_to),
        (1, subject.count(), subject.count(), subject.count())
    );
    assert_eq!(report.signed_time.to_string(), "10.700000");
    assert_eq!(verify(&file, None).unwrap().verdict, Verdict::Unproven);
    assert!(subject.signed.len() >= 4 && subject.hashes.len() >= 12);
}

#[test]
fn a_record_of_heads_is_partial_and_without_a_key_unproven() {
    let key = TestKey::new(7);
    let file = sample(&key, Policy::Head(1 << 20), DigestName::Blake3);
    assert_eq!(verify(&file, Some(&key.public())).unwrap().verdict, Verdict::Partial);
    assert_eq!(verify(&file, None).unwrap().verdict, Verdict::Unproven);
}

#[test]
fn removing_any_line_shows() {
    let subject = Subject::new();
    for number in 1..=subject.count() {
        let mut lines = subject.lines.clone();
        lines.remove(number as usize - 1);
        if number == subject.count() {
            assert_eq!(subject.verdict(&lines), Verdict::NotSealed { signed_to: subject.signed_before(number) });
        } else {
            subject.assert_broken_after(&lines, subject.signed_before(number), &format!("removed {number}"));
        }
    }
}

#[test]
fn cutting_the_file_anywhere_is_not_sealed_and_names_the_last_signed_line() {
    let subject = Subject::new();
    let file = subject.lines.concat();
    let ends: Vec<usize> = subject
        .lines
        .iter()
        .scan(0, |end, line| {
            *end += line.len();
            Some(*end)
        })
        .collect();
    for length in 0..file.len() {
        let whole = ends.iter().filter(|end| **end <= length).count() as u64;
        match verify(&file[..length], Some(&subject.key.public())) {
            Ok(report) => assert_eq!(report.verdict, Verdict::NotSealed { signed_to: subject.signed_before(whole + 1) }, "cut to {length}"),
            Err(error) => assert!(error == NoRecord::None && length < 30, "cut to {length}: {error}"),
        }
    }
}

#[test]
fn inserting_a_line_anywhere_shows_except_where_other_programs_may_write() {
    let subject = Subject::new();
    let count = subject.count();
    let foreign: [&[u8]; 4] = [b"log: something\n", b"\n", b"[INFO] something\n", b"at {\"level\":\"info\"}\n"];
    let too_long = [b"\"", "x".repeat(MAX_LINE).as_bytes(), b"\"\r[1,\"o\",\"evil\"]\n"].concat();
    let ours: [&[u8]; 9] = [
        b"[1.000000,\"o\",\"evil\"]\n",
        b"[1.0, \"o\", \"evil\"]\n",
        b" [1.000000,\"z\",\"evil\"] \n",
        b"{\"time\":1,\"code\":\"o\",\"data\":\"evil\"}\n",
        b"[NaN,\"o\",\"evil\"]\n",
        b"\"xyz\"\r[1,\"o\",\"evil\"]\r\n",
        b"\xef\xbb\xbf{\"version\":2,\"width\":80,\"height\":24}\n",
        b"\0[1,\"o\",\"evil\"]\n",
        &too_long,
    ];
    for before in 1..=count + 1 {
        for insert in foreign.iter().chain(&ours) {
            let mut lines = subject.lines.clone();
            lines.insert(before as usize - 1, insert.to_vec());
            let what = format!("{:?} before {before}", String::from_utf8_lossy(insert.get(..40).unwrap_or(insert)));
            if (before == 1 || before == count + 1) && foreign.contains(insert) {
                assert_eq!(subject.verdict(&lines), Verdict::Sealed, "{what}");
            } else {
                subject.assert_broken_after(&lines, subject.signed_before(before), &what);
            }
        }
    }
}

#[test]
fn doubling_any_line_shows() {
    let subject = Subject::new();
    for number in 1..=subject.count() {
        let mut lines = subject.lines.clone();
        lines.insert(number as usize, lines[number as usize - 1].clone());
        if number == 1 {
            assert_eq!(subject.verdict(&lines), Verdict::Several { next: 2 });
            continue;
        }
        // The line itself is as it was signed; what is wrong comes after it.
        subject.assert_broken_after(&lines, subject.signed_before(number + 1), &format!("doubled {number}"));
    }
}

#[test]
fn moving_any_line_shows() {
    let subject = Subject::new();
    for first in 1..=subject.count() {
        for second in first + 1..=subject.count() {
            let mut lines = subject.lines.clone();
            lines.swap(first as usize - 1, second as usize - 1);
            subject.assert_broken_after(&lines, subject.signed_before(first), &format!("swapped {first} and {second}"));
        }
    }
}

#[test]
fn flipping_a_bit_of_any_byte_shows() {
    let key = TestKey::new(7);
    for digest in DIGESTS {
        let file = sample(&key, Policy::All, digest);
        for at in 0..file.len() {
            assert_flip_shows(&file, &key.public(), at, 1 << (at % 8));
        }
    }
}

fn assert_flip_shows(file: &[u8], key: &PublicKey, at: usize, mask: u8) {
    let mut file = file.to_vec();
    file[at] ^= mask;
    match verify(&file, Some(key)) {
        Ok(report) => assert!(report.verdict.exit_status() >= exit::NOT_SEALED, "byte {at} ^ {mask:#x}: {:?}", report.verdict),
        Err(error) => assert!(matches!(error, NoRecord::Unknown(_)), "byte {at} ^ {mask:#x}: {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn flipping_any_bits_of_a_byte_shows(at in any::<prop::sample::Index>(), mask in 1u8.., digest in prop::sample::select(&DIGESTS[..])) {
        let key = TestKey::new(7);
        let file = sample(&key, Policy::All, digest);
        assert_flip_shows(&file, &key.public(), at.index(file.len()), mask);
    }

    #[test]
    fn no_file_makes_the_verifier_panic_or_say_sealed(lines in prop::collection::vec(prop_oneof![
        Just(&b"{\"version\":2,\"width\":80,\"height\":24,\"sally\":\"1\",\"record\":\"all\",\"host_key\":\"\"}\n"[..]),
        Just(&b"[0.000000,\"h\",\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]\n"[..]),
        Just(&b"[0.000000,\"h\",\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 seal AAAA\"]\n"[..]),
        Just(&b"[0.000000,\"o\",\"x\"]\n"[..]),
        Just(&b"[\n"[..]),
        Just(&b"\xff"[..]),
    ], 0..12)) {
        let verdict = verify(&lines.concat(), Some(&TestKey::new(7).public()));
        prop_assert!(verdict.is_err() || verdict.unwrap().verdict.exit_status() >= exit::NOT_SEALED);
    }
}

#[test]
fn a_forger_with_a_key_of_their_own_fails_against_the_key_from_outside() {
    let forged = sample(&TestKey::new(8), Policy::All, DigestName::Blake3);
    let report = verify(&forged, Some(&TestKey::new(7).public())).unwrap();
    assert_eq!(report.verdict, Verdict::Broken { line: 1, why: "signed by another key".into() });
}

#[test]
fn hashes_computed_again_without_the_key_are_proven_wrong_from_the_last_signature_on() {
    let subject = Subject::new();
    let target = subject.lines.iter().position(|line| line.windows(5).any(|part| part == b"plain")).unwrap();
    let mut chain = DigestName::Blake3.start();
    let mut forged = Vec::new();
    for (index, line) in subject.lines.iter().enumerate() {
        let mut line = String::from_utf8(line.clone()).unwrap();
        if index == target {
            line = line.replace("plain", "other");
        }
        let old = RecordLine::parse(line.trim_end().as_bytes()).and_then(|line| line.hash()).map(|hash| hash.hash.to_owned());
        if let Ok(old) = old {
            line = line.replace(&old, &chain.hex());
        }
        chain.update(line.as_bytes());
        forged.push(line.into_bytes());
    }
    subject.assert_broken_after(&forged, subject.signed_before(target as u64 + 1), "forged");
}

#[test]
fn a_checkpoint_can_not_be_passed_off_as_the_seal() {
    let subject = Subject::new();
    let last = subject.signed_before(subject.count());
    let mut lines = subject.lines[..last as usize].to_vec();
    let line = String::from_utf8(lines.pop().unwrap()).unwrap().replace(" checkpoint ", " seal ");
    lines.push(line.into_bytes());
    subject.assert_broken_after(&lines, subject.signed_before(last), "relabelled");
}

#[test]
fn after_kill_9_what_another_program_prints_does_not_break_the_record() {
    let subject = Subject::new();
    let mut lines = subject.lines[..subject.lines.len() - 1].to_vec();
    lines.push(b"Killed\n".to_vec());
    assert_eq!(subject.verdict(&lines), Verdict::NotSealed { signed_to: subject.signed_before(subject.count()) });
}

#[test]
fn a_second_record_behind_the_first_is_a_verdict_of_its_own() {
    let subject = Subject::new();
    let file = [subject.lines.concat(), subject.lines.concat()].concat();
    let report = verify(&file, Some(&subject.key.public())).unwrap();
    let next = subject.count() + 1;
    assert_eq!((report.verdict, report.next_record), (Verdict::Several { next }, Some(next)));
    // Likewise where the first was killed, and where the second is of another version.
    for (first, second) in [(&subject.lines[..subject.lines.len() - 3], "2"), (&subject.lines, "3")] {
        let second = String::from_utf8(subject.lines.concat()).unwrap().replacen("\"sally\":\"2\"", &format!("\"sally\":\"{second}\""), 1);
        let file = [first.concat(), b"Killed\n".to_vec(), second.into_bytes()].concat();
        let next = first.len() as u64 + 2;
        assert_eq!(verify(&file, Some(&subject.key.public())).unwrap().verdict, Verdict::Several { next });
    }
    // What is wrong with the first is worse.
    let mut lines = subject.lines.clone();
    lines.remove(4);
    lines.extend(subject.lines.clone());
    subject.assert_broken_after(&lines, subject.signed_before(5), "a broken one before another");
}

#[test]
fn a_file_without_a_record_has_no_verdict() {
    assert_eq!(verify(b"", None), Err(NoRecord::None));
    assert_eq!(verify(b"hello\n[1,2]\nworld", None), Err(NoRecord::None));
    let record = String::from_utf8(sample(&TestKey::new(7), Policy::All, DigestName::Blake3)).unwrap();
    let newer = record.replace("\"sally\":\"2\"", "\"sally\":\"3\"");
    assert!(matches!(verify(newer.as_bytes(), None), Err(NoRecord::Unknown(UnknownFormat::Version(_)))));
    let other = record.replace("\"blake3\"", "\"k12\"");
    assert!(matches!(verify(other.as_bytes(), None), Err(NoRecord::Unknown(UnknownFormat::Digest(_)))));
}

#[test]
fn a_record_is_not_taken_for_one_of_the_other_version() {
    let key = TestKey::new(7);
    for (digest, marks, others) in [
        (DigestName::Blake3, r#""sally":"2","digest":"blake3""#, r#""sally":"1""#),
        (DigestName::Sha256, r#""sally":"1""#, r#""sally":"2","digest":"blake3""#),
    ] {
        let file = String::from_utf8(sample(&key, Policy::All, digest)).unwrap().replace(marks, others);
        assert!(matches!(verify(file.as_bytes(), Some(&key.public())).unwrap().verdict, Verdict::Broken { line: 1, .. }), "{digest:?}");
    }
}
