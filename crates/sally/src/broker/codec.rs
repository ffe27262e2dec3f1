//! Reads and writes the MQTT 3.1.1 packets that the broker handles, with the client library's codec.
//!
//! The library's state isn't used: a connection keeps nothing of it. Checks that a server needs and a client doesn't are here. `fuzz/` has
//! this file as its own module, so it names nothing else of this crate.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    ConnAck, ConnectReturnCode, Packet as Read, PingResp, PubAck, Publish, SubAck, SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{Error, QoS, check};
use sally_proto::broker::{Delivery, Packet, PacketAnswer};
use sally_proto::wake::{ACKNOWLEDGEMENT_MAX, Prefix};

/// The longest packet of a connected client, in bytes: an acknowledgement, with the longest topic and some room.
pub(crate) const PACKET_MAX: usize = ACKNOWLEDGEMENT_MAX + 512;
/// The longest packet that is written, in bytes: a delivery of the longest payload.
const WRITE_MAX: usize = PACKET_MAX * 2;

/// An error: the bytes are no packet that a connected client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MalformedPacket;

/// Reads the next packet of a connected client, and returns its length in bytes too; `None` if it isn't complete yet.
///
/// # Errors
/// [`MalformedPacket`] for a packet that such a client may not send, such as a second CONNECT or QoS 2.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Packet, usize)>, MalformedPacket> {
    let Some((read, length)) = packet(bytes)? else { return Ok(None) };
    let packet = match read {
        Read::Publish(publish) => {
            let id = match publish.qos {
                QoS::AtMostOnce => None,
                QoS::AtLeastOnce => Some(publish.pkid),
                QoS::ExactlyOnce => return Err(MalformedPacket),
            };
            let topic = String::from_utf8(publish.topic.to_vec()).map_err(|_| MalformedPacket)?;
            Packet::Publish { topic, payload: own(&publish.payload), retain: publish.retain, id }
        }
        Read::PubAck(_) => Packet::Acknowledged,
        Read::Subscribe(subscribe) => {
            let filters = subscribe.filters.into_iter().map(|filter| (filter.path, filter.qos != QoS::AtMostOnce));
            Packet::Subscribe(subscribe.pkid, filters.collect())
        }
        Read::Unsubscribe(unsubscribe) if !unsubscribe.topics.is_empty() => Packet::Unsubscribe(unsubscribe.pkid, unsubscribe.topics),
        Read::PingReq => Packet::Ping,
        Read::Disconnect => Packet::Disconnect,
        _ => return Err(MalformedPacket),
    };
    Ok(Some((packet, length)))
}

fn packet(bytes: &[u8]) -> Result<Option<(Read, usize)>, MalformedPacket> {
    let length = match check(bytes.iter(), PACKET_MAX) {
        Ok(header) => header.frame_length(),
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(_) => return Err(MalformedPacket),
    };
    let frame = bytes.get(..length).ok_or(MalformedPacket)?;
    let read = Read::read(&mut BytesMut::from(frame), PACKET_MAX).map_err(|_| MalformedPacket)?;
    Ok(Some((read, length)))
}

/// Copies the bytes, so that what is kept doesn't keep the whole packet in memory.
fn own(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Writes CONNACK, always without a stored session.
pub(crate) fn write_connack(code: ConnectReturnCode, to: &mut BytesMut) {
    write(&Read::ConnAck(ConnAck::new(code, false)), to);
}

/// Writes an answer.
pub(crate) fn write_answer(answer: PacketAnswer, to: &mut BytesMut) {
    let packet = match answer {
        PacketAnswer::None => return,
        PacketAnswer::Published(id) => Read::PubAck(PubAck::new(id)),
        PacketAnswer::Subscribed(id, granted) => {
            let code = |granted| match granted {
                None => SubscribeReasonCode::Failure,
                Some(true) => SubscribeReasonCode::Success(QoS::AtLeastOnce),
                Some(false) => SubscribeReasonCode::Success(QoS::AtMostOnce),
            };
            Read::SubAck(SubAck::new(id, granted.into_iter().map(code).collect()))
        }
        PacketAnswer::Unsubscribed(id) => Read::UnsubAck(UnsubAck::new(id)),
        PacketAnswer::Pong => return drop(PingResp.write(to)),
    };
    write(&packet, to);
}

/// Writes a delivery.
pub(crate) fn write_delivery(delivery: Delivery, prefix: &Prefix, to: &mut BytesMut) {
    let qos = if delivery.id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let mut publish = Publish::from_bytes(delivery.topic.text(prefix), qos, delivery.payload);
    publish.pkid = delivery.id.unwrap_or(0);
    publish.retain = delivery.retain;
    write(&Read::Publish(publish), to);
}

fn write(packet: &Read, to: &mut BytesMut) {
    let written = packet.write(to, WRITE_MAX);
    debug_assert!(written.is_ok(), "nothing of ours is too long or has no identifier");
}
