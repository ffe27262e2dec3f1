//! The configuration of `sally share`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sally_proto::error::Fault;
use sally_proto::id::{DeviceId, NameKind};
use sally_proto::share::SizePolicy;

use super::once::trust;
use super::server::{AUTHORIZED_KEYS, source_file};
use crate::cli::{ShareArgs, ShareKeyArgs};
use crate::keys::KeySource;
use crate::net::network::NetworkSettings;
use crate::record::{DigestName, Policy, RecordTarget};
use crate::server_settings::ServerOptions;
use crate::session::account::{Account, RunAs};
use crate::session::environment::{self, Environment};
use crate::session::visit::VisitLimits;
use crate::tunnel::dial::{Dial, WantedName};
use crate::variables::Variables;

/// The variable that holds keys that may only watch.
const VIEW_KEYS: &str = "VIEW_KEYS";
/// The variable that names the folder for sockets of the starter's login.
const RUNTIME: &str = "XDG_RUNTIME_DIR";
/// The time to wait for a viewer if there is no terminal here.
const TIMEOUT: u64 = 600;
/// The largest record unless another size is set, in bytes.
const RECORD_LIMIT: u64 = 1 << 30;

/// The configuration of `sally share`.
#[derive(Debug)]
pub struct Share {
    /// The sources of keys: those that may only watch stand first.
    pub sources: Vec<KeySource>,
    /// The names of the sources whose keys may only watch.
    pub watching: BTreeSet<String>,
    /// The settings for sources on the network.
    pub network: NetworkSettings,
    /// The address and port to listen on, if any.
    pub listen: Option<(Option<IpAddr>, u16)>,
    /// The relay to register a name on, if any.
    pub relay: Option<Dial>,
    /// Whether no viewer may write.
    pub read_only: bool,
    /// Whether the host lets each viewer in.
    pub approve: bool,
    /// Whether the terminal is not shown here.
    pub foreground: bool,
    /// What the links call this machine, unless it is its host name.
    pub host: Option<String>,
    /// The command to run when the share is open.
    pub announce: Option<PathBuf>,
    /// What decides the terminal's size.
    pub size: SizePolicy,
    /// The most viewers at once.
    pub max_viewers: usize,
    /// The time to wait for a viewer.
    pub timeout: Option<Duration>,
    /// The time between the last viewer's leaving and the end, if the share ends then.
    pub until_left: Option<Duration>,
    /// The limits of the share.
    pub limits: VisitLimits,
    /// The options that all servers share.
    pub server: ServerOptions,
    /// The destination of the record.
    pub target: RecordTarget,
    /// The amount that is recorded.
    pub policy: Policy,
    /// The hash function of the record.
    pub digest: DigestName,
    /// Whether each write waits for the disk.
    pub sync: bool,
    /// The largest size of the record, in bytes.
    pub record_limit: u64,
    /// Whether passwords typed at prompts are masked.
    pub mask: bool,
    /// The program and its arguments; the account's shell if empty.
    pub program: Vec<OsString>,
    /// The name of the account that starts this share: the host's.
    pub starter: String,
    /// The account that the program runs as.
    pub account: Account,
    /// Whether that is another account than the one that starts this share.
    pub run_as: Option<RunAs>,
    /// The environment that the program inherits.
    pub environment: Environment,
    /// The folder for sockets of this login.
    pub runtime: Option<PathBuf>,
}

impl Share {
    /// Resolves the arguments and the environment.
    ///
    /// # Errors
    /// [`Fault::Usage`], [`Fault::AccountInvalid`].
    pub fn resolve(args: ShareArgs, variables: &Variables) -> Result<Self, Fault> {
        if args.listen.is_none() && args.relay.is_none() {
            return Err(Fault::NoEntrance);
        }
        let starter = Account::current(variables.get("HOME"), variables.get("SHELL"));
        let run_as = args.run_as.as_deref().map(RunAs::find).transpose()?;
        let target = match &args.record.log {
            Some(file) if file == Path::new("-") && !args.foreground => {
                return Err(Fault::Usage("error: --log - needs --foreground: stdout is the terminal".into()));
            }
            Some(file) if file == Path::new("-") => RecordTarget::Stdout,
            Some(file) => RecordTarget::File(file.clone()),
            None => RecordTarget::File(record_file(variables, &starter)?),
        };
        let watching = watching(&args.keys, variables);
        let watching_sources = watching.iter().map(KeySource::name).collect();
        let default_size = if args.foreground { SizePolicy::Writers } else { SizePolicy::Host };
        let timeout = args.timeout.or(args.foreground.then_some(TIMEOUT));
        Ok(Self {
            sources: watching.into_iter().chain(writing(&args.keys, variables)).collect(),
            watching: watching_sources,
            network: NetworkSettings::from_env(&|name| variables.get(name)),
            listen: args.listen,
            relay: args.relay.zip(args.identity).map(|(relay, identity)| {
                let trust = trust(args.relay_host_key, variables);
                Dial { relay, trust, identity, names: names(args.name, args.read_only) }
            }),
            read_only: args.read_only,
            approve: args.approve,
            foreground: args.foreground,
            size: args.size.unwrap_or(default_size),
            max_viewers: usize::try_from(args.max_viewers).unwrap_or(1),
            host: args.host,
            announce: args.announce,
            timeout: timeout.map(Duration::from_secs),
            until_left: args.until_left.map(Duration::from_secs),
            limits: VisitLimits { idle: args.idle_timeout.map(Duration::from_secs), longest: args.max_duration.map(Duration::from_secs) },
            server: args.connection.into(),
            target,
            policy: args.record.record,
            digest: args.record.digest,
            sync: args.record.record_sync,
            record_limit: args.record.record_limit.unwrap_or(RECORD_LIMIT),
            mask: !args.record.record_passwords,
            program: args.program,
            environment: environment(run_as.as_ref(), variables),
            runtime: variables.get(RUNTIME).map(PathBuf::from),
            account: run_as.as_ref().map_or_else(|| starter.clone(), |run_as| run_as.account().clone()),
            starter: starter.name,
            run_as,
        })
    }
}

/// Returns the names to ask a relay for: one by which viewers only watch, and, unless no viewer may write, one by which they may write.
fn names(name: Option<DeviceId>, read_only: bool) -> Vec<WantedName> {
    let watching = name.as_ref().and_then(|name| name.read_only().ok());
    match (name, watching) {
        (_, Some(watching)) if read_only => vec![WantedName::Chosen(watching)],
        (Some(name), Some(watching)) => vec![WantedName::IfPermitted(watching), WantedName::Chosen(name)],
        _ if read_only => vec![WantedName::Generated(NameKind::ReadOnly)],
        _ => [NameKind::ReadOnly, NameKind::Plain].map(WantedName::Generated).into(),
    }
}

/// Returns the environment of the program. Another account gets what a login would give it: the starter's may hold secrets.
fn environment(run_as: Option<&RunAs>, variables: &Variables) -> Environment {
    let Some(run_as) = run_as else { return environment::of_share(variables.all()) };
    let mut all = environment::of_share(variables.all().filter(|(name, _)| environment::is_for_every_account(name)));
    all.insert("PATH".into(), environment::LOGIN_PATH.into());
    all.extend(run_as.account().variables());
    all
}

fn watching(args: &ShareKeyArgs, variables: &Variables) -> Vec<KeySource> {
    of(&args.view_keys, &args.view_github, &args.keys_url).chain(kept(VIEW_KEYS, variables)).collect()
}

fn writing(args: &ShareKeyArgs, variables: &Variables) -> Vec<KeySource> {
    of(&args.authorized_keys, &args.github, &args.keys_url).chain(variables.get(AUTHORIZED_KEYS).map(KeySource::Env)).collect()
}

/// Returns a variable as a source under its own name.
fn kept(name: &str, variables: &Variables) -> Option<KeySource> {
    let value = variables.get(name)?;
    Some(KeySource::Kept { name: name.into(), bytes: crate::keys::lines_of_variable(&value) })
}

fn of(files: &[PathBuf], users: &[String], template: &str) -> impl Iterator<Item = KeySource> {
    let url = |user: &String| KeySource::Url { user: user.clone(), template: template.into(), rules: Vec::new() };
    files.iter().cloned().map(source_file).chain(users.iter().map(url)).collect::<Vec<_>>().into_iter()
}

/// Returns a new file in the folder of this account's state, and makes that folder.
fn record_file(variables: &Variables, account: &Account) -> Result<PathBuf, Fault> {
    let state = variables.get("XDG_STATE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = state.unwrap_or_else(|| account.home.join(".local/state")).join("sally");
    let made = std::fs::create_dir_all(&folder);
    made.map_err(|error| Fault::Unwritable { file: folder.display().to_string(), reason: crate::term::reason(&error) })?;
    Ok(folder.join(format!("share-{}-{}.cast", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), std::process::id())))
}
