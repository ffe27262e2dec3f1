//! The configuration of `sally once`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sally_proto::error::Fault;
use sally_proto::id::NameKind;

use super::server::{AUTHORIZED_KEYS, sources};
use crate::cli::{Forwarding, OnceArgs, ThroughArgs};
use crate::keys::KeySource;
use crate::net::network::NetworkSettings;
use crate::record::{DigestName, Policy, RecordTarget};
use crate::server_settings::ServerOptions;
use crate::session::account::{Account, RunAs};
use crate::session::environment::{self, Environment};
use crate::session::visit::VisitLimits;
use crate::ssh::forward::Allowed;
use crate::tunnel::dial::{Dial, WantedName};
use crate::tunnel::relay_client::HostTrust;
use crate::variables::Variables;

/// The configuration of `sally once`.
#[derive(Debug)]
pub struct OnceConfig {
    /// The sources of keys; an empty list is rejected when they are loaded.
    pub sources: Vec<KeySource>,
    /// The settings for sources on the network.
    pub network: NetworkSettings,
    /// The only user name that may log in, if limited.
    pub user: Option<String>,
    /// The address to listen on; `None` is all.
    pub listen: Option<IpAddr>,
    /// The port to listen on.
    pub port: u16,
    /// The relay to register a name on, in place of listening.
    pub relay: Option<Dial>,
    /// The announce command.
    pub announce: Option<PathBuf>,
    /// The directories in which a command without a slash is looked for.
    pub path: OsString,
    /// Whether the connection is on stdin and stdout.
    pub inetd: bool,
    /// The limits of the visit, once its client is in.
    pub limits: VisitLimits,
    /// The time to wait for a login.
    pub timeout: Duration,
    /// The options that once, relay and jail share.
    pub server: ServerOptions,
    /// The bundle, a fleet's folder for this device.
    pub bundle: Option<PathBuf>,
    /// The permitted forwardings.
    pub allowed: Allowed,
    /// The limit of sessions: 1 is one session in all; more is the number at once.
    pub max_sessions: usize,
    /// The patterns of variables that a client may set.
    pub accept_env: Vec<String>,
    /// The destination of the record.
    pub target: RecordTarget,
    /// The amount that is recorded.
    pub policy: Policy,
    /// The hash function of the record.
    pub digest: DigestName,
    /// Whether each write waits for the disk.
    pub sync: bool,
    /// The largest size of the record, in bytes.
    pub record_limit: Option<u64>,
    /// Whether passwords typed at prompts are masked.
    pub mask: bool,
    /// The account that sessions run as, if it isn't the one that starts the process.
    pub run_as: Option<RunAs>,
    /// The descriptor of the socket to the agent that started this process.
    pub monitor: Option<i32>,
    /// The account that sessions run as.
    pub account: Account,
    /// The environment that sessions inherit.
    pub environment: Environment,
}

/// Returns the relay to register on, if one is named.
fn dial(args: ThroughArgs, variables: &Variables) -> Option<Dial> {
    let trust = trust(args.relay_host_key, variables);
    args.relay.zip(args.identity).map(|(relay, identity)| {
        let names = vec![args.name.map_or(WantedName::Generated(NameKind::Plain), WantedName::Chosen)];
        Dial { relay, trust, identity, names }
    })
}

/// Returns how a relay proves that it is the one: by this key, or by the known hosts of the account.
pub(super) fn trust(key: Option<ssh_key::PublicKey>, variables: &Variables) -> HostTrust {
    match key {
        Some(key) => HostTrust::Key(Box::new(key)),
        None => HostTrust::KnownHosts(PathBuf::from(variables.get("HOME").unwrap_or_default()).join(".ssh/known_hosts")),
    }
}

impl OnceConfig {
    /// Resolves the arguments and the environment.
    ///
    /// # Errors
    /// [`Fault::AccountInvalid`].
    pub fn resolve(args: OnceArgs, variables: &Variables) -> Result<Self, Fault> {
        let run_as = args.run_as.as_deref().map(RunAs::find).transpose()?;
        let relay = dial(args.through, variables);
        let target = match args.record.log {
            Some(file) if file != Path::new("-") => RecordTarget::File(file),
            _ => RecordTarget::Stdout,
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
                Some(folder) => vec![KeySource::Bundle(folder.clone())],
                None => sources(&args.keys, variables.get(AUTHORIZED_KEYS)),
            },
            network: NetworkSettings::from_env(&|name| variables.get(name)),
            user: args.keys.user,
            listen: args.listen,
            port: args.port,
            relay,
            announce: args.announce,
            path: variables.get("PATH").unwrap_or_default(),
            inetd: args.inetd,
            timeout: Duration::from_secs(args.timeout),
            limits: VisitLimits { idle: args.idle_timeout.map(Duration::from_secs), longest: args.max_duration.map(Duration::from_secs) },
            server: args.connection.into(),
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
