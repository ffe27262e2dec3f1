//! Registers one name at a relay, on a device's side: dials the relay, authenticates, holds the name, and takes the visitors that the relay
//! sends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelStream;
use russh::client::Msg;
use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use sally_proto::relay::{ADMIT_REQUEST, NAME_REQUEST};
use sally_proto::ssh_string;
use ssh_key::PrivateKey;

use super::relay_client::{HostTrust, NotRegistered, RelayConnection, RelayIdentity};
use crate::private_key;

/// The port of the name, which `ssh -J relay NAME` asks for.
const PORT: u16 = 22;
/// How long the relay may take from the first byte to the registration.
const LIMIT: Duration = Duration::from_secs(30);

/// The relay to dial, and the key to use.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The relay.
    pub relay: HostPort,
    /// How its host key is checked.
    pub trust: HostTrust,
    /// The file of our key: an unencrypted OpenSSH private key.
    pub identity: PathBuf,
    /// The name to hold; without one the relay generates it.
    pub name: Option<DeviceId>,
}

/// A name that is held on a relay while this lives.
pub struct Registration {
    name: DeviceId,
    link: RelayConnection,
}

impl Dial {
    /// Reads our key. This happens once, because the file may belong to another account, or be gone, when the relay is dialled again.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_identity(&self) -> Result<RelayIdentity, NotRegistered> {
        let key = Arc::new(read_identity(&self.identity).map_err(NotRegistered::lasting)?);
        Ok(RelayIdentity { name: format!("the key of {}", self.identity.display()), key, certificate: None })
    }

    /// Dials, authenticates and registers. `admitted`: lines of authorized_keys whose keys may reach the name besides the relay's own
    /// visitors, in the parts of [`sally_proto::relay::admit_requests`].
    ///
    /// # Errors
    /// Why not.
    pub async fn register(&self, identity: &RelayIdentity, admitted: &[String]) -> Result<Registration, NotRegistered> {
        let timed = tokio::time::timeout(LIMIT, self.register_in_any_time(identity, admitted)).await;
        timed.unwrap_or_else(|_| Err(NotRegistered { reason: format!("no answer within {} s", LIMIT.as_secs()), lasting: false }))
    }

    async fn register_in_any_time(&self, identity: &RelayIdentity, admitted: &[String]) -> Result<Registration, NotRegistered> {
        let link = RelayConnection::dial(&self.relay, self.trust.clone(), identity).await?;
        let (first, others) = admitted.split_first().map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
        let name = ask_for_name(&link, self.name.as_ref(), first).await?;
        let name = DeviceId::parse(&name).map_err(|_| NotRegistered::lasting("it gave an invalid name".into()))?;
        if self.name.as_ref().is_some_and(|wanted| *wanted != name) {
            return Err(NotRegistered::lasting(format!("it gave the name {name}, not the requested one")));
        }
        for keys in others {
            let admitted = link.ask(ADMIT_REQUEST, &ssh_string::join([keys.as_str()])).await;
            admitted.map_err(|failed| NotRegistered { reason: format!("it doesn't admit every key: {}", failed.reason), ..failed })?;
        }
        link.listen(name.as_str(), PORT).await?;
        Ok(Registration { name, link })
    }
}

/// Reads an unencrypted private key in OpenSSH's format.
///
/// # Errors
/// What is wrong with it.
pub fn read_identity(file: &Path) -> Result<PrivateKey, String> {
    private_key::read(file).map_err(|error| format!("the key of {} can't be used: {error}", file.display()))
}

async fn ask_for_name(link: &RelayConnection, wanted: Option<&DeviceId>, admitted: &str) -> Result<String, NotRegistered> {
    let data = ssh_string::join([wanted.map_or("", DeviceId::as_str), admitted]);
    let answer = link.ask(NAME_REQUEST, &data).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

impl Registration {
    /// Returns the name.
    pub fn name(&self) -> &DeviceId {
        &self.name
    }

    /// Returns the next visitor; `None` when the connection to the relay is gone. If this is dropped, the visitor that is being let in is
    /// refused.
    pub async fn next(&mut self) -> Option<ChannelStream<Msg>> {
        Some(self.link.next().await?.accept().await.into_stream())
    }

    /// Gives up the name: waiting visitors are refused, present ones go on.
    pub async fn close(&mut self) {
        self.link.close();
        self.link.stop_listening(self.name.as_str(), PORT).await;
    }

    /// Waits until the connection to the relay has ended; returns why. Cancel-safe.
    pub async fn lost(&self) -> String {
        self.link.lost().await
    }
}
