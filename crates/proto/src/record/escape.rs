//! Escapes JSON at the speed of a copy: copies whole blocks, and examines eight bytes together.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The size of a copied block; also how far a store may reach past what counts.
const BLOCK: usize = 32;
/// How much of a text decides whether it is worth counting before it is written.
const SAMPLE: usize = 128;

/// The escape of each control character: eight bytes to store at once, of which the first two or six count.
static CONTROLS: [[u8; 8]; 32] = controls();

const fn short_form(byte: u8) -> Option<u8> {
    match byte {
        0x08 => Some(b'b'),
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        0x0c => Some(b'f'),
        b'\r' => Some(b'r'),
        b'"' | b'\\' => Some(byte),
        _ => None,
    }
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would not compile a wrong index")]
const fn controls() -> [[u8; 8]; 32] {
    let mut all = [*b"\\u00____"; 32];
    let mut byte = 0;
    while byte < 32 {
        match short_form(byte as u8) {
            Some(letter) => all[byte][1] = letter,
            None => {
                all[byte][4] = b'0' + (byte >> 4) as u8;
                all[byte][5] = b"0123456789abcdef"[byte & 15];
            }
        }
        byte += 1;
    }
    all
}

/// The longest escape of one byte: `\u0000`.
const LONGEST: usize = 6;

/// Appends `text` (UTF-8) as the inside of a JSON string; if that is longer than `limit`, appends nothing and returns false.
pub(crate) fn escape(out: &mut Vec<u8>, text: &[u8], limit: usize) -> bool {
    // A stream of NULs would be written sixfold and discarded.
    let sample = text.get(..SAMPLE).unwrap_or(text);
    if text.len() > limit || (is_longer(sample, sample.len() * 3 / 2) && is_longer(text, limit)) {
        return false;
    }
    let start = out.len();
    // Room for the likely result, and not for the longest line: most events are a single pressed key.
    let room = text.len().saturating_mul(LONGEST).min(limit);
    out.resize(start.saturating_add(room).saturating_add(BLOCK), 0);
    let length = out.get_mut(start..).and_then(|room| write_escaped(room, text)).filter(|length| *length <= limit);
    out.truncate(start + length.unwrap_or(0));
    length.is_some()
}

/// Writes to the front of `room`, whose last [`BLOCK`] bytes are for stores that reach too far; `None` if it is too small.
fn write_escaped(room: &mut [u8], text: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut rest = text;
    while let Some(block) = rest.first_chunk::<BLOCK>() {
        *room.get_mut(at..)?.first_chunk_mut()? = *block;
        let plain = plain_bytes(block);
        at += plain;
        rest = rest.get(plain..)?;
        if plain < BLOCK {
            let (byte, tail) = rest.split_first()?;
            at += write_byte(room.get_mut(at..)?, *byte)?;
            rest = tail;
        }
    }
    for byte in rest {
        at += write_byte(room.get_mut(at..)?, *byte)?;
    }
    Some(at)
}

/// Writes one byte, and returns the length of its escape.
#[inline]
fn write_byte(room: &mut [u8], byte: u8) -> Option<usize> {
    let (escaped, length) = match CONTROLS.get(usize::from(byte)) {
        Some(escaped) => (*escaped, if short_form(byte).is_some() { 2 } else { 6 }),
        None if byte == b'"' || byte == b'\\' => ([b'\\', byte, 0, 0, 0, 0, 0, 0], 2),
        None => ([byte, 0, 0, 0, 0, 0, 0, 0], 1),
    };
    *room.first_chunk_mut()? = escaped;
    Some(length)
}

/// Returns how many bytes of a block precede the first that must be escaped. Word by word, because a compiler that optimises for size
/// makes no vector code of a loop over bytes.
fn plain_bytes(block: &[u8; BLOCK]) -> usize {
    let (words, _) = block.as_chunks::<8>();
    let mut plain = 0;
    for word in words {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return plain + found.trailing_zeros() as usize / 8;
        }
        plain += 8;
    }
    BLOCK
}

/// Returns the high bit of each byte that must be escaped; exact up to the first (a borrow can only mark what follows it).
const fn special(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control | quote | backslash) & !word & HIGH
}

/// Returns whether `text`, escaped, would be longer than `limit`.
fn is_longer(text: &[u8], limit: usize) -> bool {
    let mut length = 0;
    text.iter().any(|byte| {
        length += match byte {
            b'"' | b'\\' => 2,
            0x20.. => 1,
            control if short_form(*control).is_some() => 2,
            _ => LONGEST,
        };
        length > limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_escaped_as_a_json_reader_expects_at_every_place() {
        for byte in 0..0x80u8 {
            for place in 0..20 {
                let mut text = vec![b'x'; 24];
                text[place] = byte;
                let mut out = vec![b'"'];
                assert!(escape(&mut out, &text, 1 << 12));
                out.push(b'"');
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap().as_bytes(), text);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "\\PC*|[\\x00-\\x7f]*", limit in 0usize..200) {
            let mut out = b"\"".to_vec();
            prop_assert!(escape(&mut out, text.as_bytes(), 1 << 16));
            let length = out.len() - 1;
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());

            let mut limited = b"kept".to_vec();
            let fits = escape(&mut limited, text.as_bytes(), limit);
            prop_assert_eq!(fits, length <= limit);
            prop_assert_eq!(is_longer(text.as_bytes(), limit), length > limit);
            prop_assert_eq!(limited.len(), 4 + if fits { length } else { 0 });
        }
    }
}
