//! `sally share`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sally_proto::id::{DeviceId, NotADeviceId};
use sally_proto::share::SizePolicy;

use super::{ConnectionArgs, RecordArgs};
use crate::arguments::{parse_listen, parse_relay};

/// `sally share`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, mut_arg("log", |log| log.help(LOG)), mut_arg("record_limit", |limit| limit.help(LIMIT)))]
pub struct ShareArgs {
    /// A command to a running share.
    #[command(subcommand)]
    pub command: Option<ShareCommand>,
    /// Address and port to listen on, or a port alone for all addresses; 0 picks a free port. A share needs this or --relay [default: none]
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen)]
    pub listen: Option<(Option<IpAddr>, u16)>,
    /// Relay to register a name on; viewers join with ssh -J HOST NAME, and the relay can't read it [default port: 2222]
    #[arg(long, value_name = "HOST[:PORT]", requires = "identity", value_parser = parse_relay)]
    pub relay: Option<sally_proto::host_port::HostPort>,
    /// Name to register on the relay, where the key's permitlisten has it; viewers who only watch join as ro-NAME, if permitlisten has
    /// that too [default: two names that the relay generates]
    #[arg(long, value_name = "NAME", requires_all = ["relay", "host_key"], value_parser = parse_share_name)]
    pub name: Option<DeviceId>,
    /// Private key to log in to the relay with (OpenSSH format, unencrypted)
    #[arg(long, value_name = "FILE", requires = "relay")]
    pub identity: Option<PathBuf>,
    /// Host key of the relay, such as 'ssh-ed25519 AAAA…' [default: the relay's keys in ~/.ssh/known_hosts]
    #[arg(long, value_name = "KEY", requires = "relay")]
    pub relay_host_key: Option<ssh_key::PublicKey>,
    /// Let no viewer write, whatever key it has; on a relay, register the read-only name alone
    #[arg(long)]
    pub read_only: bool,
    /// Ask before each viewer joins: they wait, and see nothing, until approve N on the status line or as sally share approve N
    #[arg(long)]
    pub approve: bool,
    /// Run without showing the terminal here, as in a container: the links go to stdout, and joins and leaves to stderr
    #[arg(long)]
    pub foreground: bool,
    /// Run the program as this account, a name or a number (root only), in its home and with the environment of a login. Keys and record are
    /// opened before, so files that only root can read stay secret from it [default: the account that starts Sally]
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
    /// Name of this machine in the links of --listen, with or without a user [default: its host name]
    #[arg(long, value_name = "[USER@]HOST", value_parser = parse_link_host)]
    pub host: Option<String>,
    /// Executable to run when the share is open, with the share's public key as its only argument and the lines that `links` prints on its
    /// stdin. The share ends if it fails or takes more than 30 s [default: none]
    #[arg(long, value_name = "CMD")]
    pub announce: Option<PathBuf>,
    /// What decides the terminal's size: host (this terminal), writers (the smallest window of those who may write), or COLSxROWS
    /// [default: host; with --foreground: writers]
    #[arg(long, value_name = "WHAT")]
    pub size: Option<SizePolicy>,
    /// Number of viewers that may be there at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_viewers: u32,
    /// End the share if no viewer has joined after this many seconds [default: no limit; with --foreground: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub timeout: Option<u64>,
    /// End the share this many seconds after the last viewer, one who only watches too, has left, unless one joins before [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub until_left: Option<u64>,
    /// End the share after this many seconds without a byte in either direction (exit status 124) [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub idle_timeout: Option<u64>,
    /// End the share this many seconds after its start (exit status 125) [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub max_duration: Option<u64>,
    /// The keys that may join.
    #[command(flatten)]
    pub keys: ShareKeyArgs,
    /// The options that all servers share.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The record's options.
    #[command(flatten)]
    pub record: RecordArgs,
    /// Program to run, and its arguments [default: $SHELL]
    #[arg(last = true, value_name = "COMMAND")]
    pub program: Vec<OsString>,
}

const LOG: &str = "File to write the record to; - is stdout, with --foreground only [default: a new file in $XDG_STATE_HOME/sally, \
                   or ~/.local/state/sally]";
const LIMIT: &str = "End the share when its record reaches this size (64K, 100M, 2G) [default: 1G]";

/// Parses the name of a share, beside which there is a read-only one.
fn parse_share_name(text: &str) -> Result<DeviceId, String> {
    let name: DeviceId = text.parse().map_err(|error: NotADeviceId| error.to_string())?;
    if name.is_read_only() {
        return Err("by a name that begins with ro- viewers only watch: give the name without ro-".into());
    }
    name.read_only().map_err(|_| format!("the name is too long: ro-{name} has to be a name too"))?;
    Ok(name)
}

/// Parses what links name: a word that a shell takes as it is, and ssh not as an option.
fn parse_link_host(text: &str) -> Result<String, String> {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_:[]%".contains(&byte));
    let is_destination = is_word && !text.is_empty() && !text.starts_with('-');
    is_destination.then(|| text.to_owned()).ok_or_else(|| "not a host name, an address, or USER@HOST".into())
}

/// Sources of the keys that may join.
#[derive(Args, Debug)]
#[command(next_help_heading = "Keys that may join (at least one source; $AUTHORIZED_KEYS and $VIEW_KEYS are sources too)")]
pub struct ShareKeyArgs {
    /// File of keys that may write, in the format of ~/.ssh/authorized_keys (repeatable)
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Vec<PathBuf>,
    /// Let the public keys of this GitHub user write (repeatable)
    #[arg(long, value_name = "USER")]
    pub github: Vec<String>,
    /// File of keys that may watch and never write, in the same format (repeatable)
    #[arg(long, value_name = "FILE")]
    pub view_keys: Vec<PathBuf>,
    /// Let the public keys of this GitHub user watch and never write (repeatable)
    #[arg(long, value_name = "USER")]
    pub view_github: Vec<String>,
    /// URL to fetch the keys of GitHub users from; {user} stands for the user's name
    #[arg(long, value_name = "TEMPLATE", default_value = crate::keys::GITHUB, value_parser = crate::keys::parse_template)]
    pub keys_url: String,
}

/// The commands to a running share.
#[derive(Debug, Subcommand)]
pub enum ShareCommand {
    /// List who is there: number, name, role, way, window, source and fingerprint of the key
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        /// The share.
        #[command(flatten)]
        which: WhichShare,
    },
    /// Print how to join
    Links(WhichShare),
    /// Let a viewer write
    Promote(ViewerArgs),
    /// Let a viewer only watch; what it has typed and is not on the record is dropped
    Demote(ViewerArgs),
    /// End every connection of a viewer's key, and refuse the key from now on
    Kick(ViewerArgs),
    /// Accept a key again that was kicked
    Allow {
        /// Fingerprint of the key, SHA256:…
        fingerprint: String,
        /// The share.
        #[command(flatten)]
        which: WhichShare,
    },
    /// Let a viewer in who waits (--approve)
    Approve(ViewerArgs),
    /// Let a viewer who waits not in
    Deny(ViewerArgs),
    /// Read the sources of keys again, and remove the viewers whose key is gone
    Reload {
        /// Let the keys join that are new
        #[arg(long)]
        add: bool,
        /// The share.
        #[command(flatten)]
        which: WhichShare,
    },
    /// End the share
    End(WhichShare),
}

/// A viewer of a share.
#[derive(Args, Debug)]
pub struct ViewerArgs {
    /// Number of the viewer, as list shows it
    pub viewer: u32,
    /// The share.
    #[command(flatten)]
    pub which: WhichShare,
}

/// The share to command.
#[derive(Args, Debug)]
pub struct WhichShare {
    /// Socket of the share, as its start printed it [default: the only share of this account]
    #[arg(long, value_name = "PATH")]
    pub share: Option<PathBuf>,
}

impl ShareCommand {
    /// Returns the share that is meant, and the words that it understands.
    pub fn request(&self) -> (Option<PathBuf>, Vec<String>) {
        let (which, words) = match self {
            Self::List { json: false, which } => (which, vec!["list".into()]),
            Self::List { json: true, which } => (which, vec!["list".into(), "--json".into()]),
            Self::Links(which) => (which, vec!["links".into()]),
            Self::Promote(ViewerArgs { viewer, which }) => (which, vec!["promote".into(), viewer.to_string()]),
            Self::Demote(ViewerArgs { viewer, which }) => (which, vec!["demote".into(), viewer.to_string()]),
            Self::Kick(ViewerArgs { viewer, which }) => (which, vec!["kick".into(), viewer.to_string()]),
            Self::Allow { fingerprint, which } => (which, vec!["allow".into(), fingerprint.clone()]),
            Self::Approve(ViewerArgs { viewer, which }) => (which, vec!["approve".into(), viewer.to_string()]),
            Self::Deny(ViewerArgs { viewer, which }) => (which, vec!["deny".into(), viewer.to_string()]),
            Self::Reload { add: false, which } => (which, vec!["reload".into()]),
            Self::Reload { add: true, which } => (which, vec!["reload".into(), "--add".into()]),
            Self::End(which) => (which, vec!["end".into()]),
        };
        (which.share.clone(), words)
    }
}
