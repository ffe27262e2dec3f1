//! The broker's client in the relay's own process: it has no socket and no codec.

use std::sync::Arc;

use bytes::Bytes;
use sally_proto::broker::{BrokerClient, End};
use sally_proto::error::Fault;

use super::BrokerState;

/// A relay in this process, as a client. Its place in the hub ends when it is dropped.
#[derive(Debug)]
pub struct Local {
    pub(super) shared: Arc<BrokerState>,
    pub(super) client: BrokerClient,
    pub(super) connection: u64,
}

impl Local {
    /// Publishes with QoS 1: the message is in every subscriber's mailbox when this returns. Waits for no subscriber.
    ///
    /// # Errors
    /// [`Fault::Internal`] if a relay may not publish that there.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>, retain: bool) -> Result<(), Fault> {
        let published = self.shared.hub().publish(&self.client, topic, payload.into(), retain, true);
        published.map_err(|_| Fault::Internal(format!("a relay may not publish to {topic:?}")))
    }

    /// Subscribes to an exact topic: the status of a device, or acknowledgements. Retained messages come at once.
    ///
    /// # Errors
    /// [`Fault::Internal`] if a relay may not subscribe to that, or has too many subscriptions.
    pub fn subscribe(&self, topic: &str) -> Result<(), Fault> {
        let subscribed = self.shared.hub().subscribe(&self.client, topic, true);
        if subscribed { Ok(()) } else { Err(Fault::Internal(format!("a relay may not subscribe to {topic:?}"))) }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, topic: &str) {
        self.shared.hub().unsubscribe(&self.client, topic);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shared.hub().gone(&self.client, self.connection, End::Goodbye);
    }
}
