//! Receives the signals to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end Sally. As PID 1 of a container it must handle them itself.
pub struct Signals {
    signals: [(u8, Signal); 4],
    /// Whether SIGHUP means something else.
    spares_hangup: bool,
}

impl Signals {
    /// Takes over the signals. Must be called within the runtime.
    ///
    /// # Errors
    /// No signal handler can be had.
    pub fn listen() -> std::io::Result<Self> {
        // With a handler, exceeding a limit on file sizes is an error of write(2), and doesn't kill the process in mid-record. The signal
        // itself is ignored.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let signals = [
            (1, signal(SignalKind::hangup())?),
            (2, signal(SignalKind::interrupt())?),
            (3, signal(SignalKind::quit())?),
            (15, signal(SignalKind::terminate())?),
        ];
        Ok(Self { signals, spares_hangup: false })
    }

    /// Takes SIGHUP for another purpose: from now on it is none of the signals that end Sally.
    ///
    /// # Errors
    /// No signal handler can be had.
    pub fn take_hangup(&mut self) -> std::io::Result<Signal> {
        self.spares_hangup = true;
        signal(SignalKind::hangup())
    }

    /// Returns the number of the next signal. Cancel-safe.
    pub fn received(&mut self) -> impl Future<Output = u8> {
        let hangup_ends = !self.spares_hangup;
        let [(hup, hangup), (int, interrupt), (quit, quits), (term, terminate)] = &mut self.signals;
        async move {
            tokio::select! {
                _ = hangup.recv(), if hangup_ends => *hup,
                _ = interrupt.recv() => *int,
                _ = quits.recv() => *quit,
                _ = terminate.recv() => *term,
            }
        }
    }
}
