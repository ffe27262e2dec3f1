//! The configurations of `sally relay` and `sally jail`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use sally_proto::error::Fault;
use sally_proto::relay::PortSet;

use super::server::{AUTHORIZED_KEYS, source_file, sources};
use crate::broker::ClientIdentification;
use crate::cli::{ConnectionArgs, FleetArgs, GithubArgs, JailArgs, RelayArgs, ServerArgs};
use crate::keys::KeySource;
use crate::net::network::NetworkSettings;
use crate::net::tls::KeyPair;
use crate::relay::audit::{AuditTarget, Rotation};
use crate::relay::keys::KeySources;
use crate::relay::rules::{RelayKind, RelayRules};
use crate::relay::{self, Waking};
use crate::variables::Variables;

/// The variable that holds a jail's ports.
const OPEN_PORTS: &str = "OPEN_PORTS";
/// The default port of a jail.
const JAIL_PORT: &str = "2022";
/// The default user name of a jail.
const JAIL_USER: &str = "tunuser";
/// The default number of rotated audit logs: with the current one, five.
const AUDIT_KEEP: u32 = 4;
/// The account of a jail started as root: a number that no distribution assigns (distroless images call it nonroot).
const NOBODY: u32 = 65532;

fn waking(args: FleetArgs) -> Option<Waking> {
    let FleetArgs { fleet, broker, mqtt_listen, mqtt_plain, mqtt_insecure, advertise, topic_prefix, wake_deadline, linger } = args;
    let folder = fleet?;
    let identity = match (mqtt_plain, mqtt_insecure) {
        (false, false) => ClientIdentification::Certificates(folder.clone()),
        (_, insecure) => ClientIdentification::Unproven { insecure },
    };
    let mqtt = mqtt_listen.map(|address| (address, identity));
    Some(Waking { folder, broker, mqtt, advertise, prefix: topic_prefix, deadline: wake_deadline, linger })
}

/// Resolves the arguments of `relay`.
///
/// # Errors
/// [`Fault::Usage`] if options conflict.
pub fn of_relay(args: RelayArgs, variables: &Variables) -> Result<relay::RelayConfig, Fault> {
    let files = |files: Vec<PathBuf>| files.into_iter().map(source_file).collect();
    let mut visitors: Vec<KeySource> = files(args.visitors);
    let GithubArgs { github, github_permitopen: rules, keys_url: template } = args.github;
    visitors.extend(github.into_iter().map(|user| KeySource::Url { user, template: template.clone(), rules: rules.clone() }));
    let keys = KeySources {
        visitors,
        devices: files(args.devices),
        admins: files(args.admins),
        network: NetworkSettings::from_env(&|name| variables.get(name)),
    };
    let fleet = waking(args.fleet);
    Ok(relay::RelayConfig { fleet, ..server(RelayKind::Relay, None, args.listen, keys, (args.connection, args.server))? })
}

/// Resolves the arguments of `jail`.
///
/// # Errors
/// [`Fault::Usage`] if `OPEN_PORTS` is invalid or options conflict.
pub fn of_jail(args: JailArgs, variables: &Variables) -> Result<relay::RelayConfig, Fault> {
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
        network: NetworkSettings::from_env(&|name| variables.get(name)),
    };
    let user = args.keys.user.unwrap_or_else(|| JAIL_USER.into());
    let mut jail = server(RelayKind::Jail(ports), Some(user), args.listen, keys, (args.connection, args.server))?;
    jail.run_as = jail.run_as.or(rustix::process::geteuid().is_root().then_some(NOBODY));
    Ok(jail)
}

fn server(
    kind: RelayKind,
    user: Option<String>,
    listen: (Option<IpAddr>, u16),
    keys: KeySources,
    (connection, args): (ConnectionArgs, ServerArgs),
) -> Result<relay::RelayConfig, Fault> {
    let rules = RelayRules {
        kind,
        user,
        takeover: args.takeover,
        unaudited: args.audit_may_fail,
        connections_per_key: usize::try_from(args.max_connections_per_key).unwrap_or(usize::MAX),
        alive_interval: args.alive_interval,
        alive_count: args.alive_count.into(),
    };
    let audit = audit_target(&args)?;
    Ok(relay::RelayConfig {
        rules,
        keys,
        listen,
        http: args.http,
        http_tls: args.http_cert.zip(args.http_key).map(|(certificate, key)| KeyPair { certificate, key }),
        server: connection.into(),
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
        Some(_) if rotation.is_some() => return Err(Fault::Usage("error: --audit-max needs a file, and --audit - is stdout".into())),
        Some(_) => AuditTarget::Stdout,
    })
}
