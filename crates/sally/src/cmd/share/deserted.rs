//! Ends a share that has no viewers.

use std::sync::Arc;
use std::time::Duration;

use sally_proto::error::Fault;

use crate::config::Share;
use crate::session::visit::Visit;
use crate::share::hub::ShareHub;

/// Ends a share that no viewer has joined in time, or that the last one has left.
pub(super) fn end(config: &Share, hub: &Arc<ShareHub>, visit: &Arc<Visit>) {
    if let Some(limit) = config.timeout {
        tokio::spawn(end_unvisited(limit, Arc::clone(hub), Arc::clone(visit)));
    }
    if let Some(limit) = config.until_left {
        let (hub, visit) = (Arc::clone(hub), Arc::clone(visit));
        tokio::spawn(async move {
            hub.deserted(limit).await;
            visit.stop(Fault::ViewersLeft);
        });
    }
}

/// Ends a share that no viewer has joined in time.
async fn end_unvisited(limit: Duration, hub: Arc<ShareHub>, visit: Arc<Visit>) {
    tokio::time::sleep(limit).await;
    if !hub.was_visited() {
        visit.stop(Fault::Unvisited(limit.as_secs()));
    }
}
