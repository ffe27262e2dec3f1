//! `sally relay` and `sally jail`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sally_proto::authorized_keys::PermitRule;
use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

use super::{ConnectionArgs, KeyArgs};
use crate::arguments::{parse_listen, parse_seconds, parse_size};
use crate::fleet::settings::BrokerUrl;

/// `sally relay`.
#[derive(Args, Debug)]
pub struct RelayArgs {
    /// File of visitors' keys, in authorized_keys format; permitopen="cam-*:22" lists what a key may reach (repeatable)
    #[arg(long, value_name = "FILE")]
    pub visitors: Vec<PathBuf>,
    /// File of devices' keys, in authorized_keys format; permitlisten="cam-17:22" lists the names a key may register (repeatable)
    #[arg(long, value_name = "FILE", required_unless_present = "fleet")]
    pub devices: Vec<PathBuf>,
    /// File of operators' keys, in authorized_keys format; operators see all connections on the console, and may end them (repeatable)
    /// [default: none]
    #[arg(long, value_name = "FILE")]
    pub admins: Vec<PathBuf>,
    /// Address and port to listen on, or a port alone for all addresses
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "2222", value_parser = parse_listen)]
    pub listen: (Option<IpAddr>, u16),
    /// TOML file to read options from, under the names of these long options; the command line overrides it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The visitors whose keys are fetched.
    #[command(flatten)]
    pub github: GithubArgs,
    /// The fleet whose devices are woken.
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// The options that once, relay and jail share.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The options that jail and relay share.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Visitors whose keys come from GitHub.
#[derive(Args, Debug)]
#[command(next_help_heading = "Visitors from GitHub")]
pub struct GithubArgs {
    /// Accept the keys of this GitHub user as visitors, for what --github-permitopen lists (repeatable)
    #[arg(long, value_name = "USER", requires = "github_permitopen")]
    pub github: Vec<String>,
    /// Devices and port that visitors from GitHub may reach, as in permitopen=: cam-*:22 (repeatable)
    #[arg(long, value_name = "PATTERN", requires = "github")]
    pub github_permitopen: Vec<PermitRule>,
    /// URL to fetch the keys of --github from; {user} stands for the user's name
    #[arg(long, value_name = "TEMPLATE", default_value = crate::keys::GITHUB, value_parser = crate::keys::parse_template)]
    pub keys_url: String,
}

/// A fleet, as a relay takes it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Fleet")]
pub struct FleetArgs {
    /// Relay folder of a fleet (FLEET/relay, made by sally fleet): accept the fleet's certificates, and wake its devices
    #[arg(long, value_name = "DIR", conflicts_with_all = ["state", "host_key", "host_cert"])]
    pub fleet: Option<PathBuf>,
    /// MQTT broker to publish wakes through, mqtts://HOST:PORT or wss://HOST:PORT/PATH [default: the fleet's broker]
    #[arg(long, value_name = "URL", requires = "fleet")]
    pub broker: Option<BrokerUrl>,
    /// Run an MQTT broker for the fleet's devices on this address; devices log in with their TLS certificates
    #[arg(long, value_name = "ADDR:PORT", requires = "fleet", conflicts_with = "broker")]
    pub mqtt_listen: Option<SocketAddr>,
    /// Accept MQTT without TLS, on a loopback address only; clients are not authenticated
    #[arg(long, requires = "mqtt_listen")]
    pub mqtt_plain: bool,
    /// Accept MQTT without TLS on any address; clients are not authenticated, and anyone on the path can read and drop wakes
    #[arg(long, requires = "mqtt_listen")]
    pub mqtt_insecure: bool,
    /// Address at which woken devices connect to this relay, for a fleet that has several relays (repeatable) [default: the fleet's
    /// addresses]
    #[arg(long, value_name = "HOST:PORT", requires = "fleet")]
    pub advertise: Vec<HostPort>,
    /// Prefix of every MQTT topic, up to 3 levels such as acme/eu; the devices need the same prefix
    #[arg(long, value_name = "LEVELS", requires = "fleet", default_value = "")]
    pub topic_prefix: Prefix,
    /// Longest time to wait until a woken device has connected (8s, 1m)
    #[arg(long, value_name = "TIME", requires = "fleet", default_value = "8s", value_parser = parse_seconds)]
    pub wake_deadline: Duration,
    /// Time to keep a woken device's connection after its last visitor has left
    #[arg(long, value_name = "TIME", requires = "fleet", default_value = "10s", value_parser = parse_seconds)]
    pub linger: Duration,
}

/// `sally jail`.
#[derive(Args, Debug)]
pub struct JailArgs {
    /// Address and port to listen on, or a port alone for all addresses
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "22", value_parser = parse_listen)]
    pub listen: (Option<IpAddr>, u16),
    /// Ports and port ranges that a tunnel may bind, such as 2022,2030-2039 [default: $OPEN_PORTS, else 2022]
    #[arg(long, value_name = "PORTS")]
    pub permit_listen: Option<sally_proto::relay::PortSet>,
    /// The keys that may open a tunnel.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// The options that once, relay and jail share.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The options that jail and relay share.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What jail and relay have in common.
#[derive(Args, Debug)]
#[command(next_help_heading = "Operation")]
pub struct ServerArgs {
    /// Folder to keep the host key in [default: none; Sally makes a new key at each start]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Send a keepalive on a connection that has been silent for this time
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_seconds)]
    pub alive_interval: Duration,
    /// Close a connection after this many keepalives without an answer
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub alive_count: u16,
    /// Largest number of connections that one key (in a fleet: one name) may have at once, sockets of its forwarded ports included
    #[arg(long, value_name = "N", default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_key: u32,
    /// Condition under which a newer connection takes a name or port from an older connection of the same key
    #[arg(long, value_name = "WHEN", default_value = "silent")]
    pub takeover: crate::tunnel::registry::Takeover,
    /// File to append the audit log to, as JSON lines; - is stdout [default: no audit log]
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// Largest size of the audit log (64K, 100M): a log of this size is renamed to FILE.1, as logrotate does [default: no limit]
    #[arg(long, value_name = "SIZE", requires = "audit", value_parser = parse_size)]
    pub audit_max: Option<u64>,
    /// Number of renamed logs to keep, FILE.1 to FILE.N [default: 4]
    #[arg(long, value_name = "N", requires = "audit_max", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub audit_keep: Option<u32>,
    /// Accept visits and tunnels even while the audit log can't be written
    #[arg(long)]
    pub audit_may_fail: bool,
    /// Address to serve /metrics (Prometheus) and /healthz on [default: neither is served]
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Certificate chain to serve --http over TLS with (PEM); SIGHUP reloads it
    #[arg(long, value_name = "FILE", requires_all = ["http", "http_key"])]
    pub http_cert: Option<PathBuf>,
    /// Private key of the --http-cert certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    pub http_key: Option<PathBuf>,
    /// Time that open visits may continue after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_seconds)]
    pub drain: Duration,
    /// User and group number to change to when the sockets are bound [default: no change; for a jail that root starts: 65532]
    #[arg(long, value_name = "UID")]
    pub run_as: Option<u32>,
}
