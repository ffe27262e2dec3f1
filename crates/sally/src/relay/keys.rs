//! The keys that may log in, by role.
//!
//! An invalid line is skipped and reported on stderr and in the audit log: one mistake in a long file must not lock out all other users. A
//! source that can't be read stops the start; `reload` handles later failures.

use sally_proto::authorized_keys::{Context, Denial, Enforced, KeyRing, Offer};
use sally_proto::error::{Fault, KeyDefect};
use sally_proto::id::DeviceId;
use sally_proto::relay::{covers_name, spelled_names};

use super::client::ClientAccess;
use crate::file_version::{self, FileVersion};
use crate::keys::{self, KeySource, Skipped};
use crate::net::network::NetworkSettings;
use crate::term;

/// The keys of every role.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    visitors: Option<KeyRing>,
    devices: Option<KeyRing>,
    admins: Option<KeyRing>,
    /// Whether any key is a certificate authority's.
    authorities: bool,
}

impl KeySet {
    /// Returns the access that these keys grant; perhaps none.
    ///
    /// # Errors
    /// The reason why a known key is rejected under these circumstances.
    pub(super) fn authorize(&self, offer: Offer<'_>, context: &Context<'_>) -> Result<ClientAccess, Denial> {
        let mut denial = None;
        let mut role = |ring: &Option<KeyRing>| match ring.as_ref()?.authorize(offer, context) {
            Ok(grant) => Some(grant),
            Err(Denial::UnknownKey | Denial::UnknownAuthority) => None,
            Err(other) => {
                denial.get_or_insert(other);
                None
            }
        };
        let access = ClientAccess {
            visitor: role(&self.visitors),
            device: role(&self.devices),
            admin: role(&self.admins),
            ..ClientAccess::default()
        };
        match (access.grant(), denial) {
            (None, Some(denial)) => Err(denial),
            _ => Ok(access),
        }
    }

    /// Returns whether a certificate might be accepted, in which case the bare key doesn't decide.
    pub fn has_authorities(&self) -> bool {
        self.authorities
    }

    /// Returns the names that the rules of devices' keys list without patterns.
    pub fn spelled_names(&self) -> impl Iterator<Item = DeviceId> {
        self.device_rules().flat_map(spelled_names)
    }

    /// Returns whether a device's key may register this name.
    pub fn covers(&self, name: &DeviceId) -> bool {
        self.device_rules().any(|rules| covers_name(rules, name))
    }

    fn device_rules(&self) -> impl Iterator<Item = &[sally_proto::authorized_keys::PermitRule]> {
        self.devices.iter().flat_map(KeyRing::entries).map(|(_, entry)| &*entry.options().permit_listen)
    }

    /// Returns the number of keys of each role.
    pub fn counts(&self) -> [(&'static str, usize); 3] {
        let count = |ring: &Option<KeyRing>| ring.as_ref().map_or(0, KeyRing::len);
        [("visitors", count(&self.visitors)), ("devices", count(&self.devices)), ("admins", count(&self.admins))]
    }
}

/// The version of each source: a file's length, time and number.
pub(super) type SourceVersions = Vec<FileVersion>;

/// The sources of the keys of each role.
#[derive(Clone, Debug)]
pub struct KeySources {
    /// The keys that may reach names.
    pub visitors: Vec<KeySource>,
    /// The keys that may register names and ports.
    pub devices: Vec<KeySource>,
    /// The keys that may do everything on the console.
    pub admins: Vec<KeySource>,
    /// The settings for sources on the network.
    pub network: NetworkSettings,
}

impl KeySources {
    /// Loads everything at the start, which a source that fails or has no key stops.
    ///
    /// # Errors
    /// [`Fault::KeysInvalid`].
    pub async fn load(&self) -> Result<(KeySet, Vec<Skipped>), Fault> {
        let (set, skipped, empty) = self.read().await?;
        match empty {
            Some(source_name) => {
                skipped.iter().for_each(|line| term::say(&line.to_string())); // The skipped lines may be why there is no key.
                Err(Fault::KeysInvalid { source_name, defect: KeyDefect::Empty })
            }
            None => Ok((set, skipped)),
        }
    }

    /// Loads everything, and returns the first source without a key: at a reload, an operator has decided to admit no client by it.
    pub(super) async fn read(&self) -> Result<(KeySet, Vec<Skipped>, Option<String>), Fault> {
        let (mut skipped, mut empty) = (Vec::new(), None);
        let mut rings = Vec::new();
        for sources in [&self.visitors, &self.devices, &self.admins] {
            let loaded = keys::load_lenient(sources, &self.network, Enforced::new(keys::ENFORCED)).await?;
            skipped.extend(loaded.skipped);
            empty = empty.or(loaded.empty);
            skipped.extend(loaded.ring.iter().flat_map(nobody_named));
            rings.push(loaded.ring);
        }
        let authorities = rings.iter().flatten().any(KeyRing::has_authorities);
        let mut rings = rings.into_iter();
        let mut next = || rings.next().flatten();
        Ok((KeySet { visitors: next(), devices: next(), admins: next(), authorities }, skipped, empty))
    }

    /// Reads sources that can be read only once, and keeps their content for reloads.
    ///
    /// # Errors
    /// [`Fault::KeysInvalid`] for the first that can't be read.
    pub(super) async fn keep(&mut self) -> Result<(), Fault> {
        keys::keep([&mut self.visitors, &mut self.devices, &mut self.admins].into_iter().flatten(), false).await
    }

    /// Returns the versions of the files: when they change, the files are read again.
    pub(super) fn look(&self) -> SourceVersions {
        let look = |source: &KeySource| {
            let KeySource::File(file) = source else { return None };
            file_version::of(std::fs::metadata(file).as_ref().ok().filter(|facts| facts.is_file())?)
        };
        [&self.visitors, &self.devices, &self.admins].into_iter().flatten().map(look).collect()
    }
}

/// Returns the `cert-authority` lines without `principals=`, which admit no client: no account exists that a certificate could name.
fn nobody_named(ring: &KeyRing) -> Vec<Skipped> {
    let nobody = ring.entries().filter(|(_, entry)| entry.options().cert_authority && entry.options().principals.is_none());
    nobody
        .map(|(source, entry)| Skipped {
            source: source.to_owned(),
            line: entry.line(),
            reason: "cert-authority needs principals= here: the line admits no client".into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbnqQ/SGC/OWnL4cQGxlZcFxxfCVx0mD+1MlF/Zdidu";

    fn sources(file: &Path) -> KeySources {
        KeySources { visitors: vec![], devices: vec![KeySource::File(file.into())], admins: vec![], network: NetworkSettings::default() }
    }

    #[tokio::test]
    async fn a_bad_line_is_skipped_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("devices");
        std::fs::write(&file, format!("garbage\npermitlisten=\"cam-17:22\" {KEY}\ncert-authority {KEY}\n")).unwrap();
        let (set, skipped) = sources(&file).load().await.unwrap();
        assert_eq!(set.counts(), [("visitors", 0), ("devices", 2), ("admins", 0)]);
        assert_eq!(skipped.iter().map(|skipped| skipped.line).collect::<Vec<_>>(), [1, 3]);
        assert!(set.covers(&DeviceId::parse("cam-17").unwrap()));
        std::fs::write(&file, "# nobody\n").unwrap();
        assert!(matches!(sources(&file).load().await, Err(Fault::KeysInvalid { defect: KeyDefect::Empty, .. })));
    }
}
