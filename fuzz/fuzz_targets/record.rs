//! Reads any bytes as a record: no panic, and no verdict that proves what Sally did not sign.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sally_proto::record::{RecordLine, RecordLines, Trust, Verdict, Verifier};

fuzz_target!(|bytes: &[u8]| {
    let mut lines = RecordLines::new(bytes);
    let mut verifier = Verifier::new(|_| Trust::Unproven);
    while let Ok(Some(line)) = lines.next() {
        if let Ok(parsed) = RecordLine::parse(line.content()) {
            let _ = parsed.event();
        }
        verifier.line(&line);
    }
    if let Ok(report) = verifier.finish() {
        assert!(!matches!(report.verdict, Verdict::Sealed | Verdict::Partial));
    }
});
