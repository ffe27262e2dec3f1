//! Reads and writes file attributes (draft section 5).

use std::fmt;

use super::wire::{SftpReader, TruncatedPacket, put_u32, put_u64};

const SIZE: u32 = 0x1;
const OWNER: u32 = 0x2;
const MODE: u32 = 0x4;
const TIMES: u32 = 0x8;
const EXTENDED: u32 = 0x8000_0000;

/// The attributes of a file, known or to be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// The size in bytes.
    pub size: Option<u64>,
    /// The numbers of user and group.
    pub owner: Option<(u32, u32)>,
    /// The type and permissions, as in `st_mode`.
    pub mode: Option<u32>,
    /// The times of last access and last modification, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

impl Attrs {
    pub(super) fn parse(from: &mut SftpReader<'_>) -> Result<Self, TruncatedPacket> {
        let flags = from.u32()?;
        let mut attrs = Self::default();
        if flags & SIZE != 0 {
            attrs.size = Some(from.u64()?);
        }
        if flags & OWNER != 0 {
            attrs.owner = Some((from.u32()?, from.u32()?));
        }
        if flags & MODE != 0 {
            attrs.mode = Some(from.u32()?);
        }
        if flags & TIMES != 0 {
            attrs.times = Some((from.u32()?, from.u32()?));
        }
        if flags & EXTENDED != 0 {
            // No extended attribute is supported: they are read, so that a packet with wrong lengths is malformed, and ignored.
            for _ in 0..from.u32()? {
                from.string()?;
                from.string()?;
            }
        }
        Ok(attrs)
    }

    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let present = |is: bool, flag| if is { flag } else { 0 };
        put_u32(
            to,
            present(self.size.is_some(), SIZE)
                | present(self.owner.is_some(), OWNER)
                | present(self.mode.is_some(), MODE)
                | present(self.times.is_some(), TIMES),
        );
        if let Some(size) = self.size {
            put_u64(to, size);
        }
        if let Some((user, group)) = self.owner {
            put_u32(to, user);
            put_u32(to, group);
        }
        if let Some(mode) = self.mode {
            put_u32(to, mode);
        }
        if let Some((accessed, modified)) = self.times {
            put_u32(to, accessed);
            put_u32(to, modified);
        }
    }
}

impl fmt::Display for Attrs {
    /// Writes them for the record: `size=3 owner=0:0 mode=0644 times=1:2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.size.map(|size| format!("size={size}")),
            self.owner.map(|(user, group)| format!("owner={user}:{group}")),
            self.mode.map(|mode| format!("mode={:04o}", mode & 0o7777)),
            self.times.map(|(accessed, modified)| format!("times={accessed}:{modified}")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}
