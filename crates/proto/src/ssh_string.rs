//! A string of SSH (RFC 4251 section 5): its length in four bytes, then its bytes.

/// The first string of `data`, and what follows it; `None` where `data` ends too early.
pub fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Appends a string; one that is too long for its length field does not exist here.
pub fn put(buffer: &mut Vec<u8>, string: &[u8]) {
    buffer.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    buffer.extend_from_slice(string);
}

/// These strings, one after the other.
pub fn join<'a>(strings: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    strings.into_iter().fold(Vec::new(), |mut joined, string| {
        put(&mut joined, string.as_bytes());
        joined
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_split_again_and_what_is_cut_is_not() {
        let joined = join(["cam-17", ""]);
        let (first, rest) = split(&joined).unwrap();
        assert_eq!((first, split(rest)), (&b"cam-17"[..], Some((&b""[..], &b""[..]))));
        assert!((0..10).all(|cut| split(&joined[..cut]).is_none()));
        assert_eq!(split(b"\xff\xff\xff\xffx"), None);
    }
}
