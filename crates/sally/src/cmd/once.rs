//! `sally once`: the order of its steps is part of the contract (docs/guide-once.md).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sally_proto::authorized_keys::{Enforced, OptionKind};
use sally_proto::error::{Fault, exit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::announce::Announce;
use crate::config::Once;
use crate::record::{Recorder, Settings, Sink};
use crate::session::Ending;
use crate::session::reaper::Reaper;
use crate::shutdown::Shutdown;
use crate::ssh::door::{Door, Event, Rules};
use crate::ssh::host_key::HostKey;
use crate::ssh::listen;
use crate::{keys, term};

/// How long a visitor may take, once let in, to open a session.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// How long the visitor's client may take to fetch the last bytes and leave, once the session is over.
const LEAVE_LIMIT: Duration = Duration::from_secs(60);
/// How long sessions may take to end when we are told to.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
/// A handful of tasks, on a machine that has other things to do.
const WORKERS: usize = 2;

/// `authorized_keys` options that this door enforces; a key with any other stops the start.
const ENFORCED: &[OptionKind] = &[
    OptionKind::Restrict,
    OptionKind::CertAuthority,
    OptionKind::Principals,
    OptionKind::Command,
    OptionKind::Environment,
    OptionKind::From,
    OptionKind::ExpiryTime,
    OptionKind::Pty,
    OptionKind::PortForwarding,
    OptionKind::AgentForwarding,
    OptionKind::X11Forwarding,
    OptionKind::UserRc,
    OptionKind::PermitOpen,
    OptionKind::PermitListen,
];

/// Runs it to the exit status.
pub(super) fn run(config: Once) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            term::fault(&Fault::Internal(error.to_string()));
            return exit::INTERNAL;
        }
    };
    let status = match runtime.block_on(visit(config)) {
        Ok(status) => status,
        Err(fault) => {
            term::fault(&fault);
            fault.exit_status()
        }
    };
    // A thread that waits in read(2) for an announce command's last words must not keep us.
    runtime.shutdown_background();
    status
}

async fn visit(config: Once) -> Result<u8, Fault> {
    let internal = |error: std::io::Error| Fault::Internal(error.to_string());
    let signals = Signals::listen().map_err(internal)?;
    let keys = keys::load(&config.sources, &config.network, Enforced::new(ENFORCED)).await?;
    let announce = config.announce.as_deref().map(|command| Announce::find(command, &config.path)).transpose()?;
    sally_sys::process::guard_ourselves().map_err(internal)?;
    let host_key = match &config.host_key {
        Some(file) => HostKey::load(file)?,
        None => HostKey::fresh()?,
    };
    // Opened before the port is, written to after: a port that can't be had leaves no record behind.
    let sink = Sink::open(&config.target, config.sync)?;
    let to_stdout = |error: std::io::Error| Fault::Record { file: "stdout".into(), reason: error.to_string() };
    term::data(&host_key.public_line()).map_err(to_stdout)?;
    let listener = listen::bind(config.listen, config.port)?;
    let settings = Settings { policy: config.policy, shell: config.account.shell.clone() };
    let recorder = Recorder::start(sink, settings, host_key.private().clone())?;
    let address = listener.local_addr().map_err(internal)?;
    term::say(&format!("Listening on port {}; {}", address.port(), host_key.fingerprint()));
    let reaper = Reaper::start().map_err(internal)?;
    let shutdown = Shutdown::default();
    let rules = Rules {
        user: config.user,
        account: config.account,
        environment: config.environment.clone(),
        accept_env: config.accept_env,
        max_sessions: 1,
        mask: config.mask,
        post_quantum_only: config.post_quantum_only,
    };
    let (door, events) = Door::new(keys, rules, &host_key, recorder.clone(), reaper.clone(), shutdown.clone());
    let announced = announce.map(|announce| tokio::spawn(announce.run(host_key, address.port(), config.environment, reaper.clone())));
    tokio::spawn(listen::accept(listener, Arc::clone(&door)));
    let attendant =
        Attendant { door, events, recorder: recorder.clone(), shutdown, announced, signals, last: None, claimed: false, running: 0 };
    let outcome = attendant.attend(config.timeout).await;
    reaper.sweep(None).await;
    let sealed = recorder.seal();
    let status = outcome?;
    sealed?;
    Ok(status)
}

/// Sees a visit through.
struct Attendant {
    door: Arc<Door>,
    events: mpsc::Receiver<Event>,
    recorder: Recorder,
    shutdown: Shutdown,
    announced: Option<JoinHandle<Result<(), Fault>>>,
    signals: Signals,
    last: Option<Result<Ending, Fault>>,
    claimed: bool,
    running: u32,
}

impl Attendant {
    async fn attend(mut self, timeout: Duration) -> Result<u8, Fault> {
        // Until the visitor comes: the time they have to; then until a session is open; then until they leave.
        let mut limit: Pin<Box<tokio::time::Sleep>> = Box::pin(tokio::time::sleep(timeout));
        let mut limited = true;
        let door = Arc::clone(&self.door);
        loop {
            tokio::select! {
                biased;
                fault = self.shutdown.requested() => return self.wind_up(fault).await,
                event = self.events.recv() => match event {
                    Some(Event::Claimed) => {
                        self.claimed = true;
                        limit.as_mut().reset(tokio::time::Instant::now() + OPEN_LIMIT);
                    }
                    Some(Event::SessionStarted) => {
                        self.running += 1;
                        limited = false;
                    }
                    Some(Event::SessionEnded(ended)) => {
                        self.running -= 1;
                        self.last = Some(ended);
                        limited = self.running == 0;
                        limit.as_mut().reset(tokio::time::Instant::now() + LEAVE_LIMIT);
                    }
                    None => return Err(Fault::Internal("the door is gone".into())),
                },
                () = door.visitor_left(), if self.running == 0 => return self.finished(),
                () = &mut limit, if limited => return self.too_late(timeout),
                announced = outcome(&mut self.announced), if self.announced.is_some() => {
                    self.announced = None;
                    if let Err(fault) = announced {
                        self.shutdown.request(fault);
                    }
                }
                number = self.signals.next() => self.shutdown.request(Fault::Signalled(number)),
                error = self.recorder.failed() => self.shutdown.request(error.into()),
            }
        }
    }

    fn finished(&mut self) -> Result<u8, Fault> {
        self.last.take().unwrap_or(Err(Fault::ConnectionLost)).map(Ending::status)
    }

    fn too_late(&mut self, timeout: Duration) -> Result<u8, Fault> {
        if !self.claimed {
            term::say(&format!("Nobody came in within {} s: the door is shut", timeout.as_secs()));
            return Ok(0);
        }
        match self.last.take() {
            Some(ended) => ended.map(Ending::status),
            None => Err(Fault::NoSession(OPEN_LIMIT.as_secs())),
        }
    }

    /// We are to stop: the sessions know, and end.
    async fn wind_up(&mut self, fault: Fault) -> Result<u8, Fault> {
        self.door.shut().cancel();
        let ended = async {
            while self.running > 0 {
                match self.events.recv().await {
                    Some(Event::SessionStarted) => self.running += 1,
                    Some(Event::SessionEnded(_)) => self.running -= 1,
                    Some(Event::Claimed) => {}
                    None => break,
                }
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_LIMIT, ended).await; // What is left is swept.
        Err(fault)
    }
}

async fn outcome(announced: &mut Option<JoinHandle<Result<(), Fault>>>) -> Result<(), Fault> {
    match announced {
        Some(task) => task.await.unwrap_or_else(|error| Err(Fault::Internal(error.to_string()))),
        None => std::future::pending().await,
    }
}

/// The signals that end us: as PID 1 of a container there is nobody else to hear them.
struct Signals([(u8, Signal); 3]);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        // A limit on file sizes is an error of write(2) then, and not the end of us in mid-record. Nobody waits for the signal itself.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Self([(1, signal(SignalKind::hangup())?), (2, signal(SignalKind::interrupt())?), (15, signal(SignalKind::terminate())?)]))
    }

    /// The number of the next one. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = u8> {
        let [(hup, hangup), (int, interrupt), (term, terminate)] = &mut self.0;
        async move {
            tokio::select! {
                _ = hangup.recv() => *hup,
                _ = interrupt.recv() => *int,
                _ = terminate.recv() => *term,
            }
        }
    }
}
