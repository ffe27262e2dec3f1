//! Who may come, in which role.
//!
//! A line that can't be accepted is skipped, said and audited: one slip in a long file must not lock out everybody else. A source that can't be
//! read stops the start; `reload` says what becomes of it later.

use sally_proto::authorized_keys::{Context, Denial, Enforced, KeyRing, Offer};
use sally_proto::error::{Fault, KeyDefect};
use sally_proto::id::DeviceId;
use sally_proto::relay::{covers_name, spelled_names};

use super::caller::Access;
use crate::keys::{self, Skipped, Source};
use crate::net::network::Network;
use crate::stamp::{self, Stamp};
use crate::term;

/// The keys of every role.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    visitors: Option<KeyRing>,
    devices: Option<KeyRing>,
    admins: Option<KeyRing>,
    /// Whether any is a certificate authority's.
    authorities: bool,
}

impl KeySet {
    /// What somebody may by these keys; perhaps nothing.
    ///
    /// # Errors
    /// Why not, where a key is known and not let in under these circumstances.
    pub(super) fn authorize(&self, offer: Offer<'_>, context: &Context<'_>) -> Result<Access, Denial> {
        let mut denial = None;
        let mut role = |ring: &Option<KeyRing>| match ring.as_ref()?.authorize(offer, context) {
            Ok(grant) => Some(grant),
            Err(Denial::UnknownKey | Denial::UnknownAuthority) => None,
            Err(other) => {
                denial.get_or_insert(other);
                None
            }
        };
        let access = Access { visitor: role(&self.visitors), device: role(&self.devices), admin: role(&self.admins), ..Access::default() };
        match (access.grant(), denial) {
            (None, Some(denial)) => Err(denial),
            _ => Ok(access),
        }
    }

    /// Whether a certificate might get in: its key says nothing then.
    pub fn has_authorities(&self) -> bool {
        self.authorities
    }

    /// The names that devices' keys spell out.
    pub fn spelled_names(&self) -> impl Iterator<Item = DeviceId> {
        self.device_rules().flat_map(spelled_names)
    }

    /// Whether some device's key may hold this name.
    pub fn covers(&self, name: &DeviceId) -> bool {
        self.device_rules().any(|rules| covers_name(rules, name))
    }

    fn device_rules(&self) -> impl Iterator<Item = &[sally_proto::authorized_keys::PermitRule]> {
        self.devices.iter().flat_map(KeyRing::entries).map(|(_, entry)| &*entry.options().permit_listen)
    }

    /// How many keys there are for each role.
    pub fn counts(&self) -> [(&'static str, usize); 3] {
        let count = |ring: &Option<KeyRing>| ring.as_ref().map_or(0, KeyRing::len);
        [("visitors", count(&self.visitors)), ("devices", count(&self.devices)), ("admins", count(&self.admins))]
    }
}

/// What each source looked like: length, time and number of a file.
pub(super) type Seen = Vec<Stamp>;

/// Where the keys of each role come from.
#[derive(Clone, Debug)]
pub struct KeySources {
    /// Who may reach names.
    pub visitors: Vec<Source>,
    /// Who may hold names and ports.
    pub devices: Vec<Source>,
    /// Who may do everything on the console.
    pub admins: Vec<Source>,
    /// How to reach a source on the network.
    pub network: Network,
}

impl KeySources {
    /// Loads everything, for a start: a source that fails or has no key at all stops it.
    ///
    /// # Errors
    /// [`Fault::KeysInvalid`].
    pub async fn load(&self) -> Result<(KeySet, Vec<Skipped>), Fault> {
        let (set, skipped, empty) = self.read().await?;
        match empty {
            Some(source_name) => {
                skipped.iter().for_each(|line| term::say(&line.to_string())); // They may be why there is none.
                Err(Fault::KeysInvalid { source_name, defect: KeyDefect::Empty })
            }
            None => Ok((set, skipped)),
        }
    }

    /// Loads everything, and gives the first source that holds no key: at a reload that is somebody's decision to let nobody in.
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
        let authorities = rings.iter().flatten().flat_map(KeyRing::entries).any(|(_, entry)| entry.options().cert_authority);
        let mut rings = rings.into_iter();
        let mut next = || rings.next().flatten();
        Ok((KeySet { visitors: next(), devices: next(), admins: next(), authorities }, skipped, empty))
    }

    /// Reads what can be read only once, and keeps it for every time that keys are loaded again.
    ///
    /// # Errors
    /// [`Fault::KeysInvalid`] of the first that can't be read.
    pub(super) async fn keep(&mut self) -> Result<(), Fault> {
        keys::keep([&mut self.visitors, &mut self.devices, &mut self.admins].into_iter().flatten()).await
    }

    /// What the files look like: when it changes, they are read again.
    pub(super) fn look(&self) -> Seen {
        let look = |source: &Source| {
            let Source::File(file) = source else { return None };
            stamp::of(std::fs::metadata(file).as_ref().ok().filter(|facts| facts.is_file())?)
        };
        [&self.visitors, &self.devices, &self.admins].into_iter().flatten().map(look).collect()
    }
}

/// A `cert-authority` line without `principals=` lets nobody in here: there is no account that a certificate could name.
fn nobody_named(ring: &KeyRing) -> Vec<Skipped> {
    let nobody = ring.entries().filter(|(_, entry)| entry.options().cert_authority && entry.options().principals.is_none());
    nobody
        .map(|(source, entry)| Skipped {
            source: source.to_owned(),
            line: entry.line(),
            reason: "cert-authority needs principals= here: it lets nobody in".into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbnqQ/SGC/OWnL4cQGxlZcFxxfCVx0mD+1MlF/Zdidu";

    fn sources(file: &Path) -> KeySources {
        KeySources { visitors: vec![], devices: vec![Source::File(file.into())], admins: vec![], network: Network::default() }
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
