//! How fast this machine encodes and verifies: `cargo test -p sally-proto --release record::tests::speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::*;

const ENOUGH: Duration = Duration::from_millis(700);

/// MB of payload a second of this thread's CPU time, through `work`: other work on the machine does not count.
fn rate(payload: usize, mut work: impl FnMut()) -> f64 {
    work();
    let (start, before) = (Instant::now(), cpu_seconds());
    let mut rounds = 0u32;
    while start.elapsed() < ENOUGH {
        work();
        rounds += 1;
    }
    payload as f64 * f64::from(rounds) / (cpu_seconds() - before) / 1e6
}

fn show(what: &str, payload: usize, work: impl FnMut()) {
    println!("{what}: {:.0} MB/s", rate(payload, work));
}

fn cpu_seconds() -> f64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    times.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn payloads() -> [(&'static str, Vec<u8>); 4] {
    const SIZE: usize = 1 << 20;
    let mut state = 88_172_645_463_325_252u64;
    let random = (0..SIZE).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    let text = b"-rw-r--r-- 1 root root 12345 Nov 22 01:05 some_file_name.txt\n";
    let screen = b"\x1b[1;32muser@host\x1b[0m:\x1b[34m~/src\x1b[0m$ some words of output\r\n\x1b[K";
    [
        ("random", random.collect()),
        ("text", text.iter().copied().cycle().take(SIZE).collect()),
        ("zero", vec![0; SIZE]),
        ("screen", screen.iter().copied().cycle().take(SIZE).collect()),
    ]
}

#[test]
#[ignore = "measures; says nothing of right or wrong"]
fn encoding_and_verifying() {
    let key = TestKey::new(1);
    let blob = &payloads()[0].1;
    for digest in DIGESTS {
        show(&format!("{} alone", digest.name()), blob.len(), || {
            let mut chain = digest.start();
            chain.update(black_box(blob));
            black_box(chain.hex());
        });
    }
    for (name, data) in payloads() {
        let mut out = Vec::with_capacity(1 << 17);
        let piece = &data[..48 << 10];
        show(&format!("escape {name:6}"), piece.len(), || {
            out.clear();
            black_box(escape::escape(&mut out, black_box(piece), 64 << 10));
        });
        show(&format!("pieces {name:6}"), piece.len(), || {
            black_box(chunk::first_piece(black_box(piece), 1 << 20, false));
        });
        show(&format!("base64 {name:6}"), piece.len(), || {
            out.clear();
            base64_simd::STANDARD.encode_append(black_box(piece), &mut out);
        });
        for chunk in [4 << 10, 32 << 10, 256 << 10] {
            let kind = if name == "screen" { StreamKind::PtyOutput } else { StreamKind::Stdout };
            let mut encoder = Encoder::new(MAX_LINE, DigestName::Blake3);
            let mut written = 0usize;
            let speed = rate(data.len(), || {
                written = 0;
                for mut part in data.chunks(chunk) {
                    while !part.is_empty() {
                        let taken = encoder.chunk(Timestamp::default(), 0, kind, part);
                        part = &part[taken..];
                        written += encoder.close(Timestamp::default(), None).unwrap().len();
                        encoder.clear();
                    }
                }
            });
            println!("encode {name:6} in {:3} KiB: {speed:5.0} MB/s, {:.3} x raw", chunk >> 10, written as f64 / data.len() as f64);
        }
        let mut writer = Writer::new(&key, Policy::All, MAX_LINE, DigestName::Blake3);
        for part in data.chunks(32 << 10) {
            writer.chunk(1, 0, StreamKind::Stdout, part);
        }
        writer.flush(2, Some(Seal::Seal));
        let file = writer.file;
        show(&format!("verify {name:6} (of record)"), file.len(), || {
            black_box(verify(&file, None)).unwrap();
        });
    }
}
