//! Keeps a connection to a broker: reconnects with growing pauses, so that a broker that restarts is not overloaded.
//!
//! Each connection is a clean session: a message that was being published when it broke is not published again. A wake is valid for
//! seconds, and its sender repeats it if no answer comes.

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

use super::{MqttEvent, Unpublished};
use crate::fleet::settings::BrokerUrl;
use crate::lock::lock;
use crate::net::dial::Dialer;
use crate::panic::spawn_essential;
use crate::term;

/// The keepalive in seconds: a broker that receives nothing for one and a half times this ends the connection. Shorter than the time after
/// which NAT routers forget connections.
const KEEPALIVE_SECONDS: u16 = 60;
/// The time for a broker's first answer, TCP and TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// The number of messages that may wait to be sent.
const QUEUE: usize = 256;
/// The number of received messages that may wait; the broker waits beyond it.
const WAITING: usize = 256;
/// The longest packet, in bytes: an acknowledgement of 4 KiB is the longest payload; topic and header are added.
const PACKET_MAX: usize = 6 << 10;
/// The time for the last message of a connection that this process ends.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A message to publish.
#[derive(Clone, Debug)]
pub struct MqttMessage {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: String,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// The settings of a connection.
pub struct MqttSettings {
    /// The broker.
    pub broker: BrokerUrl,
    /// The MQTT client identifier: another connection with it ends this one.
    pub name: String,
    /// The TLS configuration for `mqtts://` and `wss://`.
    pub tls: Arc<ClientConfig>,
    /// The user and password, if the broker requires them.
    pub login: Option<MqttLogin>,
    /// The message that the broker publishes when a connection breaks; called before each connection.
    pub will: Box<dyn Fn() -> Option<MqttMessage> + Send + Sync>,
}

/// A user and password.
#[derive(Clone)]
pub struct MqttLogin {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl MqttLogin {
    /// Reads a file of two lines, user and password. Returns `None` if there is no file.
    ///
    /// # Errors
    /// [`Fault::FleetInvalid`] if the file can't be read or has other content.
    pub fn load(file: &Path) -> Result<Option<Self>, Fault> {
        let invalid = |reason: String| Fault::FleetInvalid { file: file.display().to_string(), reason };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(invalid(term::reason(&error))),
        };
        match text.lines().collect::<Vec<_>>().as_slice() {
            [user, password] => Ok(Some(Self { user: (*user).to_owned(), password: (*password).to_owned() })),
            _ => Err(invalid("it must have two lines: user, password".into())),
        }
    }
}

/// A connection to a broker, kept until this is dropped.
pub struct MqttClient {
    shared: Arc<MqttState>,
    task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct MqttState {
    live: Mutex<MqttConnection>,
}

/// The current connection, and the topics to subscribe to on each.
#[derive(Default)]
struct MqttConnection {
    client: Option<AsyncClient>,
    topics: BTreeSet<String>,
}

impl MqttState {
    fn live(&self) -> MutexGuard<'_, MqttConnection> {
        lock(&self.live)
    }
}

impl MqttClient {
    /// Starts connecting, and subscribes to `topics` on each connection.
    pub fn start(settings: MqttSettings, topics: impl IntoIterator<Item = String>) -> (Self, mpsc::Receiver<MqttEvent>) {
        let shared = Arc::new(MqttState::default());
        shared.live().topics = topics.into_iter().collect();
        let (events, receiver) = mpsc::channel(WAITING);
        let task = AbortOnDropHandle::new(spawn_essential(keep_connected(settings, Arc::clone(&shared), events)));
        (Self { shared, task }, receiver)
    }

    /// Publishes with QoS 1.
    ///
    /// # Errors
    /// [`Unpublished`] if there is no connection, or if too many messages wait to be sent.
    pub fn publish(&self, message: MqttMessage) -> Result<(), Unpublished> {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(message.retain);
        let live = self.shared.live();
        let client = live.client.as_ref().ok_or(Unpublished)?;
        client.try_publish(message.topic, message.payload, options).map_err(|_| Unpublished)
    }

    /// Subscribes with QoS 1, now and on every later connection.
    pub fn subscribe(&self, topic: String) {
        let mut live = self.shared.live();
        if let Some(client) = &live.client {
            let _ = client.try_subscribe(topic.clone(), QoS::AtLeastOnce); // The topic is a hint: without it a refusal is less precise.
        }
        live.topics.insert(topic);
    }

    /// Unsubscribes from a topic.
    pub fn unsubscribe(&self, topic: &str) {
        let mut live = self.shared.live();
        live.topics.remove(topic);
        if let Some(client) = &live.client {
            let _ = client.try_unsubscribe(topic); // Messages that still come are ignored.
        }
    }

    /// Disconnects properly, so that the broker doesn't publish the will; `last` is published first.
    pub async fn close(self, last: Option<MqttMessage>) {
        let client = self.shared.live().client.take();
        let Some(client) = client else { return };
        let disconnecting = async {
            if let Some(MqttMessage { topic, payload, retain }) = last {
                let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
                if let Ok(sent) = client.publish_tracked(topic, payload, options).await {
                    let _ = sent.wait_async().await; // A broker that has gone can't be told.
                }
            }
            // The message is only queued: the task ends when it is sent.
            if client.disconnect_with_timeout(DISCONNECT_LIMIT).await.is_ok() {
                let _ = self.task.await; // A task that failed has ended too.
            }
        };
        let _ = tokio::time::timeout(DISCONNECT_LIMIT, disconnecting).await; // The process doesn't wait longer for a broker.
    }
}

async fn keep_connected(settings: MqttSettings, shared: Arc<MqttState>, events: mpsc::Sender<MqttEvent>) {
    let mut backoff = Backoff::new(Pace::FLEET);
    loop {
        let began = Instant::now();
        let (client, connection) = AsyncClient::builder(options(&settings)).capacity(QUEUE).build();
        let Some(why) = converse(client, connection, &shared, &events).await else { return };
        backoff.held(began.elapsed());
        shared.live().client = None;
        if events.send(MqttEvent::Down(why)).await.is_err() {
            return;
        }
        // Without randomness the pause has no jitter, which is better than no pause.
        tokio::time::sleep(backoff.pause(getrandom::u64().unwrap_or_default())).await;
    }
}

/// Runs one connection to its end, and returns why it ended; `None` if the receiver of events is gone.
async fn converse(client: AsyncClient, mut connection: EventLoop, shared: &MqttState, events: &mpsc::Sender<MqttEvent>) -> Option<String> {
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
                // From here on other tasks may subscribe to more topics; each topic is in this list or is subscribed to by its task.
                let mut live = shared.live();
                let topics: Vec<_> = live.topics.iter().map(|topic| SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce)).collect();
                live.client = Some(client.clone());
                if topics.is_empty() {
                    drop(live);
                    up = true;
                    MqttEvent::Up
                } else {
                    if client.try_subscribe_many(topics).is_err() {
                        return Some("the queue of messages to send is full".into());
                    }
                    continue;
                }
            }
            Incoming::SubAck(answer) if answer.return_codes.contains(&SubscribeReasonCode::Failure) => {
                return Some("the broker refuses a subscription".into());
            }
            // Only the first answers the subscriptions of every connection.
            Incoming::SubAck(_) if up => continue,
            Incoming::SubAck(_) => {
                up = true;
                MqttEvent::Up
            }
            Incoming::Publish(message) => match String::from_utf8(message.topic.to_vec()) {
                Ok(topic) => MqttEvent::Message { topic, payload: message.payload },
                Err(_) => continue,
            },
            _ => continue,
        };
        if events.send(told).await.is_err() {
            return None;
        }
    }
}

fn options(settings: &MqttSettings) -> MqttOptions {
    let address = settings.broker.address();
    let broker = match settings.broker.path() {
        // The URL was checked when it was read; if the library rejects it, connecting fails with its reason.
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
    if let Some(MqttLogin { user, password }) = &settings.login {
        options.set_credentials(user, Bytes::from(password.clone()));
    }
    if let Some(MqttMessage { topic, payload, retain }) = (settings.will)() {
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

/// Returns an error in words for people.
fn words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) => term::reason(error),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => "no answer in time".into(),
        ConnectionError::ConnectionRefused(code) => format!("it refuses the connection ({code:?})"),
        other => term::one_line(&other.to_string()),
    }
}
