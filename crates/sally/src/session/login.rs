//! Serves a client that logs in: programs, or files.

use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;

use super::processes::{Processes, Terminal};
use super::service::{Obeys, PtyRequest, SessionChannel, SessionKind, SessionRequest, SessionService, StartError, StartedSession};
use super::{Ending, Inbound, Outbound, run, sftp};

/// Serves programs, and files for the SFTP subsystem.
#[derive(Clone, Debug)]
pub struct LoginService {
    /// Programs.
    pub processes: Processes,
    /// Files.
    pub files: sftp::Service,
}

impl LoginService {
    /// Makes the service of programs and files for the account of `processes`.
    pub fn new(processes: Processes) -> Self {
        let files = sftp::Service { account: processes.account.clone(), recorder: processes.recorder.clone() };
        Self { processes, files }
    }

    /// Returns whether the client asks for files, and its key doesn't run a command instead.
    fn is_for_files(what: &SessionKind, grant: Option<&Grant>) -> bool {
        matches!(what, SessionKind::Subsystem(_)) && !grant.is_some_and(Grant::forces_program)
    }
}

/// A running program, or served files.
#[derive(Debug)]
pub enum LoginSession {
    /// A program.
    Program(run::ProgramSession),
    /// Files.
    Files(sftp::SftpSession),
}

impl SessionService for LoginService {
    type Terminal = Terminal;
    type Started = LoginSession;

    fn terminal(&self, channel: u32, asked: PtyRequest) -> Result<Terminal, StartError> {
        self.processes.terminal(channel, asked)
    }

    fn check(&self, what: &SessionKind, grant: Option<&Grant>) -> Result<(), StartError> {
        if Self::is_for_files(what, grant) { self.files.check(what, grant) } else { self.processes.check(what, grant) }
    }

    async fn start(&self, request: SessionRequest<Terminal>) -> Result<LoginSession, StartError> {
        if Self::is_for_files(&request.what, request.grant.as_ref()) {
            // Files need no terminal: dropping one that was asked for closes it.
            let request = SessionRequest { terminal: None, ..request };
            self.files.start(request).await.map(LoginSession::Files)
        } else {
            self.processes.start(request).await.map(LoginSession::Program)
        }
    }
}

impl StartedSession for LoginSession {
    fn obeys(&self) -> Obeys {
        match self {
            Self::Program(program) => program.obeys(),
            Self::Files(files) => files.obeys(),
        }
    }

    async fn run<I: Inbound, O: Outbound>(self, channel: SessionChannel<I, O>) -> Result<Ending, Fault> {
        match self {
            Self::Program(program) => program.run(channel).await,
            Self::Files(files) => files.run(channel).await,
        }
    }
}
