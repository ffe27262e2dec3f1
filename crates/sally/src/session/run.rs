//! Owns a running session: starts the pumps, waits for the end of the program, of the client or of the visit, and leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::process::{Pid, Signal};
use sally_proto::error::Fault;
use sally_proto::record::AuditEvent;
use sally_proto::visit::DEADLINES;
use sally_sys::process;
use sally_sys::pty::{self, WindowSize};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::ending::{SessionEnd, SessionEndReason};
use super::masking::{Masking, TerminalMask};
use super::pump::{InputPump, OutputPump, PumpError};
use super::reaper::{Child, Reaper};
use super::service::{Obeys, SessionChannel, StartedSession};
use super::start::{RunningProgram, Streams};
use super::visit::ChannelEnd;
use super::{Control, Ending, Inbound, Outbound, OutputStream};
use crate::panic::{Panicked, caught_as_fault};
use crate::record::{Recorder, StreamKind};

/// A session with a running program.
#[derive(Debug)]
pub struct ProgramSession {
    /// Its number on the record.
    pub channel: u32,
    /// The running program.
    pub program: RunningProgram,
    /// The requests that it obeys.
    pub obeys: Obeys,
    /// The recorder.
    pub recorder: Recorder,
    /// The reaper, which waits for processes.
    pub reaper: Reaper,
    /// How input at password prompts is masked; `None` if it is recorded.
    pub mask: Option<Masking>,
}

impl StartedSession for ProgramSession {
    fn obeys(&self) -> Obeys {
        self.obeys
    }

    /// Runs to its end, for whatever reason; then no process of the session lives, and the ending is recorded.
    ///
    /// # Errors
    /// [`Fault::Record`] if the record can't be written, [`Fault::ConnectionLost`] if the client vanished, or the reason that the visit
    /// ends for.
    async fn run<I: Inbound, O: Outbound>(self, ends: SessionChannel<I, O>) -> Result<Ending, Fault> {
        let (pid, reaper) = (self.program.child.pid, self.reaper.clone());
        let outcome = caught_as_fault(self.run_to_end(ends)).await;
        // Also after a panic, which leaves the program running.
        reaper.sweep(Some(pid)).await;
        outcome
    }
}

impl ProgramSession {
    async fn run_to_end<I: Inbound, O: Outbound>(self, ends: SessionChannel<I, O>) -> Result<Ending, Fault> {
        let Self { channel, program, recorder, mask, .. } = self;
        let SessionChannel { inbound, outbound, control, size, channel_end } = ends;
        let RunningProgram { child, streams } = program;
        let visitor = Arc::new(outbound);
        let ended = CancellationToken::new();
        let terminal = match &streams {
            Streams::Terminal(terminal) => Some(Arc::clone(terminal)),
            Streams::Pipes { .. } => None,
        };
        let mask = mask.filter(|_| terminal.is_some()).map(|mask| mask.of_terminal(child.pid));
        let pump = Pumps::start(channel, streams, inbound, &visitor, &recorder, &ended, mask);
        let mut running = SessionProcess { channel, child, terminal, pumps: pump, control, size, channel_end, recorder, ended };
        let why = running.until_something_ends().await;
        let why = match why {
            SessionEndReason::Ended(ending) => running.drain(ending).await,
            other => other,
        };
        running.pumps.input.abort();
        let end = SessionEnd { channel, recorder: &running.recorder, visitor: &*visitor, channel_end: &running.channel_end };
        match why {
            SessionEndReason::Ended(ending) => end.close(ending).await,
            SessionEndReason::Gone => {
                let fault = end.lost().await;
                running.hang_up(None).await;
                Err(fault)
            }
            SessionEndReason::Stopped(fault) => {
                // A terminal has no stderr of its own.
                let stream = if running.terminal.is_some() { OutputStream::Stdout } else { OutputStream::Stderr };
                end.say_goodbye(&fault, stream).await;
                // The received signal is passed on: a program may wait for it to clean up.
                let told = if let Fault::Signalled(number) = fault { Signal::from_named_raw(number.into()) } else { None };
                running.hang_up(told.filter(|signal| *signal != Signal::HUP)).await;
                Err(fault)
            }
        }
    }
}

/// The tasks that move bytes.
struct Pumps {
    outputs: JoinSet<Result<(), PumpError>>,
    input: tokio::task::AbortHandle,
}

impl Pumps {
    fn start<I: Inbound, O: Outbound>(
        channel: u32,
        streams: Streams,
        inbound: I,
        visitor: &Arc<O>,
        recorder: &Recorder,
        ended: &CancellationToken,
        mask: Option<TerminalMask>,
    ) -> Self {
        let mut outputs = JoinSet::new();
        let terminal = matches!(streams, Streams::Terminal(_));
        let (sink, sources, input_kind) = match streams {
            Streams::Terminal(fd) => (Arc::clone(&fd), vec![(fd, OutputStream::Stdout, StreamKind::PtyOutput)], StreamKind::PtyInput),
            Streams::Pipes { stdin, stdout, stderr } => {
                let sources = vec![(stdout, OutputStream::Stdout, StreamKind::Stdout), (stderr, OutputStream::Stderr, StreamKind::Stderr)];
                (stdin, sources, StreamKind::Stdin)
            }
        };
        let shown = Arc::new(AtomicU64::new(0));
        for (source, stream, kind) in sources {
            let recording = recorder.stream(channel, kind);
            let (visitor, ended, shown) = (Arc::clone(visitor), ended.clone(), Arc::clone(&shown));
            outputs.spawn(OutputPump { source, stream, terminal, recording, visitor, ended, shown }.run());
        }
        let input = InputPump {
            visitor: inbound,
            sink: Some(sink),
            terminal,
            channel,
            recording: recorder.stream(channel, input_kind),
            recorder: recorder.clone(),
            mask,
            shown,
        };
        let input = outputs.spawn(input.run());
        Self { outputs, input }
    }
}

struct SessionProcess {
    channel: u32,
    child: Child,
    terminal: Option<Arc<super::fd::Fd>>,
    pumps: Pumps,
    control: mpsc::Receiver<Control>,
    size: watch::Receiver<WindowSize>,
    channel_end: ChannelEnd,
    recorder: Recorder,
    ended: CancellationToken,
}

impl SessionProcess {
    async fn until_something_ends(&mut self) -> SessionEndReason {
        loop {
            tokio::select! {
                biased;
                fault = self.channel_end.stopped() => return SessionEndReason::Stopped(fault),
                () = self.channel_end.gone() => return SessionEndReason::Gone,
                Some(halted) = self.pumps.outputs.join_next() => {
                    if let Some(why) = self.halted(halted) {
                        return why;
                    }
                }
                ending = self.child.wait() => return SessionEndReason::Ended(ending),
                Ok(()) = self.size.changed() => {
                    if let Err(why) = self.resize() {
                        return why;
                    }
                }
                Some(control) = self.control.recv() => {
                    if let Err(why) = self.obey(&control) {
                        return why;
                    }
                }
            }
        }
    }

    /// Delivers what the program wrote before it ended.
    async fn drain(&mut self, ending: Ending) -> SessionEndReason {
        self.ended.cancel();
        self.pumps.input.abort();
        let limit = tokio::time::sleep(DEADLINES.drain);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                biased;
                fault = self.channel_end.stopped() => return SessionEndReason::Stopped(fault),
                () = self.channel_end.gone() => return SessionEndReason::Gone,
                halted = self.pumps.outputs.join_next() => match halted {
                    Some(halted) => if let Some(why) = self.halted(halted) { return why },
                    None => return SessionEndReason::Ended(ending),
                },
                () = &mut limit => return SessionEndReason::Ended(ending),
            }
        }
    }

    fn halted(&self, pump: Result<Result<(), PumpError>, JoinError>) -> Option<SessionEndReason> {
        match pump {
            Ok(Ok(())) => None,
            Ok(Err(PumpError::Gone)) => Some(SessionEndReason::Gone),
            Ok(Err(PumpError::Record(error))) => Some(SessionEndReason::Stopped(error.into())),
            // One stream of the program failed: the others, and its end, still count.
            Ok(Err(PumpError::Stream(error))) => {
                tracing::debug!(%error, channel = self.channel, "a stream of the program failed");
                None
            }
            Err(error) if error.is_cancelled() => None,
            Err(_) => Some(SessionEndReason::Stopped(Panicked.into())),
        }
    }

    fn resize(&mut self) -> Result<(), SessionEndReason> {
        let size = *self.size.borrow_and_update();
        let Some(terminal) = &self.terminal else { return Ok(()) };
        self.recorder.resize(self.channel, size.columns, size.rows).map_err(|error| SessionEndReason::Stopped(error.into()))?;
        if let Err(error) = pty::resize(&**terminal, size) {
            tracing::debug!(%error, ?size, "the terminal could not be resized");
        }
        Ok(())
    }

    fn obey(&self, control: &Control) -> Result<(), SessionEndReason> {
        let done = match (control, &self.terminal) {
            (Control::Break(length), Some(terminal)) => {
                self.record(&AuditEvent::Break { channel: self.channel, length: *length })?;
                pty::send_break(&**terminal)
            }
            (Control::Break(_), None) => Ok(()),
            (Control::Signal(number, name), terminal) => {
                self.record(&AuditEvent::Signal { channel: self.channel, name: (*name).into() })?;
                let foreground = terminal.as_ref().and_then(|terminal| pty::foreground(&**terminal));
                signal_group(foreground.unwrap_or(self.child.pid), *number)
            }
        };
        if let Err(error) = done {
            tracing::debug!(%error, ?control, "the program could not be told");
        }
        Ok(())
    }

    fn record(&self, event: &AuditEvent) -> Result<(), SessionEndReason> {
        self.recorder.audit(event).map_err(|error| SessionEndReason::Stopped(error.into()))
    }

    /// Ends the processes as a closed terminal does: SIGHUP, a moment, then SIGKILL; in between, sends `also` to those that survive SIGHUP.
    async fn hang_up(&mut self, also: Option<Signal>) {
        let leader = self.child.pid;
        self.pumps.outputs.abort_all();
        for signal in [Some(Signal::HUP), also].into_iter().flatten() {
            for pid in process::descendants(Some(leader)) {
                let _ = rustix::process::kill_process(pid, signal); // It may be gone already.
                let _ = rustix::process::kill_process(pid, Signal::CONT); // A stopped process handles no signal.
            }
            if tokio::time::timeout(DEADLINES.hangup, self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = signal_group(leader, Signal::KILL.as_raw());
        // A process that survives even this is left to the sweep, and then to the kernel.
        let _ = tokio::time::timeout(DEADLINES.stuck, self.child.wait()).await;
    }
}

fn signal_group(group: Pid, number: i32) -> std::io::Result<()> {
    let signal = Signal::from_named_raw(number).ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process_group(group, signal)?)
}
