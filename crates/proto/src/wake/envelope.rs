//! Reads and writes envelopes: `base64url(payload).base64url(signature)`, and for an acknowledgement also `.base64url(certificate)`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The prefix of a wake's payload for signing: a signature of anything else isn't a wake's.
pub(super) const WAKE_DOMAIN: &[u8] = b"sally/wake\0";
/// The prefix of an acknowledgement's payload. No SSH signature's message begins so: those begin with a length or with `SSHSIG`.
pub(super) const ACKNOWLEDGEMENT_DOMAIN: &[u8] = b"sally/ack\0";

/// Returns the bytes to sign: the domain and the payload as sent, byte by byte.
pub(super) fn signed(domain: &[u8], payload: &[u8]) -> Vec<u8> {
    [domain, payload].concat()
}

/// Writes parts as one line.
pub(super) fn join(parts: &[&[u8]]) -> String {
    parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".")
}

/// Reads exactly N parts. Only one text is valid for given parts: no padding, no stray bits, no white space.
pub(super) fn split<const N: usize>(text: &[u8], longest: usize) -> Option<[Vec<u8>; N]> {
    if text.len() > longest {
        return None;
    }
    let parts = text.split(|byte| *byte == b'.').map(|part| URL_SAFE_NO_PAD.decode(part)).collect::<Result<Vec<_>, _>>().ok()?;
    parts.try_into().ok()
}
