//! Starts what a session channel asks for.

use russh::ChannelId;
use russh::server::Session;
use sally_proto::authorized_keys::Grant;
use sally_proto::visit::{Part, VisitEvent};
use sally_sys::pty::WindowSize;
use tokio::sync::{mpsc, watch};

use super::channel::ends;
use super::connection::{ChannelSetup, ClientConnection, ConnectionError, LATE, RunningChannel};
use super::visits::Visits;
use crate::session::service::{SessionChannel, SessionKind, SessionRequest, SessionService, StartError, StartedSession};
use crate::session::visit::ChannelEnd;

/// The most requests to a running session that wait for its loop; more (a flood) are dropped, the newest first.
const CONTROLS: usize = 64;

impl<V: Visits, S: SessionService> ClientConnection<V, S> {
    /// Starts a shell, a command or a subsystem. The session then runs in its own task, which notes its end.
    pub(super) async fn launch(&mut self, id: ChannelId, what: SessionKind, session: &mut Session) -> Result<(), ConnectionError> {
        let Some(client) = &self.client else { return Ok(session.channel_failure(id)?) };
        if client.visit.is_ending() {
            let request = if matches!(what, SessionKind::Subsystem(_)) && !client.grant.forces_program() { "subsystem" } else { "session" };
            self.refuse(request, LATE)?;
            return Ok(session.channel_failure(id)?);
        }
        if let Err(error) = self.server.service.check(&what, Some(&client.grant)) {
            return self.not_started(id, error, session);
        }
        let Some(setup) = self.setups.remove(&id) else { return Ok(session.channel_failure(id)?) };
        let ChannelSetup { number, channel, terminal, resized, sent, agent, permit } = setup;
        let request = SessionRequest {
            channel: number,
            user: client.user.clone(),
            grant: Some(Grant::clone(&client.grant)),
            what,
            terminal,
            resized,
            sent,
            agent: agent.as_ref().map(|agent| agent.path().into()),
            ends: (self.connection.peer, self.local),
            relay_name: self.connection.relay_name.clone(),
            software: session.remote_sshid().into(),
        };
        let started = match self.server.service.start(request).await {
            Ok(started) => started,
            Err(error) => return self.not_started(id, error, session),
        };
        session.channel_success(id)?;
        let visit = client.visit.clone();
        visit.note(VisitEvent::Began(Part::Session));
        let agent = match agent {
            Some(socket) => self.serve_agent(socket, session.handle())?,
            None => None,
        };
        let (control, controls) = mpsc::channel(CONTROLS);
        let (size, sizes) = watch::channel(WindowSize::default());
        let channel_end = ChannelEnd::of_channel(&visit);
        let (inbound, outbound) = ends(channel, session.handle(), &visit.activity, permit);
        let channel = SessionChannel { inbound, outbound, control: controls, size: sizes, channel_end: channel_end.clone() };
        // The library reports a channel's end only if the client closes it first.
        self.running.retain(|_, running| !running.control.is_closed());
        self.running.insert(id, RunningChannel { control, size, channel_end, obeys: started.obeys() });
        tokio::spawn(async move {
            let ended = started.run(channel).await;
            if let Some(agent) = agent {
                agent.stop().await;
            }
            visit.note(VisitEvent::SessionEnded(ended.map(|ending| ending.status())));
        });
        Ok(())
    }

    /// Refuses a request because nothing was started, and records why.
    pub(super) fn not_started(&self, id: ChannelId, error: StartError, session: &mut Session) -> Result<(), ConnectionError> {
        match error {
            StartError::Refused(request, why) => self.refuse(request, &why)?,
            StartError::Failed(fault) => {
                self.refuse("session", &fault.to_string())?;
                // The operator has to learn why the only session failed.
                if let Some(client) = &self.client {
                    client.visit.note(VisitEvent::Began(Part::Session));
                    client.visit.note(VisitEvent::SessionEnded(Err(fault)));
                }
            }
            StartError::Record(error) => {
                self.server.visits.stop(error.clone().into());
                return Err(error.into());
            }
        }
        Ok(session.channel_failure(id)?)
    }
}
