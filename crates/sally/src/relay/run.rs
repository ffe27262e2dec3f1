//! A relay from start to drained: accept, reload, stop.

use std::sync::Arc;
use std::time::Duration;

use sally_proto::error::Fault;
use sally_proto::relay::Refusal;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::audit::{AuditLog, RelayEvent};
use super::http::Monitoring;
use super::keys::KeySet;
use super::reload::{self, Reloader};
use super::revoked::watch_revoked;
use super::{Relay, http};
use crate::net::http::serve;
use crate::net::tls::ServerCertificate;
use crate::panic::spawn_essential;
use crate::term;

/// The interval of looks for permissions that have ended and for sums that are due.
const EXPIRY_LOOK: Duration = Duration::from_secs(2);
/// The time for the remaining connections to close.
const GOODBYE: Duration = Duration::from_secs(2);

/// The parts of a running relay.
pub struct Parts {
    /// The state that its connections share.
    pub relay: Arc<Relay>,
    /// The socket of `/metrics`, if it is served.
    pub http: Option<TcpListener>,
    /// The certificate of `/metrics`, if it uses TLS.
    pub http_tls: Option<Arc<ServerCertificate>>,
    /// The reloader of its keys.
    pub reloader: Reloader,
    /// The time that visits may still take after it is told to stop.
    pub drain: Duration,
}

/// Runs until told to stop, then until drained. `accept` accepts the connections of its socket.
///
/// # Errors
/// [`Fault::Internal`] if signals can't be handled.
pub async fn run(parts: Parts, accept: impl Future<Output = ()> + Send + 'static) -> Result<(), Fault> {
    let internal = |error: std::io::Error| Fault::Internal(error.to_string());
    let mut signals = StopSignals::listen().map_err(internal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(internal)?;
    let Parts { relay, http, http_tls, reloader, drain } = parts;
    let accepting = spawn_essential(accept);
    let http_shut = CancellationToken::new();
    if let Some(listener) = http {
        let router = Arc::new(Monitoring(Arc::clone(&relay)));
        spawn_essential(serve(listener, http_tls.clone(), router, http::LIMITS, http_shut.clone()));
    }
    let wanted = Arc::new(Notify::new());
    let reloading = spawn_essential(reload::watch(Arc::clone(&relay), reloader, Arc::clone(&wanted)));
    let revocations_wanted = Arc::new(Notify::new());
    let rereading = spawn_essential(watch_revoked(Arc::clone(&relay), Arc::clone(&revocations_wanted)));
    let mut looks = tokio::time::interval(EXPIRY_LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let number = loop {
        tokio::select! {
            number = signals.stop() => break number,
            _ = hangup.recv() => {
                relay.audit.reopen().await;
                wanted.notify_one();
                revocations_wanted.notify_one();
                http_tls.iter().for_each(|tls| tls.reload());
                relay.look_at_fleet(true).await;
            }
            _ = looks.tick() => {
                relay.let_go_expired();
                relay.sum_up(false).await;
                relay.look_at_fleet(false).await;
            }
        }
    };
    relay.shut().cancel();
    reloading.abort();
    rereading.abort();
    term::say(&format!("Stopping by signal {number}: {} visit(s) may continue for {} s", relay.visits().len(), drain.as_secs()));
    tokio::select! {
        _ = tokio::time::timeout(drain, relay.idle()) => {}
        _ = signals.stop() => {} // A second signal ends the wait.
    }
    disconnect_everybody(&relay).await;
    accepting.abort();
    http_shut.cancel();
    relay.sum_up(true).await;
    relay.audit.write(RelayEvent::Stop { why: "told to" }).await;
    Ok(())
}

async fn disconnect_everybody(relay: &Relay) {
    let left: Vec<_> = relay.clients().values().cloned().collect();
    for client in &left {
        client.line.dismiss(&Refusal::Stopping.to_string());
    }
    let gone = async {
        while !relay.clients().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(GOODBYE, gone).await; // A client that doesn't read the message is cut off at the process's end.
}

/// Logs and audits how many keys there are.
pub async fn note_keys(audit: &AuditLog, keys: &KeySet) {
    let [(_, visitors), (_, devices), (_, admins)] = keys.counts();
    tracing::info!(visitors, devices, admins, "keys loaded");
    audit.note(RelayEvent::Keys { visitors, devices, admins }).await;
}

/// The stop signals. They need handlers: the kernel gives PID 1 of a container no default action for them.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        // With a handler, exceeding the file size limit is an error of write(2) in place of the process's end.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn stop(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
