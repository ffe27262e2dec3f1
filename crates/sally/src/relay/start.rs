//! Starts a relay in an order that keeps it from accepting clients before everything else is checked.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sally_proto::error::Fault;
use sally_proto::id::{DeviceId, NameKind};
use sally_proto::relay::{DescriptorShares, NameGenerator};
use sally_proto::rendezvous;
use sally_proto::wake::{RelayId, Topic};
use sally_sys::account::{Credentials, become_user};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Relay;
use super::audit::{AuditLog, RelayEvent};
use super::bus::Bus;
use super::config::{RelayConfig, Waking};
use super::fleet::RelayFleet;
use super::reload::Reloader;
use super::revoked::RelayRevocations;
use super::rules::RelayKind;
use super::run::{Parts, note_keys};
use super::wake::{self, WakeInputs, Wakes};
use crate::broker::{self, Broker, ClientIdentification};
use crate::fleet::relay_dir::RelayDir;
use crate::host_key::HostKey;
use crate::host_key::keys::HostKeys;
use crate::mqtt::{self, client, client::MqttClient};
use crate::net::bind::bind;
use crate::net::tls::{KeyPair, ServerCertificate};
use crate::panic::spawn_essential;
use crate::server_settings::ServerSettings;
use crate::term;

/// The host key's name in the state directory, as ssh-keygen and sshd name it.
const HOST_KEY: &str = "ssh_host_ed25519_key";

/// A relay that accepts no clients yet.
pub struct StartedRelay {
    /// The parts for running it.
    pub parts: Parts,
    /// The listening socket.
    pub listener: TcpListener,
    /// The settings of connections: host keys, banner, and treatment of addresses.
    pub server: ServerSettings,
}

/// Starts a relay or a jail; [`super::run::run`] runs it.
///
/// # Errors
/// Any fault that stops the start.
pub async fn start(config: RelayConfig) -> Result<StartedRelay, Fault> {
    let internal = |error: io::Error| Fault::Internal(error.to_string());
    if config.keys.devices.is_empty() && config.fleet.is_none() {
        return Err(Fault::KeysUnnamed);
    }
    let shares = share_descriptors(config.fleet.as_ref().is_some_and(|waking| waking.mqtt.is_some())).map_err(internal)?;
    let (reloader, keys, skipped) = Reloader::load(config.keys.clone()).await?;
    say_sources(&config);
    let fleet = config.fleet.as_ref().map(|waking| RelayFleet::load(&waking.folder)).transpose()?;
    let host_keys = match &fleet {
        Some(fleet) => HostKey::certified(fleet.dir().host_key.clone(), fleet.dir().host_certificate.clone()).into(),
        None => host_keys(&config)?,
    };
    let server = ServerSettings::load(&config.server, host_keys)?;
    let host_key = server.host_keys.main();
    let (revoked, passed_over) = RelayRevocations::load(config.server.revoked_keys.clone()).await?;
    let audit = AuditLog::open(&config.audit, config.run_as)?;
    let listener = bind(config.listen.0, config.listen.1)?;
    let http = match config.http {
        Some(address) => Some(bind(Some(address.ip()), address.port())?),
        None => None,
    };
    let http_tls = config.http_tls.clone().map(ServerCertificate::load).transpose()?.map(Arc::new);
    // This comes before the change of account, which may end the right to read private keys and to bind any port.
    let woken = fleet.zip(config.fleet.clone()).map(|(fleet, waking)| wakes(fleet, waking, shares)).transpose()?;
    let (wakes, attendance) = woken.unzip();
    sally_sys::process::guard_ourselves().map_err(internal)?;
    if let Some(id) = config.run_as {
        become_user(&Credentials::of_number(id)).map_err(internal)?;
    }
    config.audit.check_rotation()?;
    audit.skipped(&skipped).await;
    audit.skipped(&passed_over).await;
    let address = listener.local_addr().map_err(internal)?;
    let (listen, key) = (address.to_string(), host_key.public_line());
    let event = RelayEvent::Start { kind: config.rules.name(), version: env!("CARGO_PKG_VERSION"), listen, host_key: key };
    if !audit.write(event).await && !config.rules.unaudited {
        return Err(Fault::Audit { file: config.audit.name(), reason: "the first line could not be written".into() });
    }
    note_keys(&audit, &keys).await;
    say_ready(&config, &listener, http.as_ref(), &server.host_keys)?;
    let generator = NameGenerator::new(&host_key.derive("sally relay names")?);
    let relay = Relay::new(config.rules, keys, revoked, audit, generator, wakes, shares);
    if let Some(attendance) = attendance {
        spawn_essential(Arc::clone(&relay).attend(attendance));
    }
    Ok(StartedRelay { parts: Parts { relay, http, http_tls, reloader, drain: config.drain }, listener, server })
}

/// Returns the shares of the descriptors that this process may have.
fn share_descriptors(broker: bool) -> io::Result<DescriptorShares> {
    let shares = DescriptorShares::of(sally_sys::process::raise_descriptor_limit()?, broker);
    tracing::info!(shares.connections, shares.strangers = shares.unauthenticated, shares.broker, "descriptors");
    Ok(shares)
}

/// Connects to the broker, an embedded or another one, which carries wakes and their answers.
fn wakes(fleet: RelayFleet, waking: Waking, shares: DescriptorShares) -> Result<(Wakes, WakeInputs), Fault> {
    let dir = fleet.dir();
    // The name is new at every start: answers to an earlier process are ignored.
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Fault::Internal(format!("no randomness: {error}")))?;
    let id = RelayId::from(DeviceId::generated(NameKind::Plain, random));
    let addresses = if waking.advertise.is_empty() { dir.settings.relay.clone() } else { waking.advertise.clone() };
    let answers = Topic::Acknowledgement(id.clone()).text(&waking.prefix);
    let (bus, embedded) = match waking.mqtt.clone() {
        Some((listen, identity)) => near(&waking, listen, identity, &answers, shares)?,
        None => (far(&dir, &waking, &id, answers)?, None),
    };
    let (wake_deadline, linger, woken_to) = (waking.deadline, waking.linger, addresses.first().cloned());
    let rendezvous = rendezvous::RendezvousSettings { wake_deadline, linger, woken_to, limits: rendezvous::RendezvousLimits::default() };
    let settings = wake::WakeSettings { id, addresses, prefix: waking.prefix, rendezvous };
    Ok(Wakes::new(fleet, settings, bus, embedded))
}

type BrokerEvents = mpsc::Receiver<mqtt::MqttEvent>;

fn far(dir: &RelayDir, waking: &Waking, id: &RelayId, answers: String) -> Result<(Bus, BrokerEvents), Fault> {
    let file = |name| waking.folder.join(name);
    let own = KeyPair { certificate: file("tls.pem"), key: file("tls.key") };
    let client = client::MqttSettings {
        broker: waking.broker.clone().unwrap_or_else(|| dir.settings.broker.clone()),
        name: id.to_string(),
        tls: mqtt::tls(&own, file("tls_ca.pem"))?,
        login: client::MqttLogin::load(&file("broker_login"))?,
        will: Box::new(|| None),
    };
    term::say(&format!("Devices are woken through {}", client.broker));
    let (client, heard) = MqttClient::start(client, [answers]);
    Ok((Bus::Far(client), heard))
}

fn near(
    waking: &Waking,
    listen: SocketAddr,
    identity: ClientIdentification,
    answers: &str,
    shares: DescriptorShares,
) -> Result<((Bus, BrokerEvents), Option<Broker>), Fault> {
    let limits = broker::BrokerLimits::default();
    let limits = broker::BrokerLimits { clients: limits.clients.min(shares.broker), ..limits };
    let config = broker::BrokerConfig { listen, identity, prefix: waking.prefix.clone(), limits };
    let embedded = Broker::start(config)?;
    let (local, heard) = embedded.attach();
    local.subscribe(answers)?;
    term::say(&format!("Devices are woken through MQTT listening on {}", embedded.address()));
    Ok(((Bus::Near(local), heard), Some(embedded)))
}

/// Returns the host keys that the options name, the one in the state directory, or a fresh one for this process only.
fn host_keys(config: &RelayConfig) -> Result<HostKeys, Fault> {
    let certificates = &config.server.host_certificates;
    match (config.server.host_keys.as_slice(), &config.state) {
        ([first, more @ ..], _) => HostKeys::load(first, more, certificates),
        ([], Some(directory)) => HostKeys::load(&kept_host_key(directory)?, &[], certificates),
        ([], None) => {
            term::say("A fresh host key is made for this process only: add --state DIR to keep one");
            HostKeys::fresh(certificates)
        }
    }
}

/// Returns the file of the kept key, and creates it if it doesn't exist yet.
fn kept_host_key(directory: &Path) -> Result<PathBuf, Fault> {
    let fault = |error: io::Error| Fault::State { directory: directory.display().to_string(), reason: term::reason(&error) };
    let file = directory.join(HOST_KEY);
    if file.try_exists().map_err(fault)? {
        return Ok(file);
    }
    std::fs::create_dir_all(directory).map_err(fault)?;
    let key = HostKey::fresh()?;
    key.keep(&file).map_err(fault)?;
    term::say(&format!("A fresh host key is made and kept in {}", file.display()));
    Ok(file)
}

fn say_sources(config: &RelayConfig) {
    if matches!(config.rules.kind, RelayKind::Jail(_)) {
        for source in &config.keys.devices {
            term::say(&format!("The keys of {} come from {}", config.rules.user.as_deref().unwrap_or("all users"), source.name()));
        }
    }
}

fn say_ready(config: &RelayConfig, listener: &TcpListener, http: Option<&TcpListener>, host_keys: &HostKeys) -> Result<(), Fault> {
    let internal = |error: io::Error| Fault::Internal(error.to_string());
    let address = listener.local_addr().map_err(internal)?;
    if let Some(http) = http {
        let scheme = if config.http_tls.is_some() { "https" } else { "http" };
        let address = http.local_addr().map_err(internal)?;
        term::say(&format!("Metrics and health on {scheme}://{address}"));
        if config.http_tls.is_none() && !address.ip().to_canonical().is_loopback() {
            term::warn(&format!("http://{address} answers every client that reaches it, without a password and without TLS"));
        }
    }
    host_keys.say();
    if let RelayKind::Jail(ports) = &config.rules.kind {
        let (user, port) = (config.rules.user.as_deref().unwrap_or("tunuser"), ports.first());
        let at = if address.port() == 22 { String::new() } else { format!(" -p {}", address.port()) };
        term::say("Running. To test setup run:");
        term::say(&format!(" ssh -TN -R {port}:localhost:8022{at} {user}@{}", own_address(address.ip())));
        term::say(&format!("this tunnels your host's port 8022 to this machine's port {port} (permitted: {ports})"));
    }
    term::say(&format!("Server listening on {} port {}.", address.ip().to_canonical(), address.port()));
    Ok(())
}

/// Returns an address at which clients may reach this host: the one that the kernel would send from. Sends no packet.
fn own_address(bound: std::net::IpAddr) -> String {
    if !bound.is_unspecified() {
        return bound.to_canonical().to_string();
    }
    // RFC 5737 and RFC 3849: addresses for documentation have no special route.
    let towards = |from: &str, to: &str| {
        let socket = std::net::UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let found = towards("0.0.0.0:0", "192.0.2.1:9").or_else(|| towards("[::]:0", "[2001:db8::1]:9"));
    found.map_or_else(|| "localhost".into(), |address| address.to_string())
}
