//! Reads the name in a certificate's subject.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
/// id-at-commonName, 2.5.4.3 (RFC 5280, appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Returns the one common name in a subject (RFC 5280, section 4.1.2.4: the content of its outer SEQUENCE, in DER). `None` if there is
/// none, if there are two, or if the bytes are malformed.
pub fn common_name(mut subject: &[u8]) -> Option<&str> {
    let mut name = None;
    while !subject.is_empty() {
        let mut set = element(&mut subject, SET)?;
        while !set.is_empty() {
            let mut attribute = element(&mut set, SEQUENCE)?;
            let kind = element(&mut attribute, OBJECT_IDENTIFIER)?;
            if kind != COMMON_NAME {
                continue;
            }
            let text = match attribute.first()? {
                &PRINTABLE_STRING => element(&mut attribute, PRINTABLE_STRING)?,
                _ => element(&mut attribute, UTF8_STRING)?,
            };
            if !attribute.is_empty() || name.replace(std::str::from_utf8(text).ok()?).is_some() {
                return None;
            }
        }
    }
    name
}

/// Reads the content of the next element, which must be of this kind. Lengths up to 255 bytes: no name of ours is longer.
fn element<'a>(bytes: &mut &'a [u8], kind: u8) -> Option<&'a [u8]> {
    let (length, rest) = match bytes.strip_prefix(&[kind])? {
        [0x81, length @ 0x80..=0xff, rest @ ..] | [length @ ..=0x7f, rest @ ..] => (*length, rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length.into())?;
    *bytes = rest;
    Some(content)
}
