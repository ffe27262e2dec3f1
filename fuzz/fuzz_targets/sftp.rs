//! A client of anybody's making: whatever comes, packets, requests or errors come of it, and nothing is longer than it may be.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sally_proto::sftp::{MAX_PACKET, Message, Packets, Request};

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut packets = Packets::default();
    for piece in pieces {
        let mut input = Bytes::from(piece);
        loop {
            match packets.next(&mut input) {
                Ok(Some(packet)) => {
                    assert!((1..=MAX_PACKET).contains(&packet.len()));
                    if let Ok(Message::Request { request: Ok(Request::Setstat { attrs, .. }), .. }) = Message::parse(&packet) {
                        let _ = attrs.to_string();
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
