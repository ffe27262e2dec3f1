//! Clients send any bytes to the MQTT listener: each input is the bytes of some connections, from a device, another device and a relay.
#![no_main]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rumqttc::mqttbytes::v4::ConnectReturnCode;
use sally_proto::broker::{BrokerClient, CONNECT_MAX, Delivery, End, Hub, Outlet, Packet, connect};
use sally_proto::wake::Prefix;

#[path = "../../crates/sally/src/broker/codec.rs"]
mod codec;

/// Separates connections in an input. No packet has it as its first byte: packet type 15 is none.
const NEXT: &[u8] = b"\xff\xff\xff\xff";

#[derive(Clone)]
struct Line(BrokerClient, Arc<Mutex<Vec<Delivery>>>);

impl Outlet for Line {
    fn deliver(&mut self, delivery: Delivery) -> bool {
        assert!(self.0.may_subscribe(&delivery.topic));
        self.1.lock().unwrap().push(delivery);
        true
    }

    fn cut(&mut self, _: End) {}
}

/// Every packet that comes of bytes in pieces of a size, as a session reads them; `Err` behind the last one where they are no more MQTT.
fn packets(bytes: &[u8], piece: usize) -> (Vec<Packet>, bool) {
    let (mut partial, mut packets) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        partial.extend_from_slice(piece);
        loop {
            match codec::next(&partial) {
                Err(_) => return (packets, false),
                Ok(None) => break,
                Ok(Some((packet, length))) => {
                    assert!(length > 1 && length <= partial.len());
                    drop(partial.drain(..length));
                    packets.push(packet);
                }
            }
        }
        assert!(partial.len() < codec::PACKET_MAX + 5);
    }
    (packets, true)
}

fuzz_target!(|input: &[u8]| {
    let mut hub = Hub::new(Prefix::default(), 3);
    let mut written = BytesMut::new();
    let mut rest = input;
    let mut number = 0;
    while !rest.is_empty() && number < 8 {
        let end = rest.windows(NEXT.len()).position(|window| window == NEXT);
        let (mut bytes, behind) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + NEXT.len()..]));
        rest = behind;
        number += 1;
        let mut will = None;
        let mut client = BrokerClient::named("cam-17", "");
        if let Ok(Some((connect, length))) = connect(bytes) {
            assert!(length <= CONNECT_MAX + 5);
            (bytes, will, client) = (&bytes[length..], connect.will, BrokerClient::unproven(&connect.client_id));
        }
        let Some(client) = client else { continue };
        let line = Line(client.clone(), Arc::default());
        if hub.connect(&client, number, 1, will, line.clone()).is_err() {
            continue;
        }
        codec::write_connack(ConnectReturnCode::Success, &mut written);
        let whole = packets(bytes, usize::MAX);
        assert_eq!(whole, packets(bytes, 1));
        for packet in whole.0 {
            let Ok(answer) = hub.packet(&client, number, packet, Duration::ZERO) else { break };
            codec::write_answer(answer, &mut written);
        }
        for delivery in line.1.lock().unwrap().drain(..) {
            codec::write_delivery(delivery, &Prefix::default(), &mut written);
        }
        assert!(hub.counts().0 <= 3 && hub.counts().1 <= 3);
        written.clear();
    }
});
