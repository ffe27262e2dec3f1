//! Runs the announce command of a share.

use std::ffi::OsStr;

use sally_proto::error::Fault;
use tokio::task::JoinHandle;

use crate::announce::Announce;
use crate::config::Share;
use crate::host_key::HostKey;
use crate::session::reaper::Reaper;
use crate::ssh::listen::Arrivals;

/// Finds the announce command, if there is one.
pub(super) fn find(config: &Share) -> Result<Option<Announce>, Fault> {
    let path = config.environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    config.announce.as_deref().map(|command| Announce::find(command, &path)).transpose()
}

/// Starts the command. A link lets its bearer try to join, so the links go to its stdin: its arguments can be read by every account, its
/// environment by all that it starts.
pub(super) fn start(
    announce: Option<Announce>,
    config: &Share,
    all_arrivals: &[Arrivals],
    (host_key, links): (&HostKey, &[String]),
    reaper: &Reaper,
) -> Option<JoinHandle<Result<(), Fault>>> {
    let port = all_arrivals.iter().find_map(Arrivals::port).map(|port| port.to_string()).unwrap_or_default();
    let ours = [("SALLY_PORT", port), ("SALLY_HOST_KEY", host_key.public_line()), ("SALLY_FINGERPRINT", host_key.fingerprint())];
    let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
    let environment = config.environment.clone().into_iter().chain(ours).collect();
    let announce = announce?.reading(links.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().into_bytes());
    // A terminal here shows the share alone.
    let announce = if config.foreground { announce } else { announce.silent() };
    Some(tokio::spawn(announce.run(host_key.public_line().into(), environment, reaper.clone())))
}
