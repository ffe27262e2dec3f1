//! Every CONNECT that MQTT 3.1.1 speaks of, beside a stock mosquitto: section 3.1, and 3.2.2.3 for what is answered.

use super::*;
use crate::support::mqtt::{packet, string};

/// What becomes of bytes that a client sends first and in one write: each packet that comes back, and whether the connection ends.
fn outcome(address: SocketAddr, bytes: &[u8]) -> String {
    let mut client = Mqtt::open(address);
    client.try_send(bytes);
    // Who is let in is asked for a sign of life; who isn't has been hung up on.
    client.try_send(&[mqtt::PINGREQ, 0]);
    let mut said = Vec::new();
    loop {
        match client.read() {
            Some((0x20, answer)) => said.push(format!("CONNACK {}", answer[1])),
            Some((0xd0, _)) => return [said.join(", "), "in".into()].join(", "),
            Some((first, _)) => said.push(format!("{first:#x}")),
            None => return said.into_iter().chain(["end".into()]).collect::<Vec<_>>().join(", "),
        }
    }
}

/// A stock mosquitto without TLS that lets everybody in. Killed when dropped.
struct Stock {
    child: Child,
    address: SocketAddr,
}

impl Stock {
    fn start(home: &Home) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = format!("listener {} 127.0.0.1\nallow_anonymous true\nuser root\nlog_dest none\n", address.port());
        let config = home.write("mosquitto.conf", config);
        let mut mosquitto = tool("mosquitto", "mosquitto");
        let child = mosquitto.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("mosquitto listens", || std::net::TcpStream::connect(address).ok());
        Self { child, address }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// MQTT 3.1.1 with these flags, no keepalive, and fields.
fn with(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    packet(0x10, &[string("MQTT"), vec![4, flags, 0, 0], fields.iter().flat_map(string).collect()].concat())
}

fn of(name: &str, level: u8) -> Vec<u8> {
    packet(0x10, &[string(name), vec![level, 2, 0, 0], string("cam-17")].concat())
}

#[test]
fn every_connect_is_answered_as_the_standard_says() {
    let (home, listener) = (Home::new(), Listener::plain());
    let stock = Stock::start(&home);
    let [good, ping, goodbye] = [mqtt::connect("cam-17", 0, None), vec![mqtt::PINGREQ, 0], vec![mqtt::DISCONNECT, 0]];
    let status = STATUS.as_bytes();
    let [asleep, foreign] = [mqtt::publish(STATUS, "asleep", false), mqtt::publish("x", "y", false)];
    let same = |what: &'static str, bytes: Vec<u8>, both: &'static str| (what, bytes, both, both);
    for (what, bytes, ours, stocks) in [
        same("as it should be", good.clone(), "CONNACK 0, in"),
        same("credentials, which nobody asks for", with(0xc2, &[b"cam-17", b"user", b"\xffword"]), "CONNACK 0, in"),
        same("a user name alone", with(0x82, &[b"cam-17", b"user"]), "CONNACK 0, in"),
        same("a will", with(0x2e, &[b"cam-17", status, b"offline"]), "CONNACK 0, in"),
        same("a will of nothing", with(0x06, &[b"cam-17", status, b""]), "CONNACK 0, in"),
        same("a session that is to be kept", with(0, &[b"cam-17"]), "CONNACK 0, in"),
        same("level 3", of("MQTT", 3), "CONNACK 1, end"),
        same("level 0", of("MQTT", 0), "CONNACK 1, end"),
        same("level 6", of("MQTT", 6), "CONNACK 1, end"),
        ("MQTT 5, of which the rest is not as that has it", of("MQTT", 5), "CONNACK 1, end", "end"),
        ("MQTT 3.1", of("MQIsdp", 3), "CONNACK 1, end", "CONNACK 0, in"),
        same("another protocol", of("HTTP", 4), "end"),
        same("a name in small letters", of("mqtt", 4), "end"),
        same("the reserved flag", with(3, &[b"cam-17"]), "end"),
        same("no name, and no clean session", with(0, &[b""]), "CONNACK 2, end"),
        ("no name, and a clean session: here a client is who it says", with(2, &[b""]), "CONNACK 2, end", "CONNACK 0, in"),
        ("a name that is no device's", with(2, &[b"cam 17"]), "CONNACK 2, end", "CONNACK 0, in"),
        ("a name of 129 letters", with(2, &[&[b'x'; 129]]), "CONNACK 2, end", "CONNACK 0, in"),
        ("a name of 60,000 letters", with(2, &[&[b'x'; 60_000]]), "CONNACK 2, end", "CONNACK 0, in"),
        same("a name that is no text", with(2, &[b"\xff\xfe"]), "end"),
        same("a name with U+0000", with(2, &[b"cam\0"]), "end"),
        ("another's will", with(6, &[b"cam-17", b"sally/v1/cam-18/status", b"x"]), "CONNACK 5, end", "CONNACK 0, in"),
        same("a will to a wildcard", with(6, &[b"cam-17", b"#", b"x"]), "end"),
        same("a will to no topic", with(6, &[b"cam-17", b"", b"x"]), "end"),
        same("a will whose topic is no text", with(6, &[b"cam-17", b"a\0", b"x"]), "end"),
        same("a will with QoS 3", with(0x1e, &[b"cam-17", status, b"x"]), "end"),
        same("a QoS of no will", with(0x0a, &[b"cam-17"]), "end"),
        same("a retain flag of no will", with(0x22, &[b"cam-17"]), "end"),
        same("a password without a user name", with(0x42, &[b"cam-17", b"word"]), "end"),
        same("a user name that is not UTF-8", with(0x82, &[b"cam-17", b"\xc3\x28"]), "end"),
        same("bytes behind its end", with(2, &[b"cam-17", b"more"]), "end"),
        same("an end before its will", with(6, &[b"cam-17", status]), "end"),
        same("reserved bits before the length", [&[0x11], &good[1..]].concat(), "end"),
        same("a length of five bytes", vec![0x10, 0xff, 0xff, 0xff, 0xff, 1], "end"),
        same("another packet first", [ping.clone(), good.clone()].concat(), "end"),
        // What ends the connection, in one write with the CONNECT: that is answered first (section 3.2).
        same("and a goodbye", [good.clone(), goodbye.clone()].concat(), "CONNACK 0, end"),
        same("and a ping and a goodbye", [good.clone(), ping, goodbye.clone()].concat(), "CONNACK 0, in"),
        same("and another CONNECT", [good.clone(), good.clone()].concat(), "CONNACK 0, end"),
        same("and what is no packet", [good.clone(), vec![0xf0, 0]].concat(), "CONNACK 0, end"),
        same("and a message with QoS 1 and a goodbye", [good.clone(), asleep, goodbye].concat(), "CONNACK 0, 0x40, end"),
        ("and a message that is not its own to publish", [good.clone(), foreign].concat(), "CONNACK 0, end", "CONNACK 0, 0x40, in"),
    ] {
        let both = (outcome(listener.address, &bytes), outcome(stock.address, &bytes));
        assert_eq!(both, (ours.to_owned(), stocks.to_owned()), "{what}");
    }
}

/// An operator who looks closely reads why a client of theirs doesn't get in.
#[test]
fn what_was_refused_is_named() {
    let fleet = Fleet::new();
    let mqtt = free_port();
    let mut command = Command::new(sally());
    command.args(["-v", "relay", "--listen", "127.0.0.1:0", "--fleet"]).arg(fleet.path("FLEET/relay"));
    command.args(["--mqtt-listen", &format!("127.0.0.1:{mqtt}"), "--mqtt-plain"]);
    let mut relay = crate::support::Relay::start(&fleet.home, command);
    let address = (Ipv4Addr::LOCALHOST, mqtt).into();
    for (bytes, words) in [
        (with(2, &[&[b'x'; 129]]), "why=\"identifier\" detail=\"a client identifier of more than 128 bytes\""),
        (of("MQTT", 5), "why=\"version\" detail=\"another version of the protocol than 3.1.1\""),
        (with(3, &[b"cam-17"]), "why=\"malformed\" detail=\"the reserved flag\""),
        (with(2, &[b"Cam 17\x1b[2J"]), "why=\"nobody\" detail=\"no client may have the identifier 'Cam 17\u{fffd}[2J' here\""),
        (with(6, &[b"cam-17", b"sally/v1/cam-18/status", b"x"]), "why=\"will\" detail=\"cam-17\""),
    ] {
        outcome(address, &bytes);
        let said = relay.await_words("an MQTT client was refused");
        assert!(said.contains(words), "{said}");
    }
}
