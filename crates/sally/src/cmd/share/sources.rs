//! Reads the keys of a share at its start, and again while it lives.

use std::sync::Arc;
use std::time::Instant;

use sally_proto::authorized_keys::{Enforced, KeyRing, OptionKind};
use sally_proto::error::Fault;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::ShareServer;
use crate::config::Share;
use crate::share::sources::{KeyReload, ReloadRequest, ShareSources};
use crate::{keys, term};

/// Loads the keys of all sources, without the revoked ones. Options of a line that a share can't obey stop the start.
pub(super) async fn load(config: &mut Share) -> Result<(ShareSources, KeyRing), Fault> {
    let enforced: Vec<_> = keys::ENFORCED.iter().copied().filter(|option| *option != OptionKind::Environment).collect();
    // Files that another account can't read are never read again.
    keys::keep(config.sources.iter_mut(), config.run_as.is_some()).await?;
    let revoked = config.server.revoked_keys.clone();
    let loaded = ShareSources::load(config.sources.clone(), config.network.clone(), Enforced::new(&enforced), revoked).await;
    let (mut sources, keys, passed_over) = loaded?;
    passed_over.iter().for_each(|line| term::say(&line.to_string()));
    if config.run_as.is_some() {
        sources.keep_revocations();
    }
    Ok((sources, keys))
}

/// Reads the keys again when it is time, at SIGHUP and at the host's word, as long as the share lives.
pub(super) async fn watch(
    mut sources: ShareSources,
    mut requests: mpsc::Receiver<ReloadRequest>,
    mut hangups: Option<Signal>,
    server: Arc<ShareServer>,
) {
    let hub = Arc::clone(&server.service().hub);
    loop {
        let request = tokio::select! {
            Some(request) = requests.recv() => Some(request),
            () = hangup(&mut hangups) => None,
            () = tokio::time::sleep(sources.pause()) => None,
        };
        let adds = request.as_ref().is_some_and(|request| request.adds);
        // A share has sources.
        let Some(KeyReload { keys, allowed, gone, said }) = sources.reload(Instant::now(), adds).await else { return };
        // In this order no connection of a key that is gone is left out.
        server.load_keys(keys);
        hub.allow_keys(allowed, &gone);
        server.stop_keys(|fingerprint| gone.source_of(fingerprint).is_some(), &Fault::KeyGone);
        said.iter().for_each(|line| hub.notice(line));
        if let Some(request) = request {
            request.answer(&said);
        }
    }
}

async fn hangup(hangups: &mut Option<Signal>) {
    if let Some(hangups) = hangups
        && hangups.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}
