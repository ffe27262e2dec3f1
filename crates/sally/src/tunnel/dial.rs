//! Registers names at a relay, on a device's side: dials the relay, authenticates, holds the names, and takes the visitors that the relay
//! sends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelStream;
use russh::client::Msg;
use sally_proto::host_port::HostPort;
use sally_proto::id::{DeviceId, NameKind};
use sally_proto::relay::{ADMIT_REQUEST, NAME_REQUEST};
use sally_proto::ssh_string;
use ssh_key::PrivateKey;

use super::relay_client::{HostTrust, NotRegistered, RelayConnection, RelayIdentity};
use crate::{private_key, term};

/// The port of each name, which `ssh -J relay NAME` asks for.
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
    /// The names to hold, in the order in which they are asked for.
    pub names: Vec<WantedName>,
}

/// A name to ask a relay for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedName {
    /// A name of this kind that the relay generates.
    Generated(NameKind),
    /// This name.
    Chosen(DeviceId),
    /// This name, or none if the relay refuses it.
    IfPermitted(DeviceId),
}

impl WantedName {
    /// Returns what `name@sally` asks for.
    fn text(&self) -> &str {
        match self {
            Self::Generated(kind) => kind.prefix(),
            Self::Chosen(name) | Self::IfPermitted(name) => name.as_str(),
        }
    }

    /// Returns whether this name was asked for.
    fn is(&self, name: &DeviceId) -> bool {
        match self {
            Self::Generated(kind) => name.generated_from().is_some_and(|(given, _)| given == *kind),
            Self::Chosen(wanted) | Self::IfPermitted(wanted) => wanted == name,
        }
    }
}

/// Names that are held on a relay while this lives.
pub struct Registration {
    names: Vec<DeviceId>,
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

    /// Dials, authenticates and registers all names. `admitted`: lines of authorized_keys whose keys may reach the names besides the relay's
    /// own visitors, in the parts of [`sally_proto::relay::admit_requests`].
    ///
    /// # Errors
    /// Why not.
    pub async fn register(&self, identity: &RelayIdentity, admitted: &[String]) -> Result<Registration, NotRegistered> {
        let mut wanted: Vec<&WantedName> = self.names.iter().collect();
        loop {
            let timed = tokio::time::timeout(LIMIT, self.register_in_any_time(identity, admitted, &wanted)).await;
            let no_answer = |_| NotRegistered { reason: format!("no answer within {} s", LIMIT.as_secs()), lasting: false };
            match timed.map_err(no_answer)? {
                Ok(registration) => return Ok(registration),
                // A relay closes the connection with its reason.
                Err((Some(WantedName::IfPermitted(name)), failed)) if failed.lasting => {
                    wanted.retain(|wanted| !matches!(wanted, WantedName::IfPermitted(refused) if *refused == name));
                    term::say(&format!("Relay {} doesn't give the name {name} ({}): going on without it", self.relay, failed.reason));
                }
                Err((_, failed)) => return Err(failed),
            }
        }
    }

    /// Registers these names; if that fails, returns at which of them.
    async fn register_in_any_time(
        &self,
        identity: &RelayIdentity,
        admitted: &[String],
        wanted: &[&WantedName],
    ) -> Result<Registration, (Option<WantedName>, NotRegistered)> {
        let link = RelayConnection::dial(&self.relay, self.trust.clone(), identity).await.map_err(|failed| (None, failed))?;
        let mut names = Vec::new();
        for wanted in wanted {
            names.push(hold(&link, wanted, admitted).await.map_err(|failed| (Some((*wanted).clone()), failed))?);
        }
        Ok(Registration { names, link })
    }
}

/// Reads an unencrypted private key in OpenSSH's format.
///
/// # Errors
/// What is wrong with it.
pub fn read_identity(file: &Path) -> Result<PrivateKey, String> {
    private_key::read(file).map_err(|error| format!("the key of {} can't be used: {error}", file.display()))
}

/// Asks for a name, admits the keys to it, and registers it.
async fn hold(link: &RelayConnection, wanted: &WantedName, admitted: &[String]) -> Result<DeviceId, NotRegistered> {
    let (first, others) = admitted.split_first().map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
    let answer = link.ask(NAME_REQUEST, &ssh_string::join([wanted.text(), first])).await?;
    let name = DeviceId::parse(&String::from_utf8_lossy(&answer));
    let name = name.map_err(|_| NotRegistered::lasting("it gave an invalid name".into()))?;
    if !wanted.is(&name) {
        return Err(NotRegistered::lasting(format!("it gave the name {name}, not the requested one")));
    }
    for keys in others {
        let admitted = link.ask(ADMIT_REQUEST, &ssh_string::join([keys.as_str()])).await;
        admitted.map_err(|failed| NotRegistered { reason: format!("it doesn't admit every key: {}", failed.reason), ..failed })?;
    }
    link.listen(name.as_str(), PORT).await?;
    Ok(name)
}

/// Returns which of the registered names a relay means by an address.
fn named<'a>(names: &'a [DeviceId], address: &str) -> Option<&'a DeviceId> {
    names.iter().find(|name| name.as_str() == address)
}

/// A visitor that a relay has sent.
pub struct RelayVisitor {
    /// The name by which the visitor has come, as the relay says.
    pub name: DeviceId,
    /// The connection.
    pub stream: ChannelStream<Msg>,
}

impl Registration {
    /// Returns the names, in the order in which they were wanted.
    pub fn names(&self) -> &[DeviceId] {
        &self.names
    }

    /// Returns the next visitor; `None` when the connection to the relay is gone. If this is dropped, the visitor that is being let in is
    /// refused.
    pub async fn next(&mut self) -> Option<RelayVisitor> {
        loop {
            let visitor = self.link.next().await?;
            // Dropping the visitor of an address that was not registered refuses it.
            let Some(name) = named(&self.names, visitor.address()).cloned() else { continue };
            return Some(RelayVisitor { name, stream: visitor.accept().await.into_stream() });
        }
    }

    /// Gives up the names: waiting visitors are refused, present ones go on.
    pub async fn close(&mut self) {
        self.link.close();
        for name in &self.names {
            self.link.stop_listening(name.as_str(), PORT).await;
        }
    }

    /// Waits until the connection to the relay has ended; returns why. Cancel-safe.
    pub async fn lost(&self) -> String {
        self.link.lost().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    #[test]
    fn a_relay_names_one_that_was_registered_or_its_visitor_is_refused() {
        let names = [name("ro-app"), name("app")];
        assert_eq!((named(&names, "ro-app"), named(&names, "app")), (Some(&names[0]), Some(&names[1])));
        for other in ["", "APP", "app ", "rw-app", "localhost"] {
            assert_eq!(named(&names, other), None, "{other:?}");
        }
    }

    #[test]
    fn a_relay_gives_what_was_asked_for() {
        let [plain, read_only] = NameKind::ALL.map(|kind| DeviceId::generated(kind, [7; 16]));
        assert!(WantedName::Generated(NameKind::Plain).is(&plain) && !WantedName::Generated(NameKind::Plain).is(&read_only));
        assert!(WantedName::Generated(NameKind::ReadOnly).is(&read_only) && !WantedName::Generated(NameKind::ReadOnly).is(&plain));
        assert!(!WantedName::Generated(NameKind::ReadOnly).is(&name("ro-app")));
        assert!(WantedName::IfPermitted(name("ro-app")).is(&name("ro-app")) && !WantedName::Chosen(name("app")).is(&name("ro-app")));
    }
}
