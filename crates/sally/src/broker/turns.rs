//! Limits how many connections are admitted in a second. When all devices come back at once, the others wait for their turn.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A queue in order of arrival. A connection that leaves it uses up no turn.
#[derive(Debug)]
pub(super) struct Turns(Mutex<Interval>);

impl Turns {
    /// Creates turns, at most `most` in a second (clamped to 1,000: the clock's step is a millisecond).
    pub(super) fn per_second(most: u32) -> Self {
        Self::every(Duration::from_secs(1) / most.clamp(1, 1000))
    }

    fn every(time: Duration) -> Self {
        let mut clock = interval(time);
        // Missed ticks are skipped, so that no burst follows a quiet time.
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
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test]
    async fn there_is_one_turn_at_a_time_and_who_leaves_takes_none() {
        let turns = Turns::every(Duration::from_secs(3600));
        turns.next().await;
        for _ in 0..100 {
            assert!(timeout(Duration::ZERO, turns.next()).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_crowd_takes_its_time() {
        let (turns, start) = (Arc::new(Turns::per_second(1000)), Instant::now());
        let mut crowd = JoinSet::new();
        for _ in 0..50 {
            let turns = Arc::clone(&turns);
            crowd.spawn(async move { turns.next().await });
        }
        crowd.join_all().await;
        assert!(start.elapsed() >= Duration::from_millis(48), "{:?}", start.elapsed());
    }
}
