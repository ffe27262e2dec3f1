//! The relay: visitors reach names, devices hold them, and nobody gets anything else. A jail is a relay with everything taken away but ports.
//!
//! - `config`, `rules`: what this relay is told, and is
//! - `keys`, `reload`: who may come, loaded and loaded again
//! - `revoked`: who may not, whatever else lets them in
//! - `places`: how many visits at once, and whose
//! - `caller`: somebody who is connected
//! - `fleet`: whom a fleet's authorities vouch for
//! - `wake`, `bus`: a device that isn't here is fetched, through a broker
//! - `hold`: a device registers a name or a port, and gives it up
//! - `route`: a visitor reaches a name, a socket reaches the holder of its port
//! - `console`, `session`: what `ssh relay devices` answers, on a session channel
//! - `audit`: one JSON line for each thing that happens
//! - `strangers`: what who has no key causes there, listed or summed up
//! - `metrics`, `http`: what a monitoring system asks
//! - `start`, `run`: from start to drained

pub mod audit;
pub mod bus;
pub mod caller;
mod config;
pub mod console;
pub mod fleet;
mod hold;
mod http;
pub mod keys;
pub mod metrics;
mod places;
pub mod reload;
pub mod revoked;
mod route;
pub mod rules;
pub mod run;
pub(crate) mod session;
pub mod start;
mod strangers;
pub mod wake;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use sally_proto::authorized_keys::{Context, Denial, KeyRing, Offer, Presence};
use sally_proto::id::DeviceId;
use sally_proto::rate::Buckets;
use sally_proto::relay::{DescriptorShares, Mint, Refusal, Veiled};
use sally_proto::rendezvous::{self, TunnelId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::unix_time_or_expired;
use crate::lock::lock;
use crate::tunnel::registry::Tunnels;
use audit::{Audit, Event};
use caller::{Access, Caller};
pub use config::{Config, Waking};
pub(crate) use hold::Promised;
use keys::KeySet;
use metrics::Metrics;
pub(crate) use places::HeldDescriptors;
use places::{Descriptors, Places};
use revoked::Revoked;
pub use route::Visit;
use rules::Rules;
use strangers::Strangers;
use wake::Wakes;

/// Everything that the connections of a relay share.
pub struct Relay {
    pub(crate) rules: Rules,
    pub(crate) audit: Audit,
    mint: Mint,
    pub(crate) metrics: Metrics,
    keys: Mutex<Arc<KeySet>>,
    revoked: Option<Revoked>,
    tunnels: Tunnels,
    callers: Mutex<BTreeMap<u64, Arc<Caller>>>,
    visits: Mutex<BTreeMap<u64, Arc<Visit>>>,
    places: Arc<Places>,
    descriptors: Arc<Descriptors>,
    numbers: AtomicU64,
    shut: CancellationToken,
    visit_ended: Notify,
    strangers: Strangers,
    /// The lists of devices that each key has asked for, since a beginning.
    lists: (Instant, Mutex<Buckets<String>>),
    /// How devices are woken, where there is a fleet.
    wakes: Option<Wakes>,
}

impl Relay {
    /// A relay that nobody has come to.
    pub fn new(
        rules: Rules,
        keys: KeySet,
        revoked: Option<Revoked>,
        audit: Audit,
        mint: Mint,
        wakes: Option<Wakes>,
        shares: DescriptorShares,
    ) -> Arc<Self> {
        Arc::new(Self {
            places: Places::new(shares.strangers),
            descriptors: Descriptors::new(shares.connections, rules.connections_per_key),
            rules,
            audit,
            mint,
            metrics: Metrics::default(),
            keys: Mutex::new(Arc::new(keys)),
            revoked,
            tunnels: Tunnels::default(),
            callers: Mutex::default(),
            visits: Mutex::default(),
            numbers: AtomicU64::new(1),
            shut: CancellationToken::new(),
            visit_ended: Notify::new(),
            strangers: Strangers::default(),
            lists: (Instant::now(), Mutex::new(Buckets::new(rules::LISTS_PER_KEY, rules::LISTERS_MAX))),
            wakes,
        })
    }

    /// Cancelled when nobody more may come.
    pub fn shut(&self) -> &CancellationToken {
        &self.shut
    }

    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a certificate might get in: its key says nothing then.
    pub(crate) fn has_authorities(&self) -> bool {
        self.wakes.is_some() || self.keys().has_authorities() || self.tunnels.admit_certificates()
    }

    /// The fleet, where there is one.
    pub(crate) fn fleet(&self) -> Option<&fleet::Fleet> {
        self.wakes.as_ref().map(|wakes| &wakes.fleet)
    }

    pub(crate) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&lock(&self.keys))
    }

    pub(crate) fn callers(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Caller>>> {
        lock(&self.callers)
    }

    pub(crate) fn caller(&self, number: u64) -> Option<Arc<Caller>> {
        self.callers().get(&number).cloned()
    }

    pub(crate) fn visits(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Visit>>> {
        lock(&self.visits)
    }

    /// How many visits there are, those being opened included.
    pub(crate) fn visits_taken(&self) -> usize {
        self.places.taken()
    }

    pub(crate) fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Decides who somebody new is by what they proved to hold, or would.
    ///
    /// # Errors
    /// Why none of the roles is theirs.
    pub(crate) fn authorize(&self, offer: Offer<'_>, peer: IpAddr) -> Result<Access, Denial> {
        self.revoked.as_ref().map_or(Ok(()), |revoked| revoked.check_newcomer(offer))?;
        self.access(offer, peer)
    }

    /// The same of somebody who is in already.
    fn authorize_again(&self, offer: Offer<'_>, peer: IpAddr) -> Result<Access, Denial> {
        self.revoked.as_ref().map_or(Ok(()), |revoked| revoked.check(offer))?;
        self.access(offer, peer)
    }

    /// The one place that asks the checker.
    fn access(&self, offer: Offer<'_>, peer: IpAddr) -> Result<Access, Denial> {
        // A certificate has to name what its authority's line wants: there is no account here that it could name instead.
        let context = Context { peer: Some(peer), now: unix_time_or_expired(), account: None };
        let listed = self.keys().authorize(offer, &context);
        let member = match (&self.wakes, offer) {
            (Some(wakes), Offer::Certificate(certificate)) => match wakes.fleet.authorize(certificate, peer, context.now) {
                Ok(member) => Some(member),
                Err(Denial::UnknownAuthority) => None,
                // A fleet's certificate is good for nothing else.
                Err(denial) => return Err(denial),
            },
            _ => None,
        };
        let mut access = if member.is_some() { listed.unwrap_or_default() } else { listed? };
        access.member = member;
        access.guest = self.tunnels.admitting(|keys| as_guest(keys, offer, &context)).into_iter().map(|(_, presence)| presence).collect();
        access.some_role().ok_or(Denial::UnknownKey)
    }

    /// The names whose registrations, as they are at this moment, admit somebody's key: they may reach these, and know of them.
    pub(crate) fn guest_of(&self, caller: &Caller) -> Vec<DeviceId> {
        let context = Context { peer: Some(caller.peer.ip()), now: unix_time_or_expired(), account: None };
        let offer = caller.offer.as_offer();
        let admit = |keys: &KeyRing| as_guest(keys, offer, &context).filter(|presence| presence.check(caller.flags).is_ok());
        self.tunnels.admitting(admit).into_iter().map(|(name, _)| name).collect()
    }

    /// The descriptor of a connection that wants to be let in.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] where its key has as many as it may.
    pub(crate) fn seat(&self, caller: &Caller) -> Result<HeldDescriptors, Refusal> {
        let seat = self.descriptors.take(&caller.identity, 1);
        if seat.is_err() {
            Metrics::count(&self.metrics.turned_away);
        }
        seat
    }

    /// Somebody is in.
    pub(crate) fn enter(&self, caller: &Arc<Caller>) {
        self.callers().insert(caller.number, Arc::clone(caller));
        // Keys may have changed since they proved theirs, when nobody knew of them.
        self.dismiss_if_changed(caller);
    }

    /// Somebody is gone: what they held is free.
    pub(crate) async fn leave(&self, caller: &Caller, why: &str) {
        self.callers().remove(&caller.number);
        self.happen(rendezvous::Event::Gone(TunnelId(caller.number)));
        self.release_everything(caller, why).await;
        self.audit.note(Event::Disconnect { connection: caller.number, why, seconds: caller.since.elapsed().as_secs() }).await;
    }

    /// Somebody doesn't get what they asked for.
    pub(crate) async fn note_refusal(&self, caller: &Caller, what: &str, refusal: &Refusal) {
        let (what, said) = (Veiled::from(crate::term::excerpt(what)), Veiled::from(refusal.to_string()));
        tracing::info!(peer = %caller.peer, %what, refusal = %said, "refused");
        self.metrics.refused(refusal.word());
        let peer = caller.peer.to_string();
        let event = Event::Refused { connection: caller.number, peer, key: &caller.fingerprint, what, why: refusal.word(), said };
        self.audit.note(event).await;
    }

    /// New keys: whoever is no longer permitted, or no longer the same, is told so and goes.
    pub(crate) fn replace_keys(&self, keys: KeySet) {
        *lock(&self.keys) = Arc::new(keys);
        self.dismiss_the_changed();
    }

    /// Judges everybody who is connected again.
    fn dismiss_the_changed(&self) {
        let connected: Vec<_> = self.callers().values().cloned().collect();
        for caller in connected {
            self.dismiss_if_changed(&caller);
        }
    }

    fn dismiss_if_changed(&self, caller: &Caller) {
        let access = self.authorize_again(caller.offer.as_offer(), caller.peer.ip());
        if !access.is_ok_and(|access| access.is_still(&caller.access)) {
            caller.line.dismiss(&Refusal::Revoked.to_string());
        }
    }

    /// Devices whose permission has ended while they were connected go as if their key were gone.
    pub(crate) fn let_go_expired(&self) {
        let connected: Vec<_> = self.callers().values().cloned().collect();
        for caller in connected.iter().filter(|caller| caller.access.device_has_ended()) {
            caller.line.dismiss(&Refusal::Expired.to_string());
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

/// What a registration that admits these keys wants of a signature; nothing where it doesn't admit what is offered. Who shows a certificate
/// holds its key too, and a client that has one shows nothing else.
fn as_guest(keys: &KeyRing, offer: Offer<'_>, context: &Context<'_>) -> Option<Presence> {
    let certified = match offer {
        Offer::Certificate(certificate) => Some(Offer::Key(certificate.public_key())),
        Offer::Key(_) => None,
    };
    [Some(offer), certified].into_iter().flatten().find_map(|offer| keys.authorize(offer, context).ok()).map(|grant| grant.presence())
}
