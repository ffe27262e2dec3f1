//! What was typed. Help, man page and completions derive from here alone.

#[cfg(feature = "agent")]
mod agent;
#[cfg(any(feature = "once", feature = "relay"))]
mod door;
pub mod file;
#[cfg(feature = "relay")]
mod relay;
mod words;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "once")]
use crate::arguments::{parse_relay, parse_size};
#[cfg(feature = "admin")]
use crate::client::cmd::{DevicesArgs, KnownHostsArgs, ProxyArgs, SshConfigArgs, VisitArgs};
#[cfg(feature = "fleet")]
use crate::fleet::cmd::FleetCommand;
#[cfg(feature = "record")]
use crate::record::cmd::RecordCommand;

#[cfg(feature = "agent")]
pub use agent::AgentArgs;
#[cfg(any(feature = "once", feature = "relay"))]
pub use door::DoorArgs;
#[cfg(feature = "relay")]
pub use relay::{FleetArgs, GithubArgs, JailArgs, RelayArgs, ServerArgs};

/// SSH doors on demand: opened for one visit, on the record, and shut behind it.
#[derive(Debug, Parser)]
#[command(name = "sally", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on stderr (-vv: still more)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// How to say it
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[cfg(feature = "once")]
    /// An SSH server for exactly one audited visit
    Once(Box<OnceArgs>),
    #[cfg(feature = "relay")]
    /// A relay: visitors reach devices by name, through tunnels that the devices hold
    Relay(Box<RelayArgs>),
    #[cfg(feature = "relay")]
    /// A door for reverse tunnels and nothing else
    Jail(Box<JailArgs>),
    #[cfg(feature = "agent")]
    /// A device of a fleet: it waits to be woken, dials back, and carries its visitors
    Agent(AgentArgs),
    #[cfg(feature = "record")]
    /// Verify, play and read the record of a visit
    #[command(subcommand)]
    Record(RecordCommand),
    #[cfg(feature = "fleet")]
    /// A fleet of devices: its authorities, bundles, visitors
    #[command(subcommand)]
    Fleet(FleetCommand),
    #[cfg(feature = "admin")]
    /// ssh to a device through a relay
    Ssh(VisitArgs),
    #[cfg(feature = "admin")]
    /// Copy files to and from a device through a relay
    Scp(VisitArgs),
    #[cfg(feature = "admin")]
    /// sftp to a device through a relay
    Sftp(VisitArgs),
    #[cfg(feature = "admin")]
    /// The devices that a relay lets you reach
    Devices(DevicesArgs),
    #[cfg(feature = "admin")]
    /// Print Host blocks for stock ssh, for machines where nothing of ours is installed
    SshConfig(SshConfigArgs),
    #[cfg(feature = "admin")]
    /// Connect stdin and stdout to a device through a relay: a ProxyCommand for ssh
    Proxy(ProxyArgs),
    #[cfg(feature = "admin")]
    /// Print host keys for ssh's KnownHostsCommand
    #[command(hide = true)]
    KnownHosts(KnownHostsArgs),
    #[cfg(feature = "manual")]
    /// Print a completion script
    #[command(hide = true)]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    #[cfg(feature = "manual")]
    /// Print the manual page, or write one for each command
    #[command(hide = true)]
    Man {
        /// Into this folder
        folder: Option<PathBuf>,
    },
}

#[cfg(any(feature = "once", feature = "relay"))]
/// Where authorized keys come from. Several may be named; one that fails stops the start.
#[derive(Args, Debug)]
#[command(next_help_heading = "Who may come in (at least one; also $AUTHORIZED_KEYS)")]
pub struct KeyArgs {
    /// Public keys in the format of ~/.ssh/authorized_keys; - reads stdin (repeatable)
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Vec<PathBuf>,
    /// The public keys of a GitHub user (repeatable)
    #[arg(long, value_name = "USER")]
    pub github: Vec<String>,
    /// Where the keys of --github are fetched
    #[arg(long, value_name = "TEMPLATE", default_value = crate::keys::GITHUB, value_parser = crate::keys::parse_template)]
    pub keys_url: String,
    /// Insist on this user name; without it any name is accepted (by a jail: tunuser alone): keys decide
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

#[cfg(feature = "once")]
/// The relay that something is reached through.
#[derive(Args, Debug)]
pub struct ThroughArgs {
    /// Listen on no port: hold a name on this relay (port 2222 unless said), and be reached as ssh -J HOST NAME
    #[arg(long, value_name = "HOST[:PORT]", requires = "identity", value_parser = parse_relay)]
    pub relay: Option<sally_proto::host_port::HostPort>,
    /// The name to hold; without it the relay makes one
    #[arg(long, requires = "relay")]
    pub name: Option<sally_proto::id::DeviceId>,
    /// The key that the relay knows us by (an unencrypted OpenSSH private key)
    #[arg(long, value_name = "FILE", requires = "relay")]
    pub identity: Option<PathBuf>,
    /// The relay's host key, as known_hosts has it [default: what ~/.ssh/known_hosts lists]
    #[arg(long, value_name = "KEY", requires = "relay")]
    pub relay_host_key: Option<ssh_key::PublicKey>,
}

#[cfg(feature = "once")]
/// `sally once`.
#[derive(Args, Debug)]
#[command(mut_arg("relay", |relay| relay.conflicts_with_all(["port", "listen", "inetd", "proxy_protocol"])))]
pub struct OnceArgs {
    /// Port to listen on; 0 picks a free one and says which
    #[arg(long, value_name = "N", default_value_t = 2022)]
    pub port: u16,
    /// Address to listen on [default: all, IPv4 and IPv6]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<IpAddr>,
    /// Run this when the door is open, with the host's public key as its one argument
    #[arg(long, value_name = "CMD")]
    pub announce: Option<PathBuf>,
    /// Give up when nobody has been let in after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub timeout: u64,
    /// Serve the one connection on stdin and stdout, as sshd -i does (inetd, systemd sockets, ProxyCommand); the host key goes to stderr, and
    /// the file of --log is made when somebody has authenticated
    #[arg(long, requires = "kept", conflicts_with_all = ["port", "listen"])]
    pub inetd: bool,
    /// The relay, where it is reached through one.
    #[command(flatten)]
    pub through: ThroughArgs,
    /// End the visit when no byte has gone either way for so many seconds (exit status 124)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub idle_timeout: Option<u64>,
    /// End the visit so many seconds after the visitor was let in (exit status 125)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub max_duration: Option<u64>,
    /// Run sessions as this account, by name or number (for root alone); the host key, the keys and the record are opened before, and need not
    /// be readable for it [default: the account that starts it]
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
    /// A descriptor that leads to the agent that has started it
    #[arg(long, hide = true, group = "kept", requires_all = ["inetd", "bundle"], conflicts_with_all = ["log", "record_limit"])]
    pub monitor: Option<i32>,
    /// Be a fleet's device: let in whom the fleet lets reach it, and show the host key of this folder of sally fleet add
    #[arg(long, value_name = "DIR", conflicts_with_all = ["authorized_keys", "github", "relay", "host_key", "host_cert"])]
    pub bundle: Option<PathBuf>,
    /// What the visitor may forward (repeatable, or with commas between them); nothing unless it is named here
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub allow: Vec<Forwarding>,
    /// 1: the visit has one session in all. N: so many at once, one after the other for as long as the visitor stays, for clients that
    /// send all their sessions through one connection (ControlMaster, Ansible)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_sessions: u32,
    /// Variables that the visitor may set beside LANG and LC_* (repeatable; a final * is a wildcard)
    #[arg(long, value_name = "PATTERN")]
    pub accept_env: Vec<String>,
    /// What once, relay and jail have in common.
    #[command(flatten)]
    pub door: DoorArgs,
    /// Who may come in.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// What is recorded.
    #[command(flatten)]
    pub record: RecordArgs,
}

#[cfg(feature = "once")]
/// What `--allow` opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forwarding {
    /// Connections from here, to hosts and Unix sockets (ssh -L, -D, -W)
    LocalForward,
    /// Ports of loopback and Unix sockets here, that lead to the visitor (ssh -R)
    RemoteForward,
    /// The visitor's agent, in a session (ssh -A)
    AgentForward,
}

#[cfg(feature = "once")]
/// The record of a visit.
#[derive(Args, Debug)]
#[command(next_help_heading = "The record")]
pub struct RecordArgs {
    /// Where the record goes; - is stdout [default: -]
    #[arg(long, value_name = "FILE", group = "kept")]
    pub log: Option<PathBuf>,
    /// all: every byte; head=SIZE: of each stream without a terminal its first SIZE (as 64K, 1M), then length and digest
    #[arg(long, value_name = "WHAT", default_value = "all", value_parser = parse_policy)]
    pub record: crate::record::Policy,
    /// What the record is hashed with: blake3 (format 2; b3sum checks it) or, where it must be that, sha256 (format 1; sha256sum)
    #[arg(long, value_name = "NAME", default_value = "blake3", value_parser = parse_digest)]
    pub digest: crate::record::DigestName,
    /// Wait for the disk after each write (fdatasync)
    #[arg(long)]
    pub record_sync: bool,
    /// End the visit when its record reaches this size (as 100M, 2G)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub record_limit: Option<u64>,
    /// Record passwords typed at prompts too
    #[arg(long)]
    pub record_passwords: bool,
}

#[cfg(feature = "once")]
fn parse_policy(text: &str) -> Result<crate::record::Policy, String> {
    text.parse().map_err(|_| format!("'{text}' is neither all nor head=SIZE"))
}

#[cfg(feature = "once")]
fn parse_digest(text: &str) -> Result<crate::record::DigestName, String> {
    use crate::record::DigestName::{Blake3, Sha256};
    let named = [Blake3, Sha256].into_iter().find(|digest| digest.name() == text);
    named.ok_or_else(|| format!("'{text}' is neither blake3 nor sha256"))
}

impl Cli {
    /// Parses a command line, that of an otssh included.
    ///
    /// # Errors
    /// What clap says, help and version included.
    pub fn parse_line(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(words::clients_own(words::as_sally(arguments.collect())))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn once(line: &str) -> OnceArgs {
        match Cli::parse_line(line.split(' ').map(Into::into)).unwrap().command {
            Command::Once(once) => *once,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn otssh_takes_its_own_flags_with_one_dash() {
        let args = once("/usr/bin/otssh -port=2023 -log=/tmp/x -announce a -authorized-keys=- --timeout=5");
        assert_eq!((args.port, args.timeout), (2023, 5));
        assert_eq!(args.keys.authorized_keys, [PathBuf::from("-")]);
        assert_eq!(args.record.log, Some("/tmp/x".into()));
    }

    #[test]
    fn inetd_needs_a_log_and_has_no_port() {
        let parse = |line: &str| Cli::parse_line(line.split(' ').map(Into::into)).is_ok();
        assert!(parse("sally once --authorized-keys k --inetd --log l"));
        assert!(!parse("sally once --authorized-keys k --inetd"));
        assert!(!parse("sally once --authorized-keys k --inetd --log l --port 22"));
    }

    #[test]
    fn a_template_without_a_user_is_refused_at_once() {
        let parse = |url: &str| Cli::parse_line(["sally", "once", "--github", "u", "--keys-url", url].map(Into::into).into_iter());
        assert!(parse("https://localhost:8443/{user}.keys").is_ok());
        for nonsense in ["https://localhost/keys", "http://localhost/{user}", "https://{user}.example/keys"] {
            assert!(parse(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_clients_words_are_its_own() {
        for (line, words, relay) in [
            ("sally ssh cam-17 -- uptime", "cam-17 -- uptime", None),
            ("sally ssh --relay r:22 -v -p 22 cam-17", "-v -p 22 cam-17", Some("r:22")),
            ("sally scp --relay=r -r a cam-17:b", "-r a cam-17:b", Some("r")),
            ("sally sftp --config c cam-17 --relay", "cam-17 --relay", None),
            ("sally ssh -- cam-17", "-- cam-17", None),
        ] {
            let (Command::Ssh(args) | Command::Scp(args) | Command::Sftp(args)) =
                Cli::parse_line(line.split(' ').map(Into::into)).unwrap().command
            else {
                panic!("{line}");
            };
            assert_eq!(args.words.join(std::ffi::OsStr::new(" ")), words, "{line}");
            assert_eq!(args.via.relay.map(|relay| relay.to_string()).as_deref(), relay);
        }
    }

    #[test]
    fn a_timeout_of_nothing_is_refused() {
        assert!(Cli::parse_line("sally once --authorized-keys k --timeout 0".split(' ').map(Into::into)).is_err());
    }
}
