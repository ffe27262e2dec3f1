//! Messages through a broker: a relay's wakes, what devices answer, and whether they are there. The broker is not trusted (docs/wire.md).
//!
//! - `client`: a connection to a broker that comes back by itself
//! - `tls`: whom a broker has to be, and whom it takes us for

pub mod client;
pub mod tls;

use bytes::Bytes;

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
