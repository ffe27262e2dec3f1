//! Joins a share again after a lost connection. Meanwhile the last row says so, and nothing that is typed reaches the share.

use std::time::Duration;

use sally_proto::backoff::Backoff;
use sally_proto::error::Fault;
use sally_proto::relay::Veiled;
use tokio::time::{Instant, sleep, sleep_until};

use super::clocks::suspended;
use super::fault;
use super::keys::ViewerKeys;
use super::terminal::ViewerScreen;
use crate::shutdown::Signals;
use crate::tunnel::share_client::{JoinError, ShareDialer, ShareSession, TerminalRequest};

/// How long a relay may refuse the keys or the name: it does so while the share is not connected, and for good once the share has ended.
const REFUSALS: Duration = Duration::from_secs(60 * 60);
/// How often the last row is drawn.
const ROW: Duration = Duration::from_secs(1);
/// The signal of a terminal that is closed.
const HANGUP: u8 = 1;

/// Joins again, after a pause before each attempt; returns `None` if the viewer leaves. `why`: how the connection was lost.
///
/// # Errors
/// A signal; or another attempt is useless.
pub(super) async fn rejoin(
    dialer: &mut ShareDialer,
    request: &mut TerminalRequest,
    screen: &ViewerScreen,
    keys: &mut ViewerKeys,
    signals: &mut Signals,
    backoff: &mut Backoff,
    mut why: String,
) -> Result<Option<ShareSession>, Fault> {
    keys.lost(Instant::now());
    let mut refused_since = None;
    loop {
        let pause = backoff.pause(getrandom::u64().unwrap_or_default());
        let joined = tokio::select! {
            biased;
            number = signals.received() => return Err(Fault::Signalled(number)),
            leaves = leaves(keys, screen) => return if leaves { Ok(None) } else { Err(Fault::Signalled(HANGUP)) },
            joined = attempt(dialer, request, screen, pause, &why) => joined,
        };
        match joined {
            Ok(session) => return Ok(Some(session)),
            Err(error) if error.is_lasting() => return Err(fault(error)),
            Err(error) => {
                why = error.to_string();
                let since = refused_since.take().unwrap_or_else(Instant::now);
                if error.is_refusal() {
                    if since.elapsed() >= REFUSALS {
                        return Err(fault(error));
                    }
                    refused_since = Some(since);
                }
            }
        }
    }
}

/// Waits, then joins. A machine that was suspended waits no longer, and begins again.
async fn attempt(
    dialer: &mut ShareDialer,
    request: &mut TerminalRequest,
    screen: &ViewerScreen,
    pause: Duration,
    why: &str,
) -> Result<ShareSession, JoinError> {
    let until = Instant::now() + pause;
    tokio::select! {
        () = say(screen, Some(until), why) => {}
        () = sleep_until(until) => {}
        () = suspended() => {}
    }
    request.size = screen.size();
    tokio::select! {
        joined = dialer.join(request, false) => joined,
        () = say(screen, None, why) => Err(JoinError::Unreachable("the terminal takes nothing".into())),
        () = suspended() => Err(JoinError::Unreachable("the machine was suspended".into())),
    }
}

/// Draws the last row again and again, with the time that is left until an attempt. Returns only if the terminal takes nothing.
async fn say(screen: &ViewerScreen, until: Option<Instant>, why: &str) {
    let why = Veiled::from(why);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()).as_secs_f32().ceil());
        let when = left.map(|seconds| format!(" in {seconds:.0} s")).unwrap_or_default();
        if screen.say(&format!("connection lost: joining again{when} (q leaves) | {why}")).await.is_err() {
            return;
        }
        sleep(ROW).await;
    }
}

/// Drops what is typed until the viewer leaves; returns false if the terminal is gone. Cancel-safe.
async fn leaves(keys: &mut ViewerKeys, screen: &ViewerScreen) -> bool {
    while let Some(bytes) = screen.typed().await {
        if keys.leaves(&bytes, Instant::now()) {
            return true;
        }
    }
    false
}
