//! Counters for `/metrics`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lock::lock;

/// Counters that only grow.
#[derive(Debug, Default)]
pub(super) struct BrokerCounters {
    pub(super) accepted: AtomicU64,
    pub(super) entered: AtomicU64,
    pub(super) published: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) lost: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    ended: Mutex<BTreeMap<&'static str, u64>>,
}

/// The values of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerCounts {
    /// Clients connected now, those in this process included.
    pub connected: usize,
    /// Statuses that are retained now.
    pub retained: usize,
    /// Connections accepted by the socket.
    pub accepted: u64,
    /// Clients admitted.
    pub entered: u64,
    /// Messages that clients published.
    pub published: u64,
    /// Messages that were sent to clients.
    pub delivered: u64,
    /// Messages that the client in this process did not take in time.
    pub lost: u64,
    /// Connections refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections of clients that ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
}

impl BrokerCounters {
    pub(super) fn refused(&self, why: &'static str) {
        one_more(&self.refused, why);
    }

    pub(super) fn ended(&self, why: &'static str) {
        one_more(&self.ended, why);
    }

    pub(super) fn counts(&self, (connected, retained): (usize, usize)) -> BrokerCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let copy = |counters: &Mutex<BTreeMap<_, _>>| lock(counters).clone();
        BrokerCounts {
            connected,
            retained,
            accepted: load(&self.accepted),
            entered: load(&self.entered),
            published: load(&self.published),
            delivered: load(&self.delivered),
            lost: load(&self.lost),
            refused: copy(&self.refused),
            ended: copy(&self.ended),
        }
    }
}

fn one_more(counters: &Mutex<BTreeMap<&'static str, u64>>, why: &'static str) {
    let mut counters = lock(counters);
    let count = counters.entry(why).or_default();
    *count = count.saturating_add(1);
}
