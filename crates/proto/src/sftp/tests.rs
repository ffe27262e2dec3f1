//! Whatever comes, in whatever pieces: packets come out as they went in, and nothing panics.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::wire::{SftpReader, put_string, put_u32, put_u64};
use super::*;

/// All packets of these pieces, to the first error.
fn cut(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<BadLength>) {
    let (mut packets, mut all) = (Packets::default(), Vec::new());
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match packets.next(&mut input) {
                Ok(Some(packet)) => all.push(packet.to_vec()),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
        assert!(input.is_empty());
    }
    (all, None)
}

fn packet(body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    put_string(&mut packet, body);
    packet
}

fn request(kind: u8, id: u32, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = vec![kind];
    put_u32(&mut body, id);
    fields(&mut body);
    body
}

fn parsed(body: &[u8]) -> Request<'_> {
    match SftpMessage::parse(body) {
        Ok(SftpMessage::Request { request: Ok(request), .. }) => request,
        other => panic!("{other:?}"),
    }
}

fn attrs() -> impl Strategy<Value = Attrs> {
    any::<(Option<u64>, Option<(u32, u32)>, Option<u32>, Option<(u32, u32)>)>().prop_map(|(size, owner, mode, times)| Attrs {
        size,
        owner,
        mode,
        times,
    })
}

proptest! {
    #[test]
    fn packets_come_out_as_they_went_in_however_they_are_cut(
        bodies in vec(vec(any::<u8>(), 1..200), 0..20),
        cuts in vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream: Vec<u8> = bodies.iter().flat_map(|body| packet(body)).collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let mut start = 0;
        let pieces: Vec<&[u8]> = ends.iter().map(|end| &stream[std::mem::replace(&mut start, *end)..*end]).collect();
        prop_assert_eq!(cut(&pieces), (bodies, None));
    }

    #[test]
    fn garbage_is_an_error_and_no_more(pieces in vec(vec(any::<u8>(), 0..64), 0..16)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        for packet in cut(&pieces).0 {
            let _ = SftpMessage::parse(&packet);
        }
    }

    #[test]
    fn any_body_is_understood_or_not_and_every_cut_of_it_too(kind in prop_oneof![0u8..=20, Just(200)], body in vec(any::<u8>(), 0..80)) {
        let whole = request(kind, 7, |fields| fields.extend_from_slice(&body));
        for end in 0..=whole.len() {
            match SftpMessage::parse(&whole[..end]) {
                Ok(SftpMessage::Request { id, .. }) => prop_assert_eq!(id, 7),
                Ok(SftpMessage::Init { version }) => prop_assert!(version == 7 && kind == 1),
                Err(TruncatedPacket) => prop_assert!(end < 5),
            }
        }
    }

    #[test]
    fn attributes_come_back(attrs in attrs()) {
        let mut encoded = Vec::new();
        attrs.write(&mut encoded);
        let mut reader = SftpReader(&encoded);
        prop_assert_eq!(Attrs::parse(&mut reader), Ok(attrs));
        prop_assert!(reader.0.is_empty());
    }

    #[test]
    fn requests_keep_their_bytes(path in vec(any::<u8>(), 0..40), data in vec(any::<u8>(), 0..300), offset: u64, flags: u32, attrs in attrs()) {
        let open = request(3, 1, |to| { put_string(to, &path); put_u32(to, flags); attrs.write(to); });
        prop_assert_eq!(parsed(&open), Request::Open { path: &path, flags: OpenFlags(flags), attrs });
        let write = request(6, 1, |to| { put_string(to, b"hndl"); put_u64(to, offset); put_string(to, &data); });
        prop_assert_eq!(parsed(&write), Request::Write { handle: b"hndl", offset, data: &data });
        let rename = request(200, 1, |to| {
            put_string(to, b"posix-rename@openssh.com");
            put_string(to, &path);
            put_string(to, &data);
        });
        prop_assert_eq!(parsed(&rename), Request::PosixRename { from: &path, to: &data });
    }

    #[test]
    fn each_answer_is_one_packet(names in vec((vec(any::<u8>(), 0..50), attrs()), 0..9), text in ".{0,40}", data in vec(any::<u8>(), 0..99)) {
        let mut answers = SftpAnswers::default();
        answers.version(&SftpFlags::default());
        answers.status(1, SftpStatus::Failure, &text);
        answers.handle(2, 77);
        answers.attrs(3, &Attrs { size: Some(1), ..Attrs::default() });
        answers.path(4, b"/caf\xe9");
        answers.volume(5, &Volume::default());
        answers.limits(6, 9);
        answers.accounts(7, [&b"root"[..], b""].into_iter(), std::iter::empty());
        let read = |into: &mut [u8]| -> Result<usize, ()> { into[..data.len()].copy_from_slice(&data); Ok(data.len()) };
        let got = answers.data(8, 100, 0, read).unwrap().map(<[u8]>::to_vec);
        prop_assert_eq!(got, (!data.is_empty()).then(|| data.clone()));
        let mut list = answers.names(9);
        names.iter().for_each(|(name, attrs)| list.push(ListingEntry { name, long: name, attrs: *attrs }));
        prop_assert_eq!(list.finish() as usize, names.len());
        let (packets, error) = cut(&[&answers.take()]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(packets.len(), 8 + usize::from(!data.is_empty()) + usize::from(!names.is_empty()));
        prop_assert!(answers.is_empty());
    }
}

#[test]
fn lengths_that_cannot_be_are_refused_and_the_longest_that_can_is_not() {
    for length in [0, MAX_PACKET as u32 + 1, u32::MAX] {
        assert_eq!(cut(&[&length.to_be_bytes()]).1, Some(BadLength(length)));
    }
    let longest = vec![9; MAX_PACKET];
    assert_eq!(cut(&[&packet(&longest)]), (vec![longest], None));
}

#[test]
fn what_is_not_known_is_named() {
    assert_eq!(parsed(&request(21, 3, |_| {})), Request::Unknown { kind: 21 });
    assert_eq!(parsed(&request(200, 3, |to| put_string(to, b"x@y"))), Request::UnknownExtension { name: b"x@y" });
}

#[test]
fn a_packet_that_lies_about_its_attributes_is_malformed() {
    let lying = request(9, 3, |to| {
        put_string(to, b"/x");
        put_u32(to, 0x8000_0000);
        put_u32(to, u32::MAX);
    });
    assert_eq!(SftpMessage::parse(&lying), Ok(SftpMessage::Request { id: 3, request: Err(TruncatedPacket) }));
}

#[test]
fn the_record_has_words_for_flags_and_attributes() {
    assert_eq!(OpenFlags(0b01_1010).to_string(), "write,create,truncate");
    assert_eq!(OpenFlags(0).to_string(), "");
    let attrs = Attrs { size: Some(3), owner: Some((0, 7)), mode: Some(0o100_644), times: Some((1, 2)) };
    assert_eq!(attrs.to_string(), "size=3 owner=0:7 mode=0644 times=1:2");
}

#[test]
fn nothing_said_means_reading() {
    assert!(OpenFlags(0).read() && !OpenFlags(2).read() && OpenFlags(3).read() && OpenFlags(3).write());
}

#[test]
fn a_read_that_fails_or_finds_the_end_leaves_no_answer() {
    let mut answers = SftpAnswers::default();
    assert_eq!(answers.data(1, 10, 64, |_| Err("broken")), Err("broken"));
    assert_eq!(answers.data(1, 10, 64, |_| Ok::<_, ()>(0)), Ok(None));
    assert!(answers.is_empty());
    // Nothing asked for is nothing read, and an answer.
    assert_eq!(answers.data(1, 0, 64, |_| Ok::<_, ()>(0)), Ok(Some(&[][..])));
    assert_eq!(answers.len(), 13);
}
