//! The MQTT listener inside a relay: devices and relays as they should be, with stock clients and with bare bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use sally::broker::{Broker, BrokerConfig, BrokerCounts, BrokerLimits, ClientIdentification, Local, MqttEvent};
use tokio::runtime::Runtime;

use crate::support::mqtt::Mqtt;
use crate::support::*;

mod connect;
mod hostile;
mod tls;

const WAKE: &str = "sally/v1/cam-17/wake";
const STATUS: &str = "sally/v1/cam-17/status";
const ACK: &str = "sally/v1/r/relay-1/ack";

/// A listener in this process.
struct Listener {
    runtime: Runtime,
    broker: Option<Broker>,
    address: SocketAddr,
}

impl Listener {
    fn plain() -> Self {
        Self::with(BrokerLimits::default())
    }

    fn with(limits: BrokerLimits) -> Self {
        Self::start(ClientIdentification::Unproven { insecure: false }, 0, limits)
    }

    fn start(identity: ClientIdentification, port: u16, limits: BrokerLimits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listen = (Ipv4Addr::LOCALHOST, port).into();
        let guard = runtime.enter();
        let broker = Broker::start(BrokerConfig { listen, identity, prefix: "".parse().unwrap(), limits }).unwrap();
        drop(guard);
        let address = broker.address();
        Self { runtime, broker: Some(broker), address }
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    /// The relay in this process, which hears these.
    fn relay(&self, topics: &[&str]) -> Relay<'_> {
        let (local, events) = self.broker().attach();
        let mut relay = Relay { listener: self, local, events };
        assert_eq!(relay.event(), Some(MqttEvent::Up));
        topics.iter().for_each(|topic| relay.local.subscribe(topic).unwrap());
        relay
    }

    fn counts(&self) -> BrokerCounts {
        self.broker().counts()
    }

    /// Waits until a counter of ends or refusals is so high.
    fn await_count(&self, word: &str, least: u64) {
        until(&format!("{word} is {least}"), || {
            let counts = self.counts();
            let all = [&counts.refused, &counts.ended].into_iter().filter_map(|by| by.get(word)).sum::<u64>();
            (all >= least).then_some(())
        });
    }

    fn stop(&mut self) {
        let broker = self.broker.take().unwrap();
        self.runtime.block_on(broker.shutdown());
    }
}

struct Relay<'a> {
    listener: &'a Listener,
    local: Local,
    events: tokio::sync::mpsc::Receiver<MqttEvent>,
}

impl Relay<'_> {
    fn event(&mut self) -> Option<MqttEvent> {
        let next = async { tokio::time::timeout(PATIENCE, self.events.recv()).await };
        self.listener.runtime.block_on(next).expect("an event")
    }

    /// The next message.
    fn message(&mut self) -> (String, String) {
        match self.event() {
            Some(MqttEvent::Message { topic, payload }) => (topic, text(&payload)),
            other => panic!("{other:?}"),
        }
    }

    fn wake(&self, payload: &str) {
        self.local.publish(WAKE, payload.to_owned(), false).unwrap();
    }
}

fn said(topic: &str, payload: &str) -> (String, String) {
    (topic.into(), payload.into())
}

/// A stock mosquitto_sub or mosquitto_pub; killed when dropped.
struct Mosquitto {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Mosquitto {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self { child, lines, seen: Vec::new() }
    }

    fn await_line(&mut self, words: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no {words:?} ({error}), only {:#?}", self.seen),
            }
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stock program that says each line when it is there.
fn stock(name: &str) -> Command {
    let mut command = tool("stdbuf", "coreutils");
    command.arg("-oL").arg(tool(name, "mosquitto-clients").get_program());
    command
}

fn mosquitto(name: &str, listener: &Listener, id: &str) -> Command {
    let mut command = stock(name);
    command.args(["-h", "127.0.0.1", "-p", &listener.address.port().to_string(), "-q", "1", "-d", "-V", "mqttv311", "-i", id]);
    command
}

#[test]
fn a_stock_client_is_woken_and_answers() {
    let listener = Listener::plain();
    let mut relay = listener.relay(&[STATUS, ACK]);
    let online = ["--will-topic", STATUS, "--will-payload", "offline", "--will-retain"];
    let mut device = Mosquitto::start(mosquitto("mosquitto_sub", &listener, "cam-17").args(["-t", WAKE]).args(online));
    device.await_line("Subscribed (mid: 1): 1");
    relay.wake("wake up");
    assert_eq!(device.await_line("wake up"), "wake up");
    // Gone without a word: its will says so.
    device.child.kill().unwrap();
    assert_eq!(relay.message(), said(STATUS, "offline"));
    for (topic, payload, retain) in [(ACK, "here", &[][..]), (STATUS, "online", &["-r"])] {
        let published = run(mosquitto("mosquitto_pub", &listener, "cam-17").args(["-t", topic, "-m", payload]).args(retain));
        assert!(published.status.success(), "{}", text(&published.stderr));
        assert_eq!(relay.message(), said(topic, payload));
    }
    let late = listener.relay(&[STATUS]).message();
    assert_eq!(late, said(STATUS, "online"));
}

#[test]
fn a_stock_relay_in_another_process_wakes_and_hears() {
    let listener = Listener::plain();
    let mut device = Mqtt::connected(listener.address, "cam-17").hearing(&[WAKE]);
    device.send(&mqtt::publish(STATUS, "online", true));
    assert_eq!(device.read(), Some((mqtt::PUBACK, vec![0, 1])));
    let mut relay = Mosquitto::start(mosquitto("mosquitto_sub", &listener, "sally.relay.1").args(["-t", ACK, "-t", STATUS]));
    relay.await_line("Subscribed (mid: 1): 1, 1");
    assert_eq!(relay.await_line("online"), "online");
    assert!(run(mosquitto("mosquitto_pub", &listener, "sally.relay.2").args(["-t", WAKE, "-m", "wake up"])).status.success());
    assert_eq!(device.message(), Some(said(WAKE, "wake up")));
    device.send(&mqtt::publish(ACK, "here", false));
    assert_eq!(relay.await_line("here"), "here");
}

#[test]
fn paho_is_woken_answers_and_stays_connected_by_its_pings() {
    let listener = Listener::plain();
    let mut relay = listener.relay(&[STATUS, ACK]);
    let mut command = python("mqtt_device.py");
    let mut device = Mosquitto::start(command.args([&listener.address.port().to_string(), "cam-17"]));
    assert_eq!(relay.message(), said(STATUS, "online"));
    relay.wake("one");
    assert_eq!(relay.message(), said(ACK, "one"));
    device.await_line("pong");
    relay.wake("two");
    assert_eq!(relay.message(), said(ACK, "two"));
    device.child.kill().unwrap();
    assert_eq!(relay.message(), said(STATUS, "offline"));
}

#[test]
fn who_says_goodbye_leaves_no_will_and_what_it_said_last_is_retained() {
    let listener = Listener::plain();
    let mut device = Mqtt::connected(listener.address, "cam-17");
    device.send(&mqtt::publish(STATUS, "asleep", true));
    device.send(&mqtt::packet(mqtt::DISCONNECT, &[]));
    device.await_end();
    listener.await_count("goodbye", 1);
    assert_eq!(listener.relay(&[STATUS]).message(), said(STATUS, "asleep"));
}

#[test]
fn a_take_over_fires_the_old_will_and_the_newcomer_corrects_it() {
    let listener = Listener::plain();
    let mut relay = listener.relay(&[STATUS]);
    let mut old = Mqtt::connected(listener.address, "cam-17").hearing(&[STATUS]);
    old.send(&mqtt::publish(STATUS, "online, old", true));
    assert_eq!(relay.message(), said(STATUS, "online, old"));
    let mut new = Mqtt::connected(listener.address, "cam-17");
    old.await_end();
    assert_eq!(relay.message(), said(STATUS, "offline"));
    // It subscribes, sees an `offline` that isn't its own, and says how it is.
    new = new.hearing(&[STATUS]);
    assert_eq!(new.message(), Some(said(STATUS, "offline")));
    new.send(&mqtt::publish(STATUS, "online, new", true));
    assert_eq!(relay.message(), said(STATUS, "online, new"));
    assert_eq!(listener.relay(&[STATUS]).message(), said(STATUS, "online, new"));
}

#[test]
fn after_a_restart_devices_that_come_back_say_how_they_are() {
    let mut listener = Listener::plain();
    let mut device = Mqtt::connected(listener.address, "cam-17");
    device.send(&mqtt::publish(STATUS, "online", true));
    assert_eq!(device.read(), Some((mqtt::PUBACK, vec![0, 1])));
    let mut relay = listener.relay(&[]);
    let (local, mut events) = (relay.local, relay.events);
    listener.stop();
    device.await_end();
    assert_eq!(listener.runtime.block_on(events.recv()), Some(MqttEvent::Down("stopping".into())));
    drop(local);
    // The same port, at once.
    let listener = Listener::start(ClientIdentification::Unproven { insecure: false }, listener.address.port(), BrokerLimits::default());
    assert_eq!(listener.counts().retained, 0);
    relay = listener.relay(&[STATUS]);
    Mqtt::connected(listener.address, "cam-17").send(&mqtt::publish(STATUS, "online again", true));
    assert_eq!(relay.message(), said(STATUS, "online again"));
}

#[test]
fn without_tls_it_listens_on_loopback_alone_unless_told_to() {
    let runtime = Runtime::new().unwrap();
    let _guard = runtime.enter();
    let start = |insecure| {
        let listen = (Ipv4Addr::UNSPECIFIED, 0).into();
        let identity = ClientIdentification::Unproven { insecure };
        Broker::start(BrokerConfig { listen, identity, prefix: "".parse().unwrap(), limits: BrokerLimits::default() })
    };
    let refused = start(false).unwrap_err();
    assert_eq!(refused.exit_status(), 2, "{refused}");
    assert!(start(true).is_ok());
}

#[test]
fn a_client_that_is_silent_for_too_long_is_gone() {
    let listener = Listener::with(BrokerLimits { keepalive: Duration::from_millis(100), ..BrokerLimits::default() });
    let mut relay = listener.relay(&[STATUS]);
    // Half a packet is no sign of life.
    let mut device = Mqtt::connected(listener.address, "cam-17");
    device.send(&[mqtt::PINGREQ]);
    device.await_end();
    assert_eq!(relay.message(), said(STATUS, "offline"));
    listener.await_count("silent", 1);
}
