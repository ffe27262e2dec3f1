//! The devices: each connects, subscribes to its wakes and its status, says that it is online, and then nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{Connect, LastWill, Packet, Publish, Subscribe, SubscribeFilter};
use rumqttc::mqttbytes::{Error, QoS};
use sally_proto::backoff::{Backoff, Pace};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::Outcome;
use crate::certificates::{Authority, name};

/// The longest answer that is expected.
const ANSWER_MAX: usize = 4096;
/// How many come from one address.
const BEHIND_A_ROUTER: usize = 200;
/// An agent's: for TCP, TLS and the broker's first answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// A connection that is held.
pub(crate) trait Held: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Held for T {}

struct Tls {
    authority: Authority,
    roots: Arc<RootCertStore>,
}

impl Tls {
    fn load(folder: &Path) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("tls_ca.pem"))?)?;
        Ok(Self { authority: Authority::load(folder)?, roots: Arc::new(roots) })
    }

    async fn connect(&self, tcp: TcpStream, number: usize) -> Outcome<Box<dyn Held>> {
        let key = PrivatePkcs8KeyDer::from(self.authority.device_key.serialize_der());
        let config = ClientConfig::builder().with_root_certificates(Arc::clone(&self.roots));
        let config = config.with_client_auth_cert(vec![self.authority.device(number)?], key.into())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, tcp).await?;
        Ok(Box::new(stream))
    }
}

/// What devices need to connect, each from an address that it shares with as many as live behind a router.
pub(crate) struct Devices {
    broker: SocketAddr,
    tls: Option<Tls>,
    places: Semaphore,
}

impl Devices {
    pub(crate) fn new(broker: SocketAddr, fleet: Option<&Path>, at_once: usize) -> Outcome<Arc<Self>> {
        Ok(Arc::new(Self { broker, tls: fleet.map(Tls::load).transpose()?, places: Semaphore::new(at_once) }))
    }

    async fn connect(&self, number: usize) -> Outcome<Box<dyn Held>> {
        let _place = self.places.acquire().await?;
        let socket = TcpSocket::new_v4()?;
        if self.broker.ip().is_loopback() {
            let router = u16::try_from(number / BEHIND_A_ROUTER)?;
            let [high, low] = router.to_be_bytes();
            socket.bind(SocketAddr::from(([127, 1, high, low], 0)))?;
        }
        let tcp = socket.connect(self.broker).await?;
        let stream: Box<dyn Held> = match &self.tls {
            Some(tls) => tls.connect(tcp, number).await?,
            None => Box::new(tcp),
        };
        introduce(stream, &name(number)).await
    }

    /// Connects them all.
    pub(crate) async fn connect_all(self: Arc<Self>, devices: usize) -> Outcome<Vec<Box<dyn Held>>> {
        let mut tasks = JoinSet::new();
        for number in 0..devices {
            let all = Arc::clone(&self);
            tasks.spawn(async move { all.connect(number).await });
        }
        let mut held = Vec::with_capacity(devices);
        while let Some(connected) = tasks.join_next().await {
            held.push(connected??);
        }
        Ok(held)
    }

    /// Keeps them all connected, at an agent's pace; says once a second how many are, and how many came in that second.
    pub(crate) async fn keep_all(self: Arc<Self>, devices: usize) -> Outcome<()> {
        let counts = Arc::new(Counts::default());
        for number in 0..devices {
            tokio::spawn(Arc::clone(&self).keep(number, Arc::clone(&counts)));
        }
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let (held, came) = (counts.held.load(Ordering::Relaxed), counts.came.swap(0, Ordering::Relaxed));
            crate::say(&format!("held {held} came {came}"))?;
        }
    }

    async fn keep(self: Arc<Self>, number: usize, counts: Arc<Counts>) {
        let mut backoff = Backoff::new(Pace::FLEET);
        loop {
            let began = Instant::now();
            // As an agent, which gives up as well.
            if let Ok(Ok(mut stream)) = tokio::time::timeout(CONNECT_LIMIT, self.connect(number)).await {
                counts.held.fetch_add(1, Ordering::Relaxed);
                counts.came.fetch_add(1, Ordering::Relaxed);
                let mut bytes = [0; 256];
                while matches!(stream.read(&mut bytes).await, Ok(read) if read > 0) {}
                counts.held.fetch_sub(1, Ordering::Relaxed);
            }
            backoff.held(began.elapsed());
            tokio::time::sleep(backoff.pause(getrandom::u64().unwrap_or_default())).await;
        }
    }
}

#[derive(Default)]
struct Counts {
    held: AtomicUsize,
    came: AtomicUsize,
}

async fn introduce(mut stream: Box<dyn Held>, name: &str) -> Outcome<Box<dyn Held>> {
    let (wake, status) = (format!("sally/v1/{name}/wake"), format!("sally/v1/{name}/status"));
    let say = |presence| format!(r#"{{"v":1,"s":"{presence}","sid":"0123456789abcdef","t":1800000000,"ver":"0.1.0"}}"#);
    let mut connect = Connect::new(name);
    connect.keep_alive = 900;
    connect.last_will = Some(LastWill::new(status.clone(), say("offline"), QoS::AtLeastOnce, true));
    exchange(&mut stream, Packet::Connect(connect), |answer| matches!(answer, Packet::ConnAck(_))).await?;
    let filters = [&wake, &status].map(|topic| SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = 1;
    exchange(&mut stream, Packet::Subscribe(subscribe), |answer| matches!(answer, Packet::SubAck(_))).await?;
    let mut publish = Publish::from_bytes(status, QoS::AtLeastOnce, Bytes::from(say("online")));
    (publish.pkid, publish.retain) = (2, true);
    // Its own status comes back to it, and is left unacknowledged.
    exchange(&mut stream, Packet::Publish(publish), |answer| matches!(answer, Packet::PubAck(_))).await?;
    Ok(stream)
}

/// Says something, and waits for an answer; whatever else comes is passed over.
async fn exchange(stream: &mut Box<dyn Held>, packet: Packet, wanted: fn(&Packet) -> bool) -> Outcome<()> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, ANSWER_MAX)?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    bytes.clear();
    loop {
        match Packet::read(&mut bytes, ANSWER_MAX) {
            Ok(answer) if wanted(&answer) => return Ok(()),
            Ok(_) => {}
            Err(Error::InsufficientBytes(_)) if stream.read_buf(&mut bytes).await? > 0 => {}
            Err(error) => return Err(error.into()),
        }
    }
}
