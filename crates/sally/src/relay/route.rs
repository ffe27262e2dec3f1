//! Connects a visitor to a name, and a socket to the holder of its port: each by a connection to a `forwarded-tcpip` channel of the holder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sally_proto::id::DeviceId;
use sally_proto::relay::{PermitHolder, Refusal, Slot, TallyKey, UnauthenticatedAction, around, nearest};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Relay;
use super::audit::RelayEvent;
use super::client::Client;
use super::fleet::RelayFleet;
use super::limits;
use super::metrics::Metrics;
use super::rules::OPEN_LIMIT;
use super::unauthenticated::UnannouncedSum;
use super::wake::Waiter;
use crate::fleet::relay_dir::DeviceStanding;
use crate::net::ports::keep_alive;
use crate::net::splice::{ByteSink, ByteSource, Meter, SocketSink, SocketSource, splice};
use crate::panic::caught;
use crate::term;
use crate::tunnel::peer::{NotOpened, PeerChannel, PeerChannelCloser};

/// The number of names of each kind that are compared with a mistyped one: takes milliseconds, where a million took seconds.
const LOOKED_AT: usize = 10_000;

/// A visit: a client's connection to a name or port.
#[derive(Debug)]
pub struct RelayVisit {
    /// The visit's number, unique while this process runs.
    pub number: u64,
    /// The name or port.
    pub slot: Slot,
    /// The number of the holder's connection.
    pub device: u64,
    /// The number of the visitor's connection; `None` for a socket of a port.
    pub visitor: Option<u64>,
    /// The visitor, as named in the audit log.
    pub who: String,
    /// The visitor's address.
    pub from: SocketAddr,
    /// The time of the start.
    pub since: Instant,
    /// Bytes towards the device.
    up: Arc<AtomicU64>,
    /// Bytes from the device.
    down: Arc<AtomicU64>,
    kicked: CancellationToken,
}

impl RelayVisit {
    /// Returns the bytes towards the device, and from it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// Ends the visit.
    pub fn kick(&self) {
        self.kicked.cancel();
    }
}

/// A visit whose device has opened the channel.
pub(crate) struct Opened {
    relay: Arc<Relay>,
    visit: Arc<RelayVisit>,
    far: PeerChannel,
    place: limits::VisitPermit,
    /// Keeps a woken device's connection as long as the visit lasts.
    held: Option<Waiter>,
    /// The sum that counts this visit, in place of lines of its own in the audit log.
    counted: Option<TallyKey>,
}

impl Relay {
    /// Opens a visitor's `direct-tcpip`. It reaches names only: the relay dials no address.
    pub(crate) async fn visit(self: &Arc<Self>, client: &Client, host: &str, port: u32) -> Result<Opened, Refusal> {
        let (host, wait) = with_wait(host);
        let name = DeviceId::parse(host).map_err(|_| Refusal::NotAName(term::excerpt(host)))?;
        let port = u16::try_from(port).map_err(|_| Refusal::NotPermitted)?;
        // A client without permission gets the same answer for known and unknown names.
        self.may_reach(client, &name, port)?;
        if self.is_of_fleet(&name).await {
            return self.meet(client, name, port, wait).await;
        }
        let slot = Slot::Name(name.clone(), port);
        let holder = match self.tunnels.find(&slot) {
            Some(forward) => forward.connection,
            None => return Err(self.missing(client, &name, port)),
        };
        // The originator that a client states can't be trusted: the device is told the connection's address.
        self.open(slot, holder, Some(client), client.peer).await
    }

    /// Checks that a visitor may reach the name's port now.
    pub(super) fn may_reach(&self, client: &Client, name: &DeviceId, port: u16) -> Result<(), Refusal> {
        if client.reaches(name, port) || self.names_admitting(client).contains(name) {
            return Ok(());
        }
        Err(if client.access.has_expired() { Refusal::Expired } else { Refusal::NotPermitted })
    }

    /// Returns whether a name is that of a device of the fleet, which may have been added a moment ago.
    async fn is_of_fleet(self: &Arc<Self>, name: &DeviceId) -> bool {
        let has = || self.fleet().is_some_and(|fleet| fleet.has(name));
        if self.fleet().is_some() && !has() {
            self.look_at_fleet(false).await;
        }
        has()
    }

    /// Opens a visit for a connection to a registered port.
    pub(crate) async fn open_registered_port(self: &Arc<Self>, holder: &Client, port: u16, peer: SocketAddr) -> Result<Opened, Refusal> {
        self.open(Slot::Port(port), holder.number, None, peer).await
    }

    /// Returns why a name outside the fleet can't be reached.
    fn missing(&self, client: &Client, name: &DeviceId, port: u16) -> Refusal {
        let held = self.tunnels.ports_of(name);
        if !held.is_empty() {
            let admitted = self.names_admitting(client).contains(name);
            let offered = held.into_iter().filter(|port| admitted || client.reaches(name, *port)).collect();
            return Refusal::NoSuchPort { name: name.clone(), port, offered };
        }
        if self.keys().covers(name) || name.looks_generated() {
            return Refusal::NotConnected(name.clone());
        }
        Refusal::Unknown { name: name.clone(), nearest: self.probably_meant(client, name) }
    }

    /// Returns the most similar name that this client may see. Compares at most [`LOOKED_AT`] names of each kind, so that repeated typos on
    /// a large relay stay cheap.
    fn probably_meant(&self, client: &Client, name: &DeviceId) -> Option<DeviceId> {
        let names_admitting = self.names_admitting(client);
        let known = may_know(client, &names_admitting);
        let (keys, fleet) = (self.keys(), self.fleet().map(RelayFleet::dir));
        let spelled = keys.spelled_names().take(LOOKED_AT);
        let held = self.tunnels.names(LOOKED_AT, &known);
        let listed = fleet
            .iter()
            .flat_map(|dir| around(name, &dir.known, LOOKED_AT / 2))
            .filter(|(_, device)| device.state == DeviceStanding::Active);
        let near = [
            nearest(name, spelled.filter(&known)),
            nearest(name, held.into_iter()),
            nearest(name, listed.map(|(name, _)| name).filter(|name| known(name))).cloned(),
        ];
        nearest(name, near.into_iter().flatten())
    }

    /// Returns the names that `devices` lists: those in a device's key, connected, or of the fleet. Only administrators see that generated
    /// names exist. `names_admitting`: the names whose registrations admit the client.
    pub(crate) fn listed_names(&self, client: &Client, names_admitting: &[DeviceId]) -> Vec<DeviceId> {
        let (known, admin) = (may_know(client, names_admitting), client.access.admin().is_some());
        let listed = |name: &DeviceId| admin || known(name);
        let mut names: Vec<_> = self.keys().spelled_names().filter(listed).collect();
        names.extend(self.tunnels.names(usize::MAX, listed));
        if let Some(fleet) = self.fleet() {
            let dir = fleet.dir();
            let active = dir.known.iter().filter(|(_, device)| device.state == DeviceStanding::Active).map(|(name, _)| name);
            names.extend(active.filter(|name| listed(name)).cloned());
        }
        names.sort();
        names.dedup();
        names
    }

    pub(super) async fn open(
        self: &Arc<Self>,
        slot: Slot,
        holder: u64,
        visitor: Option<&Client>,
        from: SocketAddr,
    ) -> Result<Opened, Refusal> {
        if self.shut.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let place = self.places.take(match (&slot, visitor) {
            (Slot::Port(port), _) => PermitHolder::Unauthenticated { port: *port, from: from.ip() },
            (Slot::Name(..), visitor) => PermitHolder::Visitor(visitor.map(|client| client.fingerprint.clone()).unwrap_or_default()),
        })?;
        let gone = || match &slot {
            Slot::Name(name, _) => Refusal::NotConnected(name.clone()),
            Slot::Port(_) => Refusal::Stopping,
        };
        let (device, forward) = self.client(holder).zip(self.tunnels.find(&slot)).ok_or_else(gone)?;
        let port = match &slot {
            Slot::Name(_, port) | Slot::Port(port) => *port,
        };
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let far = device.line.open(&forward.address, port, from, OPEN_LIMIT).await.map_err(|error| match (&slot, error) {
            (Slot::Name(name, _), NotOpened::Refused) => Refusal::Refused(name.clone()),
            (Slot::Name(name, _), NotOpened::NoAnswer) => Refusal::NoAnswer { name: name.clone(), seconds: OPEN_LIMIT.as_secs() },
            _ => gone(),
        })?;
        let who = visitor.map_or_else(|| from.ip().to_string(), |client| client.who.clone());
        let visit = Arc::new(RelayVisit {
            number: self.number(),
            slot,
            device: holder,
            visitor: visitor.map(|client| client.number),
            who,
            from,
            since: Instant::now(),
            up: Arc::default(),
            down: Arc::default(),
            kicked: CancellationToken::new(),
        });
        let mut opened = Opened { relay: Arc::clone(self), visit, far, place, held: None, counted: None };
        if !opened.record().await {
            opened.far.closer.close().await;
            return Err(Refusal::Unrecorded);
        }
        Ok(opened)
    }
}

/// Splits the time to wait for a device, in seconds, from its name: `cam-17?wait=3600`.
fn with_wait(host: &str) -> (&str, Option<Duration>) {
    let parsed = host.split_once("?wait=").and_then(|(name, seconds)| Some((name, seconds.parse().ok()?)));
    parsed.map_or((host, None), |(name, seconds)| (name, Some(Duration::from_secs(seconds))))
}

impl Opened {
    /// Keeps a visitor's place at the rendezvous for as long as the visit lasts.
    pub(super) fn held(self, held: Waiter) -> Self {
        Self { held: Some(held), ..self }
    }

    /// Writes the visit to the audit log, or counts it there. Returns whether it may begin: not if neither is possible and settings require
    /// it.
    async fn record(&mut self) -> bool {
        let (relay, visit) = (&self.relay, &self.visit);
        if let Slot::Port(port) = visit.slot {
            match relay.counted(UnauthenticatedAction::Visit(port), visit.from.ip()).await {
                Ok(None) => {}
                Ok(counted) => {
                    self.counted = counted;
                    return true;
                }
                Err(UnannouncedSum) => return relay.rules.unaudited,
            }
        }
        let event = RelayEvent::Open {
            visit: visit.number,
            slot: visit.slot.veiled(),
            device: visit.device,
            connection: visit.visitor,
            from: visit.from.to_string(),
            who: &visit.who,
        };
        relay.audit.write(event).await || relay.rules.unaudited
    }

    /// Carries a visitor's channel to its end.
    pub(crate) async fn carry_channel(self, near: PeerChannel) {
        let PeerChannel { ends, closer } = near;
        let far = self.carry(ends).await;
        tokio::join!(closer.close(), far.close());
    }

    /// Carries a socket to its end.
    pub(crate) async fn carry_socket(self, tcp: TcpStream) {
        // Keystrokes are small packets that must not wait; without the option a connection is only slower.
        let _ = tcp.set_nodelay(true);
        let rules = &self.relay.rules;
        if let Err(error) = keep_alive(&tcp, rules.alive_interval, rules.alive_count) {
            tracing::debug!(%error, "no keepalive on a forwarded connection");
        }
        let (read, write) = tcp.into_split();
        self.carry((SocketSource::new(read), SocketSink(write))).await.close().await;
    }

    /// Carries the bytes, and returns what closes the device's channel.
    async fn carry(self, near: (impl ByteSource, impl ByteSink)) -> PeerChannelCloser {
        let Self { relay, visit, far, place, held, counted } = self;
        Metrics::count(&relay.metrics.visits);
        relay.visits().insert(visit.number, Arc::clone(&visit));
        let (mut up, mut down) = (Meter::shared(&visit.up), Meter::shared(&visit.down));
        let ended = visit.kicked.run_until_cancelled(caught(splice(near, far.ends, &mut up, &mut down))).await;
        let why = match ended {
            Some(Ok(Ok(()))) => "ended".to_owned(),
            Some(Ok(Err(over))) => over.to_string(),
            Some(Err(panicked)) => panicked.to_string(),
            None => "kicked".to_owned(),
        };
        relay.visits().remove(&visit.number);
        let (up, down) = visit.bytes();
        relay.metrics.up.fetch_add(up, Ordering::Relaxed);
        relay.metrics.down.fetch_add(down, Ordering::Relaxed);
        match counted {
            Some(key) => relay.count_end(key, up, down),
            None => {
                let seconds = visit.since.elapsed().as_secs_f64();
                let event = RelayEvent::Close { visit: visit.number, slot: visit.slot.veiled(), up, down, seconds, why: &why };
                relay.audit.note(event).await;
            }
        }
        drop((place, held));
        relay.visit_ended.notify_waiters();
        far.closer
    }
}

/// Returns a predicate: whether the client may learn that a name exists. Never a generated one, even if it admits the client's key: a viewer
/// who was given the read-only name of a share must not learn the other one here.
fn may_know(client: &Client, names_admitting: &[DeviceId]) -> impl Fn(&DeviceId) -> bool {
    move |name| !name.looks_generated() && (names_admitting.contains(name) || client.sees(name))
}
