//! Serves the console on a session channel of a relay.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::Bytes;
use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;
use sally_proto::relay::Refusal;

use super::Relay;
use super::audit::RelayEvent;
use super::client::Client;
use super::console::{ConsoleAnswer, NO_CONSOLE};
use crate::session::service::{Obeys, PtyRequest, SessionChannel, SessionKind, SessionRequest, SessionService, StartError, StartedSession};
use crate::session::{Ending, Inbound, Outbound, OutputStream};
use crate::term;

/// The console of one connection. Every request is a console command, whatever the user name.
pub(crate) struct Console {
    /// The relay.
    pub(crate) relay: Arc<Relay>,
    /// The client.
    pub(crate) client: Arc<Client>,
}

/// The stand-in for a terminal: answers to a client with a pty use CR LF.
pub(crate) struct CrLfTerminal;

/// An answer to deliver.
pub(crate) struct ConsoleReply {
    answer: ConsoleAnswer,
    on_terminal: bool,
}

impl SessionService for Console {
    type Terminal = CrLfTerminal;
    type Started = ConsoleReply;

    fn terminal(&self, _: u32, _: PtyRequest) -> Result<CrLfTerminal, StartError> {
        Ok(CrLfTerminal)
    }

    /// Accepts every request: `start` answers a client without a console.
    fn check(&self, _: &SessionKind, _: Option<&Grant>) -> Result<(), StartError> {
        Ok(())
    }

    async fn start(&self, request: SessionRequest<CrLfTerminal>) -> Result<ConsoleReply, StartError> {
        let said = match &request.what {
            SessionKind::Shell => String::new(),
            SessionKind::Command(command) => String::from_utf8_lossy(command.as_bytes()).into_owned(),
            SessionKind::Subsystem(name) => format!("subsystem {}", name.display()),
        };
        let (relay, client) = (&self.relay, &self.client);
        let allowed = relay.has_console(client);
        let command = term::excerpt(&said).into();
        let event = RelayEvent::Console { connection: client.number, key: &client.fingerprint, command, allowed };
        let recorded = relay.audit.write(event).await || relay.rules.unaudited;
        let answer = match (allowed, recorded) {
            (false, _) => ConsoleAnswer::refused(NO_CONSOLE),
            (true, false) => ConsoleAnswer::refused(&Refusal::Unrecorded.to_string()),
            (true, true) => relay.console(client, &said),
        };
        Ok(ConsoleReply { answer, on_terminal: request.terminal.is_some() })
    }
}

impl StartedSession for ConsoleReply {
    fn obeys(&self) -> Obeys {
        Obeys::default()
    }

    /// Delivers the answer, and waits for the client to take it. A client that has left needs none.
    async fn run<I: Inbound, O: Outbound>(self, channel: SessionChannel<I, O>) -> Result<Ending, Fault> {
        let Self { answer: ConsoleAnswer { text, error, status }, on_terminal } = self;
        let lines = |text: String| Bytes::from(if on_terminal { text.replace('\n', "\r\n") } else { text });
        let SessionChannel { inbound: _inbound, outbound, control: _running, .. } = channel;
        let gone = |_| Fault::ConnectionLost;
        outbound.deliver(OutputStream::Stdout, lines(text)).await.map_err(gone)?;
        outbound.deliver(OutputStream::Stderr, lines(error)).await.map_err(gone)?;
        outbound.finish(Ending::Exited(status)).await.map_err(gone)?;
        Ok(Ending::Exited(status))
    }
}
