//! Runs `sally once`: the order of its steps is part of the contract (docs/guide-once.md).

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use sally_proto::authorized_keys::{Enforced, KeyRing};
use sally_proto::error::Fault;
use sally_proto::relay::guest_requests;
use sally_proto::visit::Terms;

use super::runtime;
use super::supervisor::Supervisor;
use crate::announce::Announce;
use crate::config::Once;
use crate::fleet::bundle;
use crate::host_key::HostKey;
use crate::host_key::keys::HostKeys;
use crate::monitor::MonitorClient;
use crate::net::bind::bind;
use crate::net::inetd;
use crate::panic::spawn_essential;
use crate::record::{RecordError, Recorder, SIZE, Settings, Sink, Target};
use crate::server_settings::DoorSettings;
use crate::session::account::can_read;
use crate::session::environment::Environment;
use crate::session::login::Login;
use crate::session::masking::Masking;
use crate::session::processes::Processes;
use crate::session::reaper::Reaper;
use crate::session::visit::Visit;
use crate::shutdown::Signals;
use crate::ssh::listen::Entrance;
use crate::ssh::server::{Rules, Server};
use crate::ssh::visits::OneVisit;
use crate::tunnel::tenure::{self, Tenure};
use crate::{keys, term};

/// The folder of temporary files, unless another one is set.
const TMP: &str = "/tmp";

/// Runs one visit, and returns the exit status.
pub(super) fn run(config: Result<Once, Fault>) -> u8 {
    // Taken before the runtime opens any descriptor.
    let ready = config.and_then(|config| Ok((config.monitor.map(take_monitor).transpose()?, config)));
    runtime::run(ready, async |(monitor, config)| visit(config, monitor).await)
}

fn take_monitor(number: i32) -> Result<Arc<MonitorClient>, Fault> {
    let taken = MonitorClient::take(number);
    taken.map(Arc::new).map_err(|error| Fault::Usage(format!("error: --monitor {number}: {}", term::reason(&error))))
}

async fn visit(config: Once, monitor: Option<Arc<MonitorClient>>) -> Result<u8, Fault> {
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
    let guests = if config.relay.is_some() { guest_requests(&keys, account)? } else { Vec::new() };
    let announce = config.announce.as_deref().map(|command| Announce::find(command, &config.path)).transpose()?;
    sally_sys::process::guard_ourselves().map_err(internal)?;
    let settings = DoorSettings::load(&config.door, host_keys(&config, monitor.as_deref())?)?;
    let host_key = settings.host_keys.main().clone();
    // Opened before the port, but written to after it: if the port can't be bound, no record remains.
    let sink = sink(&config, monitor)?;
    let entrance = open(here, &config, guests, &host_key).await?;
    settle(&config)?;
    let recording = Settings { policy: config.policy, digest: config.digest, shell: config.account.shell.clone(), size: SIZE };
    let recorder = Recorder::start(sink, recording, host_key.private().clone())?;
    if let Some(port) = entrance.port() {
        term::say(&format!("Listening on port {port}; {}", host_key.fingerprint()));
    }
    if let Some((name, relay)) = entrance.name().zip(config.relay.as_ref()) {
        term::say(&format!("Reached as: ssh -J {} {}; {}", relay.relay, tenure::shown(name), host_key.fingerprint()));
    }
    let announced_with = announced_with(&config.environment, &entrance, &host_key);
    settings.host_keys.say_others();
    let reaper = Reaper::start().map_err(internal)?;
    let (timeout, limits) = (config.timeout, config.limits);
    let visit = Visit::new(Terms { wait: timeout, several: config.max_sessions > 1 });
    let temporary = config.environment.get(OsStr::new("TMPDIR")).map_or_else(|| TMP.into(), PathBuf::from);
    let rules = Rules {
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
    let login = Login::new(Processes { account, environment, mask, recorder: recorder.clone(), reaper: reaper.clone() });
    let visits = OneVisit::new(Arc::clone(&visit));
    let server = Server::new(keys, rules, settings, recorder.clone(), visits, login);
    let announced = announce.map(|announce| tokio::spawn(announce.run(host_key.public_line().into(), announced_with, reaper.clone())));
    spawn_essential(entrance.serve(server));
    Supervisor { visit, limits, timeout, recorder, reaper, announced, signals }.supervise().await.status
}

/// Returns the environment of the announce command.
fn announced_with(environment: &Environment, entrance: &Entrance, host_key: &HostKey) -> Environment {
    let port = entrance.port().map(|port| port.to_string()).unwrap_or_default();
    let ours = [("SALLY_PORT", port), ("SALLY_HOST_KEY", host_key.public_line()), ("SALLY_FINGERPRINT", host_key.fingerprint())];
    let name = entrance.name().map(|name| ("SALLY_NAME", name.as_str().to_owned()));
    let ours = ours.into_iter().chain(name).map(|(name, value)| (name.into(), value.into()));
    environment.clone().into_iter().chain(ours).collect()
}

/// Loads the keys of all sources, without the revoked ones.
async fn load_keys(config: &Once) -> Result<KeyRing, Fault> {
    let (keys, passed_over) = keys::load(&config.sources, &config.network, Enforced::new(keys::ENFORCED)).await?;
    passed_over.iter().for_each(|line| term::say(&line.to_string()));
    let Some(file) = &config.door.revoked_keys else { return Ok(keys) };
    let (revoked, passed_over) = keys::load_revoked(file).await?;
    passed_over.iter().for_each(|line| term::say(&line.to_string()));
    Ok(keys.less(revoked))
}

/// Returns the host keys: the agent's, the user's own, a fleet device's, or a fresh one.
fn host_keys(config: &Once, monitor: Option<&MonitorClient>) -> Result<HostKeys, Fault> {
    let certificates = &config.door.host_certificates;
    match (monitor, config.door.host_keys.as_slice(), &config.bundle) {
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
fn sink(config: &Once, monitor: Option<Arc<MonitorClient>>) -> Result<Sink, RecordError> {
    let sink = match (monitor, config.inetd, &config.run_as) {
        (Some(monitor), ..) => return Ok(Sink::of_monitor(monitor)),
        (None, true, None) => Sink::open_late(&config.target, config.sync)?,
        // The account that Sally switches to may not be able to create the file.
        (None, true, Some(_)) => Sink::open(&config.target, config.sync)?.out_of_reach().waiting(),
        (None, false, Some(_)) => Sink::open(&config.target, config.sync)?.out_of_reach(),
        (None, false, None) => Sink::open(&config.target, config.sync)?,
    };
    Ok(sink.limited(config.record_limit))
}

/// Switches to the account that sessions run as, if it is another one. Warns if that account can read a key that outlives this visit.
fn settle(config: &Once) -> Result<(), Fault> {
    if let Some(run_as) = &config.run_as {
        run_as.take_on()?;
    }
    // An agent hands over its keys without a file that this configuration names.
    let bundle = config.bundle.iter().filter(|_| config.monitor.is_none());
    let host_keys = config.door.host_keys.iter().cloned().chain(bundle.flat_map(|folder| bundle::SECRETS.map(|name| folder.join(name))));
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
fn take_over(config: &Once) -> Result<Entrance, Fault> {
    if config.target == Target::Stdout && config.monitor.is_none() {
        return Err(Fault::Usage("error: with --inetd stdout is the visitor's: --log - can't be written".into()));
    }
    if config.sources.contains(&keys::Source::Stdin) {
        return Err(Fault::Usage("error: with --inetd stdin is the visitor's: --authorized-keys - can't be read".into()));
    }
    let (wire, peer, local) = inetd::take_over().map_err(|error| Fault::Inetd(term::reason(&error)))?;
    Ok(Entrance::Here(wire, peer, local))
}

/// Prints the host key; then binds the port, or registers the name, unless the connection exists already. `guests`: the keys that the name
/// admits.
async fn open(here: Option<Entrance>, config: &Once, guests: Vec<String>, host_key: &HostKey) -> Result<Entrance, Fault> {
    if let Some(here) = here {
        term::say(&host_key.public_line());
        return Ok(here);
    }
    let to_stdout = |error: std::io::Error| Fault::Record { file: "stdout".into(), reason: error.to_string() };
    term::data(&host_key.public_line()).map_err(to_stdout)?;
    let Some(dial) = &config.relay else { return bind(config.listen, config.port).map(Entrance::Port) };
    let tenure = Tenure::begin(dial.clone(), guests).await?;
    term::data(tenure.name().as_str()).map_err(to_stdout)?;
    Ok(Entrance::Name(Box::new(tenure)))
}
