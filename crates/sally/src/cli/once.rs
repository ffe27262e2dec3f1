//! `sally once`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use ssh_key::PublicKey;

use super::{ConnectionArgs, KeyArgs};
use crate::arguments::{parse_relay, parse_size};
use crate::record::{DigestName, Policy};

/// The relay to register a name on.
#[derive(Args, Debug)]
pub struct ThroughArgs {
    /// Register a name on this relay instead of listening on a port; clients connect with ssh -J HOST NAME [default port: 2222]
    #[arg(long, value_name = "HOST[:PORT]", requires = "identity", value_parser = parse_relay)]
    pub relay: Option<HostPort>,
    /// Name to register on the relay [default: a name that the relay generates]
    #[arg(long, requires = "relay")]
    pub name: Option<DeviceId>,
    /// Private key to log in to the relay with (OpenSSH format, unencrypted)
    #[arg(long, value_name = "FILE", requires = "relay")]
    pub identity: Option<PathBuf>,
    /// Host key of the relay, such as 'ssh-ed25519 AAAA…' [default: the relay's keys in ~/.ssh/known_hosts]
    #[arg(long, value_name = "KEY", requires = "relay")]
    pub relay_host_key: Option<PublicKey>,
}

/// `sally once`.
#[derive(Args, Debug)]
#[command(mut_arg("relay", |relay| relay.conflicts_with_all(["port", "listen", "inetd", "proxy_protocol"])))]
pub struct OnceArgs {
    /// TCP port to listen on; 0 picks a free port and prints it
    #[arg(long, value_name = "N", default_value_t = 2022)]
    pub port: u16,
    /// Address to listen on [default: all, IPv4 and IPv6]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<IpAddr>,
    /// Executable to run when the server listens, with the host's public key as its only argument. Sally ends if it fails or takes more than
    /// 30 s [default: none]
    #[arg(long, value_name = "CMD")]
    pub announce: Option<PathBuf>,
    /// Exit with status 0 if no client has logged in after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub timeout: u64,
    /// Serve the one connection on stdin and stdout, as sshd -i does (inetd, systemd sockets, ProxyCommand). The host key goes to stderr; the
    /// file of --log is created when a client has logged in
    #[arg(long, requires = "kept", conflicts_with_all = ["port", "listen"])]
    pub inetd: bool,
    /// The relay to register on, if any.
    #[command(flatten)]
    pub through: ThroughArgs,
    /// End the visit after this many seconds without a byte in either direction (exit status 124) [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub idle_timeout: Option<u64>,
    /// End the visit this many seconds after the client has logged in (exit status 125) [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub max_duration: Option<u64>,
    /// Run sessions as this account, a name or a number (root only). The account needs no access to the host key, the authorized keys and the
    /// record: they are opened first [default: the account that starts Sally]
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
    /// File descriptor of the socket to the agent that started this process
    #[arg(long, hide = true, group = "kept", requires_all = ["inetd", "bundle"], conflicts_with_all = ["log", "record_limit"])]
    pub monitor: Option<i32>,
    /// Act as a device of a fleet: use the host key of this bundle (from sally fleet add), and accept the visitors whom the fleet has
    /// certified for it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["authorized_keys", "github", "relay", "host_key", "host_cert"])]
    pub bundle: Option<PathBuf>,
    /// Forwarding that the client may use (repeatable, or separated by commas) [default: none]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub allow: Vec<Forwarding>,
    /// Number of sessions that may be open at once. With 1, the visit has a single session. With more, the client may open further sessions
    /// for as long as it stays connected (ControlMaster, Ansible)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_sessions: u32,
    /// Environment variable that the client may set besides LANG and LC_* (repeatable; a final * matches any ending)
    #[arg(long, value_name = "PATTERN")]
    pub accept_env: Vec<String>,
    /// The options that once, relay and jail share.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The keys that may log in.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// The record's options.
    #[command(flatten)]
    pub record: RecordArgs,
}

/// A kind of forwarding that `--allow` permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forwarding {
    /// Connections from this machine to hosts and Unix sockets (ssh -L, -D, -W)
    LocalForward,
    /// Loopback ports and Unix sockets on this machine that lead to the client (ssh -R)
    RemoteForward,
    /// The client's SSH agent, inside a session (ssh -A)
    AgentForward,
}

/// The record of a visit.
#[derive(Args, Debug)]
#[command(next_help_heading = "The record")]
pub struct RecordArgs {
    /// File to write the record to; - is stdout [default: -]
    #[arg(long, value_name = "FILE", group = "kept")]
    pub log: Option<PathBuf>,
    /// What to record: all (every byte), or head=SIZE (64K, 1M): only the first SIZE bytes of each stream without a terminal, then its
    /// length and digest
    #[arg(long, value_name = "WHAT", default_value = "all", value_parser = parse_policy)]
    pub record: Policy,
    /// Hash function of the record: blake3 (format 2; check with b3sum) or sha256 (format 1; check with sha256sum)
    #[arg(long, value_name = "NAME", default_value = "blake3", value_parser = parse_digest)]
    pub digest: DigestName,
    /// Wait for the disk after each write (fdatasync)
    #[arg(long)]
    pub record_sync: bool,
    /// End the visit when its record reaches this size (64K, 100M, 2G) [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub record_limit: Option<u64>,
    /// Record passwords that are typed at prompts, instead of masking them
    #[arg(long)]
    pub record_passwords: bool,
}

fn parse_policy(text: &str) -> Result<Policy, String> {
    text.parse().map_err(|_| format!("'{text}' is neither all nor head=SIZE"))
}

fn parse_digest(text: &str) -> Result<DigestName, String> {
    let named = [DigestName::Blake3, DigestName::Sha256].into_iter().find(|digest| digest.name() == text);
    named.ok_or_else(|| format!("'{text}' is neither blake3 nor sha256"))
}
