//! Defines the command line. Help, man page and completions derive from it.

#[cfg(feature = "agent")]
mod agent;
#[cfg(any(feature = "once", feature = "relay"))]
mod connection;
pub mod file;
#[cfg(feature = "share")]
mod join;
#[cfg(feature = "once")]
mod once;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "share")]
mod share;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

#[cfg(feature = "admin")]
use crate::client::cmd::ClientCommand;
#[cfg(feature = "fleet")]
use crate::fleet::cmd::FleetCommand;
#[cfg(feature = "record")]
use crate::record::cmd::RecordCommand;

#[cfg(feature = "agent")]
pub use agent::AgentArgs;
#[cfg(any(feature = "once", feature = "relay"))]
pub use connection::{ConnectionArgs, KeyArgs};
#[cfg(feature = "share")]
pub use join::JoinArgs;
#[cfg(feature = "once")]
pub use once::{Forwarding, OnceArgs, RecordArgs, ThroughArgs};
#[cfg(feature = "relay")]
pub use relay::{FleetArgs, GithubArgs, JailArgs, RelayArgs, ServerArgs};
#[cfg(feature = "share")]
pub use share::{ShareArgs, ShareCommand, ShareKeyArgs};

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
    #[cfg(feature = "share")]
    /// Share one terminal, recorded, with several people
    Share(Box<ShareArgs>),
    #[cfg(feature = "share")]
    /// Join a shared terminal by its link, and join again when the connection is lost
    Join(Box<JoinArgs>),
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
    /// What a relay's visitors run.
    #[command(flatten)]
    Client(ClientCommand),
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
            let Command::Client(ClientCommand::Ssh(args) | ClientCommand::Scp(args) | ClientCommand::Sftp(args)) =
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
