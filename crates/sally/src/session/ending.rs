//! Ends a session, whatever ran in it: records the end, then tells the client.

use bytes::Bytes;
use sally_proto::error::Fault;
use sally_proto::record::AuditEvent;
use sally_proto::visit::DEADLINES;
use tokio::time::timeout;

use super::visit::ChannelEnd;
use super::{Ending, Outbound, OutputStream};
use crate::record::{Recorder, StreamKind};
use sally_proto::signal;

/// Why a session ends.
pub(super) enum SessionEndReason {
    /// Its program or its files have ended.
    Ended(Ending),
    /// The client is gone.
    Gone,
    /// The visit has to stop.
    Stopped(Fault),
}

/// The parts that a session's end needs.
pub(super) struct SessionEnd<'a, O> {
    pub(super) channel: u32,
    pub(super) recorder: &'a Recorder,
    pub(super) visitor: &'a O,
    pub(super) channel_end: &'a ChannelEnd,
}

impl<O: Outbound> SessionEnd<'_, O> {
    /// Records the status of a session that ended on its own, then tells the client.
    pub(super) async fn close(&self, ending: Ending) -> Result<Ending, Fault> {
        if let Ending::Signalled { signal, core } = ending {
            self.recorder.audit(&AuditEvent::ExitSignal { channel: self.channel, signal: signal::name(signal), core })?;
        }
        self.recorder.exit(self.channel, ending.status())?;
        // Everything is delivered and the ending is recorded: a client that leaves now has had its whole visit.
        tokio::select! {
            _ = self.visitor.finish(ending) => {}
            () = self.channel_end.gone() => {}
            fault = self.channel_end.stopped() => return Err(fault),
        }
        Ok(ending)
    }

    /// Records that the client vanished.
    pub(super) async fn lost(&self) -> Fault {
        // A pump learns of it before the reason is known.
        tokio::select! {
            () = self.channel_end.gone() => {}
            () = tokio::time::sleep(DEADLINES.verdict) => {}
            _ = self.channel_end.stopped() => {}
        }
        self.note(&AuditEvent::Close { reason: self.channel_end.verdict() });
        Fault::ConnectionLost
    }

    /// Sends the client a line, recorded like any other output; nothing if the record itself failed. `stream`: a terminal has only one.
    pub(super) async fn say_goodbye(&self, fault: &Fault, stream: OutputStream) {
        let (kind, line) = match stream {
            OutputStream::Stdout => (StreamKind::PtyOutput, format!("\r\nsally: {fault}\r\n")),
            OutputStream::Stderr => (StreamKind::Stderr, format!("sally: {fault}\n")),
        };
        self.note(&AuditEvent::Close { reason: fault.to_string() });
        if !matches!(fault, Fault::Record { .. }) && self.recorder.stream(self.channel, kind).record(line.as_bytes()).is_ok() {
            let said = self.visitor.deliver(stream, Bytes::from(line));
            let _ = timeout(DEADLINES.notice, said).await; // A client that doesn't read is not waited for.
        }
        let _ = timeout(DEADLINES.notice, self.visitor.finish(Ending::Exited(fault.exit_status()))).await;
    }

    /// Records an event of what is already over: a failing record is reported by its own fault.
    fn note(&self, event: &AuditEvent) {
        if let Err(error) = self.recorder.audit(event) {
            tracing::debug!(%error, "the end of the session is not on the record");
        }
    }
}
