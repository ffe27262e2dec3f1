//! Forwards the user's agent to a session: `auth-agent-req@openssh.com` and `auth-agent@openssh.com` (draft-miller-ssh-agent).

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use russh::ChannelId;
use russh::server::Handle;
use sally_proto::authorized_keys::Grant;
use sally_proto::record::ForwardDirection;
use tokio::net::UnixListener;

use super::super::connection::{AuthenticatedClient, ClientConnection, ConnectionError};
use super::super::visits::Visits;
use super::listener::{Listener, bind_socket};
use super::remote::{Inward, Listening, Towards};
use super::{Forwarder, Forwards, NOT_PERMITTED};
use crate::session::service::SessionService;
use crate::term;

/// The socket that `SSH_AUTH_SOCK` of one session names, in a new folder that only our account can enter. Dropping it removes both.
pub(in crate::ssh) struct AgentSocket {
    listener: UnixListener,
    path: PathBuf,
    folder: tempfile::TempDir,
}

impl AgentSocket {
    /// Makes the socket. mkdir(2) makes the folder under an unpredictable name, so that nothing that exists, not even a symbolic link, is
    /// used.
    fn make(parent: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sally-").permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
        let path = folder.path().join("agent");
        Ok(Self { listener: bind_socket(&path)?, path, folder })
    }

    /// Returns the path that programs connect to.
    pub(in crate::ssh) fn path(&self) -> &Path {
        &self.path
    }
}

impl<V: Visits, S: SessionService> ClientConnection<V, S> {
    /// Answers a session's request for the user's agent; returns whether the socket could be made.
    pub(in crate::ssh) fn offer_agent(&mut self, id: ChannelId) -> Result<bool, ConnectionError> {
        match self.make_agent_socket(id) {
            Ok(()) => Ok(true),
            Err(why) => {
                self.refuse("auth-agent-req", &why)?;
                Ok(false)
            }
        }
    }

    fn make_agent_socket(&mut self, id: ChannelId) -> Result<(), String> {
        let rules = &self.server.shared.rules;
        let grant = self.grant().filter(|_| rules.allowed.agent).ok_or("agent forwarding is not allowed here")?;
        if !Grant::allows_agent_forwarding(grant) {
            return Err(NOT_PERMITTED.into());
        }
        let setup = self.setups.get_mut(&id).ok_or("the session has begun already")?;
        let parent = &rules.temporary;
        let socket = AgentSocket::make(parent).map_err(|error| format!("{}: {}", parent.display(), term::reason(&error)))?;
        setup.agent = Some(socket);
        Ok(())
    }

    /// Connects a session's programs with the agent from now on, until [`Listening::stop`].
    pub(in crate::ssh) fn serve_agent(&self, socket: AgentSocket, connection: Handle) -> Result<Option<Listening>, ConnectionError> {
        let Some(AuthenticatedClient { forwards: Forwards { forwarder: all, .. }, .. }) = &self.client else { return Ok(None) };
        let stop = all.gone.child_token();
        let forwarder = Forwarder { gone: stop.clone(), why_gone: "the session ended", ..all.clone() };
        let AgentSocket { listener, path, folder } = socket;
        let target = path.display().to_string();
        let inward = Inward { direction: ForwardDirection::Agent, target, towards: Towards::Agent };
        let listener = Listener::Unix { listener, path, _remains: Box::new(folder) };
        Ok(Some(forwarder.serve(listener, inward, connection, stop)?))
    }
}
