//! A small MQTT 3.1.1 broker for wakes and nothing else, without its sockets: who is connected, who may say and hear what, what is retained.
//!
//! There is no language of access rules. A certificate's name says who somebody is, and that says which topics are theirs; each is exact, and
//! a wildcard is refused like any other topic that isn't somebody's. Whoever publishes or retains what is not theirs to is cut off: MQTT 3.1.1 has
//! no other way to say no to that.
//!
//! - `client`: who is connected, and what they may
//! - `connect`: a client's first packet
//! - `name`: from a certificate's subject to a name
//! - `packet`: what clients say, and what they are told
//! - `retained`: the last status of each device
//! - `hub`: the one owner of all this; sessions are clean, always
//! - `seat`: one client's place in it

mod client;
mod connect;
mod hub;
mod name;
mod packet;
mod retained;
mod seat;

pub use client::{Client, KEEPALIVE_MAX, RELAY_NAME, keepalive};
pub use connect::{CLIENT_ID_MAX, CONNECT_MAX, Connect, NotConnected, connect};
pub use hub::{Hub, Standing, Will};
pub use name::common_name;
pub use packet::{Answer, Delivery, End, Packet, Refused};
pub use retained::Retained;
pub use seat::{DEVICE_PACKETS, DEVICE_UNACKNOWLEDGED_MAX, Outlet, RELAY_SUBSCRIPTIONS_MAX};

#[cfg(test)]
mod tests;
