//! Writes and reads a bundle: the folder for one device.

use std::path::Path;

use sally_proto::authorized_keys::{Enforced, KeyRing};
use sally_proto::error::Fault;
use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use ssh_key::certificate::Certificate;
use ssh_key::{PrivateKey, PublicKey};

use super::authority::{certificate_line, private_text, public_line};
use super::files::{EXECUTABLE, PRIVATE, PUBLIC, make_folder, write_new};
use super::settings::{AgentSettings, FleetSettings, RECORDS, RECORDS_MAX, ServedBy, TUNNELS};
use super::tls::TlsIdentity;
use crate::host_key::HostKey;

/// The device's host key: generated, or its own.
pub(super) enum HostKeyFile {
    Fresh(Box<PrivateKey>),
    Own(PublicKey),
}

impl HostKeyFile {
    pub(super) fn public(&self) -> &PublicKey {
        match self {
            Self::Fresh(key) => key.public_key(),
            Self::Own(key) => key,
        }
    }
}

pub(super) struct NewBundle<'a> {
    pub(super) id: &'a DeviceId,
    pub(super) settings: FleetSettings,
    /// The address that visitors reach at port 22.
    pub(super) to: HostPort,
    /// The path of the folder on the device: sshd requires absolute paths.
    pub(super) installed: &'a str,
    pub(super) key: PrivateKey,
    pub(super) certificate: Certificate,
    pub(super) host_key: HostKeyFile,
    pub(super) host_certificate: Certificate,
    pub(super) tls: TlsIdentity,
    /// The content of files in `relay/`.
    pub(super) tls_authority: Vec<u8>,
    pub(super) wake_keys: Vec<u8>,
    pub(super) visitor_authority: Vec<u8>,
    pub(super) host_authority: String,
    pub(super) revoked: Vec<u8>,
}

impl NewBundle<'_> {
    pub(super) fn write(self, folder: &Path) -> Result<(), Fault> {
        let file = |name: &str| folder.join(name);
        let FleetSettings { relay, broker } = self.settings;
        let known_hosts = known_hosts(&relay, &self.host_authority);
        let expose = vec!["22".into()];
        let agent = AgentSettings {
            v: super::settings::VERSION,
            id: self.id.clone(),
            relay,
            broker,
            to: self.to,
            expose,
            clock: true,
            serve: ServedBy::default(),
            records: RECORDS.into(),
            records_max: RECORDS_MAX.into(),
            run_as: None,
            tunnels: TUNNELS,
        };
        write_new(&file("agent.toml"), agent.text(), PUBLIC)?;
        write_new(&file("device_key"), private_text(&self.key)?, PRIVATE)?;
        write_new(&file("device_key.pub"), public_line(self.key.public_key())?, PUBLIC)?;
        write_new(&file("device_key-cert.pub"), certificate_line(&self.certificate)?, PUBLIC)?;
        write_new(&file("known_hosts"), known_hosts, PUBLIC)?;
        write_new(&file("wake.pub"), self.wake_keys, PUBLIC)?;
        write_new(&file("tls.pem"), self.tls.certificate, PUBLIC)?;
        write_new(&file("tls.key"), self.tls.key, PRIVATE)?;
        write_new(&file("tls_ca.pem"), self.tls_authority, PUBLIC)?;
        write_new(&file("visitor_ca.pub"), self.visitor_authority, PUBLIC)?;
        write_new(&file("revoked"), self.revoked, PUBLIC)?;
        write_new(&file("principals"), principals(self.id), EXECUTABLE)?;
        let own = matches!(self.host_key, HostKeyFile::Own(_));
        if let HostKeyFile::Fresh(key) = &self.host_key {
            write_new(&file(HOST_KEY), private_text(key)?, PRIVATE)?;
            write_new(&file("ssh_host_key.pub"), public_line(key.public_key())?, PUBLIC)?;
        }
        write_new(&file("ssh_host_key-cert.pub"), certificate_line(&self.host_certificate)?, PUBLIC)?;
        make_folder(&file("sshd_config.d"), 0o755)?;
        write_new(&file("sshd_config.d/sally.conf"), drop_in(self.installed, own), PUBLIC)
    }
}

/// Returns the keys that a bundle admits: those of the fleet's visitors whose certificates name its device and aren't revoked.
///
/// # Errors
/// [`Fault::FleetInvalid`] for a missing or damaged file, the revocation list included; [`Fault::KeysInvalid`].
pub fn visitors(folder: &Path, enforced: Enforced) -> Result<KeyRing, Fault> {
    let file = folder.join("visitor_ca.pub");
    let device = AgentSettings::load(&folder.join("agent.toml"))?.id;
    let revoked = super::relay_dir::load_krl(folder)?;
    let ring = KeyRing::of_fleet(&file.display().to_string(), &super::files::read_text(&file)?, device, revoked, enforced);
    ring.map_err(|defect| Fault::KeysInvalid { source_name: file.display().to_string(), defect })
}

/// The name of a bundle's file with the private host key.
pub const HOST_KEY: &str = "ssh_host_key";
/// The names of a bundle's secret files: an account that reads one can act as the device, or log in to the broker as the device.
pub const SECRETS: [&str; 4] = ["device_key", "tls.key", HOST_KEY, "broker_login"];

/// Returns the host key in a bundle, with its certificate from the fleet.
///
/// # Errors
/// [`Fault::HostKeyInvalid`], [`Fault::FleetInvalid`].
pub fn host_key(folder: &Path) -> Result<HostKey, Fault> {
    certified(folder, &HostKey::load(&folder.join(HOST_KEY))?)
}

/// Returns a host key with the certificate for it in a bundle.
///
/// # Errors
/// [`Fault::FleetInvalid`].
pub fn certified(folder: &Path, key: &HostKey) -> Result<HostKey, Fault> {
    let file = folder.join("ssh_host_key-cert.pub");
    let certificate = Certificate::from_openssh(super::files::read_text(&file)?.trim()).map_err(|error| super::invalid(&file, error))?;
    if certificate.public_key() != key.public().key_data() {
        return Err(super::invalid(&file, "it is not for ssh_host_key"));
    }
    Ok(HostKey::certified(key.private().clone(), certificate))
}

/// Returns the line of known_hosts for stock ssh and for the agent: it trusts the fleet's host authority for the relays' names.
fn known_hosts(relays: &[HostPort], host_authority: &str) -> String {
    let names: Vec<_> = relays.iter().map(|relay| format!("[{}]:{},{}", relay.host(), relay.port(), relay.host())).collect();
    format!("@cert-authority {} {}\n", names.join(","), host_authority.trim())
}

/// Returns the drop-in for sshd_config. If the revocation list can't be read, sshd refuses every key, as intended.
fn drop_in(installed: &str, own_host_key: bool) -> String {
    let host_key = if own_host_key { String::new() } else { format!("HostKey {installed}/ssh_host_key\n") };
    format!(
        "# Lets the fleet's visitors in, as any user of this machine. Copy to /etc/ssh/sshd_config.d and reload sshd.\n\
         # To keep them from an account: Match User NAME, and there AuthorizedPrincipalsCommand none.\n\
         TrustedUserCAKeys {installed}/visitor_ca.pub\n\
         # A visitor's certificate names patterns of devices; sshd compares whole words. This says which of them mean this device.\n\
         AuthorizedPrincipalsCommand {installed}/principals %t %k\n\
         AuthorizedPrincipalsCommandUser nobody\n\
         RevokedKeys {installed}/revoked\n\
         {host_key}HostCertificate {installed}/ssh_host_key-cert.pub\n"
    )
}

/// Returns the script for sshd's AuthorizedPrincipalsCommand. It prints the certificate's patterns that match this device's name,
/// unchanged; sshd admits a certificate that has one of them. ssh-keygen reads the certificate, which sshd has checked already.
fn principals(id: &DeviceId) -> String {
    format!(
        r#"#!/bin/sh
# sshd runs this with a visitor's certificate, type and base64: which of its patterns mean this device?
export LC_ALL=C
device='{id}'
printf '%s %s\n' "$1" "$2" | ssh-keygen -L -f - | sed -n '/^ *Principals: *$/,/^ *Critical Options:/p' | while read -r pattern rest; do
  case $pattern in *[!a-z0-9_*?-]* | '') continue ;; esac
  case $device in $pattern) printf '%s\n' "$pattern" ;; esac
done
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_version_1_are_still_written_so() {
        let relays = ["relay.example.com:2222".parse().unwrap()];
        let golden = |name| std::fs::read_to_string(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(drop_in("/etc/sally", false), golden("bundle-v1-sshd.conf"));
        assert_eq!(principals(&"cam-17".parse().unwrap()), golden("bundle-v1-principals"));
        assert_eq!(known_hosts(&relays, "ssh-ed25519 AAAA x\n"), golden("bundle-v1-known_hosts"));
        assert!(!drop_in("/etc/sally", true).contains("\nHostKey "));
    }
}
