//! The arguments of `sally ssh|scp|sftp|proxy|devices|ssh-config`, and the start of each command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use sally_proto::authority::is_pattern;
use sally_proto::error::Fault;
use ssh_key::Certificate;

use super::destination::OpenSshProgram;
use super::settings::{ClientSettings, Given, RelayDestination};
use super::{openssh, proxy, ssh_config};
use crate::arguments::parse_seconds;
use crate::term;
use crate::variables::Variables;

/// The subcommands of a relay's visitors.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Open a session on a device through a relay, with ssh
    Ssh(VisitArgs),
    /// Copy files to and from a device through a relay, with scp
    Scp(VisitArgs),
    /// Transfer files to and from a device through a relay, with sftp
    Sftp(VisitArgs),
    /// List the devices that a relay lets you reach
    Devices(DevicesArgs),
    /// Print Host blocks for ~/.ssh/config, for machines without Sally
    SshConfig(SshConfigArgs),
    /// Connect stdin and stdout to a device through a relay (a ProxyCommand for ssh)
    Proxy(ProxyArgs),
    /// Print host keys for ssh's KnownHostsCommand
    #[command(hide = true)]
    KnownHosts(KnownHostsArgs),
}

impl ClientCommand {
    /// Runs the command, and returns the exit status.
    pub fn run(self, variables: &Variables) -> u8 {
        match self {
            Self::Ssh(args) => visit(OpenSshProgram::Ssh, args, variables),
            Self::Scp(args) => visit(OpenSshProgram::Scp, args, variables),
            Self::Sftp(args) => visit(OpenSshProgram::Sftp, args, variables),
            Self::Devices(args) => devices(&args, variables),
            Self::SshConfig(args) => print_ssh_config(&args, variables),
            Self::Proxy(args) => proxy(&args, variables),
            Self::KnownHosts(args) => known_hosts(&args),
        }
    }
}

/// The relay to connect through.
#[derive(Args, Clone, Debug)]
pub struct ClientRelayArgs {
    /// Relay to connect through [default: $SALLY_RELAY, else relay in the settings file; default port: the one in ssh_config, else 22]
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    pub relay: Option<RelayDestination>,
    /// Settings file [default: ~/.config/sally/config.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `sally ssh`, `sally scp`, `sally sftp`.
#[derive(Args, Debug)]
pub struct VisitArgs {
    /// The relay to connect through.
    #[command(flatten)]
    pub via: ClientRelayArgs,
    /// Wait up to this time for a device that is offline (30s, 5m, 1h; at most 24h) [default: no wait]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
    /// Arguments of ssh(1), scp(1) or sftp(1)
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub words: Vec<OsString>,
}

/// `sally proxy`.
#[derive(Args, Debug)]
pub struct ProxyArgs {
    /// The relay to connect through.
    #[command(flatten)]
    pub via: ClientRelayArgs,
    /// Wait up to this time for a device that is offline (30s, 5m, 1h; at most 24h) [default: no wait]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
    /// File to read in place of ~/.ssh/config
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// Name of the device
    pub host: String,
    /// Port of the device
    #[arg(default_value_t = 22)]
    pub port: u16,
}

/// `sally devices`.
#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// The relay to ask.
    #[command(flatten)]
    pub via: ClientRelayArgs,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `sally ssh-config`.
#[derive(Args, Debug)]
pub struct SshConfigArgs {
    /// The relay to connect through.
    #[command(flatten)]
    pub via: ClientRelayArgs,
    /// Devices to print blocks for, a name or a pattern such as cam-* (repeatable) [default: those in the key's certificate]
    #[arg(long = "for", value_name = "PATTERN")]
    pub patterns: Vec<String>,
}

/// `sally known-hosts`, which ssh calls.
#[derive(Args, Debug)]
pub struct KnownHostsArgs {
    /// File with the lines to print
    pub file: PathBuf,
}

impl ClientRelayArgs {
    fn resolve(&self, variables: &Variables) -> Result<ClientSettings, Fault> {
        let path = |name| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Given {
            relay: self.relay.clone(),
            variable: variables.get("SALLY_RELAY"),
            config: self.config.clone(),
            config_home: path("XDG_CONFIG_HOME"),
            home: path("HOME"),
        }
        .resolve()
    }
}

/// Replaces this process by the client; returns the exit status of a failure.
fn visit(program: OpenSshProgram, args: VisitArgs, variables: &Variables) -> u8 {
    match args.via.resolve(variables) {
        Ok(settings) => failed(&openssh::become_client(program, &ClientSettings { wait: args.wait, ..settings }, args.words)),
        Err(fault) => failed(&fault),
    }
}

/// Runs ssh's ProxyCommand, and returns the exit status.
fn proxy(args: &ProxyArgs, variables: &Variables) -> u8 {
    let passed = args.via.resolve(variables).and_then(|settings| {
        let settings = ClientSettings { wait: args.wait, ..settings };
        proxy::run(&settings, args.ssh_config.as_deref(), &args.host, args.port)
    });
    passed.unwrap_or_else(|fault| failed(&fault))
}

/// Replaces this process by ssh to the relay's console; returns the exit status of a failure.
fn devices(args: &DevicesArgs, variables: &Variables) -> u8 {
    let words: &[&str] = if args.json { &["devices", "--json"] } else { &["devices"] };
    match args.via.resolve(variables) {
        Ok(settings) => failed(&openssh::become_console(&settings, words)),
        Err(fault) => failed(&fault),
    }
}

/// Prints blocks of ssh_config for stock ssh, and returns the exit status.
fn print_ssh_config(args: &SshConfigArgs, variables: &Variables) -> u8 {
    let printed = args.via.resolve(variables).and_then(|settings| {
        let known_hosts = settings.known_hosts.as_deref().map(read).transpose()?.unwrap_or_default();
        let patterns = if args.patterns.is_empty() { certified(&settings)? } else { args.patterns.clone() };
        let text = ssh_config::print(&settings, &patterns, &known_hosts);
        term::data(text.trim_end()).map_err(|error| Fault::Internal(term::reason(&error)))
    });
    printed.map_or_else(|fault| failed(&fault), |()| 0)
}

/// Prints the fleet's host keys for ssh, which matches them by host. Returns the exit status.
fn known_hosts(args: &KnownHostsArgs) -> u8 {
    let printed = read(&args.file).and_then(|text| term::data(text.trim_end()).map_err(|error| Fault::Internal(term::reason(&error))));
    printed.map_or_else(|fault| failed(&fault), |()| 0)
}

fn failed(fault: &Fault) -> u8 {
    term::fault(fault);
    fault.exit_status()
}

fn read(file: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(file).map_err(|error| Fault::Settings { file: file.display().to_string(), reason: term::reason(&error) })
}

/// Returns the patterns in the certificate beside the key.
fn certified(settings: &ClientSettings) -> Result<Vec<String>, Fault> {
    let unnamed =
        || Fault::Usage("no devices are named: add --for PATTERN, or set an identity that has a certificate in the settings file".into());
    let mut file = settings.identity.clone().ok_or_else(unnamed)?.into_os_string();
    file.push("-cert.pub");
    let text = std::fs::read_to_string(&file).map_err(|_| unnamed())?;
    let certificate = Certificate::from_openssh(text.trim()).map_err(|_| unnamed())?;
    // ssh obeys the printed file, so only patterns of names are printed.
    Ok(certificate.valid_principals().iter().filter(|pattern| is_pattern(pattern)).cloned().collect())
}
