//! Runs Sally's own sessions, for devices without an sshd: one `sally once` for each visitor, so that no part of a visit outlives it.
//!
//! The process gets the host key through a socket, changes to the account for sessions, and requests a record when a visitor has
//! authenticated. The number of processes before authentication is limited: an older one is ended for a newcomer.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::Pid;
use sally_proto::admission::{AdmissionSettings, Startups};
use sally_proto::authorized_keys::Enforced;
use sally_proto::error::Fault;
use sally_proto::monitor::{MonitorAnswer, MonitorRequest};
use sally_proto::record::parse_size;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::account::for_sessions;
use super::bundle::invalid;
use super::processes::SessionProcesses;
use super::records::RecordFolder;
use crate::fleet::bundle::{host_key, visitors};
use crate::fleet::settings::AgentSettings;
#[cfg(feature = "once")]
use crate::keys;
use crate::monitor::{MonitorSocket, pair};
use crate::net::admission::{Connection, Origins, ServerAdmission};
use crate::net::endpoint::Endpoint;
use crate::session::account::RunAs;
use crate::term;

/// The limit of sessions in one connection, as sshd's MaxSessions.
const SESSIONS: &str = "10";
/// The limits of processes for visitors that haven't authenticated. Each has some 2 MB of its own, and a device may be small. A visitor
/// authenticates in a fraction of a second, in which at least eight others would have to come to end its process.
const UNAUTHENTICATED: Startups = Startups { start: 8, rate: 30, full: 16 };

/// Starts sessions, and has the folder for their records.
#[derive(Debug)]
pub struct Sessions {
    bundle: PathBuf,
    /// The device's host key, in its file's format.
    host_key: Vec<u8>,
    run_as: Option<RunAs>,
    records: Arc<RecordFolder>,
    running: Arc<SessionProcesses>,
    admission: Arc<ServerAdmission>,
    /// One permit for each process before authentication, held until the process has ended, even if it was cut off.
    processes: Arc<Semaphore>,
}

/// A running session.
pub(super) struct AgentSession {
    /// Cancelled when the session is ended for a newcomer, before its visitor has authenticated.
    pub(super) cut: CancellationToken,
    ended: JoinHandle<std::io::Result<ExitStatus>>,
}

impl AgentSession {
    /// Waits until the process has ended.
    pub(super) async fn end(self) -> Result<ExitStatus, String> {
        match self.ended.await {
            Ok(status) => status.map_err(|error| term::reason(&error)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Sessions {
    pub(super) fn new(bundle: &Path, settings: &AgentSettings) -> Result<Self, Fault> {
        let file = bundle.join("agent.toml");
        if !cfg!(feature = "once") {
            return Err(invalid(&file, "serve = \"session\" needs a sally that was built with once".into()));
        }
        let most = parse_size(&settings.records_max).map_err(|_| invalid(&file, "records_max is not a size such as 64K or 1G".into()))?;
        let folder = bundle.join(&settings.records);
        let records = RecordFolder::open(folder.clone(), most).map_err(|error| invalid(&folder, term::reason(&error)))?;
        // These are loaded at the start too, so that a fault that would refuse every visitor is reported now.
        let host_key = host_key(bundle)?.text()?;
        #[cfg(feature = "once")]
        visitors(bundle, Enforced::new(keys::ENFORCED))?;
        let run_as = for_sessions(bundle, records.path(), settings.run_as.as_deref())?;
        let admission = ServerAdmission::new(AdmissionSettings { startups: UNAUTHENTICATED, refuse: false }, Origins::default());
        let processes = Arc::new(Semaphore::new(usize::try_from(UNAUTHENTICATED.full).unwrap_or(1)));
        Ok(Self { bundle: bundle.to_owned(), host_key, run_as, records: Arc::new(records), running: Arc::default(), admission, processes })
    }

    /// Begins a session for a client at this address, and returns the near end of its connection.
    pub(super) async fn begin(&self, peer: Endpoint) -> Result<(UnixStream, AgentSession), String> {
        self.records.has_room()?;
        let reason = |error: std::io::Error| term::reason(&error);
        let unauthenticated = self.admission.admit(peer).ok_or("its address is refused")?;
        let cut = unauthenticated.cut.clone();
        let process = tokio::select! {
            biased;
            () = cut.cancelled() => return Err(CROWDED.into()),
            process = Arc::clone(&self.processes).acquire_owned() => process.map_err(|error| error.to_string())?,
        };
        let (near, far) = std::os::unix::net::UnixStream::pair().map_err(reason)?;
        near.set_nonblocking(true).map_err(reason)?;
        let near = UnixStream::from_std(near).map_err(reason)?;
        let (socket, theirs) = pair().map_err(reason)?;
        socket.say(&self.host_key).map_err(reason)?;
        let (pid, child) = self.start(far.into(), theirs).map_err(reason)?;
        let (records, running) = (Arc::clone(&self.records), Arc::clone(&self.running));
        let monitor = Monitor { socket, records, record: None, unauthenticated: Some((unauthenticated, process)), pid, running };
        Ok((near, AgentSession { cut: cut.clone(), ended: tokio::spawn(monitor.attend(child, cut)) }))
    }

    fn start(&self, connection: OwnedFd, monitor: OwnedFd) -> std::io::Result<(Pid, Child)> {
        let mut once = Command::new(own_executable()?);
        once.arg0("sally").args(["once", "--inetd", "--max-sessions", SESSIONS, "--bundle"]).arg(&self.bundle);
        if let Some(run_as) = &self.run_as {
            once.args(["--run-as", run_as.named()]);
        }
        let monitor = sally_sys::process::hand_down(&mut once, monitor);
        once.args(["--monitor", &monitor.to_string()]);
        once.stdin(connection.try_clone()?).stdout(connection).stderr(Stdio::inherit());
        // It isn't killed with the agent: when its connection ends, it ends what is left, and seals the record.
        self.running.start(once)
    }
}

/// The reason for the end of a visit before authentication.
pub(super) const CROWDED: &str = "too many connections are authenticating: an older one is closed";

/// Returns this process's executable, even if an update has replaced its file: different versions understand each other.
fn own_executable() -> std::io::Result<PathBuf> {
    let file = std::env::current_exe()?;
    Ok(if file.exists() { file } else { "/proc/self/exe".into() })
}

/// Answers a session's process, and waits for its end.
struct Monitor {
    socket: MonitorSocket,
    records: Arc<RecordFolder>,
    record: Option<PathBuf>,
    /// Its place among the visitors that haven't authenticated, until this one has.
    unauthenticated: Option<(Connection, OwnedSemaphorePermit)>,
    pid: Pid,
    running: Arc<SessionProcesses>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.running.ended(self.pid);
        if let Some(record) = &self.record {
            self.records.end(record);
        }
    }
}

impl Monitor {
    async fn attend(mut self, mut child: Child, cut: CancellationToken) -> std::io::Result<ExitStatus> {
        let mut listens = true;
        loop {
            tokio::select! {
                biased;
                status = child.wait() => return self.bury(status?).await,
                // It has no record and no visitor. If the agent may not kill it, it ends because its connection has.
                () = cut.cancelled(), if listens && self.unauthenticated.is_some() => {
                    listens = false;
                    let _ = child.start_kill();
                }
                request = self.socket.request(), if listens => match request {
                    Ok(Some(request)) => self.answer(request),
                    Ok(None) | Err(_) => listens = false,
                }
            }
        }
    }

    /// Ends what a killed process has left of its session.
    async fn bury(self, status: ExitStatus) -> std::io::Result<ExitStatus> {
        self.running.ended(self.pid);
        if status.signal().is_some() {
            self.running.sweep().await;
        }
        Ok(status)
    }

    fn answer(&mut self, request: MonitorRequest) {
        let (answer, file) = match (request, &self.record) {
            (MonitorRequest::Record, None) => match self.records.begin() {
                Ok((record, file, room)) => {
                    self.record = Some(record);
                    if let Some((unauthenticated, _process)) = self.unauthenticated.take() {
                        unauthenticated.authenticated();
                    }
                    (MonitorAnswer::Limit(room), Some(file))
                }
                Err(why) => (MonitorAnswer::Refused(why), None),
            },
            (MonitorRequest::Growth, Some(record)) => match self.records.grow(record) {
                Ok(room) => (MonitorAnswer::Limit(room), None),
                Err(why) => (MonitorAnswer::Refused(why), None),
            },
            (MonitorRequest::Record, Some(_)) | (MonitorRequest::Growth, None) => {
                (MonitorAnswer::Refused("it asked at the wrong time".into()), None)
            }
        };
        if let Err(error) = self.socket.answer(&answer, file.as_ref().map(|file| file.as_fd())) {
            tracing::debug!(%error, "a session's process has not received the answer"); // It has ended, or gets no record.
        }
    }
}
