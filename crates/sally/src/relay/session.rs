//! Serves the console on a session channel of a relay.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::Bytes;
use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;
use sally_proto::relay::Refusal;

use super::Relay;
use super::audit::Event;
use super::caller::Caller;
use super::console::{Answer, NO_CONSOLE};
use crate::session::service::{Obeys, PtyRequest, SessionChannel, SessionRequest, SessionService, StartError, Started, What};
use crate::session::{Ending, Inbound, Outbound, Stream};
use crate::term;

/// The console of one connection. Every request is a console command, whatever the user name.
pub(crate) struct Console {
    /// The relay.
    pub(crate) relay: Arc<Relay>,
    /// The client.
    pub(crate) caller: Arc<Caller>,
}

/// The stand-in for a terminal: answers to a client with a pty use CR LF.
pub(crate) struct Lines;

/// An answer to deliver.
pub(crate) struct Reply {
    answer: Answer,
    on_terminal: bool,
}

impl SessionService for Console {
    type Terminal = Lines;
    type Started = Reply;

    fn terminal(&self, _: u32, _: PtyRequest) -> Result<Lines, StartError> {
        Ok(Lines)
    }

    /// Accepts every request: `start` answers a client without a console.
    fn check(&self, _: &What, _: Option<&Grant>) -> Result<(), StartError> {
        Ok(())
    }

    async fn start(&self, request: SessionRequest<Lines>) -> Result<Reply, StartError> {
        let said = match &request.what {
            What::Shell => String::new(),
            What::Command(command) => String::from_utf8_lossy(command.as_bytes()).into_owned(),
            What::Subsystem(name) => format!("subsystem {}", name.display()),
        };
        let (relay, caller) = (&self.relay, &self.caller);
        let allowed = relay.has_console(caller);
        let command = term::excerpt(&said).into();
        let event = Event::Console { connection: caller.number, key: &caller.fingerprint, command, allowed };
        let recorded = relay.audit.write(event).await || relay.rules.unaudited;
        let answer = match (allowed, recorded) {
            (false, _) => Answer::refused(NO_CONSOLE),
            (true, false) => Answer::refused(&Refusal::Unrecorded.to_string()),
            (true, true) => relay.console(caller, &said),
        };
        Ok(Reply { answer, on_terminal: request.terminal.is_some() })
    }
}

impl Started for Reply {
    fn obeys(&self) -> Obeys {
        Obeys::default()
    }

    /// Delivers the answer, and waits for the client to take it. A client that has left needs none.
    async fn run<I: Inbound, O: Outbound>(self, channel: SessionChannel<I, O>) -> Result<Ending, Fault> {
        let Self { answer: Answer { text, error, status }, on_terminal } = self;
        let lines = |text: String| Bytes::from(if on_terminal { text.replace('\n', "\r\n") } else { text });
        let SessionChannel { inbound: _inbound, outbound, control: _running, .. } = channel;
        let gone = |_| Fault::ConnectionLost;
        outbound.deliver(Stream::Stdout, lines(text)).await.map_err(gone)?;
        outbound.deliver(Stream::Stderr, lines(error)).await.map_err(gone)?;
        outbound.finish(Ending::Exited(status)).await.map_err(gone)?;
        Ok(Ending::Exited(status))
    }
}
