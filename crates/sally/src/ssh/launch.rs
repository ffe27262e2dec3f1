//! Starting what a session channel asks for.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use russh::server::{Msg, Session};
use russh::{Channel, ChannelId};
use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;
use sally_proto::record::{AuditEvent, Said};
use sally_proto::sftp::{INTERNAL_SFTP, SftpFlags, sends_link_first};
use sally_sys::pty::{self, WindowSize};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::channel::{SessionInbound, SessionOutbound};
use super::door::Event;
use super::forward::{AgentSocket, Listening};
use super::visitor::{Error, LATE, Obeys, Running, Setup, Visitor};
use crate::session::environment::{self, Visit};
use crate::session::run::Session as Room;
use crate::session::start::{self, What};
use crate::session::{Ending, sftp};
use crate::term;

/// Requests to a running session that may wait for its loop; more (a flood) are dropped, the newest first.
const CONTROLS: usize = 64;
/// The one subsystem.
const SFTP: &str = "sftp";

/// What the command that replaces it is told was asked for: SFTP is one of sshd's own to sshd, and to the scripts that look for it.
fn original(asked: &What) -> Option<&OsStr> {
    match asked {
        What::Shell => None,
        What::Subsystem(name) if name == SFTP => Some(OsStr::new(INTERNAL_SFTP)),
        What::Command(asked) | What::Subsystem(asked) => Some(asked),
    }
}

impl Visitor {
    /// Starts what the visitor asked for, or what the key says instead.
    pub(super) async fn launch(&mut self, id: ChannelId, asked: What, session: &mut Session) -> Result<(), Error> {
        if self.is_late("session")? {
            return Ok(session.channel_failure(id)?);
        }
        if self.grant.as_ref().is_some_and(|grant| grant.sftp().is_some()) {
            self.refuse("session", "this key is for SFTP only")?;
            return Ok(session.channel_failure(id)?);
        }
        let (Some(setup), Some(grant)) = (self.setups.remove(&id), &self.grant) else {
            return Ok(session.channel_failure(id)?);
        };
        let (what, original_command) = match grant.forced_command() {
            Some(forced) => (What::Command(forced.into()), original(&asked)),
            None => (asked.clone(), None),
        };
        let Setup { number, channel, terminal, sent, agent, seat } = setup;
        if let Some((terminal, size)) = terminal.as_ref().and_then(|terminal| Some((terminal, terminal.resized?))) {
            self.record_size(number, size)?;
            pty::resize(&terminal.pty.master, size)?;
        }
        let visit = Visit {
            peer: self.connection.peer,
            local: self.local,
            terminal: terminal.as_ref().map(|terminal| (terminal.pty.name.as_str(), terminal.term.as_str())),
            original_command,
            sent: &sent,
            of_key: grant.environment(),
            agent: agent.as_ref().map(AgentSocket::path),
        };
        let environment = environment::build(&self.door.rules.environment, &self.door.rules.account, &visit);
        self.audit(&self.start_event(number, &asked, grant))?;
        let obeys = Obeys { signals: grant.forced_command().is_none(), breaks: terminal.is_some() };
        let pty = terminal.map(|terminal| terminal.pty);
        match start::start(&self.door.reaper, &self.door.rules.account, &what, environment, pty) {
            Ok(program) => {
                session.channel_success(id)?;
                self.tell(Event::SessionStarted).await;
                let agent = match agent {
                    Some(socket) => Some(self.serve_agent(socket, session.handle()).await?),
                    None => None,
                };
                self.open_room(id, number, self.ends(channel, seat, session), program, (agent, obeys));
                Ok(())
            }
            Err(error) => {
                self.came_to_nothing(&asked, &error).await?;
                Ok(session.channel_failure(id)?)
            }
        }
    }

    /// Nothing was started: for what the client asked for, or for want of something here.
    async fn came_to_nothing(&self, asked: &What, error: &io::Error) -> Result<(), Error> {
        let why = match error.kind() {
            // Names and values here have none: those of the environment end at one, and so do the lines of keys.
            io::ErrorKind::InvalidInput => "there is a NUL in it",
            // Sally itself was started with this environment, and a shell's name: it is the client's part that is too much.
            io::ErrorKind::ArgumentListTooLong => "it is longer than the system takes",
            _ => {
                let shell = self.door.rules.account.shell.display().to_string();
                let fault = Fault::Shell { shell, reason: term::reason(error) };
                self.refuse("session", &fault.to_string())?;
                // Whoever opened the door is to learn why its one session came to nothing.
                self.tell(Event::SessionStarted).await;
                self.tell(Event::SessionEnded(Err(fault))).await;
                return Ok(());
            }
        };
        let request = match asked {
            What::Shell => "shell",
            What::Command(_) => "exec",
            What::Subsystem(_) => "subsystem",
        };
        Ok(self.refuse(request, why)?)
    }

    /// Puts a terminal's size on the record, before it has that size.
    pub(super) fn record_size(&self, channel: u32, size: WindowSize) -> Result<(), Error> {
        let recorded = self.door.recorder.resize(channel, size.columns, size.rows);
        Ok(recorded.inspect_err(|error| self.door.shutdown.request(error.clone().into()))?)
    }

    /// Whether the visit is ending: then nothing begins any more.
    fn is_late(&self, what: &str) -> Result<bool, Error> {
        let late = self.door.shutdown.is_requested();
        if late {
            self.refuse(what, LATE)?;
        }
        Ok(late)
    }

    fn start_event(&self, channel: u32, asked: &What, grant: &Grant) -> AuditEvent {
        let forced = grant.forced_command().map(Said::from);
        match asked {
            What::Shell => AuditEvent::Shell { channel, program: self.door.rules.account.shell.as_os_str().as_bytes().into(), forced },
            What::Command(command) => AuditEvent::Exec { channel, command: command.as_bytes().into(), forced },
            What::Subsystem(name) => AuditEvent::Subsystem { channel, name: name.as_bytes().into(), forced },
        }
    }

    /// Serves files, unless the key says that something else runs instead.
    pub(super) async fn subsystem(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        let forced = self.grant.as_ref().and_then(Grant::forced_command);
        let flags = match self.grant.as_ref().and_then(Grant::sftp) {
            None if forced.is_some() => return self.launch(id, What::Subsystem(name.into()), session).await,
            flags => flags.unwrap_or_else(|| Ok(SftpFlags::default())),
        };
        if self.is_late("subsystem")? {
            return Ok(session.channel_failure(id)?);
        }
        let flags = match flags {
            Ok(flags) => flags,
            // Keys and certificates with such a command let nobody in.
            Err(why) => {
                self.refuse("subsystem", &why)?;
                return Ok(session.channel_failure(id)?);
            }
        };
        if name != SFTP {
            self.refuse("subsystem", &format!("{name}: there is no such subsystem"))?;
            return Ok(session.channel_failure(id)?);
        }
        let forced = forced.map(Said::from);
        let Some(setup) = self.setups.remove(&id).filter(|_| self.grant.is_some()) else {
            return Ok(session.channel_failure(id)?);
        };
        self.audit(&AuditEvent::Subsystem { channel: setup.number, name: name.into(), forced })?;
        let terms = sftp::Terms { account: self.door.rules.account.clone(), flags, link_first: sends_link_first(session.remote_sshid()) };
        match sftp::start(setup.number, terms, self.door.recorder.clone()) {
            Ok(files) => {
                session.channel_success(id)?;
                self.tell(Event::SessionStarted).await;
                let parting = self.parting.of_channel();
                let (inbound, outbound) = self.ends(setup.channel, setup.seat, session);
                let (shutdown, recorder) = (self.door.shutdown.clone(), self.door.recorder.clone());
                let room = sftp::Session { channel: setup.number, files, inbound, outbound, parting: parting.clone(), shutdown, recorder };
                // Nothing in it has a window to be resized, or hears signals.
                let (control, controls) = mpsc::channel(1);
                let running = Running { control, size: watch::Sender::default(), gone: parting.gone, obeys: Obeys::default() };
                self.enter(id, running, async move {
                    let ended = room.run().await;
                    drop(controls); // Held until here: it tells a session that is running.
                    ended
                });
                Ok(())
            }
            Err(error) => {
                self.refuse("subsystem", &format!("{name}: {}", term::reason(&error)))?;
                Ok(session.channel_failure(id)?)
            }
        }
    }

    fn open_room(
        &mut self,
        id: ChannelId,
        number: u32,
        (inbound, outbound): (SessionInbound, SessionOutbound),
        program: start::Program,
        (agent, obeys): (Option<Listening>, Obeys),
    ) {
        let (control, controls) = mpsc::channel(CONTROLS);
        let (size, sizes) = watch::channel(WindowSize::default());
        let parting = self.parting.of_channel();
        let room = Room {
            channel: number,
            program,
            inbound,
            outbound,
            control: controls,
            size: sizes,
            parting: parting.clone(),
            shutdown: self.door.shutdown.clone(),
            recorder: self.door.recorder.clone(),
            reaper: self.door.reaper.clone(),
            mask: self.door.rules.mask.clone(),
        };
        self.enter(id, Running { control, size, gone: parting.gone, obeys }, async move {
            let ended = room.run().await;
            if let Some(agent) = agent {
                agent.stop().await;
            }
            ended
        });
    }

    /// The session runs from here on in a task of its own, and its end is told.
    fn enter(&mut self, id: ChannelId, running: Running, room: impl Future<Output = Result<Ending, Fault>> + Send + 'static) {
        // The library tells of a channel's end where the visitor closes it first, and only then.
        self.running.retain(|_, running| !running.control.is_closed());
        self.running.insert(id, running);
        let door = Arc::clone(&self.door);
        tokio::spawn(async move {
            let ended = room.await;
            door.tell(Event::SessionEnded(ended)).await;
        });
    }

    fn ends(&self, channel: Channel<Msg>, seat: Option<OwnedSemaphorePermit>, session: &Session) -> (SessionInbound, SessionOutbound) {
        let (read, write) = channel.split();
        let activity = self.door.activity.clone();
        let outbound = SessionOutbound { channel: write, connection: session.handle(), activity: activity.clone(), seat: Mutex::new(seat) };
        (SessionInbound { channel: read, activity }, outbound)
    }
}
