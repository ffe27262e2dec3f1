//! Tests that bytes are recorded before they are delivered, and what happens when they can't be recorded.

use std::time::{Duration, Instant};

use sally_proto::record::{RecordStream, Verdict};

use super::*;

const CHUNKS: [(StreamKind, &[u8]); 6] = [
    (StreamKind::Stdin, b"input\n"),
    (StreamKind::Stdout, b"output with \xff in it"),
    (StreamKind::PtyOutput, b"\x1b[1mshown\x1b[0m"),
    (StreamKind::Stderr, "\u{fc}nicode\n".as_bytes()),
    (StreamKind::Stdout, &[0; 300]),
    (StreamKind::Stdout, b"the end"),
];

/// Runs a session: bytes that can't be recorded are not delivered. Returns the delivered ones.
fn session(memory: &Memory) -> (Vec<u8>, Result<(), RecordError>) {
    let mut delivered = Vec::new();
    let done = (|| {
        let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key())?;
        recorder.audit(&AuditEvent::Exec { channel: 0, command: "true".into(), forced: None })?;
        for (kind, chunk) in CHUNKS {
            recorder.stream(0, kind).record(chunk)?;
            delivered.extend_from_slice(chunk);
        }
        recorder.exit(0, 0_u8)?;
        recorder.seal()
    })();
    (delivered, done)
}

#[test]
fn a_disk_that_is_full_at_any_byte_lets_nothing_through_that_is_not_recorded() {
    let whole = Memory::default();
    let (_, done) = session(&whole);
    done.unwrap();
    let length = whole.contents().len();
    assert_eq!(verdict(&whole.contents()).unwrap().verdict, Verdict::Sealed);
    for full_at in 0..length {
        let memory = Memory { full_at: Some(full_at), ..Memory::default() };
        let (delivered, done) = session(&memory);
        let error = done.unwrap_err();
        assert!(error.to_string().starts_with("Could not write to log file memory: "), "{error}");
        let file = memory.contents();
        assert_eq!(file.len(), full_at, "nothing is written after a torn line");
        assert!(recorded(&file).starts_with(&delivered), "full at {full_at}");
        match verdict(&file) {
            Ok(report) => assert!(matches!(report.verdict, Verdict::NotSealed { .. })),
            Err(_) => assert!(full_at < 30),
        }
    }
}

#[tokio::test]
async fn after_a_failure_every_call_fails_and_whoever_waits_is_woken() {
    let memory = Memory { full_at: Some(2000), ..Memory::default() };
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    let waiting = tokio::spawn({
        let recorder = recorder.clone();
        async move { recorder.failed().await }
    });
    let mut stream = recorder.stream(0, StreamKind::Stdout);
    let error = stream.record(&[b'x'; 4000]).unwrap_err();
    assert_eq!(waiting.await.unwrap(), error);
    assert_eq!(recorder.failed().await, error);
    for again in [
        stream.record(b"more"),
        stream.record(b""),
        recorder.marker("m"),
        recorder.resize(0, 1, 1),
        recorder.exit(0, 0_u8),
        recorder.audit(&AuditEvent::ForwardOpen { id: 0 }),
        recorder.tick(),
        recorder.seal(),
    ] {
        assert_eq!(again.unwrap_err(), error);
    }
    assert_eq!(memory.contents().len(), 2000);
}

/// Runs `work` in a thread that ends by a panic.
fn panics(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work).join().unwrap_err();
}

#[test]
fn a_task_that_panics_breaks_the_record_off_and_it_is_never_sealed() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    let mut other = recorder.stream(1, StreamKind::Stdout);
    let mut stream = recorder.stream(0, StreamKind::Stdout);
    panics(move || {
        stream.record(b"seen").unwrap();
        panic!("as a test does");
    });
    assert_eq!(other.record(b"more").unwrap_err(), RecordError::BrokenOff);
    assert_eq!(recorder.seal().unwrap_err(), RecordError::BrokenOff);
    let file = memory.contents();
    assert_eq!(recorded(&file), b"seen");
    let lines = file.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(verdict(&file).unwrap().verdict, Verdict::NotSealed { signed_to: lines }, "all that was seen is signed");
    assert!(String::from_utf8(file).unwrap().contains("a part of Sally has panicked"));
}

#[test]
fn nothing_follows_the_last_line_of_a_record_that_is_being_broken_off() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    let mut stream = recorder.stream(0, StreamKind::Stdout);
    stream.record(b"seen").unwrap();
    // Entered and not yet written: other tasks of the visit still run.
    let last = recorder.0.enter_break().unwrap();
    assert_eq!(stream.record(b"more").unwrap_err(), RecordError::BrokenOff);
    assert_eq!(recorder.seal().unwrap_err(), RecordError::BrokenOff);
    recorder.0.write_up_to(last).unwrap();
    let file = memory.contents();
    assert_eq!(recorded(&file), b"seen");
    let lines = file.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(verdict(&file).unwrap().verdict, Verdict::NotSealed { signed_to: lines });
}

#[test]
fn a_panic_after_the_seal_or_before_the_first_line_leaves_the_file_as_it_is() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    recorder.seal().unwrap();
    let late = recorder.clone();
    panics(move || panic!("with {late:?}"));
    recorder.seal().unwrap();
    assert_eq!(verdict(&memory.contents()).unwrap().verdict, Verdict::Sealed);
    let waiting = Memory::default();
    let early = Recorder::start(waiting.sink(false).waiting(), settings(Policy::All), key()).unwrap();
    panics(move || panic!("with {early:?}"));
    assert!(waiting.contents().is_empty());
}

#[test]
fn what_is_entered_is_written_in_its_order_by_whoever_comes_first() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    let first = recorder.stream(0, StreamKind::Stdout).enter([&b"first "[..], b"of two "]).unwrap();
    let second = recorder.stream(1, StreamKind::Stdout).enter([&b"second"[..]]).unwrap();
    assert!(recorded(&memory.contents()).is_empty());
    second.write().unwrap();
    first.write().unwrap();
    assert_eq!(recorded(&memory.contents()), b"first of two second");
    let never_written = recorder.stream(0, StreamKind::Stdout).enter([&b" and third"[..]]).unwrap();
    drop(never_written);
    recorder.seal().unwrap();
    assert_eq!(recorded(&memory.contents()), b"first of two second and third");
    assert_eq!(verdict(&memory.contents()).unwrap().verdict, Verdict::Sealed);
}

#[test]
fn what_is_entered_when_the_disk_is_full_is_never_written() {
    let memory = Memory { full_at: Some(2000), ..Memory::default() };
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    let long = recorder.stream(0, StreamKind::Stdout).enter([&[b'x'; 4000][..]]).unwrap();
    let short = recorder.stream(0, StreamKind::Stdout).enter([&b"short"[..]]).unwrap();
    let error = short.write().unwrap_err();
    assert_eq!(long.write().unwrap_err(), error);
    assert_eq!(memory.contents().len(), 2000);
}

#[test]
fn short_and_interrupted_writes_are_carried_on() {
    for at_once in [1, 7, 1000] {
        let memory = Memory { at_once: Some(at_once), ..Memory::default() };
        let (delivered, done) = session(&memory);
        done.unwrap();
        assert_eq!(recorded(&memory.contents()), delivered);
        assert_eq!(verdict(&memory.contents()).unwrap().verdict, Verdict::Sealed);
    }
}

#[test]
fn with_sync_every_write_waits_for_the_disk() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(true), settings(Policy::All), key()).unwrap();
    recorder.marker("one").unwrap();
    recorder.marker("two").unwrap();
    assert_eq!(*memory.synced.lock().unwrap(), 3);
}

#[test]
fn after_the_seal_nothing_is_recorded_and_a_second_seal_is_none() {
    for policy in [Policy::All, Policy::Head(0)] {
        let memory = Memory::default();
        let recorder = Recorder::start(memory.sink(false), settings(policy), key()).unwrap();
        let mut stream = recorder.stream(0, StreamKind::Stdout);
        stream.record(b"before").unwrap();
        recorder.seal().unwrap();
        let sealed = memory.contents();
        assert!(stream.record(b"after").is_err() && recorder.marker("after").is_err());
        recorder.seal().unwrap();
        assert_eq!(memory.contents(), sealed);
    }
}

fn audits(file: &[u8], event: &str) -> Vec<serde_json::Value> {
    let lines = std::str::from_utf8(file).unwrap().lines().skip(1);
    let audits = lines.filter_map(|line| serde_json::from_str::<(f64, String, String)>(line).ok()).filter(|line| line.1 == "a");
    audits.map(|line| serde_json::from_str::<serde_json::Value>(&line.2).unwrap()).filter(|audit| audit["event"] == event).collect()
}

#[test]
fn of_a_stream_past_its_head_length_and_hash_of_the_whole_are_recorded() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::Head(100)), key()).unwrap();
    let data: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
    let mut out = recorder.stream(3, StreamKind::Stdout);
    for chunk in data.chunks(70) {
        out.record(chunk).unwrap();
    }
    out.finish().unwrap();
    out.finish().unwrap();
    let mut terminal = recorder.stream(4, StreamKind::PtyOutput);
    terminal.record(&[b'x'; 1000]).unwrap();
    terminal.finish().unwrap();
    recorder.stream(3, StreamKind::Stderr).record(b"short").unwrap();
    recorder.seal().unwrap();
    let file = memory.contents();
    let mut expected = data[..100].to_vec();
    expected.extend_from_slice(&[b'x'; 1000]);
    expected.extend_from_slice(b"short");
    assert_eq!(recorded(&file), expected);
    let cut = serde_json::json!({ "event": "stream-cut", "channel": 3, "stream": "stdout", "recorded": 100 });
    assert_eq!(audits(&file, "stream-cut"), [cut]);
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_string();
    let end = |stream: RecordStream, bytes: &[u8]| serde_json::json!({ "event": "stream-end", "channel": 3, "stream": stream, "bytes": bytes.len(), "blake3": digest(bytes) });
    // The second stream had no end of its own: the seal gave it one.
    assert_eq!(audits(&file, "stream-end"), [end(RecordStream::Stdout, &data), end(RecordStream::Stderr, b"short")]);
    assert_eq!(verdict(&file).unwrap().verdict, Verdict::Partial);
}

#[test]
fn a_stream_that_goes_on_after_its_end_is_counted_on() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::Head(4)), key()).unwrap();
    recorder.stream(0, StreamKind::Stderr).record(b"first ").unwrap();
    recorder.stream(0, StreamKind::Stderr).finish().unwrap();
    recorder.stream(0, StreamKind::Stderr).record(b"goodbye").unwrap();
    recorder.seal().unwrap();
    let ends = audits(&memory.contents(), "stream-end");
    assert_eq!((ends.len(), &ends[1]["bytes"]), (2, &13.into()));
    assert_eq!(ends[1]["blake3"], blake3::hash(b"first goodbye").to_string());
}

#[test]
fn a_character_that_pieces_cut_in_two_is_text() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    let text = "\u{6f22}\u{5b57} \u{1f980}".repeat(50);
    let pieces: Vec<_> = text.as_bytes().chunks(7).collect();
    recorder.stream(0, StreamKind::Stdin).enter(pieces.iter().copied()).unwrap().write().unwrap();
    let noise: [&[u8]; 5] = [b"\xe6", b"\xbc", b"\xe6\xbc", b"", b"\xa2!"];
    recorder.stream(0, StreamKind::Stdout).enter(noise).unwrap().write().unwrap();
    recorder.seal().unwrap();
    let file = memory.contents();
    assert_eq!(recorded(&file), [text.as_bytes(), &noise.concat()].concat());
    assert!(!String::from_utf8(file).unwrap().contains("\"b\",\"i:"), "in no piece of the first are there bytes");
}

#[test]
fn a_long_record_is_signed_once_a_mebibyte() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::All), key()).unwrap();
    let mut stream = recorder.stream(0, StreamKind::Stdout);
    for _ in 0..200 {
        stream.record(&[b'x'; 50_000]).unwrap();
    }
    let file = memory.contents();
    let signed = file.windows(12).filter(|part| part == b" checkpoint ").count();
    assert!((10..=12).contains(&signed), "{signed}");
    assert!(matches!(verdict(&file).unwrap().verdict, Verdict::NotSealed { signed_to } if signed_to > 300));
}

#[test]
fn an_idle_record_is_signed_after_five_seconds_and_then_left_alone() {
    let memory = Memory::default();
    let signer = Box::new(signer::HostKeySigner::new(key()).unwrap());
    let started = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    let recorder = Recorder::begin(memory.sink(false), settings(Policy::All), signer, started).unwrap();
    recorder.marker("typed").unwrap();
    let before = memory.contents();
    recorder.tick().unwrap();
    assert_eq!(memory.contents(), before, "signed a moment ago");
    recorder.pretend_unsigned_for(Duration::from_secs(6));
    recorder.tick().unwrap();
    let signed = memory.contents();
    let report = verdict(&signed).unwrap();
    assert_eq!(report.signed_to, report.last_line);
    recorder.pretend_unsigned_for(Duration::from_secs(6));
    recorder.tick().unwrap();
    assert_eq!(memory.contents(), signed, "there is nothing new to sign");
}

#[test]
fn many_writers_make_one_record() {
    let memory = Memory::default();
    let recorder = Recorder::start(memory.sink(false), settings(Policy::Head(5000)), key()).unwrap();
    std::thread::scope(|scope| {
        for channel in 0..4 {
            let recorder = recorder.clone();
            scope.spawn(move || {
                for kind in [StreamKind::Stdout, StreamKind::Stdin, StreamKind::PtyOutput].into_iter().cycle().take(90) {
                    recorder.stream(channel, kind).record(&[b'a'; 333]).unwrap();
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..100 {
                recorder.tick().unwrap()
            }
        });
    });
    recorder.seal().unwrap();
    assert_eq!(verdict(&memory.contents()).unwrap().verdict, Verdict::Partial);
}
