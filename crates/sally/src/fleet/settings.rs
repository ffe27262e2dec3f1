//! `relay/fleet.toml`: the settings of the whole fleet. `agent.toml`: those of one device.

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
/// The longest URL of a broker, in bytes.
const BROKER_MAX: usize = 256;

/// A broker's URL: `mqtts://`, `mqtt://`, `wss://` or `ws://`, a host, a port (default: the scheme's), and a path for WebSockets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    url: String,
    address: HostPort,
    tls: bool,
    path: Option<String>,
}

/// An error: the text is no URL of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a broker is mqtts://HOST[:PORT], mqtt:// without TLS, or wss://HOST[:PORT]/PATH; a user and password don't belong there")]
pub struct NotABrokerUrl;

impl BrokerUrl {
    /// Returns the URL of the broker in the relay itself, on the port that `--mqtt-listen` should have.
    ///
    /// # Errors
    /// [`Fault::Usage`] for a host that no URL can name.
    pub fn of_relay(relay: &HostPort) -> Result<Self, Fault> {
        let host = relay.to_string();
        let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
        format!("mqtts://{host}").parse().map_err(|error: NotABrokerUrl| Fault::Usage(error.to_string()))
    }

    /// Returns the host and port.
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// Returns whether it uses TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Returns the path of a WebSocket; `None` for plain MQTT.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

impl FromStr for BrokerUrl {
    type Err = NotABrokerUrl;

    fn from_str(url: &str) -> Result<Self, NotABrokerUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(NotABrokerUrl)?;
        let (port, tls, web) = match scheme {
            "mqtts" => (8883, true, false),
            "mqtt" => (1883, false, false),
            "wss" => (443, true, true),
            "ws" => (80, false, true),
            _ => return Err(NotABrokerUrl),
        };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/:[]".contains(&byte));
        if url.len() > BROKER_MAX || !plain(rest) {
            return Err(NotABrokerUrl);
        }
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
        let address = authority.parse().or_else(|_| format!("{authority}:{port}").parse()).map_err(|_| NotABrokerUrl)?;
        let path = match (web, path) {
            (true, path) => Some(format!("/{}", path.unwrap_or_default())),
            (false, None | Some("")) => None,
            (false, Some(_)) => return Err(NotABrokerUrl),
        };
        Ok(Self { url: url.to_owned(), address, tls, path })
    }
}

impl TryFrom<String> for BrokerUrl {
    type Error = NotABrokerUrl;

    fn try_from(text: String) -> Result<Self, NotABrokerUrl> {
        text.parse()
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The content of `relay/fleet.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FleetSettings {
    /// The relays' addresses for devices and visitors: 1 to [`ADDRESSES_MAX`].
    pub relay: Vec<HostPort>,
    /// The broker for wakes.
    pub broker: BrokerUrl,
}

/// The content of a bundle's `agent.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSettings {
    /// The version: [`VERSION`].
    pub v: u32,
    /// The device's name.
    pub id: DeviceId,
    /// The only addresses that it may be told to dial.
    pub relay: Vec<HostPort>,
    /// The broker that sends it wakes.
    pub broker: BrokerUrl,
    /// The address that visitors reach at port 22: the device's own sshd.
    pub to: HostPort,
    /// Ports that visitors may reach: 22, and others of this machine's loopback.
    pub expose: Vec<String>,
    /// Whether the times in wakes are checked; false for a device without a clock.
    pub clock: bool,
    /// The server at port 22.
    #[serde(default)]
    pub serve: ServedBy,
    /// The account that sessions of `serve = "session"` run as, by name or number. Default: for an agent started as root, an unused user
    /// number; for any other, its own account.
    #[serde(default)]
    pub run_as: Option<String>,
    /// The folder of records of `serve = "session"`; relative to the bundle's folder unless it begins with a slash.
    #[serde(default = "records")]
    pub records: PathBuf,
    /// The limit for all records together, in bytes with K, M or G: beyond it no visitor is admitted.
    #[serde(default = "records_max")]
    pub records_max: String,
    /// The limit of connections to relays at once.
    #[serde(default = "tunnels")]
    pub tunnels: usize,
}

/// The default limit of an agent's connections to relays at once: several relays may have visitors for it.
pub const TUNNELS: usize = 8;

fn records() -> PathBuf {
    RECORDS.into()
}

fn records_max() -> String {
    RECORDS_MAX.into()
}

/// The default folder of records.
pub const RECORDS: &str = "records";
/// The default limit for all records together.
pub const RECORDS_MAX: &str = "1G";

fn tunnels() -> usize {
    TUNNELS
}

/// The servers at a device's port 22.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServedBy {
    /// The server at the address `to`.
    #[default]
    Sshd,
    /// Sally's own session, recorded on the device.
    Session,
}

#[derive(Deserialize)]
struct SettingsVersion {
    v: u32,
}

/// Reads `v` first: the content of other versions is unknown.
fn parse<T: for<'de> Deserialize<'de>>(file: &Path, text: &str) -> Result<T, Fault> {
    let words = |error: toml::de::Error| super::invalid(file, error.message());
    let SettingsVersion { v } = toml::from_str(text).map_err(words)?;
    if v != VERSION {
        return Err(super::invalid(file, format!("it is of version {v}, and this sally knows version {VERSION}")));
    }
    toml::from_str(text).map_err(words)
}

impl FleetSettings {
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

impl AgentSettings {
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

/// Formats a list of strings. The values never contain a quote or a backslash.
fn list(values: &[impl ToString]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{}\"", value.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = include_str!("../../tests/golden/fleet-v1.toml");
    const AGENT: &str = include_str!("../../tests/golden/agent-v1.toml");

    fn settings() -> FleetSettings {
        let relay = vec!["relay.example.com:2222".parse().unwrap(), "[2001:db8::7]:2222".parse().unwrap()];
        FleetSettings { relay, broker: "mqtts://broker.example.com".parse().unwrap() }
    }

    fn agent() -> AgentSettings {
        let FleetSettings { relay, broker } = settings();
        let to = "127.0.0.1:22".parse().unwrap();
        AgentSettings {
            v: 1,
            id: "cam-17".parse().unwrap(),
            relay,
            broker,
            to,
            expose: vec!["22".into()],
            clock: true,
            serve: ServedBy::Sshd,
            run_as: None,
            records: records(),
            records_max: records_max(),
            tunnels: TUNNELS,
        }
    }

    #[test]
    fn files_of_version_1_are_read_and_still_written_so() {
        assert_eq!(parse::<FleetSettings>(Path::new("f"), FLEET).unwrap(), settings());
        assert_eq!(parse::<AgentSettings>(Path::new("f"), AGENT).unwrap(), agent());
        assert_eq!(settings().text(), FLEET);
        assert_eq!(agent().text(), AGENT);
    }

    #[test]
    fn another_version_is_refused_and_said_so() {
        let newer = FLEET.replace("v = 1", "v = 2");
        let said = parse::<FleetSettings>(Path::new("f"), &newer).unwrap_err().to_string();
        assert!(said.contains("version 2"), "{said}");
        let extended = FLEET.replace("v = 1", "v = 1\nnew = true");
        assert!(parse::<FleetSettings>(Path::new("f"), &extended).is_ok());
        // An unknown setting might be a restriction.
        assert!(parse::<AgentSettings>(Path::new("f"), &AGENT.replace("v = 1", "v = 1\nnew = true")).is_err());
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
            let broker: BrokerUrl = url.parse().unwrap();
            assert_eq!((broker.address().to_string().as_str(), broker.path()), (address, path), "{url}");
        }
        for url in ["b:8883", "http://b", "mqtts://", "mqtts://u:p@b", "mqtts://b/x", "mqtts://b\"", "mqtts://b:0"] {
            assert!(url.parse::<BrokerUrl>().is_err(), "{url}");
        }
    }
}
