//! Decides which clients are let in, and keeps their visits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sally_proto::admission::AdmissionSettings;
use sally_proto::error::Fault;
use sally_proto::visit::{Departure, VisitEvent, VisitTerms};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::lock::lock;
use crate::net::admission::Connection;
use crate::record::Recorder;
use crate::session::visit::{Visit, VisitLimits};

/// Why an authenticated client gets no visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The only visit is another client's.
    Taken,
    /// The number of visits is at its limit.
    Full,
    /// The number of visits of this key is at its limit.
    KeyFull,
    /// No visit begins any more.
    Over,
}

impl NotAdmitted {
    /// Returns the reason in the record's words.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Taken => "another visitor logged in first",
            Self::Full => "the limit of visits is reached",
            Self::KeyFull => "the limit of visits of one key is reached",
            Self::Over => super::connection::LATE,
        }
    }
}

/// Decides which clients have visits.
pub trait Visits: Send + Sync + 'static {
    /// The settings for connections that are mid-authentication.
    const ADMISSION: AdmissionSettings;

    /// Lets in a client that has proved that it holds the key with this fingerprint; returns its visit, or why there is none.
    /// `may_forward`: the key allows the client connections from here. If it was the last client, no connection is accepted any more when
    /// this returns.
    fn admit(
        &self,
        connection: &Arc<Connection>,
        fingerprint: &str,
        may_forward: bool,
    ) -> impl Future<Output = Result<Arc<Visit>, NotAdmitted>> + Send;

    /// Returns the token that is cancelled when no further client is let in.
    fn closing(&self) -> &CancellationToken;

    /// Notes that no socket is listened on any more.
    fn closed(&self);

    /// Notes that no client can come any more: for the reason `why`, or because the only connection has ended.
    fn cut_off(&self, why: Option<Fault>);

    /// Ends every visit, for the reason `why`.
    fn stop(&self, why: Fault);
}

/// A single visit: the first client gets it, and no other is let in.
pub struct OneVisit {
    visit: Arc<Visit>,
    closed: CancellationToken,
}

impl OneVisit {
    /// Makes the policy for one visit.
    pub fn new(visit: Arc<Visit>) -> Self {
        Self { visit, closed: CancellationToken::new() }
    }
}

impl Visits for OneVisit {
    const ADMISSION: AdmissionSettings = AdmissionSettings::ONE_VISIT;

    async fn admit(&self, connection: &Arc<Connection>, _: &str, may_forward: bool) -> Result<Arc<Visit>, NotAdmitted> {
        // Before the socket is closed: closing it drops every connection that isn't authenticated.
        if !self.visit.admit(may_forward, || connection.authenticated()) {
            return Err(NotAdmitted::Taken);
        }
        self.closed.cancelled().await;
        Ok(Arc::clone(&self.visit))
    }

    fn closing(&self) -> &CancellationToken {
        self.visit.taken()
    }

    fn closed(&self) {
        self.closed.cancel();
    }

    fn cut_off(&self, why: Option<Fault>) {
        self.visit.note(why.map_or(VisitEvent::ClientLeft(Departure::Lost), VisitEvent::Stop));
    }

    fn stop(&self, why: Fault) {
        self.visit.stop(why);
    }
}

/// A visit that has not ended.
struct PresentVisit {
    /// The fingerprint of the client's key.
    fingerprint: String,
    visit: Arc<Visit>,
}

/// Many visits, several at once; each has its own limits and ends on its own.
pub struct ManyVisits {
    most: usize,
    most_of_key: usize,
    limits: VisitLimits,
    several_sessions: bool,
    /// The record of all visits.
    recorder: Recorder,
    visits: Arc<Mutex<HashMap<u64, PresentVisit>>>,
    /// Wakes those who wait for a visit to end.
    ended: Arc<Notify>,
    numbers: AtomicU64,
    closing: CancellationToken,
}

impl ManyVisits {
    /// Makes the policy for at most `most` visits at once, `most_of_key` of them of one key. `several_sessions`: a visit may have one
    /// session after another. `recorder`: the record of all visits, which end if it fails.
    pub fn new(most: usize, most_of_key: usize, limits: VisitLimits, several_sessions: bool, recorder: Recorder) -> Self {
        let (visits, ended, numbers, closing) = (Arc::default(), Arc::default(), AtomicU64::new(0), CancellationToken::new());
        Self { most, most_of_key, limits, several_sessions, recorder, visits, ended, numbers, closing }
    }

    /// Ends every visit of these keys.
    pub(super) fn stop_keys(&self, whose: impl Fn(&str) -> bool, why: &Fault) {
        for present in lock(&self.visits).values().filter(|present| whose(&present.fingerprint)) {
            present.visit.stop(why.clone());
        }
    }

    /// Admits no further client, and waits until the present ones have left.
    pub(super) async fn drained(&self) {
        self.closing.cancel();
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Returns the number of present visits.
    pub fn count(&self) -> usize {
        lock(&self.visits).len()
    }
}

impl Visits for ManyVisits {
    const ADMISSION: AdmissionSettings = AdmissionSettings::MANY_VISITS;

    async fn admit(&self, connection: &Arc<Connection>, fingerprint: &str, may_forward: bool) -> Result<Arc<Visit>, NotAdmitted> {
        let visit = Visit::new(VisitTerms { wait: Duration::MAX, several: self.several_sessions });
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        {
            let mut visits = lock(&self.visits);
            if self.closing.is_cancelled() {
                return Err(NotAdmitted::Over);
            }
            if visits.len() >= self.most {
                return Err(NotAdmitted::Full);
            }
            if visits.values().filter(|present| present.fingerprint == fingerprint).count() >= self.most_of_key {
                return Err(NotAdmitted::KeyFull);
            }
            visit.admit(may_forward, || connection.authenticated());
            visits.insert(number, PresentVisit { fingerprint: fingerprint.to_owned(), visit: Arc::clone(&visit) });
        }
        let (visits, ended) = (Arc::clone(&self.visits), Arc::clone(&self.ended));
        let (attended, limits, recorder) = (Arc::clone(&visit), self.limits, self.recorder.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = attended.attend(limits) => {}
                // A task that panics breaks the record off: what it was part of would never end.
                error = recorder.failed() => attended.stop(error.into()),
            }
            attended.finish().await;
            // The record is shared by all visits, and goes on.
            attended.note(VisitEvent::Sealed(Ok(())));
            lock(&visits).remove(&number);
            ended.notify_waiters();
        });
        Ok(visit)
    }

    fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    fn closed(&self) {}

    /// Does nothing: clients may come on another way, or have come. What serves the ways decides.
    fn cut_off(&self, _: Option<Fault>) {}

    fn stop(&self, why: Fault) {
        let visits = lock(&self.visits);
        self.closing.cancel();
        for present in visits.values() {
            present.visit.stop(why.clone());
        }
    }
}

#[cfg(test)]
mod tests;
