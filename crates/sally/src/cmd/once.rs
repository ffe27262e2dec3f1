//! Runs `sally once`: the order of its steps is part of the contract (docs/guide-once.md).

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use sally_proto::authorized_keys::{Enforced, KeyRing};
use sally_proto::error::Fault;
use sally_proto::relay::admit_requests;
use sally_proto::visit::VisitTerms;

use super::runtime;
use super::supervisor::Supervisor;
use crate::announce::Announce;
use crate::config::OnceConfig;
use crate::fleet::bundle;
use crate::host_key::HostKey;
use crate::host_key::keys::HostKeys;
use crate::monitor::MonitorClient;
use crate::net::bind::bind;
use crate::net::inetd;
use crate::panic::spawn_essential;
use crate::record::{RecordError, RecordSettings, RecordSink, RecordTarget, Recorder, SIZE};
use crate::server_settings::ServerSettings;
use crate::session::account::can_read;
use crate::session::environment::Environment;
use crate::session::login::LoginService;
use crate::session::masking::Masking;
use crate::session::processes::Processes;
use crate::session::reaper::Reaper;
use crate::session::visit::Visit;
use crate::shutdown::Signals;
use crate::ssh::listen::Arrivals;
use crate::ssh::server::{Server, ServerRules};
use crate::ssh::visits::OneVisit;
use crate::tunnel::reconnect::{self, KeptRegistration};
use crate::{keys, term};

/// The folder of temporary files, unless another one is set.
const TMP: &str = "/tmp";

/// Runs one visit, and returns the exit status.
pub(super) fn run(config: Result<OnceConfig, Fault>) -> u8 {
    // Taken before the runtime opens any descriptor.
    let ready = config.and_then(|config| Ok((config.monitor.map(take_monitor).transpose()?, config)));
    runtime::run(ready, async |(monitor, config)| visit(config, monitor).await)
}

fn take_monitor(number: i32) -> Result<Arc<MonitorClient>, Fault> {
    let taken = MonitorClient::take(number);
    taken.map(Arc::new).map_err(|error| Fault::Usage(format!("error: --monitor {number}: {}", term::reason(&error))))
}

async fn visit(config: OnceConfig, monitor: Option<Arc<MonitorClient>>) -> Result<u8, Fault> {
    let internal = |error: std::io::Error| Fault::Internal(error.to_string());
    let mut signals = Signals::listen().map_err(internal)?;
    // Before anything is printed: stderr may be the client's connection too.
    let here = if config.inetd { Some(take_over(&config)?) } else { None };
    let keys = tokio::select! {
        biased;
        number = signals.received() => return Err(Fault::Signalled(number)),
        loaded = load_keys(&config) => loaded?,
    };
    let account = config.user.as_deref().unwrap_or(&config.account.name);
    let admitted = if config.relay.is_some() { admit_requests(&keys, account)? } else { Vec::new() };
    let announce = config.announce.as_deref().map(|command| Announce::find(command, &config.path)).transpose()?;
    sally_sys::process::guard_ourselves().map_err(internal)?;
    let settings = ServerSettings::load(&config.server, host_keys(&config, monitor.as_deref())?)?;
    let host_key = settings.host_keys.main().clone();
    // Opened before the port, but written to after it: if the port can't be bound, no record remains.
    let sink = sink(&config, monitor)?;
    let arrivals = open(here, &config, admitted, &host_key).await?;
    settle(&config)?;
    let recording =
        RecordSettings { policy: config.policy, digest: config.digest, shell: config.account.shell.clone(), size: SIZE, is_shared: false };
    let recorder = Recorder::start(sink, recording, host_key.private().clone())?;
    if let Some(port) = arrivals.port() {
        term::say(&format!("Listening on port {port}; {}", host_key.fingerprint()));
    }
    if let Some((name, relay)) = arrivals.names().first().zip(config.relay.as_ref()) {
        term::say(&format!("Reached as: ssh -J {} {}; {}", relay.relay, reconnect::shown(name), host_key.fingerprint()));
    }
    let announced_with = announced_with(&config.environment, &arrivals, &host_key);
    settings.host_keys.say_others();
    let reaper = Reaper::start().map_err(internal)?;
    let (timeout, limits) = (config.timeout, config.limits);
    let visit = Visit::new(VisitTerms { wait: timeout, several: config.max_sessions > 1 });
    let temporary = config.environment.get(OsStr::new("TMPDIR")).map_or_else(|| TMP.into(), PathBuf::from);
    let rules = ServerRules {
        user: config.user,
        account: config.account.name.clone(),
        accept_env: config.accept_env,
        max_sessions: config.max_sessions,
        first_session: 0,
        allowed: config.allowed,
        temporary,
    };
    let mask = config.mask.then(|| Masking::new(&config.account.shell));
    let (account, environment) = (config.account, config.environment);
    let login = LoginService::new(Processes { account, environment, mask, recorder: recorder.clone(), reaper: reaper.clone() });
    let visits = OneVisit::new(Arc::clone(&visit));
    let server = Server::new(keys, rules, settings, recorder.clone(), visits, login);
    let announced = announce.map(|announce| tokio::spawn(announce.run(host_key.public_line().into(), announced_with, reaper.clone())));
    // The visit itself ends if no client can come.
    spawn_essential(async { drop(arrivals.serve(server).await) });
    Supervisor { visit, limits, timeout, recorder, reaper, announced, signals }.supervise().await.status
}

/// Returns the environment of the announce command.
fn announced_with(environment: &Environment, arrivals: &Arrivals, host_key: &HostKey) -> Environment {
    let port = arrivals.port().map(|port| port.to_string()).unwrap_or_default();
    let ours = [("SALLY_PORT", port), ("SALLY_HOST_KEY", host_key.public_line()), ("SALLY_FINGERPRINT", host_key.fingerprint())];
    let name = arrivals.names().first().map(|name| ("SALLY_NAME", name.as_str().to_owned()));
    let ours = ours.into_iter().chain(name).map(|(name, value)| (name.into(), value.into()));
    environment.clone().into_iter().chain(ours).collect()
}

/// Loads the keys of all sources, without the revoked ones.
async fn load_keys(config: &OnceConfig) -> Result<KeyRing, Fault> {
    let (keys, passed_over) = keys::load(&config.sources, &config.network, Enforced::new(keys::ENFORCED)).await?;
    passed_over.iter().for_each(|line| term::say(&line.to_string()));
    let Some(file) = &config.server.revoked_keys else { return Ok(keys) };
    let (revoked, passed_over) = keys::load_revoked(file).await?;
    passed_over.iter().for_each(|line| term::say(&line.to_string()));
    Ok(keys.less(revoked))
}

/// Returns the host keys: the agent's, the user's own, a fleet device's, or a fresh one.
fn host_keys(config: &OnceConfig, monitor: Option<&MonitorClient>) -> Result<HostKeys, Fault> {
    let certificates = &config.server.host_certificates;
    match (monitor, config.server.host_keys.as_slice(), &config.bundle) {
        (Some(monitor), _, Some(folder)) => {
            let text = monitor.host_key().map_err(|error| Fault::Internal(error.to_string()))?;
            bundle::certified(folder, &HostKey::parse(&text, "the agent's")?).map(HostKeys::from)
        }
        (_, [first, more @ ..], _) => HostKeys::load(first, more, certificates),
        (_, [], Some(folder)) => bundle::host_key(folder).map(HostKeys::from),
        (_, [], None) => HostKeys::fresh(certificates),
    }
}

/// Opens the target of the record. With `--inetd` there is no record until a client has authenticated.
fn sink(config: &OnceConfig, monitor: Option<Arc<MonitorClient>>) -> Result<RecordSink, RecordError> {
    let sink = match (monitor, config.inetd, &config.run_as) {
        (Some(monitor), ..) => return Ok(RecordSink::of_monitor(monitor)),
        (None, true, None) => RecordSink::open_late(&config.target, config.sync)?,
        // The account that Sally switches to may not be able to create the file.
        (None, true, Some(_)) => RecordSink::open(&config.target, config.sync)?.out_of_reach().waiting(),
        (None, false, Some(_)) => RecordSink::open(&config.target, config.sync)?.out_of_reach(),
        (None, false, None) => RecordSink::open(&config.target, config.sync)?,
    };
    Ok(sink.limited(config.record_limit))
}

/// Switches to the account that sessions run as, if it is another one. Warns if that account can read a key that outlives this visit.
fn settle(config: &OnceConfig) -> Result<(), Fault> {
    if let Some(run_as) = &config.run_as {
        run_as.take_on()?;
    }
    // An agent hands over its keys without a file that this configuration names.
    let bundle = config.bundle.iter().filter(|_| config.monitor.is_none());
    let host_keys = config.server.host_keys.iter().cloned().chain(bundle.flat_map(|folder| bundle::SECRETS.map(|name| folder.join(name))));
    let identity = config.relay.iter().map(|dial| (dial.identity.clone(), "hold its names on the relay"));
    let keys = host_keys.map(|file| (file, "imitate this server and sign records")).chain(identity);
    for (file, harm) in keys.filter(|(file, _)| can_read(file)) {
        term::warn(&format!(
            "sessions run as {}, who can read {}: a visitor can copy that key, and {harm}, also after this visit. Start it as root with \
             --run-as USER, and make root the file's owner",
            config.account.name,
            file.display()
        ));
    }
    Ok(())
}

/// Takes the connection of `--inetd`.
fn take_over(config: &OnceConfig) -> Result<Arrivals, Fault> {
    if config.target == RecordTarget::Stdout && config.monitor.is_none() {
        return Err(Fault::Usage("error: with --inetd stdout is the visitor's: --log - can't be written".into()));
    }
    if config.sources.contains(&keys::KeySource::Stdin) {
        return Err(Fault::Usage("error: with --inetd stdin is the visitor's: --authorized-keys - can't be read".into()));
    }
    let (wire, peer, local) = inetd::take_over().map_err(|error| Fault::Inetd(term::reason(&error)))?;
    Ok(Arrivals::Here(wire, peer, local))
}

/// Prints the host key; then binds the port, or registers the name, unless the connection exists already. `admitted`: the keys that the name
/// admits.
async fn open(here: Option<Arrivals>, config: &OnceConfig, admitted: Vec<String>, host_key: &HostKey) -> Result<Arrivals, Fault> {
    if let Some(here) = here {
        term::say(&host_key.public_line());
        return Ok(here);
    }
    let to_stdout = |error: std::io::Error| Fault::Record { file: "stdout".into(), reason: error.to_string() };
    term::data(&host_key.public_line()).map_err(to_stdout)?;
    let Some(dial) = &config.relay else { return bind(config.listen, config.port).map(Arrivals::Port) };
    let registration = KeptRegistration::begin(dial.clone(), admitted).await?;
    for name in registration.names() {
        term::data(name.as_str()).map_err(to_stdout)?;
    }
    Ok(Arrivals::Name(Box::new(registration)))
}
