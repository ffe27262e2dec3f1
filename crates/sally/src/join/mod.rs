//! Joins a share from a terminal: shows it here, and joins again when the connection is lost.
//!
//! - `terminal`: the terminal here, in raw mode; it is given back as it was
//! - `show`: one connection to the share, from the login to its end
//! - `rejoin`: what is shown and typed while there is none
//! - `keys`: the keys that leave, and the rest of what was typed while there was none
//! - `clocks`: notices that the machine was suspended
//! - `passphrase`: asks for the passphrase of a key
//!
//! Nothing of the share reaches the terminal, and nothing typed reaches the share, before the share has proved the host key of the link.

mod clocks;
mod keys;
mod passphrase;
mod rejoin;
mod show;
mod terminal;

use sally_proto::backoff::{Backoff, Pace};
use sally_proto::error::{Fault, exit};
use sally_proto::relay::Veiled;
use sally_proto::share::JoinLink;
use tokio::time::Instant;

use self::keys::ViewerKeys;
use self::rejoin::rejoin;
use self::show::{ViewEnd, show};
use self::terminal::ViewerScreen;
use crate::shutdown::Signals;
use crate::tunnel::client_keys::{ClientKeys, KeyPlaces};
use crate::tunnel::relay_client::HostTrust;
use crate::tunnel::share_client::{JoinError, ShareDialer, ShareSession, TerminalRequest};

/// The configuration of `sally join`.
#[derive(Clone, Debug)]
pub struct JoinConfig {
    /// Where the share is, and its host key.
    pub link: JoinLink,
    /// How the relay's host key is checked.
    pub relay: HostTrust,
    /// Where the viewer's keys are.
    pub keys: KeyPlaces,
    /// The name of the terminal, `$TERM`.
    pub term: String,
}

/// Joins the share, and stays until it ends or the viewer leaves; returns the exit status.
///
/// # Errors
/// Those of the first login; later those that make another login useless.
pub async fn join(config: JoinConfig) -> Result<u8, Fault> {
    let internal = |error: std::io::Error| Fault::Internal(error.to_string());
    let mut signals = Signals::listen().map_err(internal)?;
    let mut request = TerminalRequest { term: config.term, size: ViewerScreen::size_here().map_err(|_| Fault::NoViewerTerminal)? };
    sally_sys::process::guard_ourselves().map_err(internal)?;
    let first = async {
        let keys = ClientKeys::find(config.keys, passphrase::decrypt).await.map_err(Fault::NotJoined)?;
        let mut dialer = ShareDialer::new(config.link, config.relay, keys);
        let session = dialer.join(&request, true).await.map_err(fault)?;
        Ok::<_, Fault>((dialer, session))
    };
    let (mut dialer, session) = tokio::select! {
        biased;
        number = signals.received() => return Err(Fault::Signalled(number)),
        joined = first => joined?,
    };
    let screen = ViewerScreen::take_over().map_err(|_| Fault::NoViewerTerminal)?;
    stay(&mut dialer, session, &mut request, &screen, &mut signals).await
}

/// Shows the share, and joins it again after each lost connection.
async fn stay(
    dialer: &mut ShareDialer,
    mut session: ShareSession,
    request: &mut TerminalRequest,
    screen: &ViewerScreen,
    signals: &mut Signals,
) -> Result<u8, Fault> {
    let (mut backoff, mut keys) = (Backoff::new(Pace::VIEWER), ViewerKeys::default());
    loop {
        let since = Instant::now();
        let why = match show(session, screen, &mut keys, signals).await {
            ViewEnd::Ended(status) => return Ok(status),
            ViewEnd::Left => return Ok(0),
            ViewEnd::Stopped(number) => return Err(Fault::Signalled(number)),
            ViewEnd::Lost(why) => why,
        };
        backoff.held(since.elapsed());
        let Some(joined) = rejoin(dialer, request, screen, &mut keys, signals, &mut backoff, why).await? else {
            return Ok(exit::CONNECTION);
        };
        session = joined;
    }
}

/// Returns what a failed login ends with.
fn fault(error: JoinError) -> Fault {
    match error {
        JoinError::ShareHostKey(key) => Fault::ShareHostKey(key.to_string()),
        other => Fault::NotJoined(Veiled::from(other.to_string()).to_string()),
    }
}
