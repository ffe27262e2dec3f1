//! Carries bytes over sockets; knows no SSH.
//!
//! - `bind`, `accept`: listening sockets, and their loop
//! - `inetd`: the only connection, on stdin and stdout
//! - `endpoint`: one end of a connection
//! - `admission`: which connections may be mid-authentication, and for how long
//! - `proxy`: the PROXY header of a balancer
//! - `stream`: a connection's stream, which can be cut in any state of the SSH library
//! - `tls`: certificates, keys and roots, of clients and servers
//! - `http`: the HTTP server
//! - `https`, `network`: the HTTP client, and its settings from the environment
//! - `dial`: connects to a host over TCP, by its name
//! - `ports`: ports of this machine, bound as a client asks
//! - `splice`: joins two connections
//! - `activity`: the time of the last byte

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
