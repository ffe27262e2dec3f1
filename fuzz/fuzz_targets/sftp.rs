//! A client sends any bytes: the parser returns packets, requests or errors, none is longer than permitted, and the result doesn't depend on
//! the pieces. The first byte is the length of a piece; 0 means one piece.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sally_proto::sftp::{BadLength, MAX_PACKET, Packets, Request, SftpMessage};

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = cut(stream, stream.len());
    if size > 0 {
        assert_eq!(cut(stream, size.into()), whole);
    }
    for packet in whole.0 {
        assert!((1..=MAX_PACKET).contains(&packet.len()));
        let Ok(SftpMessage::Request { request: Ok(request), .. }) = SftpMessage::parse(&packet) else { continue };
        match request {
            Request::Open { flags, attrs, .. } => drop((flags.to_string(), attrs.to_string())),
            Request::Setstat { attrs, .. } | Request::Fsetstat { attrs, .. } | Request::Lsetstat { attrs, .. } => drop(attrs.to_string()),
            Request::Write { data, .. } => assert!(data.len() < packet.len()),
            _ => {}
        }
    }
});

/// The packets of a stream that comes in pieces, and what stopped it.
fn cut(stream: &[u8], size: usize) -> (Vec<Bytes>, Option<BadLength>) {
    let (mut packets, mut all) = (Packets::default(), Vec::new());
    for piece in stream.chunks(size.max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match packets.next(&mut input) {
                Ok(Some(packet)) => all.push(packet),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}
