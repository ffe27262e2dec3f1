//! Runs programs, which serve most session channels.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;
use sally_proto::record::{AuditEvent, UntrustedText};
use sally_proto::sftp::{INTERNAL_SFTP, SUBSYSTEM};
use sally_sys::pty::{self, Pty};

use super::account::Account;
use super::environment::{self, Circumstances, Environment};
use super::masking::Masking;
use super::reaper::Reaper;
use super::run;
use super::service::{Obeys, PtyRequest, SessionKind, SessionRequest, SessionService, StartError};
use super::start::{self, Run};
use crate::record::Recorder;
use crate::term;

/// Starts programs, on a terminal or on pipes.
#[derive(Clone, Debug)]
pub struct Processes {
    /// The account that they run as.
    pub account: Account,
    /// The environment that they inherit.
    pub environment: Environment,
    /// How input at password prompts is masked; `None` if it is recorded.
    pub mask: Option<Masking>,
    /// The recorder.
    pub recorder: Recorder,
    /// The reaper, which starts them and waits for them.
    pub reaper: Reaper,
}

/// The terminal of a program.
#[derive(Debug)]
pub struct Terminal {
    pty: Pty,
    /// The client's `$TERM`; empty if it gives none.
    term: String,
}

impl SessionService for Processes {
    type Terminal = Terminal;
    type Started = run::ProgramSession;

    fn terminal(&self, channel: u32, asked: PtyRequest) -> Result<Terminal, StartError> {
        let PtyRequest { term, size, modes } = asked;
        let pty = open_terminal(size, &modes).map_err(|error| StartError::Refused("pty-req", error.to_string()))?;
        let (cols, rows) = (size.columns.into(), size.rows.into());
        self.recorder.audit(&AuditEvent::Pty { channel, term: term.as_str().into(), cols, rows })?;
        // Recorded before the terminal has that size.
        self.recorder.resize(channel, size.columns, size.rows)?;
        Ok(Terminal { pty, term })
    }

    fn check(&self, what: &SessionKind, grant: Option<&Grant>) -> Result<(), StartError> {
        match (what, grant) {
            (_, None) => Err(StartError::without_grant("session")),
            (_, Some(grant)) if grant.sftp().is_some() => Err(StartError::Refused("session", "this key is for SFTP only".into())),
            (SessionKind::Subsystem(name), Some(grant)) if grant.forced_command().is_none() => {
                Err(StartError::Refused("subsystem", format!("{}: there is no such subsystem", name.display())))
            }
            _ => Ok(()),
        }
    }

    /// Starts the program that the client asks for, or the key's forced command.
    async fn start(&self, request: SessionRequest<Terminal>) -> Result<run::ProgramSession, StartError> {
        let Some(grant) = &request.grant else { return Err(StartError::without_grant("session")) };
        self.check(&request.what, Some(grant))?;
        if let Some((terminal, size)) = request.terminal.as_ref().zip(request.resized) {
            self.recorder.resize(request.channel, size.columns, size.rows)?;
            pty::resize(&terminal.pty.master, size).map_err(|error| self.failed(&request.what, &error))?;
        }
        let (run, original_command) = match (grant.forced_command(), &request.what) {
            (Some(forced), asked) => (Run::Command(forced.into()), original(asked)),
            (None, SessionKind::Shell) => (Run::Shell, None),
            (None, SessionKind::Command(command) | SessionKind::Subsystem(command)) => (Run::Command(command.clone()), None),
        };
        let terminal = request.terminal.as_ref();
        let circumstances = Circumstances {
            peer: request.ends.0,
            local: request.ends.1,
            terminal: terminal.map(|terminal| (terminal.pty.name.as_str(), terminal.term.as_str())),
            original_command,
            sent: &request.sent,
            of_key: grant.environment(),
            agent: request.agent.as_deref(),
        };
        let environment = environment::build(&self.environment, &self.account, &circumstances);
        self.recorder.audit(&self.start_event(request.channel, &request.what, grant))?;
        // As with sshd, signals are only for a program that the client itself asked for, and breaks only for a terminal.
        let obeys = Obeys { signals: grant.forced_command().is_none(), breaks: terminal.is_some() };
        let pty = request.terminal.map(|terminal| terminal.pty);
        let program =
            start::start(&self.reaper, &self.account, &run, environment, pty).map_err(|error| self.failed(&request.what, &error))?;
        let (recorder, reaper, mask) = (self.recorder.clone(), self.reaper.clone(), self.mask.clone());
        Ok(run::ProgramSession { channel: request.channel, program, obeys, recorder, reaper, mask })
    }
}

impl Processes {
    /// Returns the error of a start that failed: because of the client's request, or because of something here.
    fn failed(&self, asked: &SessionKind, error: &io::Error) -> StartError {
        let why = match error.kind() {
            // Only the request can have one: variables end at a NUL, and so do the lines of keys.
            io::ErrorKind::InvalidInput => "there is a NUL in it",
            // Sally itself was started with this environment and the shell's name: the client's part is too long.
            io::ErrorKind::ArgumentListTooLong => "it is longer than the system takes",
            _ => {
                let shell = self.account.shell.display().to_string();
                return StartError::Failed(Fault::Shell { shell, reason: term::reason(error) });
            }
        };
        StartError::Refused(asked.request(), why.into())
    }

    fn start_event(&self, channel: u32, asked: &SessionKind, grant: &Grant) -> AuditEvent {
        let forced = grant.forced_command().map(UntrustedText::from);
        match asked {
            SessionKind::Shell => AuditEvent::Shell { channel, program: self.account.shell.as_os_str().as_bytes().into(), forced },
            SessionKind::Command(command) => AuditEvent::Exec { channel, command: command.as_bytes().into(), forced },
            SessionKind::Subsystem(name) => AuditEvent::Subsystem { channel, name: name.as_bytes().into(), forced },
        }
    }
}

/// Returns the original command that the forced command is told. For SFTP it is sshd's own name, which scripts look for.
fn original(asked: &SessionKind) -> Option<&OsStr> {
    match asked {
        SessionKind::Shell => None,
        SessionKind::Subsystem(name) if name == SUBSYSTEM => Some(OsStr::new(INTERNAL_SFTP)),
        SessionKind::Command(asked) | SessionKind::Subsystem(asked) => Some(asked),
    }
}

fn open_terminal(size: pty::WindowSize, modes: &[(u8, u32)]) -> io::Result<Pty> {
    let terminal = pty::open()?;
    if let Err(error) = pty::set_modes(&terminal.slave, modes) {
        tracing::debug!(%error, "the terminal's modes could not be set"); // As with sshd the terminal is used all the same.
    }
    pty::resize(&terminal.master, size)?;
    Ok(terminal)
}
