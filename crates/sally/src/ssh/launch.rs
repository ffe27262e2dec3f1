//! Starting what a session channel asks for.

use std::os::unix::ffi::OsStrExt;

use russh::server::{Msg, Session};
use russh::{Channel, ChannelId};
use sally_proto::authorized_keys::Grant;
use sally_proto::record::{AuditEvent, Said};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channel::{SessionInbound, SessionOutbound};
use super::door::Event;
use super::visitor::{Error, Running, Visitor};
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
        let terminal = setup.terminal.as_ref().map(|(pty, term)| (pty.name.as_str(), term.as_str()));
        let visit = Visit {
            peer: self.connection.peer,
            local: self.local,
            terminal,
            original_command,
            sent: &setup.sent,
            of_key: grant.environment(),
        };
        let environment = environment::build(&self.door.rules.environment, &self.door.rules.account, &visit);
        self.audit(&self.start_event(setup.number, &asked, grant))?;
        let pty = setup.terminal.map(|(pty, _)| pty);
        match start::start(&self.door.reaper, &self.door.rules.account, &what, environment, pty) {
            Ok(program) => {
                session.channel_success(id)?;
                self.tell(Event::SessionStarted).await;
                self.open_room(id, setup.number, setup.channel, program, session);
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

    fn open_room(&mut self, id: ChannelId, number: u32, channel: Channel<Msg>, program: start::Program, session: &Session) {
        let (control, controls) = mpsc::channel(CONTROLS);
        let gone = CancellationToken::new();
        let (read, write) = channel.split();
        let room = Room {
            channel: number,
            program,
            inbound: SessionInbound { channel: read, activity: self.door.activity.clone() },
            outbound: SessionOutbound { channel: write, connection: session.handle(), activity: self.door.activity.clone() },
            control: controls,
            gone: gone.clone(),
            shutdown: self.door.shutdown.clone(),
            recorder: self.door.recorder.clone(),
            reaper: self.door.reaper.clone(),
            mask: self.door.rules.mask,
        };
        self.running.insert(id, Running { control, gone });
        let events = self.door.events.clone();
        tokio::spawn(async move {
            let ended = room.run().await;
            let _ = events.send(Event::SessionEnded(ended)).await; // The visit is over already.
        });
    }
}
