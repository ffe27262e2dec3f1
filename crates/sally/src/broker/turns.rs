//! Turns: so many connections a second are let in, whoever comes. When all devices come back at once, each of the others waits for its own.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A queue, first come, first served. Who leaves it costs nobody a turn.
#[derive(Debug)]
pub(super) struct Turns(Mutex<Interval>);

impl Turns {
    /// At most so many a second (1,000 and fewer: the clock's step is a millisecond).
    pub(super) fn new(per_second: u32) -> Self {
        let mut clock = interval(Duration::from_secs(1) / per_second.clamp(1, 1000));
        // A quiet hour is no reason for a crowd.
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self(Mutex::new(clock))
    }

    /// Waits for the next turn. Cancel-safe.
    pub(super) async fn next(&self) {
        self.0.lock().await.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_takes_its_time_and_nobody_waits_for_whoever_left() {
        let turns = Arc::new(Turns::new(100));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let start = Instant::now();
        let mut crowd = JoinSet::new();
        for _ in 0..50 {
            let turns = Arc::clone(&turns);
            crowd.spawn(async move { turns.next().await });
        }
        let mut leavers = JoinSet::new();
        for _ in 0..1000 {
            let turns = Arc::clone(&turns);
            leavers.spawn(async move { turns.next().await });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        leavers.shutdown().await;
        crowd.join_all().await;
        let took = start.elapsed();
        assert!((Duration::from_millis(480)..=Duration::from_millis(500)).contains(&took), "{took:?}");
        turns.next().await;
        assert!(start.elapsed() <= took + Duration::from_millis(10));
    }
}
