//! Reads the key of a line: a type, a blob in base64, and whether the key is good enough for a login.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::public::{EcdsaPublicKey, KeyData, RsaPublicKey};

use super::line::{quote, skip_space};
use crate::ssh_string;

/// The least modulus of an RSA key, in bits: sshd's default `RequiredRSASize`.
pub const RSA_BITS_MIN: usize = 1024;

/// The largest modulus of an RSA key, in bits: the largest whose signatures the RSA library checks.
pub const RSA_BITS_MAX: usize = 8192;

/// The types that sshd accepts at the start of a line, and the type that the blob must have.
const TYPES: [(&str, &str); 10] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ssh-rsa", "ssh-rsa"),
    ("rsa-sha2-256", "ssh-rsa"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com"),
    ("sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
    ("webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
];

const DSA: &str = "ssh-dss";
/// The longest name of a key type (RFC 4251 section 6).
const TYPE_NAME_MAX: usize = 64;
const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";

/// Returns whether a user's signature by this algorithm (names of RFC 4253, RFC 8332, PROTOCOL.u2f) is good enough for a login: no SHA-1,
/// no DSA.
///
/// `ssh-rsa` names both a key type and a signature with SHA-1: for a signature, the answer is no.
pub fn signature_algorithm_allowed(name: &str) -> bool {
    let name = name.strip_suffix(CERTIFICATE_SUFFIX).unwrap_or(name);
    matches!(
        name,
        "ssh-ed25519"
            | "rsa-sha2-256"
            | "rsa-sha2-512"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
            // As certificates these two lose their domain: `sk-ssh-ed25519-cert-v01@openssh.com`.
            | "sk-ssh-ed25519"
            | "sk-ecdsa-sha2-nistp256"
    )
}

/// Says why the text of a line gives no key.
#[derive(Debug)]
pub(super) enum KeyFault {
    /// The text is invalid.
    Damaged(String),
    /// The key is valid, and of a type that isn't supported.
    Unsupported(String),
}

impl From<String> for KeyFault {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

impl From<&str> for KeyFault {
    fn from(reason: &str) -> Self {
        Self::Damaged(reason.into())
    }
}

/// Returns whether the text begins with the name of a key type, so that it has no options.
pub(super) fn starts_with_type(text: &[u8]) -> bool {
    let (word, rest) = first_word(text);
    let known = TYPES.iter().any(|(name, _)| name.as_bytes() == word);
    known || word == DSA.as_bytes() || word.ends_with(CERTIFICATE_SUFFIX.as_bytes()) || names_itself(word, first_word(skip_space(rest)).0)
}

/// Reads `TYPE BLOB [COMMENT]`; returns the key and the comment.
pub(super) fn read(text: &[u8]) -> Result<(KeyData, &[u8]), KeyFault> {
    let (word, rest) = first_word(text);
    if word.is_empty() {
        return Err("no key follows the options".into());
    }
    if word.ends_with(CERTIFICATE_SUFFIX.as_bytes()) {
        return Err("a certificate never matches here: name its authority's key, with cert-authority before it".into());
    }
    let (blob, comment) = first_word(skip_space(rest));
    let Some((_, blob_type)) = TYPES.iter().find(|(name, _)| name.as_bytes() == word) else {
        let whole = names_itself(word, blob);
        return Err(match (word == DSA.as_bytes(), whole) {
            (true, true) => KeyFault::Unsupported("DSA keys are not accepted: make a new one with ssh-keygen -t ed25519".into()),
            (true, false) => "the DSA key is damaged, and none is accepted".into(),
            (false, true) => KeyFault::Unsupported(format!("keys of type {} are not supported", quote(word))),
            (false, false) => format!("{} is not a key type", quote(word)).into(),
        });
    };
    if blob.is_empty() {
        return Err("the key itself is missing".into());
    }
    let key = decode(blob)?;
    if key.is_certificate() || key.algorithm().as_str() != *blob_type {
        return Err("the key is of another type than the line says".into());
    }
    check(&key)?;
    Ok((key, skip_space(comment)))
}

/// Returns whether a word is the name of a key type (RFC 4251 section 6) and the blob after it begins with that name (RFC 4253 section
/// 6.6): this distinguishes a key type that is newer than this code from a damaged line.
fn names_itself(word: &[u8], blob: &[u8]) -> bool {
    let is_name = (1..=TYPE_NAME_MAX).contains(&word.len()) && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
    let named = |bytes: &[u8]| {
        let (name, key) = ssh_string::split(bytes)?;
        Some(name == word && !key.is_empty())
    };
    is_name && bytes_of(blob).as_deref().and_then(named).unwrap_or(false)
}

fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or_default()
}

/// Decodes a blob from base64.
fn bytes_of(blob: &[u8]) -> Option<Vec<u8>> {
    // As the C library's decoder does, which is how a line that ends in CR LF without a comment works.
    let compact: Vec<u8> = blob.iter().copied().filter(|byte| !matches!(byte, b'\r' | 0x0b | 0x0c)).collect();
    STANDARD.decode(compact).ok()
}

fn decode(blob: &[u8]) -> Result<KeyData, String> {
    let bytes = bytes_of(blob).ok_or_else(|| "the key is not valid base64".to_owned())?;
    let key = ssh_key::PublicKey::from_bytes(&bytes).map_err(|_| "the key is damaged".to_owned())?;
    Ok(key.key_data().clone())
}

/// Checks that sshd, and the libraries that check signatures here, would accept the key.
pub(super) fn check(key: &KeyData) -> Result<(), String> {
    match key {
        KeyData::Ed25519(_) | KeyData::SkEd25519(_) => Ok(()),
        KeyData::Rsa(key) => check_rsa(key),
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => check_point(point.as_bytes()),
        KeyData::Ecdsa(EcdsaPublicKey::NistP384(point)) => check_point(point.as_bytes()),
        KeyData::Ecdsa(EcdsaPublicKey::NistP521(point)) => check_point(point.as_bytes()),
        KeyData::SkEcdsaSha2NistP256(key) => check_point(key.ec_point().as_bytes()),
        KeyData::Dsa(_) => Err("DSA keys are not accepted".into()),
        _ => Err("keys of that type are not accepted".into()),
    }
}

/// Checks a point of SEC 1 §2.3.3: only uncompressed ones, as in sshd.
fn check_point(point: &[u8]) -> Result<(), String> {
    if point.first() == Some(&4) { Ok(()) } else { Err("the key's point is not in the uncompressed form".into()) }
}

fn check_rsa(key: &RsaPublicKey) -> Result<(), String> {
    let bits = rsa_bits(key);
    if bits < RSA_BITS_MIN {
        return Err(format!("an RSA key of {bits} bits: at least {RSA_BITS_MIN} are needed"));
    }
    if bits > RSA_BITS_MAX {
        return Err(format!("an RSA key of {bits} bits: at most {RSA_BITS_MAX} can be checked"));
    }
    Ok(())
}

/// Returns the length of the modulus in bits; ssh-key itself counts whole bytes.
fn rsa_bits(key: &RsaPublicKey) -> usize {
    let bytes = key.n().as_positive_bytes().unwrap_or_default();
    let unused = bytes.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or(0));
    bytes.len().saturating_mul(8).saturating_sub(unused)
}

/// Returns whether the key lives in a security key, whose signatures say whether it was touched.
pub(super) fn is_security_key(key: &KeyData) -> bool {
    key.is_sk_ed25519() || key.is_sk_ecdsa_p256()
}
