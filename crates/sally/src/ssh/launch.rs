//! Starting what a session channel asks for.

use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use russh::ChannelId;
use russh::server::Session;
use sally_proto::authorized_keys::Grant;
use sally_proto::record::{AuditEvent, Said};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channel::{SessionInbound, SessionOutbound};
use super::door::Event;
use super::forward::{AgentSocket, Listening};
use super::visitor::{Error, Running, Setup, Visitor};
use crate::session::environment::{self, Visit};
use crate::session::run::Session as Room;
use crate::session::start::{self, What};

/// Requests to a running session that may wait for its loop; more (a flood) are dropped, the newest first.
const CONTROLS: usize = 64;

impl Visitor {
    /// Starts what the visitor asked for, or what the key says instead.
    pub(super) async fn launch(&mut self, id: ChannelId, asked: What, session: &mut Session) -> Result<(), Error> {
        let (Some(setup), Some(grant)) = (self.setups.remove(&id), &self.grant) else {
            return Ok(session.channel_failure(id)?);
        };
        let original = match &asked {
            What::Shell => None,
            What::Command(command) => command.to_str(),
        };
        let (what, original_command) = match grant.forced_command() {
            Some(forced) => (What::Command(forced.into()), original),
            None => (asked.clone(), None),
        };
        let Setup { number, channel, terminal: pty, sent, agent, seat } = setup;
        let terminal = pty.as_ref().map(|(pty, term)| (pty.name.as_str(), term.as_str()));
        let visit = Visit {
            peer: self.connection.peer,
            local: self.local,
            terminal,
            original_command,
            sent: &sent,
            of_key: grant.environment(),
            agent: agent.as_ref().map(AgentSocket::path),
        };
        let environment = environment::build(&self.door.rules.environment, &self.door.rules.account, &visit);
        self.audit(&self.start_event(number, &asked, grant))?;
        let pty = pty.map(|(pty, _)| pty);
        match start::start(&self.door.reaper, &self.door.rules.account, &what, environment, pty) {
            Ok(program) => {
                session.channel_success(id)?;
                self.tell(Event::SessionStarted).await;
                let agent = match agent {
                    Some(socket) => Some(self.serve_agent(socket, session.handle()).await?),
                    None => None,
                };
                let (read, write) = channel.split();
                let activity = self.door.activity.clone();
                let inbound = SessionInbound { channel: read, activity: activity.clone() };
                let outbound = SessionOutbound { channel: write, connection: session.handle(), activity, seat: Mutex::new(seat) };
                self.open_room(id, number, (inbound, outbound), program, agent);
                Ok(())
            }
            Err(error) => {
                self.refuse("session", &format!("{}: {error}", self.door.rules.account.shell.display()))?;
                Ok(session.channel_failure(id)?)
            }
        }
    }

    fn start_event(&self, channel: u32, asked: &What, grant: &Grant) -> AuditEvent {
        let forced = grant.forced_command().map(Said::from);
        match asked {
            What::Shell => AuditEvent::Shell { channel, program: self.door.rules.account.shell.as_os_str().as_bytes().into(), forced },
            What::Command(command) => AuditEvent::Exec { channel, command: command.as_bytes().into(), forced },
        }
    }

    fn open_room(
        &mut self,
        id: ChannelId,
        number: u32,
        (inbound, outbound): (SessionInbound, SessionOutbound),
        program: start::Program,
        agent: Option<Listening>,
    ) {
        let (control, controls) = mpsc::channel(CONTROLS);
        let gone = CancellationToken::new();
        let room = Room {
            channel: number,
            program,
            inbound,
            outbound,
            control: controls,
            gone: gone.clone(),
            shutdown: self.door.shutdown.clone(),
            recorder: self.door.recorder.clone(),
            reaper: self.door.reaper.clone(),
            mask: self.door.rules.mask,
        };
        self.running.insert(id, Running { control, gone });
        let door = Arc::clone(&self.door);
        tokio::spawn(async move {
            let ended = room.run().await;
            if let Some(agent) = agent {
                agent.stop().await;
            }
            door.tell(Event::SessionEnded(ended)).await;
        });
    }
}
