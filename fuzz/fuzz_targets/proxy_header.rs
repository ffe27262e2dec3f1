//! A balancer, or a client that claims to be one, sends any bytes before a connection's first byte: no panic, nothing is read beyond the
//! header, and the result doesn't depend on how the input is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sally_proto::proxy_header::{HEADER_MAX, HeaderProgress, ProxyHeaderError, read};

/// Reads as a socket's reader does, a byte at a time: the answer, and how many bytes it took.
fn in_pieces(bytes: &[u8]) -> Option<(Result<HeaderProgress, ProxyHeaderError>, usize)> {
    (0..=bytes.len()).find_map(|length| match read(&bytes[..length]) {
        Ok(HeaderProgress::More(more)) => {
            assert!(more > 0 && length + more <= HEADER_MAX);
            None
        }
        answer => Some((answer, length)),
    })
}

fuzz_target!(|bytes: &[u8]| {
    match (read(bytes), in_pieces(bytes)) {
        (Ok(HeaderProgress::More(_)), pieces) => assert!(pieces.is_none()),
        (whole @ Ok(_), pieces) => assert_eq!(pieces.map(|(answer, _)| answer), Some(whole)),
        (Err(_), pieces) => assert!(pieces.is_some_and(|(answer, _)| answer.is_err())),
    }
});
