//! How a session ends, whatever ran in it: on the record first, then said to the visitor.

use bytes::Bytes;
use sally_proto::error::Fault;
use sally_proto::record::AuditEvent;
use sally_proto::visit::DEADLINES;
use tokio::time::timeout;

use super::visit::Parting;
use super::{Ending, Outbound, Stream};
use crate::record::{Recorder, StreamKind};
use sally_proto::signal;

/// What a session ends by.
pub(super) enum Why {
    /// What ran in it has ended.
    Ended(Ending),
    /// The visitor is gone.
    Gone,
    /// We are to stop.
    Stopped(Fault),
}

/// What there is at the end of a session.
pub(super) struct Farewell<'a, O> {
    pub(super) channel: u32,
    pub(super) recorder: &'a Recorder,
    pub(super) visitor: &'a O,
    pub(super) parting: &'a Parting,
}

impl<O: Outbound> Farewell<'_, O> {
    /// It ended by itself: its status is recorded, then said.
    pub(super) async fn close(&self, ending: Ending) -> Result<Ending, Fault> {
        if let Ending::Signalled { signal, core } = ending {
            self.recorder.audit(&AuditEvent::ExitSignal { channel: self.channel, signal: signal::name(signal), core })?;
        }
        self.recorder.exit(self.channel, ending.status())?;
        // Everything is delivered and the ending is on the record: a visitor who leaves at the last word has had their visit.
        tokio::select! {
            _ = self.visitor.finish(ending) => {}
            () = self.parting.gone() => {}
            fault = self.parting.stopped() => return Err(fault),
        }
        Ok(ending)
    }

    /// The visitor vanished.
    pub(super) async fn lost(&self) -> Fault {
        // A pump hears of it before it is known why.
        tokio::select! {
            () = self.parting.gone() => {}
            () = tokio::time::sleep(DEADLINES.verdict) => {}
            _ = self.parting.stopped() => {}
        }
        self.note(&AuditEvent::Close { reason: self.parting.verdict() });
        Fault::ConnectionLost
    }

    /// A line to the visitor, recorded like any other; where the record is what failed, nothing. A terminal has one stream only.
    pub(super) async fn say_goodbye(&self, fault: &Fault, stream: Stream) {
        let (kind, line) = match stream {
            Stream::Stdout => (StreamKind::PtyOutput, format!("\r\nsally: {fault}\r\n")),
            Stream::Stderr => (StreamKind::Stderr, format!("sally: {fault}\n")),
        };
        self.note(&AuditEvent::Close { reason: fault.to_string() });
        if !matches!(fault, Fault::Record { .. }) && self.recorder.stream(self.channel, kind).record(line.as_bytes()).is_ok() {
            let said = self.visitor.deliver(stream, Bytes::from(line));
            let _ = timeout(DEADLINES.notice, said).await; // A visitor who does not listen is not waited for.
        }
        let _ = timeout(DEADLINES.notice, self.visitor.finish(Ending::Exited(fault.exit_status()))).await;
    }

    /// For what is already over: a record that fails now has been or will be reported by its own fault.
    fn note(&self, event: &AuditEvent) {
        if let Err(error) = self.recorder.audit(event) {
            tracing::debug!(%error, "the end of the session is not on the record");
        }
    }
}
