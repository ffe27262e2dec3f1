//! What a command line and the environment resolve to.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sally_proto::error::Fault;
use sally_proto::relay::PortSet;

use crate::agent;
use crate::broker::Identity;
use crate::cli::{AgentArgs, DoorArgs, FleetArgs, Forwarding, GithubArgs, JailArgs, KeyArgs, OnceArgs, RelayArgs, ServerArgs, ThroughArgs};
use crate::keys::Source;
use crate::net::admission::Origins;
use crate::net::network::Network;
use crate::net::tls::KeyPair;
use crate::record::{DigestName, Policy, Target};
use crate::relay::audit::{AuditTarget, Rotation};
use crate::relay::keys::KeySources;
use crate::relay::rules::{Kind, Rules};
use crate::relay::{self, Waking};
use crate::server_settings::DoorOptions;
use crate::session::account::{Account, RunAs};
use crate::session::environment::{self, Environment};
use crate::ssh::forward::Allowed;
use crate::tunnel::dial::Dial;
use crate::tunnel::link::HostTrust;
use crate::variables::Variables;

/// The variable that holds keys.
const AUTHORIZED_KEYS: &str = "AUTHORIZED_KEYS";
/// The variable that holds a jail's ports.
const OPEN_PORTS: &str = "OPEN_PORTS";
/// The port that a jail opens where nobody says otherwise.
const JAIL_PORT: &str = "2022";
/// The one user of a jail where nobody says otherwise.
const JAIL_USER: &str = "tunuser";
/// How many audit logs are kept beside the newest where nobody says otherwise: five together.
const AUDIT_KEEP: u32 = 4;
/// Whom a jail started as root becomes: a number that no distribution gives away (distroless images call it nonroot).
const NOBODY: u32 = 65532;

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

impl From<DoorArgs> for DoorOptions {
    fn from(args: DoorArgs) -> Self {
        Self {
            host_keys: args.host_key,
            host_certificates: args.host_cert,
            post_quantum_only: args.pq_only,
            banner: args.banner,
            revoked_keys: args.revoked_keys,
            origins: Origins { exempt: args.penalty_exempt, proxies: args.proxy_protocol },
        }
    }
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

/// Resolves what was typed after `agent`.
pub fn of_agent(args: AgentArgs) -> agent::Config {
    agent::Config { bundle: args.bundle, to: args.to, prefix: args.topic_prefix }
}

fn waking(args: FleetArgs) -> Option<Waking> {
    let FleetArgs { fleet, broker, mqtt_listen, mqtt_plain, mqtt_insecure, advertise, topic_prefix, wake_deadline, linger } = args;
    let folder = fleet?;
    let identity = match (mqtt_plain, mqtt_insecure) {
        (false, false) => Identity::Certificates(folder.clone()),
        (_, insecure) => Identity::Unproven { insecure },
    };
    let mqtt = mqtt_listen.map(|address| (address, identity));
    Some(Waking { folder, broker, mqtt, advertise, prefix: topic_prefix, deadline: wake_deadline, linger })
}

/// Resolves what was typed after `relay`.
///
/// # Errors
/// [`Fault::Usage`] where options don't go together.
pub fn of_relay(args: RelayArgs, variables: &Variables) -> Result<relay::Config, Fault> {
    let files = |files: Vec<PathBuf>| files.into_iter().map(source_file).collect();
    let mut visitors: Vec<Source> = files(args.visitors);
    let GithubArgs { github, github_permitopen: rules, keys_url: template } = args.github;
    visitors.extend(github.into_iter().map(|user| Source::Url { user, template: template.clone(), rules: rules.clone() }));
    let keys = KeySources {
        visitors,
        devices: files(args.devices),
        admins: files(args.admins),
        network: Network::from_env(&|name| variables.get(name)),
    };
    let fleet = waking(args.fleet);
    Ok(relay::Config { fleet, ..server(Kind::Relay, None, args.listen, keys, (args.door, args.server))? })
}

/// Resolves what was typed after `jail`.
///
/// # Errors
/// [`Fault::Usage`] where `OPEN_PORTS` makes no sense, or options don't go together.
pub fn of_jail(args: JailArgs, variables: &Variables) -> Result<relay::Config, Fault> {
    let ports = match (args.permit_listen, variables.get(OPEN_PORTS).filter(|value| !value.is_empty())) {
        (Some(ports), _) => Ok(ports),
        (None, Some(value)) => value.to_string_lossy().parse::<PortSet>(),
        (None, None) => JAIL_PORT.parse(),
    };
    let ports = ports.map_err(|reason| Fault::Usage(format!("{OPEN_PORTS}: {reason}")))?;
    let keys = KeySources {
        visitors: Vec::new(),
        devices: sources(&args.keys, variables.get(AUTHORIZED_KEYS)),
        admins: Vec::new(),
        network: Network::from_env(&|name| variables.get(name)),
    };
    let user = args.keys.user.unwrap_or_else(|| JAIL_USER.into());
    let mut jail = server(Kind::Jail(ports), Some(user), args.listen, keys, (args.door, args.server))?;
    jail.run_as = jail.run_as.or(rustix::process::geteuid().is_root().then_some(NOBODY));
    Ok(jail)
}

fn server(
    kind: Kind,
    user: Option<String>,
    listen: (Option<IpAddr>, u16),
    keys: KeySources,
    (door, args): (DoorArgs, ServerArgs),
) -> Result<relay::Config, Fault> {
    let rules = Rules {
        kind,
        user,
        takeover: args.takeover,
        unaudited: args.audit_may_fail,
        connections_per_key: usize::try_from(args.max_connections_per_key).unwrap_or(usize::MAX),
        alive_interval: args.alive_interval,
        alive_count: args.alive_count.into(),
    };
    let audit = audit_target(&args)?;
    Ok(relay::Config {
        rules,
        keys,
        listen,
        http: args.http,
        http_tls: args.http_cert.zip(args.http_key).map(|(certificate, key)| KeyPair { certificate, key }),
        door: door.into(),
        state: args.state,
        audit,
        drain: args.drain,
        run_as: args.run_as,
        fleet: None,
    })
}

fn audit_target(args: &ServerArgs) -> Result<AuditTarget, Fault> {
    let rotation = args.audit_max.map(|most| Rotation { most, keep: args.audit_keep.unwrap_or(AUDIT_KEEP) });
    Ok(match &args.audit {
        None => AuditTarget::Off,
        Some(file) if file != Path::new("-") => AuditTarget::File(file.clone(), rotation),
        Some(_) if rotation.is_some() => return Err(Fault::Usage("error: stdout is no file that --audit-max could bound".into())),
        Some(_) => AuditTarget::Stdout,
    })
}

fn source_file(file: PathBuf) -> Source {
    if file == Path::new("-") { Source::Stdin } else { Source::File(file) }
}

fn sources(args: &KeyArgs, variable: Option<OsString>) -> Vec<Source> {
    let files = args.authorized_keys.iter().cloned().map(source_file);
    let users = args.github.iter().map(|user| Source::Url { user: user.clone(), template: args.keys_url.clone(), rules: Vec::new() });
    files.chain(users).chain(variable.map(Source::Env)).collect()
}
