//! Messages through a broker: a relay's wakes, what devices answer, and whether they are there. The broker is not trusted (docs/wire.md).
//!
//! - `client`: a connection to a broker that comes back by itself
//! - `tls`: whom a broker has to be, and whom it takes us for

pub mod client;
pub mod tls;

use bytes::Bytes;

use crate::broker::Local;
use client::{Client, Message};

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

/// A relay's way to its devices: somebody else's broker, or the one in its own process.
pub enum Bus {
    /// Over a connection.
    Far(Client),
    /// In this process.
    Near(Local),
}

impl Bus {
    /// Publishes.
    ///
    /// # Errors
    /// [`Unpublished`].
    pub fn publish(&self, message: Message) -> Result<(), Unpublished> {
        match self {
            Self::Far(client) => client.publish(message),
            Self::Near(local) => local.publish(&message.topic, message.payload, message.retain).map_err(|_| Unpublished),
        }
    }

    /// Subscribes to a topic: a hint's, which there is a plainer sentence without.
    pub fn subscribe(&self, topic: String) {
        match self {
            Self::Far(client) => client.subscribe(topic),
            Self::Near(local) => {
                if let Err(fault) = local.subscribe(&topic) {
                    tracing::info!(%fault, "not subscribed");
                }
            }
        }
    }

    /// No longer.
    pub fn unsubscribe(&self, topic: &str) {
        match self {
            Self::Far(client) => client.unsubscribe(topic),
            Self::Near(local) => local.unsubscribe(topic),
        }
    }
}
