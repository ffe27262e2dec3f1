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

use super::ending::{Farewell, Why};
use super::masking::{Masking, TerminalMask};
use super::pump::{Halt, InputPump, Output};
use super::reaper::{Child, Reaper};
use super::service::{Obeys, SessionChannel, Started};
use super::start::{Program, Streams};
use super::visit::Parting;
use super::{Control, Ending, Inbound, Outbound, Stream};
use crate::panic::{Panicked, caught_as_fault};
use crate::record::{Recorder, StreamKind};

/// A session with a running program.
#[derive(Debug)]
pub struct Session {
    /// Its number on the record.
    pub channel: u32,
    /// The running program.
    pub program: Program,
    /// The requests that it obeys.
    pub obeys: Obeys,
    /// The recorder.
    pub recorder: Recorder,
    /// The reaper, which waits for processes.
    pub reaper: Reaper,
    /// How input at password prompts is masked; `None` if it is recorded.
    pub mask: Option<Masking>,
}

impl Started for Session {
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

impl Session {
    async fn run_to_end<I: Inbound, O: Outbound>(self, ends: SessionChannel<I, O>) -> Result<Ending, Fault> {
        let Self { channel, program, recorder, mask, .. } = self;
        let SessionChannel { inbound, outbound, control, size, parting } = ends;
        let Program { child, streams } = program;
        let visitor = Arc::new(outbound);
        let ended = CancellationToken::new();
        let terminal = match &streams {
            Streams::Terminal(terminal) => Some(Arc::clone(terminal)),
            Streams::Pipes { .. } => None,
        };
        let mask = mask.filter(|_| terminal.is_some()).map(|mask| mask.of_terminal(child.pid));
        let pump = Pumps::start(channel, streams, inbound, &visitor, &recorder, &ended, mask);
        let mut room = Room { channel, child, terminal, pumps: pump, control, size, parting, recorder, ended };
        let why = room.until_something_ends().await;
        let why = match why {
            Why::Ended(ending) => room.drain(ending).await,
            other => other,
        };
        room.pumps.input.abort();
        let farewell = Farewell { channel, recorder: &room.recorder, visitor: &*visitor, parting: &room.parting };
        match why {
            Why::Ended(ending) => farewell.close(ending).await,
            Why::Gone => {
                let fault = farewell.lost().await;
                room.hang_up(None).await;
                Err(fault)
            }
            Why::Stopped(fault) => {
                // A terminal has no stderr of its own.
                let stream = if room.terminal.is_some() { Stream::Stdout } else { Stream::Stderr };
                farewell.say_goodbye(&fault, stream).await;
                // The received signal is passed on: a program may wait for it to clean up.
                let told = if let Fault::Signalled(number) = fault { Signal::from_named_raw(number.into()) } else { None };
                room.hang_up(told.filter(|signal| *signal != Signal::HUP)).await;
                Err(fault)
            }
        }
    }
}

/// The tasks that move bytes.
struct Pumps {
    outputs: JoinSet<Result<(), Halt>>,
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
            Streams::Terminal(fd) => (Arc::clone(&fd), vec![(fd, Stream::Stdout, StreamKind::PtyOutput)], StreamKind::PtyInput),
            Streams::Pipes { stdin, stdout, stderr } => {
                let sources = vec![(stdout, Stream::Stdout, StreamKind::Stdout), (stderr, Stream::Stderr, StreamKind::Stderr)];
                (stdin, sources, StreamKind::Stdin)
            }
        };
        let shown = Arc::new(AtomicU64::new(0));
        for (source, stream, kind) in sources {
            let book = recorder.stream(channel, kind);
            let (visitor, ended, shown) = (Arc::clone(visitor), ended.clone(), Arc::clone(&shown));
            outputs.spawn(Output { source, stream, terminal, book, visitor, ended, shown }.run());
        }
        let input = InputPump {
            visitor: inbound,
            sink: Some(sink),
            terminal,
            channel,
            book: recorder.stream(channel, input_kind),
            recorder: recorder.clone(),
            mask,
            shown,
        };
        let input = outputs.spawn(input.run());
        Self { outputs, input }
    }
}

struct Room {
    channel: u32,
    child: Child,
    terminal: Option<Arc<super::fd::Fd>>,
    pumps: Pumps,
    control: mpsc::Receiver<Control>,
    size: watch::Receiver<WindowSize>,
    parting: Parting,
    recorder: Recorder,
    ended: CancellationToken,
}

impl Room {
    async fn until_something_ends(&mut self) -> Why {
        loop {
            tokio::select! {
                biased;
                fault = self.parting.stopped() => return Why::Stopped(fault),
                () = self.parting.gone() => return Why::Gone,
                Some(halted) = self.pumps.outputs.join_next() => {
                    if let Some(why) = self.halted(halted) {
                        return why;
                    }
                }
                ending = self.child.wait() => return Why::Ended(ending),
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
    async fn drain(&mut self, ending: Ending) -> Why {
        self.ended.cancel();
        self.pumps.input.abort();
        let limit = tokio::time::sleep(DEADLINES.drain);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                biased;
                fault = self.parting.stopped() => return Why::Stopped(fault),
                () = self.parting.gone() => return Why::Gone,
                halted = self.pumps.outputs.join_next() => match halted {
                    Some(halted) => if let Some(why) = self.halted(halted) { return why },
                    None => return Why::Ended(ending),
                },
                () = &mut limit => return Why::Ended(ending),
            }
        }
    }

    fn halted(&self, pump: Result<Result<(), Halt>, JoinError>) -> Option<Why> {
        match pump {
            Ok(Ok(())) => None,
            Ok(Err(Halt::Gone)) => Some(Why::Gone),
            Ok(Err(Halt::Record(error))) => Some(Why::Stopped(error.into())),
            // One stream of the program failed: the others, and its end, still count.
            Ok(Err(Halt::Stream(error))) => {
                tracing::debug!(%error, channel = self.channel, "a stream of the program failed");
                None
            }
            Err(error) if error.is_cancelled() => None,
            Err(_) => Some(Why::Stopped(Panicked.into())),
        }
    }

    fn resize(&mut self) -> Result<(), Why> {
        let size = *self.size.borrow_and_update();
        let Some(terminal) = &self.terminal else { return Ok(()) };
        self.recorder.resize(self.channel, size.columns, size.rows).map_err(|error| Why::Stopped(error.into()))?;
        if let Err(error) = pty::resize(&**terminal, size) {
            tracing::debug!(%error, ?size, "the terminal could not be resized");
        }
        Ok(())
    }

    fn obey(&self, control: &Control) -> Result<(), Why> {
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

    fn record(&self, event: &AuditEvent) -> Result<(), Why> {
        self.recorder.audit(event).map_err(|error| Why::Stopped(error.into()))
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
