//! The configuration of a relay or a jail.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

use super::audit::AuditTarget;
use super::keys::KeySources;
use super::rules::RelayRules;
use crate::broker::ClientIdentification;
use crate::fleet::settings::BrokerUrl;
use crate::net::tls::KeyPair;
use crate::server_settings::ServerOptions;

/// The configuration of `sally relay` and `sally jail`.
#[derive(Debug)]
pub struct RelayConfig {
    /// The kind of server and its rules.
    pub rules: RelayRules,
    /// The sources of keys.
    pub keys: KeySources,
    /// The address (all if none) and port to listen on.
    pub listen: (Option<IpAddr>, u16),
    /// The address that serves metrics.
    pub http: Option<SocketAddr>,
    /// The TLS certificate and private key of that address.
    pub http_tls: Option<KeyPair>,
    /// The options that once, relay and jail share.
    pub server: ServerOptions,
    /// The folder of the host key.
    pub state: Option<PathBuf>,
    /// The destination of the audit log.
    pub audit: AuditTarget,
    /// The time that visits may still take after the server is told to stop.
    pub drain: Duration,
    /// The account to switch to.
    pub run_as: Option<u32>,
    /// The fleet whose devices the relay wakes.
    pub fleet: Option<Waking>,
}

/// The settings for waking the devices of a fleet.
#[derive(Clone, Debug)]
pub struct Waking {
    /// The folder FLEET/relay.
    pub folder: PathBuf,
    /// The broker, if it isn't the one in the fleet's settings.
    pub broker: Option<BrokerUrl>,
    /// The address of the embedded broker, and how it identifies clients.
    pub mqtt: Option<(SocketAddr, ClientIdentification)>,
    /// The addresses that devices are told to dial; if empty, those in the fleet's settings.
    pub advertise: Vec<HostPort>,
    /// The prefix of every topic.
    pub prefix: Prefix,
    /// The time in which a woken device must connect.
    pub deadline: Duration,
    /// The time that a device's connection is kept after its last visit.
    pub linger: Duration,
}
