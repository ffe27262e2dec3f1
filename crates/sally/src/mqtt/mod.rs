//! Exchanges messages through a broker: a relay's wakes, devices' answers, and their statuses. The broker is not trusted (docs/wire.md).
//!
//! - `client`: a connection to a broker that reconnects by itself

pub mod client;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sally_proto::error::Fault;
use tokio_rustls::rustls::ClientConfig;

use crate::net::tls::{self, KeyPair, Roots};

/// An event of a connection to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MqttEvent {
    /// All subscriptions are confirmed.
    Up,
    /// The connection has ended, for this reason, and is being made again.
    Down(String),
    /// A message on a subscribed topic.
    Message {
        /// The topic.
        topic: String,
        /// The payload.
        payload: Bytes,
    },
}

/// An error: nothing can be published now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is unreachable")]
pub struct Unpublished;

/// Returns the TLS configuration for a broker. Trusts the fleet's own authority and those of the public web, since the broker may be
/// another provider's service.
///
/// # Errors
/// [`Fault::FleetInvalid`] with the file that can't be used.
pub fn tls(own: &KeyPair, authority: PathBuf) -> Result<Arc<ClientConfig>, Fault> {
    let client = tls::client(&Roots::WebAnd(authority), Some(own));
    client.map(Arc::new).map_err(|error| error.into_fault(|file, reason| Fault::FleetInvalid { file, reason }))
}
