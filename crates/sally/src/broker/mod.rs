//! The MQTT 3.1.1 broker inside a relay, for a fleet that has no other. `sally_proto::broker` decides what clients may do; this module has
//! the sockets.
//!
//! Under TLS a client's certificate names it, and the name decides its topics. Without TLS the client names itself, which is for loopback.
//! Thousands of devices are connected and idle: an idle one has no buffer, one task of a few hundred bytes, and its place in the hub.
//!
//! - `accept`: the socket, and connections that have sent no CONNECT yet
//! - `access`: admission under TLS; revocation
//! - `entry`: from the first byte to the answer to CONNECT
//! - `codec`: packets
//! - `session`: a connected client's bytes, to the hub and back
//! - `mailbox`: from the hub to a session, bounded
//! - `local`: the relay in this process
//! - `counters`: counters for `/metrics`

mod accept;
mod access;
pub(crate) mod codec;
mod counters;
mod entry;
mod local;
mod mailbox;
mod session;
mod turns;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sally_proto::admission::AdmissionSettings;
use sally_proto::broker::{BrokerClient, Hub, KEEPALIVE_MAX};
use sally_proto::error::Fault;
use sally_proto::wake::Prefix;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::AccessFiles;
use self::counters::BrokerCounters;
pub use self::counters::BrokerCounts;
pub use self::local::Local;
use self::mailbox::DeliveryTarget;
use self::turns::Turns;
use crate::lock::lock;
pub use crate::mqtt::MqttEvent;
use crate::net::admission::{Origins, ServerAdmission};
use crate::panic::spawn_essential;

/// The most events that wait for the relay in this process: as many statuses as come when thousands of devices do.
const EVENTS: usize = 16_384;
/// The time in which connections may end when the listener does.
const GOODBYE: Duration = Duration::from_secs(2);

/// How clients are identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdentification {
    /// By certificates of a fleet, whose relay folder this is.
    Certificates(PathBuf),
    /// By their own claim: on loopback, or anywhere if `insecure`.
    Unproven {
        /// Whether addresses other than those of this machine are accepted.
        insecure: bool,
    },
}

/// Limits; only tests change them.
#[derive(Clone, Debug)]
pub struct BrokerLimits {
    /// Clients at once. A million need 4 GB of memory, and as many descriptors.
    pub clients: usize,
    /// Connections at once that have not been admitted. A further one replaces one from the source that has the most.
    pub waiting: u32,
    /// Connections at once of one address (IPv6: of a network of 64 bits) that have not been admitted. All devices behind a router share
    /// one.
    pub waiting_per_source: usize,
    /// Connections that get their turn in a second, at most 1,000: the others wait, and cost next to nothing meanwhile. Fewer than the
    /// handshakes that two processors can do, so that a handshake once begun is completed in time.
    pub turns_per_second: u32,
    /// The time from a connection's turn to its CONNECT.
    pub entry: Duration,
    /// The longest keepalive, and that of clients that ask for none.
    pub keepalive: Duration,
    /// Statuses that are retained if clients name themselves: some 10 MB. With certificates there are as many as devices in the fleet's
    /// list.
    pub retained_unproven: usize,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            clients: 1_000_000,
            waiting: 4096,
            waiting_per_source: 512,
            turns_per_second: 300,
            entry: Duration::from_secs(15),
            keepalive: KEEPALIVE_MAX,
            retained_unproven: 16_384,
        }
    }
}

/// The configuration of a listener.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// How it identifies clients.
    pub identity: ClientIdentification,
    /// The prefix of every topic.
    pub prefix: Prefix,
    /// The limits.
    pub limits: BrokerLimits,
}

/// The state that all connections share.
#[derive(Debug)]
struct BrokerState {
    hub: Mutex<Hub<DeliveryTarget>>,
    access: Option<AccessFiles>,
    prefix: Prefix,
    limits: BrokerLimits,
    admission: Arc<ServerAdmission>,
    sources: accept::Sources,
    turns: Turns,
    counters: Arc<BrokerCounters>,
    start: Instant,
    connections: AtomicU64,
}

impl BrokerState {
    /// Locks the hub. Code that holds this lock must not wait for anything.
    fn hub(&self) -> MutexGuard<'_, Hub<DeliveryTarget>> {
        lock(&self.hub)
    }

    fn since_start(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the number of a new connection.
    fn number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Reads the fleet's files if they have changed, or if `forced`; clients that aren't admitted any more are cut off.
    async fn look(self: &Arc<Self>, forced: bool) -> Result<(), Fault> {
        let shared = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || shared.access.as_ref().map_or(Ok(None), |access| access.look(forced)));
        if let Some((devices, revoked)) = looked.await.map_err(|error| Fault::Internal(error.to_string()))?? {
            self.hub().know(devices, revoked);
        }
        Ok(())
    }
}

/// A running listener. It ends when it is dropped.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<BrokerState>,
    address: SocketAddr,
    shut: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    /// Binds, and starts accepting.
    ///
    /// # Errors
    /// [`Fault::Usage`] if clients on other machines could name themselves; [`Fault::FleetInvalid`], [`Fault::Bind`].
    pub fn start(config: BrokerConfig) -> Result<Self, Fault> {
        let BrokerConfig { listen, identity, prefix, limits } = config;
        let admission = ServerAdmission::new(AdmissionSettings::crowd(limits.waiting), Origins::default());
        let mut hub = Hub::new(prefix.clone(), limits.clients);
        let access = match identity {
            ClientIdentification::Unproven { insecure: false } if !listen.ip().to_canonical().is_loopback() => {
                let reason = "without TLS, MQTT is for clients on this machine: listen on 127.0.0.1, or name a fleet";
                return Err(Fault::Usage(reason.into()));
            }
            ClientIdentification::Unproven { .. } => {
                hub.retain_at_most(limits.retained_unproven);
                None
            }
            ClientIdentification::Certificates(folder) => {
                let (access, (devices, revoked)) = AccessFiles::open(folder)?;
                hub.know(devices, revoked);
                Some(access)
            }
        };
        let listener = accept::bind(listen)?;
        let address = listener.local_addr().map_err(|error| Fault::Internal(error.to_string()))?;
        let turns = Turns::per_second(limits.turns_per_second);
        let shared = Arc::new(BrokerState {
            hub: Mutex::new(hub),
            access,
            prefix,
            limits,
            admission,
            sources: accept::Sources::default(),
            turns,
            counters: Arc::default(),
            start: Instant::now(),
            connections: AtomicU64::new(1),
        });
        let (shut, tasks) = (CancellationToken::new(), TaskTracker::new());
        spawn_essential(tasks.track_future(accept::accept(listener, Arc::clone(&shared), shut.clone(), tasks.clone())));
        if shared.access.is_some() {
            spawn_essential(accept::watch(Arc::clone(&shared), shut.clone()));
        }
        Ok(Self { shared, address, shut, tasks })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a client in this process, and returns it with its events: at most 16,384 wait at once, and further ones are lost to it.
    pub fn attach(&self) -> (Local, mpsc::Receiver<MqttEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS);
        let connection = self.shared.number();
        let client = BrokerClient::Local(u32::try_from(connection).unwrap_or(u32::MAX));
        let shared = Arc::clone(&self.shared);
        // The channel is empty, so there is room for this.
        let _ = sender.try_send(MqttEvent::Up);
        let way = DeliveryTarget::Local(sender, shared.prefix.clone(), Arc::clone(&shared.counters));
        let entered = shared.hub().connect(&client, connection, 0, None, way);
        if let Err(why) = entered {
            tracing::error!(why = why.word(), "this process can't connect to its own broker");
        }
        (Local { shared, client, connection }, receiver)
    }

    /// Returns the values of the counters.
    pub fn counts(&self) -> BrokerCounts {
        self.shared.counters.counts(self.shared.hub().counts())
    }

    /// Reads the fleet's files again, as SIGHUP requests; otherwise they are looked at every 2 s.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`]: no new client is admitted then.
    pub async fn reload(&self) -> Result<(), Fault> {
        self.shared.look(true).await
    }

    /// Ends the listener: closes the socket, and cuts off every client.
    pub async fn shutdown(self) {
        self.shut.cancel();
        self.shared.hub().stop();
        self.tasks.close();
        let _ = tokio::time::timeout(GOODBYE, self.tasks.wait()).await; // The rest ends with the process.
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shut.cancel();
        self.shared.hub().stop();
    }
}
