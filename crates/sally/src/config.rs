//! What a command line and the environment resolve to. Nothing below this module reads the environment.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Forwarding, KeyArgs, OnceArgs};
use crate::keys::{Network, Source};
use crate::record::{Policy, Target};
use crate::session::account::Account;
use crate::session::environment::{self, Environment};
use crate::ssh::forward::Allowed;

/// The variable that holds keys.
const AUTHORIZED_KEYS: &str = "AUTHORIZED_KEYS";

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
    /// Whom to tell.
    pub announce: Option<PathBuf>,
    /// Directories in which a command without a slash is looked for.
    pub path: OsString,
    /// Whether the connection is on stdin and stdout.
    pub inetd: bool,
    /// How long everything may take.
    pub limits: Limits,
    /// A key of the user's own.
    pub host_key: Option<PathBuf>,
    /// Post-quantum key exchange alone.
    pub post_quantum_only: bool,
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
    /// Whether each write waits for the disk.
    pub sync: bool,
    /// Whether passwords typed at prompts are masked.
    pub mask: bool,
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

/// The process environment, read once.
#[derive(Clone, Debug)]
pub struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

impl Once {
    /// Resolves what was typed.
    pub fn resolve(args: OnceArgs, variables: &Variables) -> Self {
        let target = match args.record.log {
            Some(file) => Target::File(file),
            None => Target::Stdout,
        };
        Self {
            sources: sources(&args.keys, variables.get(AUTHORIZED_KEYS)),
            network: Network::from_env(&|name| variables.get(name)),
            user: args.keys.user,
            listen: args.listen,
            port: args.port,
            announce: args.announce,
            path: variables.get("PATH").unwrap_or_default(),
            inetd: args.inetd,
            limits: Limits {
                timeout: Duration::from_secs(args.timeout),
                idle: args.idle_timeout.map(Duration::from_secs),
                longest: args.max_duration.map(Duration::from_secs),
            },
            host_key: args.host_key,
            post_quantum_only: args.pq_only,
            allowed: allowed(&args.allow),
            max_sessions: usize::try_from(args.max_sessions).unwrap_or(1),
            accept_env: args.accept_env,
            target,
            policy: args.record.record,
            sync: args.record.record_sync,
            mask: !args.record.record_passwords,
            account: Account::current(variables.get("HOME"), variables.get("SHELL")),
            environment: environment::copy(variables.0.iter().cloned()),
        }
    }
}

fn allowed(named: &[Forwarding]) -> Allowed {
    Allowed {
        local: named.contains(&Forwarding::LocalForward),
        remote: named.contains(&Forwarding::RemoteForward),
        agent: named.contains(&Forwarding::AgentForward),
    }
}

fn sources(args: &KeyArgs, variable: Option<OsString>) -> Vec<Source> {
    let files = args.authorized_keys.iter().map(|file| match file {
        file if file == Path::new("-") => Source::Stdin,
        file => Source::File(file.clone()),
    });
    let users = args.github.iter().map(|user| Source::Url { user: user.clone(), template: args.keys_url.clone() });
    files.chain(users).chain(variable.map(Source::Env)).collect()
}
