//! Follows the broker: publishes that the device is online, and decides about each wake.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sally_proto::error::Fault;
use sally_proto::wake::{
    Acknowledgement, ClockReading, DevicePresence, Jti, Prefix, RelayId, StatusMessage, Topic, VERSION, Wake, WakeAnswer, WakeChecker,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bundle::Bundle;
use super::config::AgentConfig;
use super::tunnel::{self, RequestedTunnel};
use crate::clock::unix_time_or_expired;
use crate::lock::lock;
use crate::mqtt::MqttEvent;
use crate::mqtt::client::{MqttClient, MqttLogin, MqttMessage, MqttSettings};
use crate::term;

/// The time that visits may still take after the agent is told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// A running agent.
struct Watch {
    bundle: Bundle,
    config: AgentConfig,
    checker: WakeChecker,
    broker: MqttClient,
    /// The identifier of the current connection to the broker, for its status.
    connection: Arc<Mutex<String>>,
    tunnels: JoinSet<()>,
    stop: CancellationToken,
    /// The answers that tunnels send to relays.
    answers: mpsc::Sender<(RelayId, Jti, WakeAnswer, String)>,
    began: Instant,
}

/// Runs until told to stop.
///
/// # Errors
/// [`Fault::FleetInvalid`] for the bundle; [`Fault::Internal`].
pub async fn run(config: AgentConfig) -> Result<(), Fault> {
    let internal = |error: std::io::Error| Fault::Internal(error.to_string());
    // This comes before a key is read.
    sally_sys::process::guard_ourselves().map_err(internal)?;
    let bundle = Bundle::load_with(&config.bundle, config.to.as_ref())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let connection = Arc::new(Mutex::new(String::new()));
    let (broker, mut events) = connect(&bundle, &config.prefix, &connection)?;
    let (answers, mut to_say) = mpsc::channel(16);
    term::say(&format!("Agent of {}: waiting to be woken through {}", bundle.settings.id, bundle.settings.broker));
    let (checker, stop, tunnels) = (WakeChecker::new(bundle.pins()), CancellationToken::new(), JoinSet::new());
    let mut watch = Watch { bundle, config, checker, broker, connection, tunnels, stop, answers, began: Instant::now() };
    loop {
        tokio::select! {
            Some(event) = events.recv() => watch.hear(event),
            Some((relay, jti, answer, detail)) = to_say.recv() => {
                watch.acknowledge(&Acknowledgement::new(relay, jti, unix_time_or_expired(), answer, &detail));
            }
            Some(_) = watch.tunnels.join_next() => {}
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    watch.end().await;
    Ok(())
}

fn connect(bundle: &Bundle, prefix: &Prefix, connection: &Arc<Mutex<String>>) -> Result<(MqttClient, mpsc::Receiver<MqttEvent>), Fault> {
    let id = bundle.settings.id.clone();
    let topics = [Topic::Wake(id.clone()).text(prefix), Topic::Status(id.clone()).text(prefix)];
    let (status, connection) = (topics[1].clone(), Arc::clone(connection));
    let will = move || {
        // It is new for each connection, which distinguishes an older connection's will from this one's status.
        let fresh = format!("{:016x}", getrandom::u64().unwrap_or_default());
        lock(&connection).clone_from(&fresh);
        Some(MqttMessage { topic: status.clone(), payload: status_of(DevicePresence::Offline, fresh).payload(), retain: true })
    };
    let settings = MqttSettings {
        broker: bundle.settings.broker.clone(),
        name: id.to_string(),
        tls: bundle.tls()?,
        login: MqttLogin::load(&bundle.file("broker_login"))?,
        will: Box::new(will),
    };
    Ok(MqttClient::start(settings, topics))
}

fn status_of(s: DevicePresence, sid: String) -> StatusMessage {
    StatusMessage { v: VERSION, s, sid, t: unix_time_or_expired(), ver: env!("CARGO_PKG_VERSION").into() }
}

impl Watch {
    fn hear(&mut self, event: MqttEvent) {
        let id = self.bundle.settings.id.clone();
        match event {
            MqttEvent::Up => {
                tracing::info!("connected to the broker");
                self.say_online();
            }
            MqttEvent::Down(why) => tracing::warn!(why, "no connection to the broker; trying again"),
            MqttEvent::Message { topic, payload } => match Topic::parse(&topic, &self.config.prefix) {
                Some(Topic::Wake(device)) if device == id => self.wake(&payload),
                // This may be the will of a connection that this one has replaced.
                Some(Topic::Status(device)) if device == id => {
                    let foreign =
                        StatusMessage::parse(&payload).is_none_or(|status| status.s == DevicePresence::Offline && status.sid != self.sid());
                    if foreign {
                        self.say_online();
                    }
                }
                _ => {}
            },
        }
    }

    fn sid(&self) -> String {
        lock(&self.connection).clone()
    }

    fn say_online(&self) {
        self.publish(Topic::Status(self.bundle.settings.id.clone()), status_of(DevicePresence::Online, self.sid()).payload(), true);
    }

    fn publish(&self, topic: Topic, payload: String, retain: bool) {
        // Without it, a visitor only gets a less precise message.
        if let Err(error) = self.broker.publish(MqttMessage { topic: topic.text(&self.config.prefix), payload, retain }) {
            tracing::info!(%error, %topic, "not published");
        }
    }

    fn acknowledge(&self, answer: &Acknowledgement) {
        if let Some(payload) = answer.seal(&self.bundle.key, &self.bundle.certificate) {
            self.publish(Topic::Acknowledgement(answer.aud.clone()), payload, false);
        }
    }

    /// Checks a wake, answers it, and dials if it is accepted.
    fn wake(&mut self, payload: &[u8]) {
        if self.bundle.refresh() {
            self.checker.set_pins(self.bundle.pins());
        }
        let moment = ClockReading { unix: unix_time_or_expired(), monotonic: self.began.elapsed() };
        match self.checker.admit(payload, moment, self.tunnels.len()) {
            Ok(wake) => {
                tracing::info!(relay = %wake.rid, jti = %wake.jti, port = wake.svc, "woken");
                self.acknowledge(&Acknowledgement::new(wake.rid.clone(), wake.jti, moment.unix, WakeAnswer::Ok, ""));
                self.dial(wake);
            }
            Err(rejected) => {
                tracing::warn!(reason = %rejected.reason, "a wake is refused");
                if let Some(answer) = rejected.acknowledgement(moment.unix) {
                    self.acknowledge(&answer);
                }
            }
        }
    }

    fn dial(&mut self, wake: Wake) {
        let ports = tunnel::ServedPorts { ssh: self.bundle.ssh.clone(), exposed: self.bundle.exposed.clone() };
        let tunnel =
            RequestedTunnel { id: self.bundle.settings.id.clone(), identity: self.bundle.identity(), ports, stop: self.stop.clone() };
        let answers = self.answers.clone();
        self.tunnels.spawn(async move {
            if let Err(why) = tunnel.run(&wake).await {
                tracing::warn!(relay = %wake.rid, why, "the relay was not reached");
                // The agent receives answers as long as it runs.
                let _ = answers.send((wake.rid, wake.jti, WakeAnswer::DialFailed, why)).await;
            }
        });
    }

    /// Publishes that the device is offline, accepts no more visitors, and lets the running visits go on for [`DRAIN`].
    async fn end(mut self) {
        self.stop.cancel();
        let last = status_of(DevicePresence::Offline, self.sid()).payload();
        let topic = Topic::Status(self.bundle.settings.id.clone()).text(&self.config.prefix);
        self.broker.close(Some(MqttMessage { topic, payload: last, retain: true })).await;
        let drained = async { while self.tunnels.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN, drained).await; // The remaining visits end with the process.
    }
}
