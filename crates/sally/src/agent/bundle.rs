//! Reads the bundle, the folder that `sally fleet add` made for the device.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sally_proto::error::Fault;
use sally_proto::host_port::HostPort;
use sally_proto::wake::{Clock, Pins, WakeKeys};
use ssh_key::PrivateKey;
use ssh_key::certificate::Certificate;
use tokio_rustls::rustls::ClientConfig;

use super::session::Sessions;
use crate::file_version::{FileVersion, version_of};
use crate::fleet::settings::{AgentSettings, ServedBy};
use crate::mqtt;
use crate::net::tls::KeyPair;
use crate::term;
use crate::tunnel::dial::read_identity;
use crate::tunnel::relay_client::RelayIdentity;

/// The most ports that a device may offer: as many as a relay accepts on one connection.
const EXPOSED_MAX: usize = 16;

/// The server at a device's port 22.
#[derive(Clone, Debug)]
pub enum Ssh {
    /// An sshd at this address.
    At(HostPort),
    /// Sally's own sessions.
    Session(Arc<Sessions>),
}

/// The content of a bundle.
#[derive(Debug)]
pub struct Bundle {
    folder: PathBuf,
    /// The settings in `agent.toml`.
    pub settings: AgentSettings,
    /// The ports that visitors may reach.
    pub exposed: Vec<u16>,
    /// The key that authenticates the device to relays, and signs acknowledgements.
    pub key: Arc<PrivateKey>,
    /// The fleet's certificate for the key.
    pub certificate: Certificate,
    /// The server at port 22.
    pub ssh: Ssh,
    wake_keys: WakeKeys,
    /// The version of the file of wake keys when it was read.
    read: FileVersion,
}

impl Bundle {
    /// Reads the folder.
    ///
    /// # Errors
    /// As [`Bundle::load_with`].
    pub fn load(folder: &Path) -> Result<Self, Fault> {
        Self::load_with(folder, None)
    }

    /// Reads the folder. `to` overrides the address that visitors reach at port 22.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`] for a file that is missing, can't be read, or is invalid; [`Fault::AccountInvalid`] if sessions can't run as
    /// the named account.
    pub fn load_with(folder: &Path, to: Option<&HostPort>) -> Result<Self, Fault> {
        let settings = AgentSettings::load(&folder.join("agent.toml"))?;
        let exposed = exposed(&settings).map_err(|reason| invalid(&folder.join("agent.toml"), reason))?;
        let file = folder.join("device_key");
        let key = read_identity(&file).map_err(|reason| invalid(&file, reason))?;
        let file = folder.join("device_key-cert.pub");
        let certificate = Certificate::read_file(&file).map_err(|error| invalid(&file, error.to_string()))?;
        let named = certificate.valid_principals() == [settings.id.as_str()];
        if !named || certificate.public_key() != key.public_key().key_data() {
            return Err(invalid(&file, format!("it is not for device_key, or not for {}", settings.id)));
        }
        let (wake_keys, read) = read_wake_keys(&folder.join("wake.pub"))?;
        let ssh = match (to, &settings.serve) {
            (Some(to), _) => Ssh::At(to.clone()),
            (None, ServedBy::Sshd) => Ssh::At(settings.to.clone()),
            (None, ServedBy::Session) => Ssh::Session(Arc::new(Sessions::new(folder, &settings)?)),
        };
        Ok(Self { folder: folder.to_owned(), settings, exposed, key: Arc::new(key), certificate, ssh, wake_keys, read })
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the key and certificate for relays.
    pub fn identity(&self) -> RelayIdentity {
        let name = format!("the certificate of {}", self.file("device_key-cert.pub").display());
        RelayIdentity { name, key: Arc::clone(&self.key), certificate: Some(self.certificate.clone()) }
    }

    /// Returns the TLS configuration for the broker.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`].
    pub fn tls(&self) -> Result<Arc<ClientConfig>, Fault> {
        let own = KeyPair { certificate: self.file("tls.pem"), key: self.file("tls.key") };
        mqtt::tls(&own, self.file("tls_ca.pem"))
    }

    /// Returns the values that wakes are checked against.
    pub fn pins(&self) -> Pins {
        let AgentSettings { id, relay, clock, tunnels, .. } = &self.settings;
        let clock = if *clock { Clock::Checked } else { Clock::Absent };
        Pins { id: id.clone(), keys: self.wake_keys.clone(), relays: relay.clone(), clock, tunnels_max: *tunnels }
    }

    /// Reads the wake keys again if their file has changed, since they are rotated. Returns whether they are new; if they can't be read,
    /// the earlier ones are used.
    pub fn refresh(&mut self) -> bool {
        let file = self.file("wake.pub");
        if version_of(&file) == self.read {
            return false;
        }
        match read_wake_keys(&file) {
            Ok((keys, read)) => {
                (self.wake_keys, self.read) = (keys, read);
                true
            }
            Err(fault) => {
                tracing::warn!(%fault, "the previous wake keys stay in use");
                false
            }
        }
    }
}

fn exposed(settings: &AgentSettings) -> Result<Vec<u16>, String> {
    let port = |text: &String| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(format!("'{text}' is not a port to expose"));
    let ports = settings.expose.iter().map(port).collect::<Result<Vec<_>, _>>()?;
    match ports.len() {
        1..=EXPOSED_MAX => Ok(ports),
        _ => Err(format!("expose names 1 to {EXPOSED_MAX} ports")),
    }
}

fn read_wake_keys(file: &Path) -> Result<(WakeKeys, FileVersion), Fault> {
    // The version is taken before reading, so that a change meanwhile is read again.
    let read = version_of(file);
    let text = std::fs::read_to_string(file).map_err(|error| invalid(file, term::reason(&error)))?;
    Ok((WakeKeys::parse(&text).map_err(|error| invalid(file, error.to_string()))?, read))
}

pub(super) fn invalid(file: &Path, reason: String) -> Fault {
    Fault::FleetInvalid { file: file.display().to_string(), reason }
}
