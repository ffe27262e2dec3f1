//! Runs `sally share`: one program on one terminal, for several people.

mod account;
mod announcing;
mod deserted;
mod links;
mod sources;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use sally_proto::authorized_keys::KeyRing;
use sally_proto::error::{Fault, exit};
use sally_proto::id::DeviceId;
use sally_proto::record::{AuditEvent, ShareStart};
use sally_proto::relay::admit_requests;
use sally_proto::share::SharedSize;
use sally_proto::visit::{Departure, Part, VisitEvent, VisitOutcome, VisitTerms};
use sally_sys::pty::{self, WindowSize};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};

use super::runtime;
use super::supervisor::Supervisor;
use crate::cli::ShareCommand;
use crate::config::Share;
use crate::host_key::keys::HostKeys;
use crate::net::bind::bind;
use crate::panic::spawn_essential;
use crate::record::{RecordSettings, RecordSink, Recorder};
use crate::server_settings::ServerSettings;
use crate::session::account::RunAs;
use crate::session::environment::SHARE_TERM;
use crate::session::masking::Masking;
use crate::session::reaper::Reaper;
use crate::session::run::ProgramSession;
use crate::session::service::{Obeys, SessionChannel, StartedSession as _};
use crate::session::start::{self, Run};
use crate::session::visit::{ChannelEnd, Visit, VisitLimits};
use crate::share::control::{self, ControlSocket, Host};
use crate::share::hub::{NotJoined, Rules as ShareRules, ShareHub};
use crate::share::local::{HostTerminal, LOCAL, above_status};
use crate::share::program::{ProgramInput, ProgramOutput};
use crate::share::service::ViewerService;
use crate::share::sources::ReloadRequests;
use crate::shutdown::Signals;
use crate::ssh::forward::Allowed;
use crate::ssh::listen::Arrivals;
use crate::ssh::server::{Server, ServerRules};
use crate::ssh::visits::ManyVisits;
use crate::term;
use crate::tunnel::reconnect::KeptRegistration;
use crate::variables::Variables;

/// How long viewers' clients may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// The signal of a terminal that is closed.
const HANGUP: u8 = 1;
/// The number of the program's terminal on the record.
const TERMINAL: u32 = 0;
/// The most connections of one key: one key can't take the places of all.
const VISITS_OF_KEY: usize = 8;
/// The most sessions of one viewer's connection.
const SESSIONS: usize = 4;

/// The server that viewers come to.
type ShareServer = Server<ManyVisits, ViewerService>;

/// Runs a share, or sends a command to a running one; returns the exit status.
pub(super) fn run(config: Result<Share, Fault>) -> u8 {
    runtime::run(config, share)
}

/// Sends a command to a running share.
pub(super) fn command(command: &ShareCommand, variables: &Variables) -> u8 {
    let (named, words) = command.request();
    let found = named.map_or_else(|| only_share(variables), Ok);
    let answer = match found {
        Ok(socket) => {
            control::ask(&socket, &words).map_err(|error| Fault::NoShare(format!("{}: {}", socket.display(), term::reason(&error))))
        }
        Err(fault) => Err(fault),
    };
    match answer {
        Ok(answer) if answer.done => match term::data(&term::printable(answer.text.trim_end_matches('\n'))) {
            Ok(()) => 0,
            Err(_) => exit::RECORD,
        },
        Ok(answer) => {
            term::say(&answer.text);
            1
        }
        Err(fault) => {
            term::fault(&fault);
            fault.exit_status()
        }
    }
}

/// Finds the only share of this account.
fn only_share(variables: &Variables) -> Result<PathBuf, Fault> {
    let mut sockets = control::sockets(variables.get("XDG_RUNTIME_DIR").map(PathBuf::from));
    match (sockets.pop(), sockets.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Fault::NoShare("none runs in $XDG_RUNTIME_DIR/sally".into())),
        (Some(last), _) => {
            let all: Vec<_> = sockets.iter().chain([&last]).map(|path| path.display().to_string()).collect();
            Err(Fault::Usage(format!("error: several shares run: name one with --share\n{}", all.join("\n"))))
        }
    }
}

async fn share(mut config: Share) -> Result<u8, Fault> {
    let mut signals = Signals::listen().map_err(internal)?;
    let file = program_file(&config)?;
    let here = if config.foreground { None } else { Some(HostTerminal::size().map_err(|_| Fault::NoTerminal)?) };
    let (sources, keys) = tokio::select! {
        biased;
        number = signals.received() => return Err(Fault::Signalled(number)),
        loaded = sources::load(&mut config) => loaded?,
    };
    let admitted = if config.relay.is_some() { admit_requests(&keys, &config.account.name)? } else { Vec::new() };
    let announce = announcing::find(&config)?;
    sally_sys::process::guard_ourselves().map_err(internal)?;
    let settings = ServerSettings::load(&config.server, host_keys(&config)?)?;
    let host_key = settings.host_keys.main().clone();
    // Opened first: if it can't be, no name is held and no port is bound.
    let sink = sink(&config)?;
    let record = sink.name().to_owned();
    let all_arrivals = open(&config, admitted).await?;
    let socket = ControlSocket::bind(config.runtime.clone()).map_err(|error| unwritable("the control socket", &error))?;
    account::settle(&config)?;
    let size = first_size(&config, here);
    let links = links::links(&all_arrivals, &config, &host_key);
    let names = all_arrivals.iter().flat_map(Arrivals::names).map(hash).collect();
    say_how(&links, &record, &socket, &config)?;
    let recorder = Recorder::start(sink, recording(&config, &file, size), host_key.private().clone())?;

    let visit = Visit::new(VisitTerms { wait: Duration::MAX, several: false });
    visit.admit(false, || ());
    let hub = ShareHub::new(rules(&config), size, recorder.clone());
    let server = server(keys, &config, settings, &recorder, &hub);
    let (reloads, requests) = ReloadRequests::new(config.relay.is_some());
    let host = host(&config, &server, &visit, links, reloads);
    spawn_essential(sources::watch(sources, requests, hangups(&mut signals)?, Arc::clone(&server)));
    let reaper = Reaper::start().map_err(internal)?;
    // From here on the terminal is the share's.
    let terminal = here.map(|_| HostTerminal::take_over()).transpose().map_err(|_| Fault::NoTerminal)?;
    let running = start_program(&config, &file, names, size, &recorder, &reaper, &hub)?;
    let leader = running.program.child.pid;
    visit.note(VisitEvent::Began(Part::Session));
    let (sizes, resized) = watch::channel(window(size));
    let program = tokio::spawn(run_program(running, Arc::clone(&server), Arc::clone(&visit), resized));
    let resizing = Arc::clone(&hub);
    spawn_essential(async move { resizing.resize(sizes).await });
    spawn_essential(socket.serve(Arc::clone(&host), leader));
    let stays_open = terminal.is_some() || all_arrivals.len() > 1;
    let announced = announcing::start(announce, &config, &all_arrivals, (&host_key, &host.links), &reaper);
    for arrivals in all_arrivals {
        tokio::spawn(serve(arrivals, Arc::clone(&server), Arc::clone(&host.visit), stays_open));
    }
    deserted::end(&config, &hub, &visit);
    let supervisor = Supervisor { visit, limits: config.limits, timeout: Duration::MAX, recorder, reaper, announced, signals };
    let outcome = match &terminal {
        None => supervisor.supervise().await,
        Some(terminal) => supervise_on(terminal, supervisor, &hub, &host).await,
    };
    let _ = program.await; // A panic there is the outcome already.
    drop(terminal);
    term::say(&format!("Recorded: {record}"));
    outcome.status
}

fn recording(config: &Share, file: &Path, size: SharedSize) -> RecordSettings {
    let (policy, digest) = (config.policy, config.digest);
    RecordSettings { policy, digest, shell: file.to_owned(), size: (size.cols, size.rows), is_shared: true }
}

/// Makes the host's side of a share. A kick ends all connections of the key.
fn host(config: &Share, server: &Arc<ShareServer>, visit: &Arc<Visit>, links: Vec<String>, reloads: ReloadRequests) -> Arc<Host> {
    let (hub, of_kicks) = (Arc::clone(&server.service().hub), Arc::clone(server));
    let cut = Box::new(move |fingerprint: &str| of_kicks.stop_key(fingerprint, &Fault::KeyRemoved));
    Arc::new(Host { hub, visit: Arc::clone(visit), account: config.starter.clone(), links, cut, reloads })
}

/// Takes SIGHUP for reading the keys again. Where there is a terminal, it says that the terminal was closed.
fn hangups(signals: &mut Signals) -> Result<Option<Signal>, Fault> {
    if HostTerminal::size().is_ok() { Ok(None) } else { signals.take_hangup().map(Some).map_err(internal) }
}

fn rules(config: &Share) -> ShareRules {
    ShareRules {
        host: config.starter.clone(),
        read_only: config.read_only,
        announces: config.foreground,
        approve: config.approve,
        viewers: config.max_viewers,
        size: config.size,
    }
}

fn internal(error: std::io::Error) -> Fault {
    Fault::Internal(error.to_string())
}

fn unwritable(what: &str, error: &std::io::Error) -> Fault {
    Fault::Unwritable { file: what.into(), reason: term::reason(error) }
}

fn host_keys(config: &Share) -> Result<HostKeys, Fault> {
    match config.server.host_keys.as_slice() {
        [first, more @ ..] => HostKeys::load(first, more, &config.server.host_certificates),
        [] => HostKeys::fresh(&config.server.host_certificates),
    }
}

/// Binds the port and registers the names.
async fn open(config: &Share, admitted: Vec<String>) -> Result<Vec<Arrivals>, Fault> {
    let mut all_arrivals = Vec::new();
    if let Some((address, port)) = config.listen {
        all_arrivals.push(Arrivals::Port(bind(address, port)?));
    }
    if let Some(dial) = &config.relay {
        all_arrivals.push(Arrivals::Name(Box::new(KeptRegistration::begin(dial.clone(), admitted).await?)));
    }
    Ok(all_arrivals)
}

/// Opens the record. An account that the process changes to may not be able to reach it by its path.
fn sink(config: &Share) -> Result<RecordSink, Fault> {
    let sink = RecordSink::open(&config.target, config.sync)?.limited(Some(config.record_limit));
    Ok(if config.run_as.is_some() { sink.out_of_reach() } else { sink })
}

/// Returns the terminal's size before any viewer has joined.
fn first_size(config: &Share, here: Option<WindowSize>) -> SharedSize {
    let local = here.map(above_status).map(|size| SharedSize { cols: size.columns, rows: size.rows });
    config.size.size(local, []).unwrap_or(SharedSize::DEFAULT)
}

/// Serves one way to the share. If a relay refuses its names for good, the share goes on without them if it can still be seen: on the
/// terminal here, or on another way (`stays_open`). Viewers through that relay are gone by then.
async fn serve(arrivals: Arrivals, server: Arc<ShareServer>, visit: Arc<Visit>, stays_open: bool) {
    let hub = Arc::clone(&server.service().hub);
    match arrivals.serve(server).await {
        Some(fault) if stays_open => hub.notice(&format!("{fault}. The share goes on without that relay")),
        Some(fault) => visit.stop(fault),
        None => {}
    }
}

/// Prints how to join, and what is recorded where.
fn say_how(links: &[String], record: &str, socket: &ControlSocket, config: &Share) -> Result<(), Fault> {
    for line in links {
        // Where stdout is the record, it has nothing else.
        if config.foreground && record == "stdout" {
            term::say(line);
        } else {
            term::data(line).map_err(|error| unwritable("stdout", &error))?;
        }
    }
    term::say(&format!("Commands: sally share list --share {}", socket.path().display()));
    let account = config.run_as.as_ref().map_or("this account", RunAs::named);
    term::say(&format!("Recording to {record}. A viewer who may write has the rights of {account}"));
    Ok(())
}

/// Returns the file of the program to run.
fn program_file(config: &Share) -> Result<PathBuf, Fault> {
    let Some(named) = config.program.first() else {
        let shell = &config.account.shell;
        let lets_in = shell.file_name().is_none_or(|name| name != "nologin" && name != "false");
        let reason = || format!("it is the shell of {}, and lets no user log in: name a program after --", config.account.name);
        return if lets_in { Ok(shell.clone()) } else { Err(Fault::Program { program: shell.display().to_string(), reason: reason() }) };
    };
    let is_executable = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    let found = if named.as_bytes().contains(&b'/') {
        Some(PathBuf::from(named)).filter(is_executable)
    } else {
        let path = config.environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join(named)).find(is_executable)
    };
    found.ok_or_else(|| Fault::Program { program: named.display().to_string(), reason: "not found, or not executable".into() })
}

fn window(size: SharedSize) -> WindowSize {
    WindowSize { columns: size.cols, rows: size.rows, ..WindowSize::default() }
}

/// Returns what a record says of a name: who knows it may try to join.
fn hash(name: &DeviceId) -> String {
    Sha256::digest(name.as_str()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn start_program(
    config: &Share,
    file: &Path,
    names: Vec<String>,
    size: SharedSize,
    recorder: &Recorder,
    reaper: &Reaper,
    hub: &ShareHub,
) -> Result<ProgramSession, Fault> {
    let failed = |error: std::io::Error| Fault::Program { program: file.display().to_string(), reason: term::reason(&error) };
    let pty = pty::open().map_err(failed)?;
    pty::resize(&pty.master, window(size)).map_err(failed)?;
    hub.of_terminal(pty.master.try_clone().map_err(failed)?);
    let SharedSize { cols, rows } = size;
    recorder.audit(&AuditEvent::Share(ShareStart { names, cols, rows, program: file.as_os_str().as_bytes().into() }))?;
    // What plays a terminal knows it by this event.
    recorder.audit(&AuditEvent::Pty { channel: TERMINAL, term: SHARE_TERM.into(), cols: cols.into(), rows: rows.into() })?;
    let directory = match &config.run_as {
        // As a login: the starter's folder may be closed to the account.
        Some(run_as) => Some(run_as.account().home.clone()).filter(|home| home.is_dir()).unwrap_or_else(|| "/".into()),
        None => std::env::current_dir().map_err(failed)?,
    };
    let arguments = config.program.iter().skip(1).cloned().collect();
    let run = Run::Program { file: file.to_owned(), arguments, directory };
    let environment = config.environment.clone().into_iter().collect();
    let program = start::start(reaper, &config.account, &run, environment, Some(pty)).map_err(failed)?;
    let mask = config.mask.then(|| Masking::new(&config.account.shell));
    Ok(ProgramSession { channel: TERMINAL, program, obeys: Obeys::default(), recorder: recorder.clone(), reaper: reaper.clone(), mask })
}

/// Runs the program to its end, which is the end of the share.
async fn run_program(session: ProgramSession, server: Arc<ShareServer>, visit: Arc<Visit>, size: watch::Receiver<WindowSize>) {
    let hub = Arc::clone(&server.service().hub);
    let (_control, control) = mpsc::channel(1);
    let (inbound, outbound) =
        (ProgramInput::new(Arc::clone(&hub), Arc::clone(&visit)), ProgramOutput::new(Arc::clone(&hub), Arc::clone(&visit)));
    let channel_end = ChannelEnd::of_channel(&visit);
    let ended = session.run(SessionChannel { inbound, outbound, control, size, channel_end }).await;
    if let Err(fault) = &ended {
        hub.stop(fault.clone()).await;
    }
    // Their clients leave when they have heard how the share ended.
    server.drain(FAREWELL).await;
    visit.note(VisitEvent::SessionEnded(ended.map(|ending| ending.status())));
    visit.note(VisitEvent::ClientLeft(Departure::Lost));
}

fn server(keys: KeyRing, config: &Share, settings: ServerSettings, recorder: &Recorder, hub: &Arc<ShareHub>) -> Arc<ShareServer> {
    let rules = ServerRules {
        user: None,
        account: config.account.name.clone(),
        accept_env: Vec::new(),
        max_sessions: SESSIONS,
        first_session: LOCAL + 1,
        allowed: Allowed::default(),
        temporary: "/tmp".into(),
    };
    let visits = ManyVisits::new(config.max_viewers, VISITS_OF_KEY, VisitLimits::default(), true, recorder.clone());
    let viewers = ViewerService { hub: Arc::clone(hub), watching: config.watching.clone() };
    Server::new(keys, rules, settings, recorder.clone(), visits, viewers)
}

/// Supervises the share while it is shown on the terminal here.
async fn supervise_on(terminal: &HostTerminal, supervisor: Supervisor, hub: &Arc<ShareHub>, host: &Arc<Host>) -> VisitOutcome {
    let visit = Arc::clone(&host.visit);
    let shown = async {
        match terminal.attend(hub, host).await {
            Ok(true) => {}
            // A share ends with its terminal, as a program would.
            Ok(false) => visit.stop(Fault::Signalled(HANGUP)),
            Err(NotJoined::Record(error)) => visit.stop(error.into()),
            Err(NotJoined::Refused(why)) => visit.stop(Fault::Internal(why)),
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        outcome = supervisor.supervise() => outcome,
        never = shown => never,
    }
}
