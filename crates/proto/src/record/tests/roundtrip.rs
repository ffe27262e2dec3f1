//! What is written is what is read.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Puts the streams of a record together again, and checks what every reader may rely on.
fn streams(file: &[u8], max_line: usize) -> BTreeMap<(u32, RecordStream), Vec<u8>> {
    let mut found: BTreeMap<(u32, RecordStream), Vec<u8>> = BTreeMap::new();
    let mut tracker = Tracker::default();
    let mut chain = DigestName::Blake3.start();
    let mut last = Timestamp::default();
    for (index, line) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
        assert!(line.len() < max_line && line.ends_with(b"\n"));
        if index > 0 {
            let parsed = RecordLine::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
            assert!(parsed.at >= last);
            last = parsed.at;
            match parsed.event().unwrap() {
                RecordEvent::Output(text) => found.entry(tracker.current(Direction::Output)).or_default().extend(text.as_bytes()),
                RecordEvent::Input(text) => found.entry(tracker.current(Direction::Input)).or_default().extend(text.as_bytes()),
                RecordEvent::Bytes(stream, bytes) => {
                    assert_eq!(tracker.current(stream.direction()).1, stream);
                    found.entry(tracker.current(stream.direction())).or_default().extend(bytes);
                }
                RecordEvent::Audit(json) => {
                    if let Ok(AuditEvent::Stream { channel, stream }) = serde_json::from_str(&json) {
                        tracker.switch(channel, stream);
                    }
                }
                RecordEvent::Hash(hash) => assert_eq!(hash.hash, chain.hex()),
                _ => {}
            }
        }
        chain.update(line);
    }
    found.retain(|_, bytes| !bytes.is_empty());
    found
}

fn any_kind() -> impl Strategy<Value = StreamKind> {
    use StreamKind::{PtyInput, PtyOutput, Stderr, Stdin, Stdout};
    prop_oneof![Just(PtyOutput), Just(PtyInput), Just(Stdout), Just(Stderr), Just(Stdin)]
}

fn any_chunk() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        "\\PC{0,2000}".prop_map(String::into_bytes),
        "[ -~\\n\\r\\x1b]{0,2000}".prop_map(String::into_bytes),
        (0usize..3000).prop_map(|length| vec![0; length]),
        ("[a-z é€]{0,300}", prop::collection::vec(any::<u8>(), 0..4), "[a-z é€]{0,300}").prop_map(|(before, bytes, after)| [
            before.as_bytes(),
            &bytes,
            after.as_bytes()
        ]
        .concat()),
    ]
}

proptest! {
    #[test]
    fn every_byte_comes_back_on_its_channel_and_stream(
        chunks in prop::collection::vec((0u32..3, any_kind(), any_chunk()), 0..12),
        max_line in prop_oneof![Just(1024usize), Just(MAX_LINE_STDOUT), Just(MAX_LINE)],
    ) {
        let key = TestKey::new(1);
        let mut writer = Writer::new(&key, Policy::All, max_line, DigestName::Blake3);
        let mut expected: BTreeMap<(u32, RecordStream), Vec<u8>> = BTreeMap::new();
        for (index, (channel, kind, chunk)) in chunks.iter().enumerate() {
            writer.chunk(index as u64, *channel, *kind, chunk);
            expected.entry((*channel, kind.stream())).or_default().extend(chunk);
        }
        writer.flush(100, Some(Seal::Seal));
        expected.retain(|_, bytes| !bytes.is_empty());
        prop_assert_eq!(streams(&writer.file, max_line), expected);
        prop_assert_eq!(verify(&writer.file, Some(&key.public())).unwrap().verdict, Verdict::Sealed);
    }

    #[test]
    fn an_unfinished_character_is_held_back_and_nothing_else(text in "[a-zé€🦀]{0,12}", cut in any::<prop::sample::Index>(), noise in any::<[u8; 4]>()) {
        let length = cut.index(text.len() + 1);
        let part = &text.as_bytes()[..length];
        let tail = incomplete_tail(part);
        prop_assert!(std::str::from_utf8(&part[..length - tail]).is_ok());
        prop_assert_eq!(tail == 0, text.is_char_boundary(length));
        let tail = incomplete_tail(&noise);
        prop_assert!(tail == 0 || std::str::from_utf8(&noise[4 - tail..]).unwrap_err().error_len().is_none());
    }

    #[test]
    fn a_character_is_found_where_it_is_cut_and_nothing_else(
        bytes in prop_oneof!["[a-zé€🦀]{1,12}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 1..12)],
        cut in any::<prop::sample::Index>(),
    ) {
        let (before, after) = bytes.split_at(cut.index(bytes.len() + 1));
        let found = CutCharacter::between(before, after);
        let text = std::str::from_utf8(&bytes).ok();
        prop_assert!(text.is_none_or(|text| found.is_none() == text.is_char_boundary(before.len())));
        if let Some(found) = found {
            let joined = [&before[before.len() - found.begun..], &after[..found.finished()]].concat();
            prop_assert_eq!(found.bytes(), &joined[..]);
            prop_assert_eq!(std::str::from_utf8(&joined).unwrap().chars().count(), 1);
        }
    }
}

#[test]
fn a_large_chunk_is_cut_and_stays_under_the_line_limit() {
    let key = TestKey::new(1);
    for max_line in [MAX_LINE, MAX_LINE_STDOUT] {
        for kind in [StreamKind::Stdout, StreamKind::PtyOutput] {
            for byte in [b'x', 0, 0xff, b'"', 0x1b] {
                let data = vec![byte; 700_000];
                let mut writer = Writer::new(&key, Policy::All, max_line, DigestName::Blake3);
                writer.chunk(1, 0, kind, &data);
                assert_eq!(streams(&writer.file, max_line), BTreeMap::from([((0, RecordStream::Stdout), data)]));
                // A terminal's text may take twice base64's length.
                let most = if kind.is_pty() { 700_000 * 82 / 30 } else { 700_000 * 41 / 30 };
                assert!(writer.file.len() < most, "{} bytes for {byte:#x}", writer.file.len());
            }
        }
    }
}

#[test]
fn what_a_terminal_shows_is_text_even_where_base64_would_be_shorter() {
    let key = TestKey::new(1);
    let mut writer = Writer::new(&key, Policy::All, MAX_LINE, DigestName::Blake3);
    let colours = "\x1b[1;31m*\x1b[0m".repeat(2000);
    writer.chunk(1, 0, StreamKind::PtyOutput, colours.as_bytes());
    writer.chunk(1, 0, StreamKind::PtyOutput, b"\x07");
    assert!(!writer.file.windows(4).any(|part| part == b"\"b\","));
}

#[test]
fn a_command_of_200_kilobytes_is_on_the_record_whole() {
    let key = TestKey::new(1);
    for max_line in [1024, MAX_LINE_STDOUT, MAX_LINE] {
        let command = "echo \"\\\" \u{1}é\n".repeat(14_000);
        let event = AuditEvent::Exec { channel: 0, command: command.as_str().into(), forced: None };
        let mut writer = Writer::new(&key, Policy::All, max_line, DigestName::Blake3);
        writer.audit(1, &event);
        streams(&writer.file, max_line);
        let mut assembly = Assembly::default();
        let mut events = Vec::new();
        for line in writer.file.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
            if let RecordEvent::Audit(json) = RecordLine::parse(line).unwrap().event().unwrap() {
                events.extend(assembly.push(&json));
            }
        }
        assert_eq!(events, [serde_json::to_string(&event).unwrap()]);
    }
}

#[test]
fn an_endless_marker_is_cut() {
    let key = TestKey::new(1);
    let mut writer = Writer::new(&key, Policy::All, 1024, DigestName::Blake3);
    writer.encoder.marker(Timestamp::default(), &"\u{1}é".repeat(5000));
    writer.flush(1, None);
    streams(&writer.file, 1024);
}

#[test]
fn time_never_runs_backwards() {
    let key = TestKey::new(1);
    let mut writer = Writer::new(&key, Policy::All, MAX_LINE, DigestName::Blake3);
    writer.chunk(5_000_000, 0, StreamKind::Stdout, b"a");
    writer.chunk(4_000_000, 0, StreamKind::Stdout, b"b");
    streams(&writer.file, MAX_LINE);
}
