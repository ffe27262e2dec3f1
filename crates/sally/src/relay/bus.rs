//! A relay's way to its devices.

use crate::broker::Local;
use crate::mqtt::Unpublished;
use crate::mqtt::client::{Client, Message};

/// Somebody else's broker, or the one in our own process.
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
