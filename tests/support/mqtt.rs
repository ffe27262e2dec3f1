//! An MQTT 3.1.1 client that is nothing but the bytes it sends, so that it can send any.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use super::PATIENCE;

pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const SUBSCRIBE: u8 = 0x82;
pub const PINGREQ: u8 = 0xc0;
pub const DISCONNECT: u8 = 0xe0;

/// A text with its length before it.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
}

/// A packet with its length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let more = left > 127;
        bytes.push(u8::try_from(left % 128).unwrap() | if more { 0x80 } else { 0 });
        left /= 128;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A CONNECT with a clean session; the will, retained, with QoS 1.
pub fn connect(id: &str, keepalive: u16, will: Option<(&str, &str)>) -> Vec<u8> {
    let flags = if will.is_some() { 0b0010_1110 } else { 0b0000_0010 };
    let mut body = [string("MQTT"), vec![4, flags], keepalive.to_be_bytes().to_vec(), string(id)].concat();
    if let Some((topic, payload)) = will {
        body.extend([string(topic), string(payload)].concat());
    }
    packet(0x10, &body)
}

/// A PUBLISH with QoS 1 and the identifier 1.
pub fn publish(topic: &str, payload: impl AsRef<[u8]>, retain: bool) -> Vec<u8> {
    packet(PUBLISH | 2 | u8::from(retain), &[&string(topic), &[0, 1][..], payload.as_ref()].concat())
}

/// A SUBSCRIBE with QoS 1 and the identifier 1.
pub fn subscribe(topics: &[&str]) -> Vec<u8> {
    let filters: Vec<_> = topics.iter().flat_map(|topic| [string(topic), vec![1]].concat()).collect();
    packet(SUBSCRIBE, &[vec![0, 1], filters].concat())
}

/// A connection.
pub struct Mqtt {
    pub stream: TcpStream,
}

impl Mqtt {
    /// Bytes may go either way.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// The same from another address of loopback: another source.
    pub fn from(source: u8, address: SocketAddr) -> Self {
        let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
        let own: SocketAddr = (Ipv4Addr::new(127, 0, 0, source), 0).into();
        rustix::net::bind(&socket, &own).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    /// Connected as somebody, with a will and without a keepalive.
    pub fn connected(address: SocketAddr, id: &str) -> Self {
        let mut client = Self::open(address);
        client.send(&connect(id, 0, Some((&format!("sally/v1/{id}/status"), "offline"))));
        assert_eq!(client.read(), Some((0x20, vec![0, 0])), "{id}");
        client
    }

    /// Subscribed to these as well.
    pub fn hearing(mut self, topics: &[&str]) -> Self {
        self.send(&subscribe(topics));
        assert_eq!(self.read(), Some((0x90, [vec![0, 1], vec![1; topics.len()]].concat())));
        self
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Whatever the other side makes of it.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next packet: its first byte and what follows its length. `None` where the connection has ended.
    pub fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut first = [0];
        match self.stream.read(&mut first) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let (mut length, mut shift, mut byte) = (0, 0, [0x80]);
        while byte[0] & 0x80 != 0 {
            self.stream.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Some((first[0], body))
    }

    /// The next message: its topic and payload. It is acknowledged.
    pub fn message(&mut self) -> Option<(String, String)> {
        loop {
            let (first, body) = self.read()?;
            if first & 0xf0 != PUBLISH {
                continue;
            }
            let (length, rest) = body.split_first_chunk::<2>().unwrap();
            let (topic, rest) = rest.split_at(u16::from_be_bytes(*length).into());
            let payload = if first & 0x06 == 0 { rest } else { &rest[2..] };
            if first & 0x06 != 0 {
                self.send(&packet(PUBACK, &rest[..2]));
            }
            return Some((String::from_utf8_lossy(topic).into(), String::from_utf8_lossy(payload).into()));
        }
    }

    /// Reads to the end of the connection.
    pub fn await_end(&mut self) {
        while self.read().is_some() {}
    }
}
