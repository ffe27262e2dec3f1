//! Accepts connections, and limits those that have sent no CONNECT yet.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sally_proto::admission::ClientSource;
use sally_proto::error::Fault;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BrokerState, entry};
use crate::lock::lock;
use crate::net::accept::accept_each;
use crate::net::admission::Connection;
use crate::net::bind::bind_with;
use crate::term;

/// The connections that the kernel may hold before they are accepted: most of the devices when all come back at once.
const BACKLOG: u32 = 4096;
/// The interval of looks at the fleet's files.
const LOOK: Duration = Duration::from_secs(2);

pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Fault> {
    bind_with(address, BACKLOG).map_err(|error| Fault::Bind { port: address.port(), reason: term::reason(&error) })
}

/// The number of connections of each source that have not been admitted yet.
#[derive(Debug, Default)]
pub(super) struct Sources(Mutex<HashMap<ClientSource, usize>>);

impl Sources {
    fn counts(&self) -> MutexGuard<'_, HashMap<ClientSource, usize>> {
        lock(&self.0)
    }

    fn enter(&self, source: ClientSource, most: usize) -> bool {
        let mut counts = self.counts();
        let count = counts.entry(source).or_default();
        let fits = *count < most;
        *count = count.saturating_add(fits.into());
        fits
    }

    fn leave(&self, source: ClientSource) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&source);
            }
        }
    }
}

/// A connection that has not been admitted yet.
struct WaitingConnection {
    shared: Arc<BrokerState>,
    source: ClientSource,
    connection: Connection,
}

impl Drop for WaitingConnection {
    fn drop(&mut self) {
        self.shared.sources.leave(self.source);
    }
}

/// Accepts connections until the listener is shut.
pub(super) async fn accept(listener: TcpListener, shared: Arc<BrokerState>, shut: CancellationToken, tasks: TaskTracker) {
    let each = |tcp, peer| {
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        match admit(&shared, peer) {
            Ok(waiting) => drop(tasks.spawn(serve(tcp, waiting))),
            Err(why) => shared.counters.refused(why),
        }
    };
    accept_each(listener, &shut, each, || shared.admission.make_room()).await;
    shared.admission.dismiss();
    tasks.close();
}

fn admit(shared: &Arc<BrokerState>, peer: SocketAddr) -> Result<WaitingConnection, &'static str> {
    let address: IpAddr = peer.ip();
    let source = ClientSource::from(address);
    if !shared.sources.enter(source, shared.limits.waiting_per_source) {
        return Err("too_many_of_one_source");
    }
    match shared.admission.admit(Some(peer).into()) {
        Some(connection) => Ok(WaitingConnection { shared: Arc::clone(shared), source, connection }),
        None => {
            shared.sources.leave(source);
            Err("penalty")
        }
    }
}

/// Serves one connection to its end. The future is small; the larger parts are in boxes, which are freed when they aren't needed any more.
async fn serve(tcp: TcpStream, waiting: WaitingConnection) {
    if let Some(running) = Box::pin(accept_client(tcp, waiting)).await {
        running.await;
    }
}

async fn accept_client(tcp: TcpStream, waiting: WaitingConnection) -> Option<entry::SessionFuture> {
    let shared = &waiting.shared;
    let entry = async {
        // The number of waiting connections is bounded, so that each gets its turn within seconds.
        shared.turns.next().await;
        tokio::time::timeout(shared.limits.entry, entry::enter(tcp, shared)).await.unwrap_or(Err("too_late".into()))
    };
    let entered = tokio::select! {
        biased;
        () = waiting.connection.cut.cancelled() => Err("made_room".into()),
        entered = entry => entered,
    };
    match entered {
        Ok(running) => {
            waiting.connection.authenticated();
            Some(running)
        }
        Err(entry::TurnedAway { word, detail }) => {
            tracing::info!(peer = %waiting.connection.peer, why = word, detail, "an MQTT client was refused");
            shared.counters.refused(word);
            None
        }
    }
}

/// Looks at the fleet's files at intervals; a client that was revoked is cut off.
pub(super) async fn watch(shared: Arc<BrokerState>, shut: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = shut.cancelled() => return,
            _ = looks.tick() => {}
        }
        match shared.look(false).await {
            Ok(()) => failing = false,
            Err(fault) if !failing => {
                failing = true;
                term::fault(&fault);
                term::say("  until this is corrected, no new device is accepted");
            }
            Err(_) => {}
        }
    }
}
