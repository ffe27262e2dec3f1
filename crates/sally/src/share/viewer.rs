//! Serves one person, on a session channel or on the local terminal: draws the screen there, and takes what is typed there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sally_sys::pty::WindowSize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::hub::{FAREWELL, Over, ShareHub, shown};
use super::local::above_status;
use crate::screen::{Depth, FrameView, Permits, ScreenFrame, ScreenSize};
use crate::session::{Disconnected, Inbound, Input, Outbound, OutputStream};

/// The least time between two frames.
const FRAME: Duration = Duration::from_millis(33);
/// How long the rest of an escape sequence may take to come.
const SEQUENCE_WAIT: Duration = Duration::from_millis(50);
/// How long a notice stands on the last row.
pub(super) const NOTICE: Duration = Duration::from_secs(3);
/// What a viewer who may not write reads when it types.
pub(super) const READ_ONLY: &str = "read only: q leaves, w asks to write";

/// Why a person leaves.
#[derive(Debug)]
pub(super) enum Left {
    /// The person closed the connection, or lost it.
    Gone,
    /// The person asked to leave.
    Quit,
    /// The host removed the person: what to say.
    Dismissed(String),
    /// The share is over.
    Over(Over),
}

/// A person's view of a share.
pub(super) struct ViewerTerminal {
    pub(super) hub: Arc<ShareHub>,
    /// The number of the person's keyboard on the record.
    pub(super) number: u32,
    /// The size of the person's window, whenever it changes.
    pub(super) window: watch::Receiver<WindowSize>,
    /// What stands on the last row; nothing if it is empty.
    pub(super) status: watch::Receiver<String>,
    /// Sets it.
    pub(super) notice: watch::Sender<String>,
    /// Whether the last row is the status line's at all times.
    pub(super) is_local: bool,
    pub(super) depth: Depth,
    /// What the person's terminal shows.
    pub(super) frame: Option<ScreenFrame>,
}

impl ViewerTerminal {
    /// Shows the share until the person leaves or has to; returns why. The terminal still shows it: the caller restores it.
    pub(super) async fn run<I: Inbound, O: Outbound>(mut self, inbound: I, outbound: &O) -> Left {
        let (hub, number, notice) = (Arc::clone(&self.hub), self.number, self.notice.clone());
        let (dismissed, _) = hub.dismissal(number);
        let left = tokio::select! {
            biased;
            left = read(&hub, number, inbound, &notice) => left,
            Disconnected = self.show(outbound) => Left::Gone,
            () = dismissed.cancelled() => Left::Dismissed(hub.dismissal(number).1.unwrap_or_default()),
            over = hub.ended() => Left::Over(over),
        };
        // What the program wrote last is seen too.
        if matches!(left, Left::Over(_)) {
            let _ = timeout(FAREWELL, self.draw(outbound)).await; // The person may be gone, or not read.
        }
        left
    }

    /// Draws the screen whenever it has changed, as often as frames may follow each other.
    async fn show<O: Outbound>(&mut self, outbound: &O) -> Disconnected {
        let mut changes = self.hub.changes();
        let (mut told, mut notice_ends) = (self.part(), Instant::now() + NOTICE);
        loop {
            let started = Instant::now();
            let change = *changes.borrow_and_update();
            self.window.mark_unchanged();
            let part = self.part();
            if part != told {
                told = part;
                self.hub.window(self.number, part);
            }
            let notice = self.status.borrow().clone();
            if !self.is_local && notice_ends <= started {
                // A newer one stays.
                self.notice.send_if_modified(|newest| !newest.is_empty() && *newest == notice && std::mem::take(newest) == notice);
            }
            let is_notice = !self.is_local && !self.status.borrow().is_empty();
            if let Err(gone) = self.draw(outbound).await {
                return gone;
            }
            self.hub.has_drawn(change);
            tokio::select! {
                _ = changes.changed() => {}
                Ok(()) = self.window.changed() => {}
                Ok(()) = self.status.changed() => notice_ends = Instant::now() + NOTICE,
                () = sleep_until(notice_ends), if is_notice => {}
            }
            sleep_until(started + FRAME).await;
        }
    }

    /// Returns the part of the window that shows the screen.
    fn part(&self) -> WindowSize {
        let window = shown(*self.window.borrow());
        if self.is_local { above_status(window) } else { window }
    }

    async fn draw<O: Outbound>(&mut self, outbound: &O) -> Result<(), Disconnected> {
        let size = shown(*self.window.borrow());
        let status = self.status.borrow().clone();
        let status = Some(status).filter(|status| !status.is_empty());
        let view = FrameView {
            size: ScreenSize { columns: size.columns, rows: size.rows },
            depth: self.depth,
            permits: Permits::default(),
            name: self.hub.name(),
            notice: status.as_deref(),
        };
        let (drawn, frame) = self.hub.draw(self.number, &view, self.frame.as_ref());
        self.frame = Some(frame);
        if drawn.is_empty() { Ok(()) } else { outbound.deliver(OutputStream::Stdout, Bytes::from(drawn)).await }
    }
}

/// Reads what a person types, as fast as it goes to the program, until the person leaves.
async fn read<I: Inbound>(hub: &ShareHub, number: u32, mut inbound: I, notice: &watch::Sender<String>) -> Left {
    loop {
        hub.has_room(number).await;
        let waits = hub.waits(number);
        let input = tokio::select! {
            input = inbound.next() => input,
            () = sleep(SEQUENCE_WAIT), if waits => Some(Input::Data(Bytes::new())),
        };
        let watcher_key = match input {
            Some(Input::Data(bytes)) if bytes.is_empty() => hub.settle(number),
            Some(Input::Data(bytes) | Input::Typed(_, bytes)) => hub.typed(number, &bytes),
            // A person whose terminal says no more may still watch.
            Some(Input::Eof) => std::future::pending().await,
            None => return Left::Gone,
        };
        match watcher_key {
            None => {}
            Some(b'q') => return Left::Quit,
            Some(b'w') => drop(notice.send_replace(hub.ask_to_write(number))),
            Some(_) => drop(notice.send_replace(READ_ONLY.into())),
        }
    }
}
