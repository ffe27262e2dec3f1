//! Serves a client that asks for the SFTP subsystem.

use sally_proto::authorized_keys::Grant;
use sally_proto::record::{AuditEvent, Said};
use sally_proto::sftp::{SUBSYSTEM, SftpFlags, sends_link_first};

use super::{Session, Terms, start};
use crate::record::Recorder;
use crate::session::account::Account;
use crate::session::processes::Terminal;
use crate::session::service::{PtyRequest, SessionRequest, SessionService, StartError, What};
use crate::term;

/// Serves files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The account whose files are served.
    pub account: Account,
    /// The recorder.
    pub recorder: Recorder,
}

impl Files {
    /// Returns the flags of the client's key, or why files are refused.
    fn flags(what: &What, grant: Option<&Grant>) -> Result<SftpFlags, StartError> {
        let refused = |why| Err(StartError::Refused("subsystem", why));
        let Some(grant) = grant else { return Err(StartError::without_grant("subsystem")) };
        let flags = match grant.sftp() {
            None => SftpFlags::default(),
            Some(Ok(flags)) => flags,
            // A key or certificate with such a command is not let in.
            Some(Err(why)) => return refused(why),
        };
        match what {
            What::Subsystem(name) if name == SUBSYSTEM => Ok(flags),
            What::Subsystem(name) => refused(format!("{}: there is no such subsystem", name.display())),
            What::Shell | What::Command(_) => refused("there are only files".into()),
        }
    }
}

impl SessionService for Files {
    type Terminal = Terminal;
    type Started = Session;

    fn terminal(&self, _: u32, _: PtyRequest) -> Result<Terminal, StartError> {
        Err(StartError::Refused("pty-req", "files have no terminal".into()))
    }

    fn check(&self, what: &What, grant: Option<&Grant>) -> Result<(), StartError> {
        Self::flags(what, grant).map(drop)
    }

    async fn start(&self, request: SessionRequest<Terminal>) -> Result<Session, StartError> {
        let flags = Self::flags(&request.what, request.grant.as_ref())?;
        let forced = request.grant.as_ref().and_then(Grant::forced_command).map(Said::from);
        self.recorder.audit(&AuditEvent::Subsystem { channel: request.channel, name: SUBSYSTEM.into(), forced })?;
        let terms = Terms { account: self.account.clone(), flags, link_first: sends_link_first(&request.software) };
        let files = start(request.channel, terms, self.recorder.clone())
            .map_err(|error| StartError::Refused("subsystem", format!("{SUBSYSTEM}: {}", term::reason(&error))))?;
        Ok(Session { channel: request.channel, files, recorder: self.recorder.clone() })
    }
}
