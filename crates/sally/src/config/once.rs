//! What `sally once` runs on.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sally_proto::error::Fault;

use super::server::{AUTHORIZED_KEYS, sources};
use crate::cli::{Forwarding, OnceArgs, ThroughArgs};
use crate::keys::Source;
use crate::net::network::Network;
use crate::record::{DigestName, Policy, Target};
use crate::server_settings::DoorOptions;
use crate::session::account::{Account, RunAs};
use crate::session::environment::{self, Environment};
use crate::ssh::forward::Allowed;
use crate::tunnel::dial::Dial;
use crate::tunnel::link::HostTrust;
use crate::variables::Variables;

/// Everything `sally once` runs on.
#[derive(Debug)]
pub struct Once {
    /// Where keys come from; empty is refused when they are loaded.
    pub sources: Vec<Source>,
    /// How to reach a source on the network.
    pub network: Network,
    /// The one user name let in, if any.
    pub user: Option<String>,
    /// Address to listen on.
    pub listen: Option<IpAddr>,
    /// Port to listen on.
    pub port: u16,
    /// The relay to hold a name on, in place of listening.
    pub relay: Option<Dial>,
    /// Whom to tell.
    pub announce: Option<PathBuf>,
    /// Directories in which a command without a slash is looked for.
    pub path: OsString,
    /// Whether the connection is on stdin and stdout.
    pub inetd: bool,
    /// How long everything may take.
    pub limits: Limits,
    /// What once, relay and jail have in common.
    pub door: DoorOptions,
    /// A fleet's folder for this device.
    pub bundle: Option<PathBuf>,
    /// What may be forwarded.
    pub allowed: Allowed,
    /// 1: one session in all. More: so many at once.
    pub max_sessions: usize,
    /// Patterns of variables that a client may set.
    pub accept_env: Vec<String>,
    /// Where the record goes.
    pub target: Target,
    /// How much is recorded.
    pub policy: Policy,
    /// What it is hashed with.
    pub digest: DigestName,
    /// Whether each write waits for the disk.
    pub sync: bool,
    /// The largest size of the record, in bytes.
    pub record_limit: Option<u64>,
    /// Whether passwords typed at prompts are masked.
    pub mask: bool,
    /// Another account to become, where sessions are not to run as the one that starts it.
    pub run_as: Option<RunAs>,
    /// A descriptor that leads to the agent that has started it.
    pub monitor: Option<i32>,
    /// Who sessions run as.
    pub account: Account,
    /// What sessions inherit.
    pub environment: Environment,
}

/// The limits of time that a user sets.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long the door stays open for nobody.
    pub timeout: Duration,
    /// How long a visit may carry no byte.
    pub idle: Option<Duration>,
    /// How long a visit may last.
    pub longest: Option<Duration>,
}

/// The relay that something is to be reached through, where one is named.
fn dial(args: ThroughArgs, variables: &Variables) -> Option<Dial> {
    let trust = match args.relay_host_key {
        Some(key) => HostTrust::Key(Box::new(key)),
        None => HostTrust::KnownHosts(PathBuf::from(variables.get("HOME").unwrap_or_default()).join(".ssh/known_hosts")),
    };
    args.relay.zip(args.identity).map(|(relay, identity)| Dial { relay, trust, identity, name: args.name })
}

impl Once {
    /// Resolves what was typed.
    ///
    /// # Errors
    /// [`Fault::AccountInvalid`].
    pub fn resolve(args: OnceArgs, variables: &Variables) -> Result<Self, Fault> {
        let run_as = args.run_as.as_deref().map(RunAs::find).transpose()?;
        let relay = dial(args.through, variables);
        let target = match args.record.log {
            Some(file) if file != Path::new("-") => Target::File(file),
            _ => Target::Stdout,
        };
        let account = match &run_as {
            Some(run_as) => run_as.account().clone(),
            None => Account::current(variables.get("HOME"), variables.get("SHELL")),
        };
        let mut environment = environment::copy(variables.all());
        if run_as.is_some() {
            environment.extend(account.variables());
        }
        Ok(Self {
            sources: match &args.bundle {
                Some(folder) => vec![Source::Bundle(folder.clone())],
                None => sources(&args.keys, variables.get(AUTHORIZED_KEYS)),
            },
            network: Network::from_env(&|name| variables.get(name)),
            user: args.keys.user,
            listen: args.listen,
            port: args.port,
            relay,
            announce: args.announce,
            path: variables.get("PATH").unwrap_or_default(),
            inetd: args.inetd,
            limits: Limits {
                timeout: Duration::from_secs(args.timeout),
                idle: args.idle_timeout.map(Duration::from_secs),
                longest: args.max_duration.map(Duration::from_secs),
            },
            door: args.door.into(),
            bundle: args.bundle,
            allowed: allowed(&args.allow),
            max_sessions: usize::try_from(args.max_sessions).unwrap_or(1),
            accept_env: args.accept_env,
            target,
            policy: args.record.record,
            digest: args.record.digest,
            sync: args.record.record_sync,
            record_limit: args.record.record_limit,
            mask: !args.record.record_passwords,
            run_as,
            monitor: args.monitor,
            account,
            environment,
        })
    }
}

fn allowed(named: &[Forwarding]) -> Allowed {
    Allowed {
        local: named.contains(&Forwarding::LocalForward),
        remote: named.contains(&Forwarding::RemoteForward),
        agent: named.contains(&Forwarding::AgentForward),
    }
}
