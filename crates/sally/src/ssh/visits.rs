//! Which clients are let in, and what becomes of their visits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sally_proto::admission::Settings;
use sally_proto::error::Fault;
use sally_proto::visit::{Departure, Event, Terms};
use tokio_util::sync::CancellationToken;

use crate::lock::lock;
use crate::net::admission::Connection;
use crate::session::visit::{Limits, Visit};

/// Why a client that the keys let in is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// There is one visit, and it is another client's.
    Taken,
    /// There are as many visits as there may be.
    Full,
    /// No visit begins any more.
    Over,
}

impl NotAdmitted {
    /// As the record says it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Taken => "another visitor was first",
            Self::Full => "there are as many visits as there may be",
            Self::Over => super::visitor::LATE,
        }
    }
}

/// Decides which clients have visits.
pub trait Visits: Send + Sync + 'static {
    /// Who may be mid-authentication meanwhile.
    const ADMISSION: Settings;

    /// Lets in a client that has proved to hold a key: this is its visit, or why there is none. `may_forward`: it may have connections opened
    /// from here. Where no further client is let in, none is accepted any more when this returns.
    fn admit(&self, connection: &Arc<Connection>, may_forward: bool) -> impl Future<Output = Result<Arc<Visit>, NotAdmitted>> + Send;

    /// Cancelled when no further client is let in.
    fn closing(&self) -> &CancellationToken;

    /// Nothing is listened on any more.
    fn closed(&self);

    /// No client can come any more: for this reason, or because the only connection there was has ended.
    fn cut_off(&self, why: Option<Fault>);

    /// Ends every visit.
    fn stop(&self, why: Fault);
}

/// One visit: the first client has it, and the way in is closed behind it.
pub struct OneVisit {
    visit: Arc<Visit>,
    closed: CancellationToken,
}

impl OneVisit {
    /// This one.
    pub fn new(visit: Arc<Visit>) -> Self {
        Self { visit, closed: CancellationToken::new() }
    }
}

impl Visits for OneVisit {
    const ADMISSION: Settings = Settings::ONE_VISIT;

    async fn admit(&self, connection: &Arc<Connection>, may_forward: bool) -> Result<Arc<Visit>, NotAdmitted> {
        // Before the way in is closed: all who are not settled then are dropped.
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
        self.visit.note(why.map_or(Event::ClientLeft(Departure::Lost), Event::Stop));
    }

    fn stop(&self, why: Fault) {
        self.visit.stop(why);
    }
}

/// Many visits, some of them at once; each has its own limits and ends by itself.
pub struct ManyVisits {
    most: usize,
    limits: Limits,
    several_sessions: bool,
    visits: Arc<Mutex<HashMap<u64, Arc<Visit>>>>,
    numbers: AtomicU64,
    closing: CancellationToken,
}

impl ManyVisits {
    /// So many at once at most. `several_sessions`: those of one visit may follow each other.
    pub fn new(most: usize, limits: Limits, several_sessions: bool) -> Self {
        let (visits, numbers, closing) = (Arc::default(), AtomicU64::new(0), CancellationToken::new());
        Self { most, limits, several_sessions, visits, numbers, closing }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.visits).len()
    }
}

impl Visits for ManyVisits {
    const ADMISSION: Settings = Settings::MANY_VISITS;

    async fn admit(&self, connection: &Arc<Connection>, may_forward: bool) -> Result<Arc<Visit>, NotAdmitted> {
        let visit = Visit::new(Terms { wait: Duration::MAX, several: self.several_sessions });
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        {
            let mut visits = lock(&self.visits);
            if self.closing.is_cancelled() {
                return Err(NotAdmitted::Over);
            }
            if visits.len() >= self.most {
                return Err(NotAdmitted::Full);
            }
            visit.admit(may_forward, || connection.authenticated());
            visits.insert(number, Arc::clone(&visit));
        }
        let (visits, attended, limits) = (Arc::clone(&self.visits), Arc::clone(&visit), self.limits);
        tokio::spawn(async move {
            attended.attend(limits).await;
            attended.wind_up().await;
            // The record is of all visits, and goes on.
            attended.note(Event::Sealed(Ok(())));
            lock(&visits).remove(&number);
        });
        Ok(visit)
    }

    fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    fn closed(&self) {}

    fn cut_off(&self, _: Option<Fault>) {
        self.closing.cancel();
    }

    fn stop(&self, why: Fault) {
        let visits = lock(&self.visits);
        self.closing.cancel();
        for visit in visits.values() {
            visit.stop(why.clone());
        }
    }
}

#[cfg(test)]
mod tests;
