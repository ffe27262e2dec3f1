//! Puts characters together that the record holds in two pieces: one decoder for each stream.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sally_proto::record::{RecordStream, incomplete_tail};

/// Decodes a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of an unfinished character.
    held: Vec<u8>,
}

impl Decoder {
    /// Takes a piece; returns the bytes of whole characters, and those that can't become part of one.
    pub(super) fn whole<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let mut all = Cow::Borrowed(piece);
        if !self.held.is_empty() {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(piece);
            all = Cow::Owned(joined);
        }
        let (whole, unfinished) = all.split_at(all.len() - incomplete_tail(&all));
        self.held = unfinished.to_vec();
        let length = whole.len();
        match all {
            Cow::Borrowed(all) => Cow::Borrowed(all.get(..length).unwrap_or_default()),
            Cow::Owned(mut all) => {
                all.truncate(length);
                Cow::Owned(all)
            }
        }
    }

    /// Takes a piece; returns its text, with U+FFFD for invalid bytes.
    pub(super) fn text(&mut self, piece: &[u8]) -> String {
        String::from_utf8_lossy(&self.whole(piece)).into_owned()
    }

    /// Returns an unfinished character at the end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// The decoders of a record.
#[derive(Debug, Default)]
pub(super) struct Decoders(BTreeMap<(u32, RecordStream), Decoder>);

impl Decoders {
    /// Takes a piece of a stream, as [`Decoder::text`].
    pub(super) fn text(&mut self, channel: u32, stream: RecordStream, piece: &[u8]) -> String {
        self.0.entry((channel, stream)).or_default().text(piece)
    }

    /// Returns the streams that end within a character, each with U+FFFD for it.
    pub(super) fn ends(&mut self) -> impl Iterator<Item = ((u32, RecordStream), String)> + '_ {
        let cut = self.0.iter_mut().map(|(of, decoder)| (*of, String::from_utf8_lossy(&decoder.rest()).into_owned()));
        cut.filter(|(_, text)| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn streams_are_apart() {
        let mut decoders = Decoders::default();
        assert_eq!(decoders.text(0, RecordStream::Stdout, b"a\xe6"), "a");
        assert_eq!(decoders.text(0, RecordStream::Stderr, b"\xbc\xe2"), "\u{fffd}");
        assert_eq!(decoders.text(0, RecordStream::Stdout, b"\xbc\xa2b"), "\u{6f22}b");
        assert_eq!(decoders.ends().collect::<Vec<_>>(), [((0, RecordStream::Stderr), "\u{fffd}".to_owned())]);
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_it_is_the_same_text(
            bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..60), "\\PC{0,30}".prop_map(String::into_bytes)],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut decoder = Decoder::default();
            let mut text: String = cuts.windows(2).map(|cut| decoder.text(&bytes[cut[0]..cut[1]])).collect();
            text.push_str(&String::from_utf8_lossy(&decoder.rest()));
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
