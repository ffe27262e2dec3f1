//! Shows a share as long as one connection lasts.

use std::time::Duration;

use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::clocks::suspended;
use super::keys::ViewerKeys;
use super::terminal::ViewerScreen;
use crate::shutdown::Signals;
use crate::tunnel::share_client::{ShareEvent, ShareInput, ShareOutput, ShareSession};

/// How long a share may take to answer after the machine was suspended.
const AFTER_SUSPENSION: Duration = Duration::from_secs(3);
/// The most pieces of typed text, of 4 KiB at most, that wait for the share.
const PENDING: usize = 16;
/// The signal of a terminal that is closed.
const HANGUP: u8 = 1;

/// How a view ended.
#[derive(Debug)]
pub(super) enum ViewEnd {
    /// The share ended it, with this status.
    Ended(u8),
    /// The viewer left.
    Left,
    /// A signal ends Sally, or the terminal was closed.
    Stopped(u8),
    /// The connection was lost: why.
    Lost(String),
}

/// Shows a share, and hands on what is typed.
pub(super) async fn show(session: ShareSession, screen: &ViewerScreen, keys: &mut ViewerKeys, signals: &mut Signals) -> ViewEnd {
    let ShareSession { output, input } = session;
    let (typing, typed) = mpsc::channel(PENDING);
    let shown = tokio::select! {
        biased;
        number = signals.received() => ViewEnd::Stopped(number),
        // Before the output: a share that floods can't keep the viewer.
        shown = read(screen, keys, typing) => shown,
        shown = draw(output, screen) => shown,
        never = send(&input, typed) => never,
        never = follow(&input, screen) => never,
        shown = watch(&input) => shown,
    };
    if !matches!(shown, ViewEnd::Lost(_)) {
        input.leave().await;
    }
    shown
}

async fn draw(mut output: ShareOutput, screen: &ViewerScreen) -> ViewEnd {
    let mut is_first = true;
    loop {
        match output.next().await {
            ShareEvent::Data(bytes) => {
                // After a lost connection, what stands there is older than what the share draws now.
                if (std::mem::take(&mut is_first) && screen.clear().await.is_err()) || screen.write(bytes).await.is_err() {
                    return ViewEnd::Stopped(HANGUP);
                }
            }
            ShareEvent::Ended(status) => return ViewEnd::Ended(status),
            ShareEvent::Lost(why) => return ViewEnd::Lost(why),
        }
    }
}

/// Reads what is typed, also while the share takes none of it, until there is too much.
async fn read(screen: &ViewerScreen, keys: &mut ViewerKeys, typing: mpsc::Sender<Bytes>) -> ViewEnd {
    while let Some(bytes) = screen.typed().await {
        let escaped = keys.typed(&bytes, Instant::now());
        if escaped.leaves {
            return ViewEnd::Left;
        }
        if !escaped.passed.is_empty() && typing.send(escaped.passed.into()).await.is_err() {
            break;
        }
    }
    ViewEnd::Stopped(HANGUP)
}

async fn send(input: &ShareInput, mut typed: mpsc::Receiver<Bytes>) -> ViewEnd {
    while let Some(bytes) = typed.recv().await {
        input.send(bytes).await;
    }
    std::future::pending().await
}

/// Tells the share each size of the window.
async fn follow(input: &ShareInput, screen: &ViewerScreen) -> ViewEnd {
    if let Ok(mut changed) = signal(SignalKind::window_change()) {
        // It may have changed before the signal was awaited.
        input.resize(screen.size()).await;
        while changed.recv().await.is_some() {
            input.resize(screen.size()).await;
        }
    }
    std::future::pending().await
}

/// Asks the share for an answer whenever the machine was suspended; keepalives find other dead connections.
async fn watch(input: &ShareInput) -> ViewEnd {
    loop {
        suspended().await;
        if !input.answers(AFTER_SUSPENSION).await {
            return ViewEnd::Lost("the machine was suspended".into());
        }
    }
}
