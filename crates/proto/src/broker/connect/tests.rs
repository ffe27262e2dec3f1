use proptest::prelude::*;

use super::*;

fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn packet(body: &[u8]) -> Vec<u8> {
    let (low, high) = (u8::try_from(body.len() % 128).unwrap(), u8::try_from(body.len() / 128).unwrap_or(0x7f));
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    [&[0x10], &length[..], body].concat()
}

/// MQTT 3.1.1 with these flags, a keepalive of 10 s, and fields.
fn made(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields = fields.iter().flat_map(field).collect::<Vec<_>>();
    packet(&[field("MQTT"), vec![4, flags, 0, 10], fields].concat())
}

#[test]
fn a_connect_is_read_with_its_will() {
    let bytes = made(0b1110_1110, &[b"cam-17", b"a/b", b"gone\0", b"user", b"\xffword"]);
    let will = Will { topic: "a/b".into(), payload: Bytes::from_static(b"gone\0"), retain: true, acknowledged: true };
    let wanted = Connect { client_id: "cam-17".into(), keepalive: 10, will: Some(will) };
    assert_eq!(connect(&bytes), Ok(Some((wanted.clone(), bytes.len()))));
    // What comes behind it is another packet.
    assert_eq!(connect(&[&bytes[..], &[0xc0, 0]].concat()), Ok(Some((wanted, bytes.len()))));
    assert_eq!(connect(&made(2, &[b""])).unwrap().unwrap().0.client_id, "");
}

#[test]
fn what_is_wrong_is_said_and_some_of_it_is_answered() {
    let with = |name: &str, level: u8| packet(&[field(name), vec![level, 2, 0, 0], field("a")].concat());
    let long = [&[0x10, 0xff, 0xff, 0x03][..], &field("MQTT"), &[4, 2, 0, 0], &60_000_u16.to_be_bytes()].concat();
    for (bytes, fault) in [
        (with("MQTT", 3), Version),
        (with("MQTT", 5), Version),
        (with("MQTT", 0x84), Version),
        (with("MQIsdp", 3), Version),
        (with("MQIsdp", 4), Version),
        (with("mqtt", 4), Malformed("another protocol")),
        (with("HTTP", 4), Malformed("another protocol")),
        (made(2, &[&[b'x'; 129]]), Identifier("of more than 128 bytes")),
        // Long before it is whole.
        (long, Identifier("of more than 128 bytes")),
        (made(0, &[b""]), Identifier("that is empty, without a clean session")),
        (made(3, &[b"a"]), Malformed("the reserved flag")),
        (made(2 | 8, &[b"a"]), Malformed("flags of a will, and no will")),
        (made(2 | 32, &[b"a"]), Malformed("flags of a will, and no will")),
        (made(2 | 4 | 24, &[b"a", b"t", b"p"]), Malformed("a will with QoS 3")),
        (made(2 | 64, &[b"a", b"p"]), Malformed("a password without a user name")),
        (made(2, &[b"a", b"more"]), Malformed("bytes behind its end")),
        (made(2 | 4, &[b"a", b"t"]), Malformed("it ends too early")),
        (made(2 | 4, &[b"a", b"t\0", b"p"]), Malformed("a will's topic that is not UTF-8")),
        (made(2 | 4, &[b"a", b"a/+", b"p"]), Malformed("a will to no topic, or to a wildcard")),
        (made(2 | 4, &[b"a", b"", b"p"]), Malformed("a will to no topic, or to a wildcard")),
        (made(2, &[b"\xff\xfe"]), Malformed("a client identifier that is not UTF-8")),
        (made(2 | 128, &[b"a", b"\xc3\x28"]), Malformed("a user name that is not UTF-8")),
        (made(2 | 4, &[b"a", b"t", &[0; 3000]]), Malformed("too long")),
        (vec![0x11], Malformed("reserved bits before the length")),
        (vec![0xc0, 0], Malformed("no CONNECT at the beginning")),
        (b"GET / HTTP/1.1\r\n".to_vec(), Malformed("no CONNECT at the beginning")),
        (vec![0x10, 0xff, 0xff, 0xff, 0xff], Malformed("a length of more than four bytes")),
        (vec![0x10, 0xff, 0xff, 0xff, 0x7f], Malformed("too long")),
        (vec![0x10, 0], Malformed("it ends too early")),
    ] {
        assert_eq!(connect(&bytes), Err(fault), "{bytes:?}");
    }
}

proptest! {
    /// One that is far too long is no other.
    #[test]
    fn a_piece_of_a_long_packet_says_what_the_whole_one_says(id in prop_oneof![0..130_usize, Just(60_000)], will in prop_oneof![0..10_usize, 2000..4000_usize]) {
        let body = [field("MQTT"), vec![4, 6, 0, 0], field(vec![b'x'; id]), field("t"), field(vec![b'p'; will])].concat();
        let (low, middle, high) = (body.len() % 128, body.len() / 128 % 128, body.len() / (128 * 128));
        let length = [low | 0x80, middle | 0x80, high].map(|digit| u8::try_from(digit).unwrap());
        let bytes = [&[0x10], &length[..], &body].concat();
        let whole = connect(&bytes);
        for end in 0..bytes.len().min(200) {
            let piece = connect(&bytes[..end]);
            prop_assert!(piece == Ok(None) || piece == whole, "{piece:?} after {end}, {whole:?}");
        }
        prop_assert_eq!(matches!(whole, Err(Identifier(_))), id > 128);
    }

    /// Bytes come in pieces: until all are there nothing is decided but faults, and a fault stays one.
    #[test]
    fn a_piece_of_a_packet_is_no_packet(flags: u8, level in 3_u8..6, id in ".{0,40}", more in proptest::collection::vec(any::<u8>(), 0..80)) {
        let body = [field("MQTT"), vec![level, flags, 0, 0], field(id), more].concat();
        let bytes = packet(&body);
        let whole = connect(&bytes);
        for end in 0..bytes.len() {
            match connect(&bytes[..end]) {
                Ok(None) => {}
                Ok(Some(_)) => prop_assert!(false, "whole after {} of {}", end, bytes.len()),
                Err(fault) => prop_assert_eq!(&whole, &Err(fault)),
            }
        }
        if let Ok(read) = whole {
            prop_assert_eq!(read.unwrap().1, bytes.len());
        }
    }

    #[test]
    fn no_bytes_are_too_many_or_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = connect(&[&[0x10], &bytes[..]].concat());
        if let Ok(Some((_, length))) = connect(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}
