//! Serves a client that asks for the SFTP subsystem.

use sally_proto::authorized_keys::Grant;
use sally_proto::record::{AuditEvent, UntrustedText};
use sally_proto::sftp::{SUBSYSTEM, SftpFlags, sends_link_first};

use super::{SftpSession, SftpTerms, start};
use crate::record::Recorder;
use crate::session::account::Account;
use crate::session::processes::Terminal;
use crate::session::service::{PtyRequest, SessionKind, SessionRequest, SessionService, StartError};
use crate::term;

/// Serves files.
#[derive(Clone, Debug)]
pub struct SftpService {
    /// The account whose files are served.
    pub account: Account,
    /// The recorder.
    pub recorder: Recorder,
}

impl SftpService {
    /// Returns the flags of the client's key, or why files are refused.
    fn flags(what: &SessionKind, grant: Option<&Grant>) -> Result<SftpFlags, StartError> {
        let refused = |why| Err(StartError::Refused("subsystem", why));
        let Some(grant) = grant else { return Err(StartError::without_grant("subsystem")) };
        let flags = match grant.sftp() {
            None => SftpFlags::default(),
            Some(Ok(flags)) => flags,
            // A key or certificate with such a command is not let in.
            Some(Err(why)) => return refused(why),
        };
        match what {
            SessionKind::Subsystem(name) if name == SUBSYSTEM => Ok(flags),
            SessionKind::Subsystem(name) => refused(format!("{}: there is no such subsystem", name.display())),
            SessionKind::Shell | SessionKind::Command(_) => refused("there are only files".into()),
        }
    }
}

impl SessionService for SftpService {
    type Terminal = Terminal;
    type Started = SftpSession;

    fn terminal(&self, _: u32, _: PtyRequest) -> Result<Terminal, StartError> {
        Err(StartError::Refused("pty-req", "files have no terminal".into()))
    }

    fn check(&self, what: &SessionKind, grant: Option<&Grant>) -> Result<(), StartError> {
        Self::flags(what, grant).map(drop)
    }

    async fn start(&self, request: SessionRequest<Terminal>) -> Result<SftpSession, StartError> {
        let flags = Self::flags(&request.what, request.grant.as_ref())?;
        let forced = request.grant.as_ref().and_then(Grant::forced_command).map(UntrustedText::from);
        self.recorder.audit(&AuditEvent::Subsystem { channel: request.channel, name: SUBSYSTEM.into(), forced })?;
        let terms = SftpTerms { account: self.account.clone(), flags, link_first: sends_link_first(&request.software) };
        let files = start(request.channel, terms, self.recorder.clone())
            .map_err(|error| StartError::Refused("subsystem", format!("{SUBSYSTEM}: {}", term::reason(&error))))?;
        Ok(SftpSession { channel: request.channel, files, recorder: self.recorder.clone() })
    }
}
