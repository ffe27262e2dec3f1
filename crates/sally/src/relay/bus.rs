//! A relay's connection to the broker, for waking its devices.

use crate::broker::Local;
use crate::mqtt::Unpublished;
use crate::mqtt::client::{MqttClient, MqttMessage};

/// A client of the broker: of another one, or of the one in this process.
pub enum Bus {
    /// A client over a network connection.
    Far(MqttClient),
    /// The broker in this process.
    Near(Local),
}

impl Bus {
    /// Publishes a message.
    ///
    /// # Errors
    /// [`Unpublished`].
    pub fn publish(&self, message: MqttMessage) -> Result<(), Unpublished> {
        match self {
            Self::Far(client) => client.publish(message),
            Self::Near(local) => local.publish(&message.topic, message.payload, message.retain).map_err(|_| Unpublished),
        }
    }

    /// Subscribes to a topic. No failure is an error: the topics are hints, without which a refusal is merely less precise.
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

    /// Unsubscribes from a topic.
    pub fn unsubscribe(&self, topic: &str) {
        match self {
            Self::Far(client) => client.unsubscribe(topic),
            Self::Near(local) => local.unsubscribe(topic),
        }
    }
}
