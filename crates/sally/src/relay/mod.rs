//! The relay: visitors reach names, devices register them; no other access exists. A jail is a relay reduced to ports.
//!
//! - `config`, `rules`: the configuration and the limits
//! - `keys`, `reload`: the keys that may log in, loaded and reloaded
//! - `revoked`: the keys that may not log in, whatever else admits them
//! - `limits`: the limits on visits and connections
//! - `client`: a connected client
//! - `fleet`: the clients that a fleet's authorities certify
//! - `wake`, `bus`: waking a device that isn't connected, through a broker
//! - `register`: registering and releasing a device's names and ports
//! - `route`: connecting a visitor to a name, and a socket to the holder of its port
//! - `console`, `session`: the answers to `ssh relay devices`, on a session channel
//! - `audit`: one JSON line for each event
//! - `unauthenticated`: events that unauthenticated clients cause there, listed or summed up
//! - `metrics`, `http`: the answers to a monitoring system
//! - `start`, `run`: from start to drained

pub mod audit;
pub mod bus;
pub mod client;
mod config;
pub mod console;
pub mod fleet;
mod http;
pub mod keys;
mod limits;
pub mod metrics;
mod register;
pub mod reload;
pub mod revoked;
mod route;
pub mod rules;
pub mod run;
pub(crate) mod session;
pub mod start;
mod unauthenticated;
pub mod wake;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use sally_proto::authorized_keys::{Context, Denial, KeyRing, Offer, UserPresence};
use sally_proto::id::DeviceId;
use sally_proto::rate::Buckets;
use sally_proto::relay::{DescriptorShares, NameGenerator, Refusal, Veiled};
use sally_proto::rendezvous::{self, TunnelId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::unix_time_or_expired;
use crate::lock::lock;
use crate::tunnel::registry::Tunnels;
use audit::{AuditLog, RelayEvent};
use client::{Client, ClientAccess};
pub use config::{RelayConfig, Waking};
use keys::KeySet;
pub(crate) use limits::DescriptorPermit;
use limits::{Descriptors, VisitPermits};
use metrics::Metrics;
pub(crate) use register::ReservedName;
use revoked::RelayRevocations;
pub use route::RelayVisit;
use rules::RelayRules;
use unauthenticated::UnauthenticatedEvents;
use wake::Wakes;

/// Everything that the connections of a relay share.
pub struct Relay {
    pub(crate) rules: RelayRules,
    pub(crate) audit: AuditLog,
    generator: NameGenerator,
    pub(crate) metrics: Metrics,
    keys: Mutex<Arc<KeySet>>,
    revoked: Option<RelayRevocations>,
    tunnels: Tunnels,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    visits: Mutex<BTreeMap<u64, Arc<RelayVisit>>>,
    places: Arc<VisitPermits>,
    descriptors: Arc<Descriptors>,
    numbers: AtomicU64,
    shut: CancellationToken,
    visit_ended: Notify,
    unauthenticated: UnauthenticatedEvents,
    /// The rate limit on each key's lists of devices, and the start of its clock.
    lists: (Instant, Mutex<Buckets<String>>),
    /// How devices are woken, if there is a fleet.
    wakes: Option<Wakes>,
}

impl Relay {
    /// Creates a relay without connections.
    pub fn new(
        rules: RelayRules,
        keys: KeySet,
        revoked: Option<RelayRevocations>,
        audit: AuditLog,
        generator: NameGenerator,
        wakes: Option<Wakes>,
        shares: DescriptorShares,
    ) -> Arc<Self> {
        Arc::new(Self {
            places: VisitPermits::new(shares.unauthenticated),
            descriptors: Descriptors::new(shares.connections, rules.connections_per_key),
            rules,
            audit,
            generator,
            metrics: Metrics::default(),
            keys: Mutex::new(Arc::new(keys)),
            revoked,
            tunnels: Tunnels::default(),
            clients: Mutex::default(),
            visits: Mutex::default(),
            numbers: AtomicU64::new(1),
            shut: CancellationToken::new(),
            visit_ended: Notify::new(),
            unauthenticated: UnauthenticatedEvents::default(),
            lists: (Instant::now(), Mutex::new(Buckets::new(rules::LISTS_PER_KEY, rules::LISTERS_MAX))),
            wakes,
        })
    }

    /// Returns the token that is cancelled when no further connection is accepted.
    pub fn shut(&self) -> &CancellationToken {
        &self.shut
    }

    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns whether a certificate might be accepted, in which case the bare key doesn't decide.
    pub(crate) fn has_authorities(&self) -> bool {
        self.wakes.is_some() || self.keys().has_authorities() || self.tunnels.admit_certificates()
    }

    /// Returns the fleet, if there is one.
    pub(crate) fn fleet(&self) -> Option<&fleet::RelayFleet> {
        self.wakes.as_ref().map(|wakes| &wakes.fleet)
    }

    pub(crate) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&lock(&self.keys))
    }

    pub(crate) fn clients(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        lock(&self.clients)
    }

    pub(crate) fn client(&self, number: u64) -> Option<Arc<Client>> {
        self.clients().get(&number).cloned()
    }

    pub(crate) fn visits(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<RelayVisit>>> {
        lock(&self.visits)
    }

    /// Returns the number of visits, including those that are being opened.
    pub(crate) fn visits_taken(&self) -> usize {
        self.places.taken()
    }

    pub(crate) fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Returns the access of a new client, by the key or certificate that it has proved or only offers.
    ///
    /// # Errors
    /// The reason why it has no role.
    pub(crate) fn authorize(&self, offer: Offer<'_>, peer: IpAddr) -> Result<ClientAccess, Denial> {
        self.revoked.as_ref().map_or(Ok(()), |revoked| revoked.check_newcomer(offer))?;
        self.access(offer, peer)
    }

    /// Returns the current access of a connected client. An unreadable revocation list rejects new clients only.
    fn authorize_again(&self, offer: Offer<'_>, peer: IpAddr) -> Result<ClientAccess, Denial> {
        self.revoked.as_ref().map_or(Ok(()), |revoked| revoked.check(offer))?;
        self.access(offer, peer)
    }

    /// Asks the checker; the only function that does.
    fn access(&self, offer: Offer<'_>, peer: IpAddr) -> Result<ClientAccess, Denial> {
        // The certificate must name a principal of its authority's line: there is no account here that it could name instead.
        let context = Context { peer: Some(peer), now: unix_time_or_expired(), account: None };
        let listed = self.keys().authorize(offer, &context);
        let member = match (&self.wakes, offer) {
            (Some(wakes), Offer::Certificate(certificate)) => match wakes.fleet.authorize(certificate, peer, context.now) {
                Ok(member) => Some(member),
                Err(Denial::UnknownAuthority) => None,
                // A fleet's certificate is valid for the fleet only.
                Err(denial) => return Err(denial),
            },
            _ => None,
        };
        let mut access = if member.is_some() { listed.unwrap_or_default() } else { listed? };
        access.member = member;
        access.admissions =
            self.tunnels.admitting(|keys| admission_of(keys, offer, &context)).into_iter().map(|(_, presence)| presence).collect();
        access.some_role().ok_or(Denial::UnknownKey)
    }

    /// Returns the names whose current registrations admit the client's key: it may reach and see these.
    pub(crate) fn names_admitting(&self, client: &Client) -> Vec<DeviceId> {
        let context = Context { peer: Some(client.peer.ip()), now: unix_time_or_expired(), account: None };
        let offer = client.offer.as_offer();
        let admit = |keys: &KeyRing| admission_of(keys, offer, &context).filter(|presence| presence.check(client.flags).is_ok());
        self.tunnels.admitting(admit).into_iter().map(|(name, _)| name).collect()
    }

    /// Takes the descriptor of a connection that logs in.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] if its key has reached its limit.
    pub(crate) fn take_descriptor(&self, client: &Client) -> Result<DescriptorPermit, Refusal> {
        let take_descriptor = self.descriptors.take(&client.identity, 1);
        if take_descriptor.is_err() {
            Metrics::count(&self.metrics.turned_away);
        }
        take_descriptor
    }

    /// Adds a client that has logged in.
    pub(crate) fn enter(&self, client: &Arc<Client>) {
        self.clients().insert(client.number, Arc::clone(client));
        // Keys may have changed between its login and its being listed here.
        self.dismiss_if_changed(client);
    }

    /// Removes a client that has disconnected, and releases what it held.
    pub(crate) async fn leave(&self, client: &Client, why: &str) {
        self.clients().remove(&client.number);
        self.apply(rendezvous::RendezvousEvent::Gone(TunnelId(client.number)));
        self.release_everything(client, why).await;
        self.audit.note(RelayEvent::Disconnect { connection: client.number, why, seconds: client.since.elapsed().as_secs() }).await;
    }

    /// Logs, counts and audits a refused request.
    pub(crate) async fn note_refusal(&self, client: &Client, what: &str, refusal: &Refusal) {
        let (what, said) = (Veiled::from(crate::term::excerpt(what)), Veiled::from(refusal.to_string()));
        tracing::info!(peer = %client.peer, %what, refusal = %said, "refused");
        self.metrics.refused(refusal.word());
        let peer = client.peer.to_string();
        let event = RelayEvent::Refused { connection: client.number, peer, key: &client.fingerprint, what, why: refusal.word(), said };
        self.audit.note(event).await;
    }

    /// Replaces the keys, and disconnects clients that are no longer permitted or whose role changed.
    pub(crate) fn replace_keys(&self, keys: KeySet) {
        *lock(&self.keys) = Arc::new(keys);
        self.dismiss_the_changed();
    }

    /// Checks the access of every connected client again.
    fn dismiss_the_changed(&self) {
        let connected: Vec<_> = self.clients().values().cloned().collect();
        for client in connected {
            self.dismiss_if_changed(&client);
        }
    }

    fn dismiss_if_changed(&self, client: &Client) {
        let access = self.authorize_again(client.offer.as_offer(), client.peer.ip());
        if !access.is_ok_and(|access| access.is_still(&client.access)) {
            client.line.dismiss(&Refusal::Revoked.to_string());
        }
    }

    /// Disconnects devices whose permission has ended, as if their key had been removed.
    pub(crate) fn let_go_expired(&self) {
        let connected: Vec<_> = self.clients().values().cloned().collect();
        for client in connected.iter().filter(|client| client.access.device_has_ended()) {
            client.line.dismiss(&Refusal::Expired.to_string());
        }
    }

    /// Waits until no visit is left. Cancel-safe.
    pub(crate) async fn idle(&self) {
        loop {
            let ended = self.visit_ended.notified();
            if self.visits().is_empty() {
                return;
            }
            ended.await;
        }
    }
}

/// Returns the presence that a registration with these keys requires of a signature, or `None` if it doesn't admit the offer. A certificate
/// is also matched by its key: its client holds that key, and offers nothing else.
fn admission_of(keys: &KeyRing, offer: Offer<'_>, context: &Context<'_>) -> Option<UserPresence> {
    let certified = match offer {
        Offer::Certificate(certificate) => Some(Offer::Key(certificate.public_key())),
        Offer::Key(_) => None,
    };
    [Some(offer), certified].into_iter().flatten().find_map(|offer| keys.authorize(offer, context).ok()).map(|grant| grant.presence())
}
