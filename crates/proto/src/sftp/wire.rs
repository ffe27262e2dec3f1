//! Reads and writes the types of packets (RFC 4251 section 5).

use crate::ssh_string;
pub(super) use crate::ssh_string::put as put_string;

/// Says that a packet ends too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet ends too early")]
pub struct TruncatedPacket;

/// The rest of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct SftpReader<'a>(pub(super) &'a [u8]);

impl<'a> SftpReader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TruncatedPacket> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(TruncatedPacket)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, TruncatedPacket> {
        self.take().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, TruncatedPacket> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, TruncatedPacket> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], TruncatedPacket> {
        let (taken, rest) = ssh_string::split(self.0).ok_or(TruncatedPacket)?;
        self.0 = rest;
        Ok(taken)
    }
}

pub(super) fn put_u32(buffer: &mut Vec<u8>, value: u32) {
    buffer.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u64(buffer: &mut Vec<u8>, value: u64) {
    buffer.extend_from_slice(&value.to_be_bytes());
}
