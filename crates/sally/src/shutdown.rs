//! Being told to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end us: as PID 1 of a container there is nobody else to hear them.
pub struct Signals([(u8, Signal); 3]);

impl Signals {
    /// Takes them over. To be called within the runtime.
    ///
    /// # Errors
    /// Where no handler can be had.
    pub fn listen() -> std::io::Result<Self> {
        // A limit on file sizes is an error of write(2) then, and not the end of us in mid-record. Nobody waits for the signal itself.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Self([(1, signal(SignalKind::hangup())?), (2, signal(SignalKind::interrupt())?), (15, signal(SignalKind::terminate())?)]))
    }

    /// The number of the next one. Cancel-safe.
    pub fn received(&mut self) -> impl Future<Output = u8> {
        let [(hup, hangup), (int, interrupt), (term, terminate)] = &mut self.0;
        async move {
            tokio::select! {
                _ = hangup.recv() => *hup,
                _ = interrupt.recv() => *int,
                _ = terminate.recv() => *term,
            }
        }
    }
}
