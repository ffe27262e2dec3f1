//! What a relay or a jail is told.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

use super::audit::AuditTarget;
use super::keys::KeySources;
use super::rules::Rules;
use crate::broker::Identity;
use crate::fleet::settings::Broker;
use crate::net::tls::KeyPair;
use crate::server_settings::DoorOptions;

/// Everything `sally relay` and `sally jail` run on.
#[derive(Debug)]
pub struct Config {
    /// What it is.
    pub rules: Rules,
    /// Where keys come from.
    pub keys: KeySources,
    /// Address (all, where there is none) and port to listen on.
    pub listen: (Option<IpAddr>, u16),
    /// Where metrics are served.
    pub http: Option<SocketAddr>,
    /// Certificate and private key of TLS there.
    pub http_tls: Option<KeyPair>,
    /// What once, relay and jail have in common.
    pub door: DoorOptions,
    /// Where a host key is kept.
    pub state: Option<PathBuf>,
    /// Where the audit log goes.
    pub audit: AuditTarget,
    /// How long visits may go on when told to stop.
    pub drain: Duration,
    /// Whom to become.
    pub run_as: Option<u32>,
    /// The fleet whose devices it wakes.
    pub fleet: Option<Waking>,
}

/// How a relay wakes the devices of its fleet.
#[derive(Clone, Debug)]
pub struct Waking {
    /// FLEET/relay.
    pub folder: PathBuf,
    /// The broker, if it isn't the fleet's own.
    pub broker: Option<Broker>,
    /// Where to be the broker, and how its clients are known.
    pub mqtt: Option<(SocketAddr, Identity)>,
    /// Where devices are told to dial; the fleet's addresses where there is none.
    pub advertise: Vec<HostPort>,
    /// What stands before every topic.
    pub prefix: Prefix,
    /// How long a device has to come.
    pub deadline: Duration,
    /// How long its connection is kept after its last visitor.
    pub linger: Duration,
}
