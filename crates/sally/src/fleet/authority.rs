//! Loads the authorities' private keys, and issues SSH certificates.

use sally_proto::authority::Role;
use sally_proto::error::Fault;
use sally_proto::krl::Krl;
use ssh_key::certificate::{Builder, CertType, Certificate};
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use super::ledger::{Holder, Ledger};
use super::{FleetFolder, authority_file, files, invalid};
use crate::clock::unix_time_or_expired;
use crate::host_key::HostKey;

/// The seconds before now from which certificates are valid: clocks differ.
const BEFORE: u64 = 3600;

/// The content of a certificate.
pub(super) struct Subject<'a> {
    pub(super) serial: u64,
    /// The name for logs.
    pub(super) key_id: &'a str,
    pub(super) principals: &'a [String],
    pub(super) extensions: &'a [&'a str],
    /// The end in Unix seconds; `None` is for ever.
    pub(super) until: Option<u64>,
}

/// An authority, with its private key.
pub(super) struct Authority {
    role: Role,
    key: PrivateKey,
}

impl Authority {
    pub(super) fn fresh(role: Role) -> Result<Self, Fault> {
        Ok(Self { role, key: fresh_key(&format!("sally {}", authority_file(role)))? })
    }

    pub(super) fn load(fleet: &FleetFolder, role: Role) -> Result<Self, Fault> {
        let file = fleet.ca(authority_file(role));
        Ok(Self { role, key: super::private_key(&file)? })
    }

    pub(super) fn key(&self) -> &PrivateKey {
        &self.key
    }

    pub(super) fn certify(&self, key: &PublicKey, subject: &Subject<'_>) -> Result<Certificate, Fault> {
        self.build(key, subject).map_err(internal)
    }

    fn build(&self, key: &PublicKey, subject: &Subject<'_>) -> Result<Certificate, ssh_key::Error> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| ssh_key::Error::Crypto)?;
        let after = unix_time_or_expired().saturating_sub(BEFORE);
        let mut builder = Builder::new(nonce, key.clone(), after, subject.until.unwrap_or(u64::MAX))?;
        let kind = if self.role == Role::Host { CertType::Host } else { CertType::User };
        builder.cert_type(kind)?.serial(subject.serial)?.key_id(subject.key_id)?.comment(subject.key_id)?;
        for principal in subject.principals {
            builder.valid_principal(principal)?;
        }
        for extension in subject.extensions {
            builder.extension(*extension, "")?;
        }
        builder.sign(&self.key)
    }
}

/// Generates an ed25519 key with a comment.
pub(super) fn fresh_key(comment: &str) -> Result<PrivateKey, Fault> {
    let mut key = HostKey::fresh()?.private().clone();
    key.set_comment(comment);
    Ok(key)
}

/// Returns a private key in OpenSSH's format.
pub(super) fn private_text(key: &PrivateKey) -> Result<String, Fault> {
    key.to_openssh(LineEnding::LF).map(|text| text.to_string()).map_err(internal)
}

/// Returns the line of a `.pub` file.
pub(super) fn public_line(key: &PublicKey) -> Result<String, Fault> {
    key.to_openssh().map(|line| line + "\n").map_err(internal)
}

/// Returns the line of a `-cert.pub` file.
pub(super) fn certificate_line(certificate: &Certificate) -> Result<String, Fault> {
    certificate.to_openssh().map(|line| line + "\n").map_err(internal)
}

pub(super) fn internal(error: impl ToString) -> Fault {
    Fault::Internal(error.to_string())
}

/// Returns the revocation list of everything that the ledger has revoked: each serial number, under each authority that may have signed it.
pub(super) fn krl(fleet: &FleetFolder, ledger: &Ledger) -> Result<Vec<u8>, Fault> {
    let mut krl = Krl::new(ledger.revocations().saturating_add(1), unix_time_or_expired());
    let keys = [Role::Device, Role::Host, Role::Visitor].map(|role| public_key(fleet, role).map(|key| (role, key)));
    for key in keys {
        let (role, key) = key?;
        let signs = |holder| match holder {
            Holder::Device => role != Role::Visitor,
            Holder::Relay => role == Role::Host,
            Holder::Visitor => role == Role::Visitor,
        };
        for entry in ledger.entries().filter(|entry| entry.revoked.is_some() && signs(entry.holder)) {
            krl.revoke_serial(key.key_data(), entry.serial);
        }
    }
    krl.encode().map_err(internal)
}

fn public_key(fleet: &FleetFolder, role: Role) -> Result<PublicKey, Fault> {
    let file = fleet.relay(&format!("{}.pub", authority_file(role)));
    PublicKey::from_openssh(files::read_text(&file)?.trim()).map_err(|error| invalid(&file, error))
}
