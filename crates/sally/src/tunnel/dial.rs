//! The far side of a tunnel for one name: dial a relay, prove who we are, hold the name, and take the visitors that it sends.

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

use super::link::{HostTrust, Identity, Link, NotHeld};
use crate::private_key;

/// The port of the name: the one that `ssh -J relay NAME` asks for.
const PORT: u16 = 22;
/// How long a relay has from the first byte to the name.
const LIMIT: Duration = Duration::from_secs(30);

/// Which relay, and as whom.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The relay.
    pub relay: HostPort,
    /// How its host key is known.
    pub trust: HostTrust,
    /// Our key: an unencrypted OpenSSH private key.
    pub identity: PathBuf,
    /// The name to hold; the relay makes one where there is none.
    pub name: Option<DeviceId>,
}

/// A name that we hold on a relay, for as long as this lives.
pub struct Registration {
    name: DeviceId,
    link: Link,
}

impl Dial {
    /// Reads our key: once, since the file may be another account's, or gone, when the relay is dialled again.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_identity(&self) -> Result<Identity, NotHeld> {
        let key = Arc::new(read_identity(&self.identity).map_err(NotHeld::lasting)?);
        Ok(Identity { name: format!("the key of {}", self.identity.display()), key, certificate: None })
    }

    /// Dials, authenticates and registers. `admitted`: lines of authorized_keys whose keys may reach the name beside the relay's own visitors,
    /// as [`sally_proto::relay::guest_requests`] parts them.
    ///
    /// # Errors
    /// Why not.
    pub async fn register(&self, identity: &Identity, admitted: &[String]) -> Result<Registration, NotHeld> {
        let timed = tokio::time::timeout(LIMIT, self.register_in_any_time(identity, admitted)).await;
        timed.unwrap_or_else(|_| Err(NotHeld { reason: format!("no answer within {} s", LIMIT.as_secs()), lasting: false }))
    }

    async fn register_in_any_time(&self, identity: &Identity, admitted: &[String]) -> Result<Registration, NotHeld> {
        let link = Link::dial(&self.relay, self.trust.clone(), identity).await?;
        let (first, others) = admitted.split_first().map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
        let name = ask_for_name(&link, self.name.as_ref(), first).await?;
        let name = DeviceId::parse(&name).map_err(|_| NotHeld::lasting("it gave a name that is none".into()))?;
        if self.name.as_ref().is_some_and(|wanted| *wanted != name) {
            return Err(NotHeld::lasting(format!("it gave the name {name} and not the one that was asked for")));
        }
        for keys in others {
            let admitted = link.ask(ADMIT_REQUEST, &ssh_string::join([keys.as_str()])).await;
            admitted.map_err(|failed| NotHeld { reason: format!("it doesn't admit every key: {}", failed.reason), ..failed })?;
        }
        link.listen(name.as_str(), PORT).await?;
        Ok(Registration { name, link })
    }
}

/// An unencrypted private key in OpenSSH's format.
///
/// # Errors
/// What is wrong with it.
pub fn read_identity(file: &Path) -> Result<PrivateKey, String> {
    private_key::read(file).map_err(|error| format!("the key of {} can't be used: {error}", file.display()))
}

async fn ask_for_name(link: &Link, wanted: Option<&DeviceId>, admitted: &str) -> Result<String, NotHeld> {
    let data = ssh_string::join([wanted.map_or("", DeviceId::as_str), admitted]);
    let answer = link.ask(NAME_REQUEST, &data).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

impl Registration {
    /// The name that we hold.
    pub fn name(&self) -> &DeviceId {
        &self.name
    }

    /// The next visitor; `None` when the relay's connection is gone. Whoever is being let in when this is dropped is refused.
    pub async fn next(&mut self) -> Option<ChannelStream<Msg>> {
        Some(self.link.next().await?.accept().await.into_stream())
    }

    /// Takes no more visitors: the name is given up, and whoever waits is refused. Those that are in go on.
    pub async fn close(&mut self) {
        self.link.close();
        self.link.stop_listening(self.name.as_str(), PORT).await;
    }

    /// Waits until the relay's connection has ended; says why. Cancel-safe.
    pub async fn lost(&self) -> String {
        self.link.lost().await
    }
}
