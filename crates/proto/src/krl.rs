//! Reads and writes key revocation lists in OpenSSH's own format (PROTOCOL.krl), so that sshd, ssh-keygen and Sally read the same file.
//!
//! Writes serial numbers and key IDs, each under the authority that gave them. Reads those, ranges, bitmaps, keys and hashes of keys. Any
//! other content makes a list unreadable, and the caller must accept no certificate with an unreadable list.

use std::collections::{BTreeMap, BTreeSet};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use ssh_key::PublicKey;
use ssh_key::certificate::Certificate;
use ssh_key::encoding::{Decode, Encode, Reader};
use ssh_key::public::KeyData;

use crate::authorized_keys::{Denial, Offer};

/// `SSHKRL\n\0`.
const MAGIC: u64 = 0x5353_484b_524c_0a00;
const FORMAT: u32 = 1;

const SECTION_CERTIFICATES: u8 = 1;
const SECTION_KEYS: u8 = 2;
const SECTION_SHA1: u8 = 3;
const SECTION_SHA256: u8 = 5;

const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;

/// The largest list that is read, in bytes: room for half a million serial numbers.
pub const KRL_MAX: usize = 4 << 20;

/// Returns whether bytes are meant as a revocation list.
pub fn is_krl(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Says why a file isn't a reliable revocation list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    /// The file ends too early, or has impossible lengths.
    #[error("it is damaged")]
    Damaged,
    /// The file is something else.
    #[error("it is not a key revocation list in OpenSSH's format")]
    NotKrl,
    /// The file is longer than [`KRL_MAX`].
    #[error("it is longer than {KRL_MAX} bytes")]
    TooLong,
    /// The file has an unknown kind of section: what that revokes would be accepted.
    #[error("it has a section of a kind that isn't known ({0:#x})")]
    UnknownSection(u8),
}

impl From<ssh_key::encoding::Error> for KrlError {
    fn from(_: ssh_key::encoding::Error) -> Self {
        Self::Damaged
    }
}

/// What one authority has revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AuthorityRevocations {
    serials: BTreeSet<u64>,
    ranges: Vec<(u64, u64)>,
    key_ids: BTreeSet<String>,
}

/// A key revocation list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Krl {
    /// A number that rises with each writing.
    pub version: u64,
    /// When the list was written, in Unix seconds.
    pub generated: u64,
    /// The revocations by the authority's key, in its encoding. An empty key stands for all authorities.
    authorities: BTreeMap<Vec<u8>, AuthorityRevocations>,
    keys: BTreeSet<Vec<u8>>,
    /// Hashes of revoked keys, in their encoding.
    sha1: BTreeSet<Vec<u8>>,
    sha256: BTreeSet<Vec<u8>>,
}

impl Krl {
    /// Makes an empty list.
    pub fn new(version: u64, generated: u64) -> Self {
        Self { version, generated, ..Self::default() }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`KrlError`]: no part of the list may be used then.
    pub fn parse(bytes: &[u8]) -> Result<Self, KrlError> {
        if bytes.len() > KRL_MAX {
            return Err(KrlError::TooLong);
        }
        let reader = &mut &*bytes;
        if u64::decode(reader).ok() != Some(MAGIC) || u32::decode(reader)? != FORMAT {
            return Err(KrlError::NotKrl);
        }
        let mut krl = Self { version: u64::decode(reader)?, generated: u64::decode(reader)?, ..Self::default() };
        let _flags = u64::decode(reader)?;
        let _reserved = Vec::<u8>::decode(reader)?;
        let _comment = Vec::<u8>::decode(reader)?;
        while !reader.is_finished() {
            let (kind, section) = (u8::decode(reader)?, Vec::<u8>::decode(reader)?);
            let section = &mut section.as_slice();
            match kind {
                SECTION_CERTIFICATES => krl.read_certificates(section)?,
                SECTION_KEYS => read_all(section, &mut krl.keys)?,
                SECTION_SHA1 => read_all(section, &mut krl.sha1)?,
                SECTION_SHA256 => read_all(section, &mut krl.sha256)?,
                other => return Err(KrlError::UnknownSection(other)),
            }
        }
        Ok(krl)
    }

    fn read_certificates(&mut self, section: &mut &[u8]) -> Result<(), KrlError> {
        let authority = Vec::<u8>::decode(section)?;
        let _reserved = Vec::<u8>::decode(section)?;
        let revoked = self.authorities.entry(authority).or_default();
        while !section.is_finished() {
            let (kind, data) = (u8::decode(section)?, Vec::<u8>::decode(section)?);
            let data = &mut data.as_slice();
            match kind {
                SERIAL_LIST => {
                    while !data.is_finished() {
                        revoked.serials.insert(u64::decode(data)?);
                    }
                }
                SERIAL_RANGE => revoked.ranges.push((u64::decode(data)?, u64::decode(data)?)),
                SERIAL_BITMAP => {
                    let (offset, bitmap) = (u64::decode(data)?, Vec::<u8>::decode(data)?);
                    revoked.serials.extend(bits(&bitmap).map(|bit| offset.saturating_add(bit)));
                }
                KEY_ID => {
                    while !data.is_finished() {
                        revoked.key_ids.insert(String::decode(data)?);
                    }
                }
                other => return Err(KrlError::UnknownSection(other)),
            }
            if !data.is_finished() {
                return Err(KrlError::Damaged);
            }
        }
        Ok(())
    }

    /// Revokes the certificate with this serial number of an authority. 0 is no number, to sshd as well.
    pub fn revoke_serial(&mut self, authority: &KeyData, serial: u64) {
        if let Some(revoked) = self.of(authority).filter(|_| serial > 0) {
            revoked.serials.insert(serial);
        }
    }

    /// Revokes a key, with each certificate for it or, if it is an authority's, by it.
    pub fn revoke_key(&mut self, key: &KeyData) {
        self.keys.extend(blob(key));
    }

    /// Revokes every certificate with this key ID of an authority.
    pub fn revoke_key_id(&mut self, authority: &KeyData, key_id: &str) {
        if let Some(revoked) = self.of(authority) {
            revoked.key_ids.insert(key_id.to_owned());
        }
    }

    fn of(&mut self, authority: &KeyData) -> Option<&mut AuthorityRevocations> {
        Some(self.authorities.entry(blob(authority)?).or_default())
    }

    /// Returns whether a certificate is revoked: by its serial number, its key ID, its key, or its authority's key.
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        let of_authority = |authority: &[u8]| {
            self.authorities.get(authority).is_some_and(|revoked| {
                let serial = certificate.serial();
                let numbered =
                    revoked.serials.contains(&serial) || revoked.ranges.iter().any(|(low, high)| (*low..=*high).contains(&serial));
                (serial > 0 && numbered) || revoked.key_ids.contains(certificate.key_id())
            })
        };
        // A key that can't be encoded can't be looked up either.
        let Some(authority) = blob(certificate.signature_key()) else { return true };
        self.revokes_key(certificate.public_key())
            || self.revokes_key(certificate.signature_key())
            || of_authority(&authority)
            || of_authority(&[])
    }

    /// Checks that an offer isn't revoked.
    ///
    /// # Errors
    /// [`Denial::KeyRevoked`], [`Denial::Revoked`].
    pub fn check(&self, offer: Offer<'_>) -> Result<(), Denial> {
        match offer {
            Offer::Key(key) if self.revokes_key(key) => Err(Denial::KeyRevoked),
            Offer::Certificate(certificate) if self.revokes(certificate) => Err(Denial::Revoked),
            _ => Ok(()),
        }
    }

    /// Returns whether a plain key is revoked.
    pub fn revokes_key(&self, key: &KeyData) -> bool {
        // A key that can't be encoded can't be looked up either.
        blob(key).is_none_or(|blob| {
            let by_hash = self.sha256.contains(&*Sha256::digest(&blob)) || self.sha1.contains(&*Sha1::digest(&blob));
            by_hash || self.keys.contains(&blob)
        })
    }

    /// Encodes the list for sshd and ssh-keygen.
    ///
    /// # Errors
    /// [`KrlError::Damaged`] if a part is too long for the format.
    pub fn encode(&self) -> Result<Vec<u8>, KrlError> {
        let mut out = Vec::new();
        MAGIC.encode(&mut out)?;
        FORMAT.encode(&mut out)?;
        for number in [self.version, self.generated, 0] {
            number.encode(&mut out)?;
        }
        // Reserved; no comment.
        "".encode(&mut out)?;
        "".encode(&mut out)?;
        for (authority, revoked) in &self.authorities {
            let mut section = Vec::new();
            authority.encode(&mut section)?;
            "".encode(&mut section)?;
            revoked.encode(&mut section)?;
            SECTION_CERTIFICATES.encode(&mut out)?;
            section.encode(&mut out)?;
        }
        for (kind, set) in [(SECTION_KEYS, &self.keys), (SECTION_SHA1, &self.sha1), (SECTION_SHA256, &self.sha256)] {
            if set.is_empty() {
                continue;
            }
            let mut section = Vec::new();
            for entry in set {
                entry.encode(&mut section)?;
            }
            kind.encode(&mut out)?;
            section.encode(&mut out)?;
        }
        Ok(out)
    }
}

impl AuthorityRevocations {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), KrlError> {
        if !self.serials.is_empty() {
            let mut list = Vec::new();
            for serial in &self.serials {
                serial.encode(&mut list)?;
            }
            SERIAL_LIST.encode(out)?;
            list.encode(out)?;
        }
        for (low, high) in &self.ranges {
            let mut range = Vec::new();
            low.encode(&mut range)?;
            high.encode(&mut range)?;
            SERIAL_RANGE.encode(out)?;
            range.encode(out)?;
        }
        if !self.key_ids.is_empty() {
            let mut ids = Vec::new();
            for id in &self.key_ids {
                id.encode(&mut ids)?;
            }
            KEY_ID.encode(out)?;
            ids.encode(out)?;
        }
        Ok(())
    }
}

fn read_all(section: &mut &[u8], into: &mut BTreeSet<Vec<u8>>) -> Result<(), KrlError> {
    while !section.is_finished() {
        into.insert(Vec::<u8>::decode(section)?);
    }
    Ok(())
}

/// Returns the positions of the bits that are set in a big-endian number.
fn bits(number: &[u8]) -> impl Iterator<Item = u64> + '_ {
    number.iter().rev().zip(0_u64..).flat_map(|(byte, place)| {
        (0..8_u64).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| place.saturating_mul(8).saturating_add(bit))
    })
}

fn blob(key: &KeyData) -> Option<Vec<u8>> {
    PublicKey::from(key.clone()).to_bytes().ok()
}

#[cfg(test)]
mod tests;
