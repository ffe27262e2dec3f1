//! Defines the command line. Help, man page and completions derive from it.

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

/// Temporary, recorded SSH access: a server for one visit, and a relay for hosts behind NAT.
#[derive(Debug, Parser)]
#[command(name = "sally", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
    /// Write more diagnostics to stderr (-vv: even more)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Format of the diagnostics on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// The format of diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain lines
    Text,
    /// One JSON object per line
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[cfg(feature = "once")]
    /// Run an SSH server for exactly one recorded visit
    Once(Box<OnceArgs>),
    #[cfg(feature = "relay")]
    /// Run a relay: visitors reach devices by name, through tunnels that the devices open
    Relay(Box<RelayArgs>),
    #[cfg(feature = "relay")]
    /// Run an SSH server that accepts only reverse tunnels (ssh -R)
    Jail(Box<JailArgs>),
    #[cfg(feature = "agent")]
    /// Run on a device of a fleet: wait for a wake, connect to the relay, and serve the visitors
    Agent(AgentArgs),
    #[cfg(feature = "record")]
    /// Verify, play, print and convert the record of a visit
    #[command(subcommand)]
    Record(RecordCommand),
    #[cfg(feature = "fleet")]
    /// Manage a fleet: its authorities, its devices' bundles, its visitors
    #[command(subcommand)]
    Fleet(FleetCommand),
    #[cfg(feature = "admin")]
    /// Open a session on a device through a relay, with ssh
    Ssh(VisitArgs),
    #[cfg(feature = "admin")]
    /// Copy files to and from a device through a relay, with scp
    Scp(VisitArgs),
    #[cfg(feature = "admin")]
    /// Transfer files to and from a device through a relay, with sftp
    Sftp(VisitArgs),
    #[cfg(feature = "admin")]
    /// List the devices that a relay lets you reach
    Devices(DevicesArgs),
    #[cfg(feature = "admin")]
    /// Print Host blocks for ~/.ssh/config, for machines without Sally
    SshConfig(SshConfigArgs),
    #[cfg(feature = "admin")]
    /// Connect stdin and stdout to a device through a relay (a ProxyCommand for ssh)
    Proxy(ProxyArgs),
    #[cfg(feature = "admin")]
    /// Print host keys for ssh's KnownHostsCommand
    #[command(hide = true)]
    KnownHosts(KnownHostsArgs),
    #[cfg(feature = "manual")]
    /// Print a completion script
    #[command(hide = true)]
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    #[cfg(feature = "manual")]
    /// Print the manual page, or write one for each command
    #[command(hide = true)]
    Man {
        /// Folder to write one page per command into [default: print the page of sally itself]
        folder: Option<PathBuf>,
    },
}

#[cfg(any(feature = "once", feature = "relay"))]
/// Sources of authorized keys. Several may be given; Sally doesn't start if one of them fails.
#[derive(Args, Debug)]
#[command(next_help_heading = "Keys that may log in (at least one source; $AUTHORIZED_KEYS is one too)")]
pub struct KeyArgs {
    /// File of keys that may log in, in the format of ~/.ssh/authorized_keys; - reads stdin (repeatable)
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Vec<PathBuf>,
    /// Accept the public keys of this GitHub user (repeatable)
    #[arg(long, value_name = "USER")]
    pub github: Vec<String>,
    /// URL to fetch the keys of --github from; {user} stands for the user's name
    #[arg(long, value_name = "TEMPLATE", default_value = crate::keys::GITHUB, value_parser = crate::keys::parse_template)]
    pub keys_url: String,
    /// Accept only this user name [default: any name; for a jail: tunuser]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

#[cfg(feature = "once")]
/// The relay to register a name on.
#[derive(Args, Debug)]
pub struct ThroughArgs {
    /// Register a name on this relay instead of listening on a port; clients connect with ssh -J HOST NAME [default port: 2222]
    #[arg(long, value_name = "HOST[:PORT]", requires = "identity", value_parser = parse_relay)]
    pub relay: Option<sally_proto::host_port::HostPort>,
    /// Name to register on the relay [default: a name that the relay generates]
    #[arg(long, requires = "relay")]
    pub name: Option<sally_proto::id::DeviceId>,
    /// Private key to log in to the relay with (OpenSSH format, unencrypted)
    #[arg(long, value_name = "FILE", requires = "relay")]
    pub identity: Option<PathBuf>,
    /// Host key of the relay, such as 'ssh-ed25519 AAAA…' [default: the relay's keys in ~/.ssh/known_hosts]
    #[arg(long, value_name = "KEY", requires = "relay")]
    pub relay_host_key: Option<ssh_key::PublicKey>,
}

#[cfg(feature = "once")]
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
    pub door: DoorArgs,
    /// The keys that may log in.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// The record's options.
    #[command(flatten)]
    pub record: RecordArgs,
}

#[cfg(feature = "once")]
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

#[cfg(feature = "once")]
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
    pub record: crate::record::Policy,
    /// Hash function of the record: blake3 (format 2; check with b3sum) or sha256 (format 1; check with sha256sum)
    #[arg(long, value_name = "NAME", default_value = "blake3", value_parser = parse_digest)]
    pub digest: crate::record::DigestName,
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
    /// Parses a command line, including that of otssh.
    ///
    /// # Errors
    /// The error of clap; requests for help and version are errors too.
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
