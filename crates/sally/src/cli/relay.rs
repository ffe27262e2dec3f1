//! `sally relay` and `sally jail`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sally_proto::authorized_keys::PermitRule;
use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

use super::{DoorArgs, KeyArgs};
use crate::arguments::{parse_listen, parse_seconds, parse_size};
use crate::fleet::settings::Broker;

/// `sally relay`.
#[derive(Args, Debug)]
pub struct RelayArgs {
    /// Who may reach devices, as authorized_keys; permitopen="cam-*:22" says which (repeatable)
    #[arg(long, value_name = "FILE")]
    pub visitors: Vec<PathBuf>,
    /// Which devices there are, as authorized_keys; permitlisten="cam-17:22" spells a key's name (repeatable)
    #[arg(long, value_name = "FILE", required_unless_present = "fleet")]
    pub devices: Vec<PathBuf>,
    /// Who may see and end everything on the console, as authorized_keys (repeatable)
    #[arg(long, value_name = "FILE")]
    pub admins: Vec<PathBuf>,
    /// Address and port to listen on, or a port alone for all addresses
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "2222", value_parser = parse_listen)]
    pub listen: (Option<IpAddr>, u16),
    /// Options from this file, TOML with the same words; what is said here as well is taken from here
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Visitors whose keys are fetched.
    #[command(flatten)]
    pub github: GithubArgs,
    /// A fleet whose devices are woken.
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// What once, relay and jail have in common.
    #[command(flatten)]
    pub door: DoorArgs,
    /// What jail and relay have in common.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Visitors whose keys GitHub shows.
#[derive(Args, Debug)]
#[command(next_help_heading = "Visitors of GitHub")]
pub struct GithubArgs {
    /// Let a GitHub user's keys reach what --github-permitopen names (repeatable)
    #[arg(long, value_name = "USER", requires = "github_permitopen")]
    pub github: Vec<String>,
    /// What they reach, as permitopen= has it: cam-*:22 (repeatable)
    #[arg(long, value_name = "PATTERN", requires = "github")]
    pub github_permitopen: Vec<PermitRule>,
    /// Where the keys of --github are fetched
    #[arg(long, value_name = "TEMPLATE", default_value = crate::keys::GITHUB, value_parser = crate::keys::parse_template)]
    pub keys_url: String,
}

/// A fleet, as a relay takes it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Fleet")]
pub struct FleetArgs {
    /// FLEET/relay, as sally fleet makes it: who may come by certificate, and which devices are woken
    #[arg(long, value_name = "DIR", conflicts_with_all = ["state", "host_key", "host_cert"])]
    pub fleet: Option<PathBuf>,
    /// The broker that wakes go through [default: the fleet's]
    #[arg(long, value_name = "URL", requires = "fleet")]
    pub broker: Option<Broker>,
    /// Be the broker: take the MQTT connections of the fleet's devices here, by their certificates
    #[arg(long, value_name = "ADDR:PORT", requires = "fleet", conflicts_with = "broker")]
    pub mqtt_listen: Option<SocketAddr>,
    /// Take MQTT without TLS, on loopback alone: clients are who they say they are
    #[arg(long, requires = "mqtt_listen")]
    pub mqtt_plain: bool,
    /// The same anywhere
    #[arg(long, requires = "mqtt_listen")]
    pub mqtt_insecure: bool,
    /// Where woken devices dial this relay, where there are several (repeatable) [default: the fleet's addresses]
    #[arg(long, value_name = "HOST:PORT", requires = "fleet")]
    pub advertise: Vec<HostPort>,
    /// What stands before every topic
    #[arg(long, value_name = "LEVELS", requires = "fleet", default_value = "")]
    pub topic_prefix: Prefix,
    /// How long a device has to come when it is woken
    #[arg(long, value_name = "TIME", requires = "fleet", default_value = "8s", value_parser = parse_seconds)]
    pub wake_deadline: Duration,
    /// How long a woken device's connection is kept after its last visitor
    #[arg(long, value_name = "TIME", requires = "fleet", default_value = "10s", value_parser = parse_seconds)]
    pub linger: Duration,
}

/// `sally jail`.
#[derive(Args, Debug)]
pub struct JailArgs {
    /// Address and port to listen on, or a port alone for all addresses
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "22", value_parser = parse_listen)]
    pub listen: (Option<IpAddr>, u16),
    /// Ports and ranges of ports that a tunnel may bind [default: $OPEN_PORTS, else 2022]
    #[arg(long, value_name = "PORTS")]
    pub permit_listen: Option<sally_proto::relay::PortSet>,
    /// Who may hold a tunnel.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// What once, relay and jail have in common.
    #[command(flatten)]
    pub door: DoorArgs,
    /// What jail and relay have in common.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What jail and relay have in common.
#[derive(Args, Debug)]
#[command(next_help_heading = "Operation")]
pub struct ServerArgs {
    /// Keep the host key here
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Ask a silent connection for a sign of life after so long
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_seconds)]
    pub alive_interval: Duration,
    /// Give a connection up when so many questions have had no answer
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub alive_count: u16,
    /// How many connections a key may have at once, with the sockets of the ports that it holds; of a fleet, a name
    #[arg(long, value_name = "N", default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_key: u32,
    /// When a newer connection replaces an older one of the same key that holds what it wants
    #[arg(long, value_name = "WHEN", default_value = "silent")]
    pub takeover: crate::tunnel::registry::Takeover,
    /// The audit log: JSON lines, appended; - is stdout
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// The most bytes of the audit log (64K, 100M): one more line, and it becomes FILE.1, as logrotate names it [default: no limit]
    #[arg(long, value_name = "SIZE", requires = "audit", value_parser = parse_size)]
    pub audit_max: Option<u64>,
    /// How many full logs are kept: FILE.1 to FILE.N [default: 4]
    #[arg(long, value_name = "N", requires = "audit_max", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub audit_keep: Option<u32>,
    /// Let visits and tunnels begin while the audit log can't be written
    #[arg(long)]
    pub audit_may_fail: bool,
    /// Serve /metrics (Prometheus) and /healthz here
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Over TLS, with this certificate and those that vouch for it (PEM); SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires_all = ["http", "http_key"])]
    pub http_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    pub http_key: Option<PathBuf>,
    /// How long visits may go on when told to stop
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_seconds)]
    pub drain: Duration,
    /// Become this user and group number once the sockets are bound [default for a jail started as root: 65532]
    #[arg(long, value_name = "UID")]
    pub run_as: Option<u32>,
}
