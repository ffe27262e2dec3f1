//! Sockets and what is carried over them; knows no SSH.
//!
//! - `bind`, `accept`: a socket that listens, and its loop
//! - `inetd`: the one connection on stdin and stdout in its place
//! - `endpoint`: where a connection comes from, and where it arrived
//! - `admission`: who may be mid-authentication, and for how long
//! - `proxy`: what a balancer says of a connection
//! - `stream`: a connection's stream, which can be cut whatever a library does
//! - `tls`: certificates, keys and roots, of clients and servers
//! - `http`: the HTTP server
//! - `https`, `network`: the HTTP client, and what the environment says of reaching a server
//! - `dial`: a TCP connection to a host by its name
//! - `ports`: ports of this machine, bound as a client said
//! - `splice`: two connections joined, bytes both ways until both ways have ended
//! - `activity`: the clock of the last byte

pub(crate) mod accept;
pub mod activity;
pub mod admission;
pub mod bind;
pub mod dial;
pub mod endpoint;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod http;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod https;
pub mod inetd;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod network;
pub mod ports;
pub(crate) mod proxy;
pub mod splice;
pub mod stream;
pub mod tls;
