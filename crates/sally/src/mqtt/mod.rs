//! Messages through a broker: a relay's wakes, what devices answer, and whether they are there. The broker is not trusted (docs/wire.md).
//!
//! - `client`: a connection to a broker that comes back by itself

pub mod client;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sally_proto::error::Fault;
use tokio_rustls::rustls::ClientConfig;

use crate::net::tls::{self, KeyPair, Roots};

/// What a broker tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything that was subscribed to is now.
    Up,
    /// The connection is gone, and is being made anew: why.
    Down(String),
    /// A message on one of the topics that were subscribed to.
    Message {
        /// The topic.
        topic: String,
        /// What was published.
        payload: Bytes,
    },
}

/// Nothing can be published now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is unreachable")]
pub struct Unpublished;

/// TLS towards a broker, which the fleet's own authority vouches for, or one of the public web: it may be somebody else's service.
///
/// # Errors
/// [`Fault::FleetInvalid`] with the file that can't be used.
pub fn tls(own: &KeyPair, authority: PathBuf) -> Result<Arc<ClientConfig>, Fault> {
    let client = tls::client(&Roots::WebAnd(authority), Some(own));
    client.map(Arc::new).map_err(|error| error.into_fault(|file, reason| Fault::FleetInvalid { file, reason }))
}
