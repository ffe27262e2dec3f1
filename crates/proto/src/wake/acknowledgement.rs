//! Reads and writes a device's answer to a wake, signed with the key that its certificate is for.

use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use ssh_key::PrivateKey;
use ssh_key::certificate::Certificate;

use super::envelope::{self, ACKNOWLEDGEMENT_DOMAIN};
use super::key::{verifies, verifying};
use super::message::{Jti, RelayId, VERSION};
use crate::authority::Authorities;
use crate::authorized_keys::Denial;
use crate::id::DeviceId;
use crate::krl::Krl;

/// The longest text of an answer, in printable ASCII characters.
pub const DETAIL_MAX: usize = 120;
/// The longest acknowledgement, in bytes: most of it is the certificate.
pub const ACKNOWLEDGEMENT_MAX: usize = 4096;

/// What a device does about a wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WakeAnswer {
    /// It connects.
    Ok,
    /// A limit of its own is reached.
    Busy,
    /// By its clock the wake is not valid now.
    Clock,
    /// Its settings forbid it.
    Denied,
    /// It could not connect.
    DialFailed,
}

impl WakeAnswer {
    /// Returns the word in the acknowledgement; for logs too.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Busy => "busy",
            Self::Clock => "clock",
            Self::Denied => "denied",
            Self::DialFailed => "dial_failed",
        }
    }
}

/// An acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// [`VERSION`].
    pub v: u32,
    /// The relay that the acknowledgement is for.
    pub aud: RelayId,
    /// The wake that is acknowledged.
    pub jti: Jti,
    /// The device's clock, in Unix seconds.
    pub t: u64,
    /// What the device does.
    pub ans: WakeAnswer,
    /// The reason: at most [`DETAIL_MAX`] printable ASCII characters. A relay shows it to the visitor.
    pub detail: String,
}

/// Says why an acknowledgement is ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswered {
    /// It is too long, or not three parts of base64url, or lacks fields.
    #[error("it is not an acknowledgement")]
    Malformed,
    /// It has another major version.
    #[error("version {0} is not known here")]
    Version(u64),
    /// The certificate isn't one of this fleet's devices.
    #[error("its certificate is refused: {0}")]
    Certificate(Denial),
    /// The signature isn't that of the certified key over these bytes.
    #[error("the signature is wrong")]
    BadSignature,
    /// It is for another relay.
    #[error("it is for another relay")]
    WrongRelay,
    /// The detail is too long, or has other characters than printable ASCII.
    #[error("its detail can't be shown")]
    Detail,
}

#[derive(Deserialize)]
struct AcknowledgementVersion {
    v: u64,
}

impl Acknowledgement {
    /// Makes an acknowledgement, with the detail cut to fit.
    pub fn new(relay: RelayId, jti: Jti, now: u64, answer: WakeAnswer, detail: &str) -> Self {
        let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
        Self { v: VERSION, aud: relay, jti, t: now, ans: answer, detail: detail.chars().take(DETAIL_MAX).map(printable).collect() }
    }

    /// Returns the signed envelope. `None` if the key isn't ed25519, or the certificate is too long.
    pub fn seal(&self, key: &PrivateKey, certificate: &Certificate) -> Option<String> {
        let key = SigningKey::from_bytes(&key.key_data().ed25519()?.private.to_bytes());
        let payload = serde_json::to_vec(self).ok()?;
        let signature = key.sign(&envelope::signed(ACKNOWLEDGEMENT_DOMAIN, &payload)).to_bytes();
        let text = envelope::join(&[&payload, &signature, &certificate.to_bytes().ok()?]);
        (text.len() <= ACKNOWLEDGEMENT_MAX).then_some(text)
    }

    /// Reads and checks an acknowledgement: certificate, signature, version, relay, detail. Returns the device, its certificate's number,
    /// and the content. The caller must check that the number is the device's newest, and that it answers a wake of its own.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open(text: &[u8], relay: &RelayId, devices: &Authorities, krl: &Krl, now: u64) -> Result<(DeviceId, u64, Self), NotAnswered> {
        let [payload, signature, certificate] = envelope::split(text, ACKNOWLEDGEMENT_MAX).ok_or(NotAnswered::Malformed)?;
        let certificate = Certificate::from_bytes(&certificate).map_err(|_| NotAnswered::Malformed)?;
        // The broker reports no source address, so a certificate bound to one is refused. No security key signs acknowledgements, so
        // there are no flags to check.
        let (device, _) = devices.device(&certificate, krl, None, now).map_err(NotAnswered::Certificate)?;
        let key = verifying(certificate.public_key()).ok_or(NotAnswered::BadSignature)?;
        if !verifies(&key, &envelope::signed(ACKNOWLEDGEMENT_DOMAIN, &payload), &signature) {
            return Err(NotAnswered::BadSignature);
        }
        let AcknowledgementVersion { v } = serde_json::from_slice(&payload).map_err(|_| NotAnswered::Malformed)?;
        if v != u64::from(VERSION) {
            return Err(NotAnswered::Version(v));
        }
        let answer: Self = serde_json::from_slice(&payload).map_err(|_| NotAnswered::Malformed)?;
        if answer.aud != *relay {
            return Err(NotAnswered::WrongRelay);
        }
        let showable = answer.detail.len() <= DETAIL_MAX && answer.detail.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if showable { Ok((device, certificate.serial(), answer)) } else { Err(NotAnswered::Detail) }
    }
}
