//! `relay/fleet.toml`: what all parts of a fleet agree on. `agent.toml`: what one device needs to know.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sally_proto::error::Fault;
use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use sally_proto::wake::ADDRESSES_MAX;
use serde::Deserialize;

use super::files;

/// The major version of both files.
pub const VERSION: u32 = 1;
/// The longest address of a broker.
const BROKER_MAX: usize = 256;

/// Where a broker is: `mqtts://`, `mqtt://`, `wss://` or `ws://`, a host, a port where it isn't the scheme's own, and a path for WebSockets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Broker {
    url: String,
    address: HostPort,
    tls: bool,
    path: Option<String>,
}

/// The text is no address of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a broker is mqtts://HOST[:PORT], mqtt:// without TLS, or wss://HOST[:PORT]/PATH; a user and password don't belong there")]
pub struct NotABroker;

impl Broker {
    /// The one in the relay itself: where `--mqtt-listen` is expected to listen.
    ///
    /// # Errors
    /// [`Fault::Usage`] for a host that no URL can name.
    pub fn of_relay(relay: &HostPort) -> Result<Self, Fault> {
        let host = relay.to_string();
        let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
        format!("mqtts://{host}").parse().map_err(|error: NotABroker| Fault::Usage(error.to_string()))
    }

    /// Host and port.
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// Whether it speaks TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The path of a WebSocket; `None`: it is no WebSocket.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

impl FromStr for Broker {
    type Err = NotABroker;

    fn from_str(url: &str) -> Result<Self, NotABroker> {
        let (scheme, rest) = url.split_once("://").ok_or(NotABroker)?;
        let (port, tls, web) = match scheme {
            "mqtts" => (8883, true, false),
            "mqtt" => (1883, false, false),
            "wss" => (443, true, true),
            "ws" => (80, false, true),
            _ => return Err(NotABroker),
        };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/:[]".contains(&byte));
        if url.len() > BROKER_MAX || !plain(rest) {
            return Err(NotABroker);
        }
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
        let address = authority.parse().or_else(|_| format!("{authority}:{port}").parse()).map_err(|_| NotABroker)?;
        let path = match (web, path) {
            (true, path) => Some(format!("/{}", path.unwrap_or_default())),
            (false, None | Some("")) => None,
            (false, Some(_)) => return Err(NotABroker),
        };
        Ok(Self { url: url.to_owned(), address, tls, path })
    }
}

impl TryFrom<String> for Broker {
    type Error = NotABroker;

    fn try_from(text: String) -> Result<Self, NotABroker> {
        text.parse()
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// `relay/fleet.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// Where relays are dialled, by devices and visitors: 1 to [`ADDRESSES_MAX`].
    pub relay: Vec<HostPort>,
    /// Where wakes are published.
    pub broker: Broker,
}

/// A bundle's `agent.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// [`VERSION`].
    pub v: u32,
    /// Who the device is.
    pub id: DeviceId,
    /// Where it may be told to dial, and nowhere else.
    pub relay: Vec<HostPort>,
    /// Where it listens for wakes.
    pub broker: Broker,
    /// What visitors reach at port 22: the device's own sshd.
    pub to: HostPort,
    /// Ports that visitors may reach: 22, and others of this machine's loopback.
    pub expose: Vec<String>,
    /// Whether wakes are held against the clock; without one, say false.
    pub clock: bool,
    /// What answers at port 22.
    #[serde(default)]
    pub serve: Serve,
    /// The account that sessions of `serve = "session"` run as, by name or number. Of an agent that root has started, a user of nobody's where
    /// nothing is said; of any other, its own account.
    #[serde(default)]
    pub run_as: Option<String>,
    /// Where sessions of `serve = "session"` are recorded; in the bundle's own folder unless it begins with a slash.
    #[serde(default = "records")]
    pub records: PathBuf,
    /// What all records together may take, in bytes with K, M or G: beyond it nobody is let in.
    #[serde(default = "records_max")]
    pub records_max: String,
    /// How many connections to relays there may be at once.
    #[serde(default = "tunnels")]
    pub tunnels: usize,
}

/// How many connections to relays an agent holds at once, unless told otherwise: several relays may have visitors for it.
pub const TUNNELS: usize = 8;

fn records() -> PathBuf {
    RECORDS.into()
}

fn records_max() -> String {
    RECORDS_MAX.into()
}

/// Where sessions are recorded, unless told otherwise.
pub const RECORDS: &str = "records";
/// What all records together may take, unless told otherwise.
pub const RECORDS_MAX: &str = "1G";

fn tunnels() -> usize {
    TUNNELS
}

/// What answers at a device's port 22.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serve {
    /// What `to` names.
    #[default]
    Sshd,
    /// A session of Sally's own, recorded on the device.
    Session,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// Reads `v` before anything else: of another version nothing is known.
fn parse<T: for<'de> Deserialize<'de>>(file: &Path, text: &str) -> Result<T, Fault> {
    let words = |error: toml::de::Error| super::invalid(file, error.message());
    let Versioned { v } = toml::from_str(text).map_err(words)?;
    if v != VERSION {
        return Err(super::invalid(file, format!("it is of version {v}, and this sally knows version {VERSION}")));
    }
    toml::from_str(text).map_err(words)
}

impl Settings {
    /// Reads `fleet.toml`.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`].
    pub fn load(file: &Path) -> Result<Self, Fault> {
        let settings: Self = parse(file, &files::read_text(file)?)?;
        if settings.relay.is_empty() || settings.relay.len() > ADDRESSES_MAX {
            return Err(super::invalid(file, format!("relay names 1 to {ADDRESSES_MAX} addresses")));
        }
        Ok(settings)
    }

    pub(super) fn text(&self) -> String {
        format!(
            "# What relays, devices and visitors of this fleet agree on. Made by sally fleet init.\n\
             v = {VERSION}\nrelay = {}\nbroker = \"{}\"\n",
            list(&self.relay),
            self.broker
        )
    }
}

impl Agent {
    /// Reads `agent.toml`.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`].
    pub fn load(file: &Path) -> Result<Self, Fault> {
        parse(file, &files::read_text(file)?)
    }

    pub(super) fn text(&self) -> String {
        format!(
            "# What the agent of {id} needs to know. Made by sally fleet add.\n\
             v = {VERSION}\nid = \"{id}\"\n\
             # Where it may be told to dial, and nowhere else.\nrelay = {}\nbroker = \"{}\"\n\
             # What visitors reach at port 22, and which other ports of this machine they may ask for.\nto = \"{}\"\nexpose = {}\n\
             # Without a clock worth asking: false. A replayed wake then costs one dial to a relay that refuses it.\nclock = {}\n",
            list(&self.relay),
            self.broker,
            self.to,
            list(&self.expose),
            self.clock,
            id = self.id,
        )
    }
}

/// Nothing that is listed has a quote or a backslash in it.
fn list(values: &[impl ToString]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{}\"", value.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = include_str!("../../tests/golden/fleet-v1.toml");
    const AGENT: &str = include_str!("../../tests/golden/agent-v1.toml");

    fn settings() -> Settings {
        let relay = vec!["relay.example.com:2222".parse().unwrap(), "[2001:db8::7]:2222".parse().unwrap()];
        Settings { relay, broker: "mqtts://broker.example.com".parse().unwrap() }
    }

    fn agent() -> Agent {
        let Settings { relay, broker } = settings();
        let to = "127.0.0.1:22".parse().unwrap();
        Agent {
            v: 1,
            id: "cam-17".parse().unwrap(),
            relay,
            broker,
            to,
            expose: vec!["22".into()],
            clock: true,
            serve: Serve::Sshd,
            run_as: None,
            records: records(),
            records_max: records_max(),
            tunnels: TUNNELS,
        }
    }

    #[test]
    fn files_of_version_1_are_read_and_still_written_so() {
        assert_eq!(parse::<Settings>(Path::new("f"), FLEET).unwrap(), settings());
        assert_eq!(parse::<Agent>(Path::new("f"), AGENT).unwrap(), agent());
        assert_eq!(settings().text(), FLEET);
        assert_eq!(agent().text(), AGENT);
    }

    #[test]
    fn another_version_is_refused_and_said_so() {
        let newer = FLEET.replace("v = 1", "v = 2");
        let said = parse::<Settings>(Path::new("f"), &newer).unwrap_err().to_string();
        assert!(said.contains("version 2"), "{said}");
        let extended = FLEET.replace("v = 1", "v = 1\nnew = true");
        assert!(parse::<Settings>(Path::new("f"), &extended).is_ok());
        // What a device is told and doesn't know might be a restriction.
        assert!(parse::<Agent>(Path::new("f"), &AGENT.replace("v = 1", "v = 1\nnew = true")).is_err());
    }

    #[test]
    fn brokers_are_urls_without_secrets() {
        for (url, address, path) in [
            ("mqtts://b.example.com", "b.example.com:8883", None),
            ("mqtts://b.example.com:443/", "b.example.com:443", None),
            ("mqtt://127.0.0.1", "127.0.0.1:1883", None),
            ("mqtts://[::1]", "[::1]:8883", None),
            ("wss://b.example.com/mqtt", "b.example.com:443", Some("/mqtt")),
        ] {
            let broker: Broker = url.parse().unwrap();
            assert_eq!((broker.address().to_string().as_str(), broker.path()), (address, path), "{url}");
        }
        for url in ["b:8883", "http://b", "mqtts://", "mqtts://u:p@b", "mqtts://b/x", "mqtts://b\"", "mqtts://b:0"] {
            assert!(url.parse::<Broker>().is_err(), "{url}");
        }
    }
}
