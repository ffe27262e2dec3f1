//! A connection to a broker that comes back by itself, with growing pauses, so that a broker that restarts is not overrun.
//!
//! Each connection is a clean session: what was being published when the last one broke is not published again by the next. A wake is good
//! for seconds, and whoever waits for its answer has it sent anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectionError, EventLoop, Incoming, LastWill, MqttOptions, PublishOptions, QoS, SubscribeFilter, SubscribeReasonCode,
    TlsConfiguration, Transport,
};
use sally_proto::backoff::{Backoff, Pace};
use sally_proto::error::Fault;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;
use tokio_util::task::AbortOnDropHandle;

use super::{Event, Unpublished};
use crate::fleet::settings::Broker;
use crate::lock::lock;
use crate::net::dial::Dialer;
use crate::panic::spawn_essential;
use crate::term;

/// A broker that has heard nothing for one and a half times this takes us for gone: below what NAT routers forget connections after.
const KEEPALIVE_SECONDS: u16 = 60;
/// How long a broker may take for the first answer, TCP and TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Messages that wait to be sent.
const QUEUE: usize = 256;
/// Messages that wait to be looked at; a broker that sends more waits.
const WAITING: usize = 256;
/// The longest message of ours is an acknowledgement of 4 KiB; topic and head come on top.
const PACKET_MAX: usize = 6 << 10;
/// How long the last words of a connection that we end may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A message that we publish.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: String,
    /// Whether the broker keeps it for whoever subscribes later.
    pub retain: bool,
}

/// Which broker, and as whom.
pub struct Settings {
    /// The broker.
    pub broker: Broker,
    /// The MQTT client's name: another connection of that name ends this one.
    pub name: String,
    /// For `mqtts://` and `wss://`.
    pub tls: Arc<ClientConfig>,
    /// User and password, where the broker wants those.
    pub login: Option<Login>,
    /// What the broker publishes when a connection breaks: asked for before each.
    pub will: Box<dyn Fn() -> Option<Message> + Send + Sync>,
}

/// User and password.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Login {
    /// Reads a file of two lines, user and password; where there is none, there is no login.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`] where it is there and is not that.
    pub fn load(file: &Path) -> Result<Option<Self>, Fault> {
        let invalid = |reason: String| Fault::FleetInvalid { file: file.display().to_string(), reason };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(invalid(term::reason(&error))),
        };
        match text.lines().collect::<Vec<_>>().as_slice() {
            [user, password] => Ok(Some(Self { user: (*user).to_owned(), password: (*password).to_owned() })),
            _ => Err(invalid("it is not two lines, user and password".into())),
        }
    }
}

/// A connection to a broker, for as long as this lives.
pub struct Client {
    shared: Arc<Shared>,
    task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    live: Mutex<Live>,
}

/// The connection that there is now, and what is subscribed to on each.
#[derive(Default)]
struct Live {
    client: Option<AsyncClient>,
    topics: BTreeSet<String>,
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Live> {
        lock(&self.live)
    }
}

impl Client {
    /// Starts connecting; subscribes to `topics` on each connection.
    pub fn start(settings: Settings, topics: impl IntoIterator<Item = String>) -> (Self, mpsc::Receiver<Event>) {
        let shared = Arc::new(Shared::default());
        shared.live().topics = topics.into_iter().collect();
        let (events, receiver) = mpsc::channel(WAITING);
        let task = AbortOnDropHandle::new(spawn_essential(keep_connected(settings, Arc::clone(&shared), events)));
        (Self { shared, task }, receiver)
    }

    /// Publishes with QoS 1.
    ///
    /// # Errors
    /// [`Unpublished`] where there is no connection, or too much waits to be sent.
    pub fn publish(&self, message: Message) -> Result<(), Unpublished> {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(message.retain);
        let live = self.shared.live();
        let client = live.client.as_ref().ok_or(Unpublished)?;
        client.try_publish(message.topic, message.payload, options).map_err(|_| Unpublished)
    }

    /// Subscribes with QoS 1, now and on every later connection.
    pub fn subscribe(&self, topic: String) {
        let mut live = self.shared.live();
        if let Some(client) = &live.client {
            let _ = client.try_subscribe(topic.clone(), QoS::AtLeastOnce); // A hint's topic: without it there is a plainer sentence.
        }
        live.topics.insert(topic);
    }

    /// No longer.
    pub fn unsubscribe(&self, topic: &str) {
        let mut live = self.shared.live();
        live.topics.remove(topic);
        if let Some(client) = &live.client {
            let _ = client.try_unsubscribe(topic); // What still comes is passed over.
        }
    }

    /// Says goodbye, so that the broker doesn't publish the will; `last` is published before.
    pub async fn close(self, last: Option<Message>) {
        let client = self.shared.live().client.take();
        let Some(client) = client else { return };
        let farewell = async {
            if let Some(Message { topic, payload, retain }) = last {
                let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
                if let Ok(sent) = client.publish_tracked(topic, payload, options).await {
                    let _ = sent.wait_async().await; // Who has gone can't be told.
                }
            }
            // Queued is not sent: the task ends when it is.
            if client.disconnect_with_timeout(FAREWELL).await.is_ok() {
                let _ = self.task.await; // The same.
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await; // The same.
    }
}

async fn keep_connected(settings: Settings, shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    let mut backoff = Backoff::new(Pace::FLEET);
    loop {
        let began = Instant::now();
        let (client, connection) = AsyncClient::builder(options(&settings)).capacity(QUEUE).build();
        let Some(why) = converse(client, connection, &shared, &events).await else { return };
        backoff.held(began.elapsed());
        shared.live().client = None;
        if events.send(Event::Down(why)).await.is_err() {
            return;
        }
        // Without randomness there is no jitter, and everything else is worse.
        tokio::time::sleep(backoff.pause(getrandom::u64().unwrap_or_default())).await;
    }
}

/// One connection, to its end; says why it ended. `None`: nobody listens to us any more.
async fn converse(client: AsyncClient, mut connection: EventLoop, shared: &Shared, events: &mpsc::Sender<Event>) -> Option<String> {
    let limit = tokio::time::sleep(CONNECT_LIMIT);
    tokio::pin!(limit);
    let (mut connected, mut up) = (false, false);
    loop {
        let polled = tokio::select! {
            polled = connection.poll() => polled,
            () = &mut limit, if !connected => return Some("no answer in time".into()),
            () = events.closed() => return None,
        };
        let event = match polled {
            Err(ConnectionError::RequestsDone) => return None,
            Err(error) => return Some(words(&error)),
            Ok(rumqttc::Event::Outgoing(_)) => continue,
            Ok(rumqttc::Event::Incoming(packet)) => packet,
        };
        let told = match event {
            Incoming::ConnAck(_) => {
                connected = true;
                // From here on somebody else may subscribe to more; each is on the one list or on the other.
                let mut live = shared.live();
                let topics: Vec<_> = live.topics.iter().map(|topic| SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce)).collect();
                live.client = Some(client.clone());
                if topics.is_empty() {
                    drop(live);
                    up = true;
                    Event::Up
                } else {
                    if client.try_subscribe_many(topics).is_err() {
                        return Some("too much waits to be sent".into());
                    }
                    continue;
                }
            }
            Incoming::SubAck(answer) if answer.return_codes.contains(&SubscribeReasonCode::Failure) => {
                return Some("the broker refuses a subscription".into());
            }
            // The first answers what is subscribed to on each connection.
            Incoming::SubAck(_) if up => continue,
            Incoming::SubAck(_) => {
                up = true;
                Event::Up
            }
            Incoming::Publish(message) => match String::from_utf8(message.topic.to_vec()) {
                Ok(topic) => Event::Message { topic, payload: message.payload },
                Err(_) => continue,
            },
            _ => continue,
        };
        if events.send(told).await.is_err() {
            return None;
        }
    }
}

fn options(settings: &Settings) -> MqttOptions {
    let address = settings.broker.address();
    let broker = match settings.broker.path() {
        // The URL was checked when it was read; where the library finds fault with it, connecting says so.
        Some(_) => rumqttc::Broker::websocket(settings.broker.to_string().replacen("wss://", "ws://", 1)),
        None => Ok(rumqttc::Broker::tcp(address.host(), address.port())),
    };
    let broker = broker.unwrap_or_else(|_| rumqttc::Broker::tcp(address.host(), address.port()));
    let mut options = MqttOptions::new(settings.name.clone(), broker);
    if settings.broker.tls() {
        let tls = TlsConfiguration::Rustls(Arc::clone(&settings.tls));
        options = match settings.broker.path() {
            Some(_) => MqttOptions::websocket_with_tls_config(settings.name.clone(), settings.broker.to_string(), tls).unwrap_or(options),
            None => {
                options.set_transport(Transport::tls_with_config(tls));
                options
            }
        };
    }
    options.set_keep_alive(KEEPALIVE_SECONDS).set_clean_session(true).set_max_packet_size(PACKET_MAX, PACKET_MAX);
    if let Some(Login { user, password }) = &settings.login {
        options.set_credentials(user, Bytes::from(password.clone()));
    }
    if let Some(Message { topic, payload, retain }) = (settings.will)() {
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, retain));
    }
    let (host, port) = (address.host().to_owned(), address.port());
    options.set_socket_connector(move |_, _| {
        let host = host.clone();
        // A static binary can't use the C library's resolver.
        async move { Dialer::new().connect(&host, port).await.map_err(std::io::Error::other) }
    });
    options
}

/// An error in words for people.
fn words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) => term::reason(error),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => "no answer in time".into(),
        ConnectionError::ConnectionRefused(code) => format!("it refuses us ({code:?})"),
        other => term::one_line(&other.to_string()),
    }
}
