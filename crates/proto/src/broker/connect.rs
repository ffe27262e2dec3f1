//! Reads a client's first packet, CONNECT (MQTT 3.1.1, section 3.1), and decides which of its errors are answered before the connection
//! is closed.

use bytes::Bytes;

use super::hub::Will;

/// The longest CONNECT: a name, a will, and credentials that the broker ignores.
pub const CONNECT_MAX: usize = 2048;
/// The longest client identifier: twice as long as a device's name.
pub const CLIENT_ID_MAX: usize = 128;

/// The length that no CONNECT exceeds: ten bytes, and five fields of 65,535 with their lengths.
const LONGEST: usize = 10 + 5 * 65_537;
/// The number of bytes from which the length of the client identifier is known.
const BEGINNING: usize = 14;

/// CONNECT's first byte: its flags must be 0.
const CONNECT: u8 = 0x10;
/// The protocol's name, and its level in MQTT 3.1.1.
const NAME: &[u8] = b"MQTT";
const LEVEL: u8 = 4;
/// The name in MQTT 3.1: its clients know CONNACK.
const NAME_OF_3_1: &[u8] = b"MQIsdp";

const RESERVED: u8 = 0b0000_0001;
const CLEAN_SESSION: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER: u8 = 0b1000_0000;

/// A CONNECT packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The identifier that the client claims.
    pub client_id: String,
    /// The keepalive in seconds; 0 for none.
    pub keepalive: u16,
    /// The message to publish when the connection breaks.
    pub will: Option<Will>,
}

/// Says why a packet isn't an acceptable CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConnected {
    /// The client uses another version of the protocol: answer CONNACK 0x01, then close (section 3.1.2.2).
    #[error("another version of the protocol than 3.1.1")]
    Version,
    /// The client identifier isn't accepted: answer CONNACK 0x02, then close (section 3.1.3.1).
    #[error("a client identifier {0}")]
    Identifier(&'static str),
    /// The packet is malformed: close without an answer (section 4.8).
    #[error("{0}")]
    Malformed(&'static str),
}

use NotConnected::{Identifier, Malformed, Version};

/// Reads the CONNECT at the beginning of `bytes`, and its length; `None` if it isn't complete yet. Reports an error as soon as it is
/// certain, so that a client with a wrong packet need not send all of it.
///
/// # Errors
/// [`NotConnected`].
pub fn connect(bytes: &[u8]) -> Result<Option<(Connect, usize)>, NotConnected> {
    match bytes.first() {
        None => return Ok(None),
        Some(&CONNECT) => {}
        Some(first) if first >> 4 == CONNECT >> 4 => return Err(Malformed("reserved bits before the length")),
        Some(_) => return Err(Malformed("no CONNECT at the beginning")),
    }
    let Some((body_length, head)) = length(bytes)? else { return Ok(None) };
    if body_length > LONGEST {
        return Err(Malformed("too long"));
    }
    let body = bytes.get(head..).unwrap_or_default();
    let whole = body.len() >= body_length;
    let mut reader = ConnectReader { left: body.get(..body_length).unwrap_or(body) };
    match read(&mut reader) {
        Ok(_) if !reader.left.is_empty() => Err(Malformed("bytes behind its end")),
        Ok(_) if body_length > CONNECT_MAX => Err(Malformed("too long")),
        Ok(connect) => Ok(whole.then_some((connect, head.saturating_add(body_length)))),
        Err(Incomplete::Fault(fault)) => Err(fault),
        Err(Incomplete::Missing) if whole => Err(Malformed("it ends too early")),
        Err(Incomplete::Missing) if body_length > CONNECT_MAX && body.len() >= BEGINNING => Err(Malformed("too long")),
        Err(Incomplete::Missing) => Ok(None),
    }
}

/// Reads how many bytes follow, and where they begin (section 2.2.3).
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, NotConnected> {
    let mut length = 0_usize;
    for (digit, at) in bytes.iter().skip(1).zip(0_u32..) {
        if at == 4 {
            break;
        }
        length |= usize::from(digit & 0x7f) << (7 * at);
        if digit & 0x80 == 0 {
            return Ok(Some((length, usize::try_from(at).unwrap_or(0).saturating_add(2))));
        }
    }
    if bytes.len() > 4 { Err(Malformed("a length of more than four bytes")) } else { Ok(None) }
}

fn read(reader: &mut ConnectReader<'_>) -> Result<Connect, Incomplete> {
    let name = reader.field()?;
    let level = reader.byte()?;
    match (name, level) {
        (NAME, LEVEL) => {}
        (NAME | NAME_OF_3_1, _) => return Err(Version.into()),
        _ => return Err(Malformed("another protocol").into()),
    }
    let flags = reader.byte()?;
    check_flags(flags)?;
    let keepalive = u16::from_be_bytes(reader.array()?);
    let announced = reader.left.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    if announced > CLIENT_ID_MAX {
        return Err(Identifier("of more than 128 bytes").into());
    }
    let client_id = reader.text("a client identifier that is not UTF-8")?.to_owned();
    if client_id.is_empty() && flags & CLEAN_SESSION == 0 {
        return Err(Identifier("that is empty, without a clean session").into());
    }
    let will = if flags & WILL == 0 {
        None
    } else {
        let topic = reader.text("a will's topic that is not UTF-8")?.to_owned();
        // Sections 3.3.2.1 and 4.7.3.
        if topic.is_empty() || topic.contains(['#', '+']) {
            return Err(Malformed("a will to no topic, or to a wildcard").into());
        }
        let payload = Bytes::copy_from_slice(reader.field()?);
        Some(Will { topic, payload, retain: flags & WILL_RETAIN != 0, acknowledged: flags & WILL_QOS != 0 })
    };
    if flags & USER != 0 {
        reader.text("a user name that is not UTF-8")?;
    }
    if flags & PASSWORD != 0 {
        reader.field()?;
    }
    Ok(Connect { client_id, keepalive, will })
}

/// Checks the flags (sections 3.1.2.3 to 3.1.2.9).
fn check_flags(flags: u8) -> Result<(), NotConnected> {
    let without_a_will = flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0;
    let faults = [
        (flags & RESERVED != 0, "the reserved flag"),
        (without_a_will, "flags of a will, and no will"),
        (flags & WILL_QOS == WILL_QOS, "a will with QoS 3"),
        (flags & USER == 0 && flags & PASSWORD != 0, "a password without a user name"),
    ];
    faults.into_iter().find(|(is, _)| *is).map_or(Ok(()), |(_, what)| Err(Malformed(what)))
}

/// The rest of a packet, which may be incomplete.
struct ConnectReader<'a> {
    left: &'a [u8],
}

enum Incomplete {
    /// The packet isn't complete yet.
    Missing,
    Fault(NotConnected),
}

impl From<NotConnected> for Incomplete {
    fn from(fault: NotConnected) -> Self {
        Self::Fault(fault)
    }
}

impl<'a> ConnectReader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Incomplete> {
        let (array, left) = self.left.split_first_chunk::<N>().ok_or(Incomplete::Missing)?;
        self.left = left;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Incomplete> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a field with its length before it (sections 1.5.3 and 3.1.3.3).
    fn field(&mut self) -> Result<&'a [u8], Incomplete> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (field, left) = self.left.split_at_checked(length).ok_or(Incomplete::Missing)?;
        self.left = left;
        Ok(field)
    }

    /// Reads a field of UTF-8 without U+0000 (section 1.5.3).
    fn text(&mut self, otherwise: &'static str) -> Result<&'a str, Incomplete> {
        let text = str::from_utf8(self.field()?).ok().filter(|text| !text.contains('\0'));
        text.ok_or(Incomplete::Fault(Malformed(otherwise)))
    }
}

#[cfg(test)]
#[path = "connect/tests.rs"]
mod tests;
