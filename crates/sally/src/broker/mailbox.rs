//! Holds the deliveries for one connection until that connection's task takes them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use sally_proto::broker::{BrokerClient, Delivery, End, Outlet};
use sally_proto::wake::Topic;
use tokio::sync::mpsc;

use super::counters::BrokerCounters;
use super::{MqttEvent, Prefix};
use crate::lock::lock;

/// The most bytes in a device's mailbox: some dozen wakes. A device that leaves more does not read.
const DEVICE_MAIL_MAX: usize = 64 << 10;
/// The most bytes in a relay's mailbox: 10,000 statuses, as when all devices come back at once.
const RELAY_MAIL_MAX: usize = 4 << 20;
/// The bytes that a delivery costs in addition to its payload.
const OVERHEAD: usize = 256;

/// A mailbox. It allocates no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
}

#[derive(Debug, Default)]
struct Mail {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    cut: Option<End>,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Becomes ready with the reason once the connection must end, or with deliveries once there are any.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<VecDeque<Delivery>, End>> {
        let mut mail = self.mail();
        if let Some(why) = mail.cut {
            return Poll::Ready(Err(why));
        }
        if mail.deliveries.is_empty() {
            mail.remember(cx);
            return Poll::Pending;
        }
        mail.bytes = 0;
        Poll::Ready(Ok(std::mem::take(&mut mail.deliveries)))
    }

    /// Returns why the connection must end, if it must.
    pub(super) fn cut(&self) -> Option<End> {
        self.mail().cut
    }

    /// Becomes ready once the connection must end: for a session that can't take deliveries now.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<End> {
        let mut mail = self.mail();
        mail.remember(cx);
        mail.cut.map_or(Poll::Pending, Poll::Ready)
    }

    fn put(&self, delivery: Delivery, most: usize) -> bool {
        let mut mail = self.mail();
        let bytes = mail.bytes.saturating_add(delivery.payload.len()).saturating_add(OVERHEAD);
        if bytes > most {
            return false;
        }
        mail.bytes = bytes;
        mail.deliveries.push_back(delivery);
        mail.wake();
        true
    }

    fn end(&self, why: End) {
        let mut mail = self.mail();
        mail.cut.get_or_insert(why);
        mail.deliveries = VecDeque::new();
        mail.wake();
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        lock(&self.mail)
    }
}

impl Mail {
    fn remember(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The destination of deliveries.
#[derive(Debug)]
pub(super) enum DeliveryTarget {
    /// A device's connection.
    Device(Arc<Mailbox>),
    /// A relay's connection.
    Relay(Arc<Mailbox>),
    /// A client in this process.
    Local(mpsc::Sender<MqttEvent>, Prefix, Arc<BrokerCounters>),
}

impl DeliveryTarget {
    pub(super) fn to(client: &BrokerClient, mailbox: Arc<Mailbox>) -> Self {
        if matches!(client, BrokerClient::Device(_)) { Self::Device(mailbox) } else { Self::Relay(mailbox) }
    }
}

impl Outlet for DeliveryTarget {
    fn deliver(&mut self, delivery: Delivery) -> bool {
        match self {
            Self::Device(mailbox) => mailbox.put(delivery, DEVICE_MAIL_MAX),
            Self::Relay(mailbox) => mailbox.put(delivery, RELAY_MAIL_MAX),
            Self::Local(events, prefix, counters) => {
                let topic = Topic::text(&delivery.topic, prefix);
                let taken = events.try_send(MqttEvent::Message { topic, payload: delivery.payload }).is_ok();
                if !taken {
                    counters.lost.fetch_add(1, Ordering::Relaxed);
                }
                taken
            }
        }
    }

    fn cut(&mut self, why: End) {
        match self {
            Self::Device(mailbox) | Self::Relay(mailbox) => mailbox.end(why),
            // If there is no room for it, the end of the channel has the same effect.
            Self::Local(events, ..) => drop(events.try_send(MqttEvent::Down(why.word().into()))),
        }
    }
}
