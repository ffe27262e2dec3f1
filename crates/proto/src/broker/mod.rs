//! Implements a small MQTT 3.1.1 broker that carries only wakes, without its sockets: which clients are connected, which topics each may
//! use, what is retained.
//!
//! There is no language of access rules. The name in a certificate says which client it is, and that decides its topics; each is exact,
//! and a wildcard is refused like any other topic that isn't the client's. A client that publishes or retains on a foreign topic is
//! disconnected: MQTT 3.1.1 has no other way to refuse that.
//!
//! - `client`: the clients, and what they may do
//! - `connect`: a client's first packet
//! - `name`: from a certificate's subject to a name
//! - `packet`: the packets from clients, and the answers
//! - `retained`: the last status of each device
//! - `hub`: the one owner of all this; sessions are always clean
//! - `connection`: one client's place in it

mod client;
mod connect;
mod connection;
mod hub;
mod name;
mod packet;
mod retained;

pub use client::{BrokerClient, KEEPALIVE_MAX, RELAY_NAME, keepalive};
pub use connect::{CLIENT_ID_MAX, CONNECT_MAX, Connect, NotConnected, connect};
pub use connection::{DEVICE_PACKETS, DEVICE_UNACKNOWLEDGED_MAX, Outlet, RELAY_SUBSCRIPTIONS_MAX};
pub use hub::{Hub, Standing, Will};
pub use name::common_name;
pub use packet::{ConnectRefusal, Delivery, End, Packet, PacketAnswer};
pub use retained::Retained;

#[cfg(test)]
mod tests;
