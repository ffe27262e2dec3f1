//! Cuts a channel's bytes into packets.

use bytes::{Buf, Bytes, BytesMut};

use super::MAX_PACKET;

/// The length of the length field.
const LENGTH: usize = 4;

/// Says that a packet is empty, or longer than [`MAX_PACKET`]: the start of the next one isn't known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {0} bytes")]
pub struct BadLength(pub u32);

/// Cuts a channel's bytes into packets, in whatever pieces they come: a packet within one piece isn't copied, one in several is copied
/// once.
#[derive(Debug, Default)]
pub struct Packets {
    partial: BytesMut,
}

impl Packets {
    /// Takes the next packet off `input`, without its length field and never empty; `None` if `input` is used up.
    ///
    /// # Errors
    /// [`BadLength`]: nothing that follows can be read.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, BadLength> {
        if self.partial.is_empty()
            && let Some(whole) = whole_length(input)?
            && input.len() >= whole
        {
            let mut packet = input.split_to(whole);
            packet.advance(LENGTH);
            return Ok(Some(packet));
        }
        self.fill(input, LENGTH);
        let Some(whole) = whole_length(&self.partial)? else { return Ok(None) };
        self.partial.reserve(whole.saturating_sub(self.partial.len()));
        self.fill(input, whole);
        if self.partial.len() < whole {
            return Ok(None);
        }
        let mut packet = std::mem::take(&mut self.partial).freeze();
        packet.advance(LENGTH);
        Ok(Some(packet))
    }

    /// Moves bytes over until there are so many, or no more.
    fn fill(&mut self, input: &mut Bytes, wanted: usize) {
        let missing = wanted.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input.split_to(missing));
    }
}

/// Returns the length of the packet that begins here, its length field included; `None` if that isn't known yet.
fn whole_length(bytes: &[u8]) -> Result<Option<usize>, BadLength> {
    let Some(field) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = u32::from_be_bytes(*field);
    match usize::try_from(length) {
        Ok(bytes @ 1..=MAX_PACKET) => Ok(Some(LENGTH + bytes)),
        _ => Err(BadLength(length)),
    }
}
