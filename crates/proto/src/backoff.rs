//! Computes the pauses between attempts to reconnect: longer after each failure, and different for each client.
//!
//! All clients of a server that comes back reconnect to it. The pauses are random, so that they don't all come in the same second.

use std::time::Duration;

/// The bounds of the pauses, and when they start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The least pause.
    pub least: Duration,
    /// The longest pause.
    pub most: Duration,
    /// How long a connection must last to count as good: the next pause is then a first one again.
    pub stable: Duration,
}

impl Pace {
    /// For a client that must reconnect soon and may be one of a million: 1 s to 5 min, reset after a minute.
    pub const FLEET: Self = Self { least: Duration::from_secs(1), most: Duration::from_secs(300), stable: Duration::from_secs(60) };
    /// For a viewer of a share, who waits at the screen: 1 s to 30 s, reset after a minute.
    pub const VIEWER: Self = Self { least: Duration::from_secs(1), most: Duration::from_secs(30), stable: Duration::from_secs(60) };
}

/// The pauses of one client: each is drawn between a floor and twice that, and the floor doubles from pause to pause.
#[derive(Clone, Debug)]
pub struct Backoff {
    pace: Pace,
    floor: Duration,
}

impl Backoff {
    /// Starts without a failure.
    pub fn new(pace: Pace) -> Self {
        Self { pace, floor: pace.least }
    }

    /// Returns the pause before the next attempt. `random`: any number, each equally likely.
    pub fn pause(&mut self, random: u64) -> Duration {
        let floor = self.floor.min(self.pace.most / 2).max(self.pace.least.min(self.pace.most));
        let ceiling = floor.saturating_mul(2).min(self.pace.most);
        self.floor = ceiling;
        floor.saturating_add(share(ceiling.saturating_sub(floor), random))
    }

    /// Notes that a connection has lasted for this time, and is lost.
    pub fn held(&mut self, time: Duration) {
        if time >= self.pace.stable {
            self.floor = self.pace.least;
        }
    }
}

/// Returns a part of a time: none of it for 0, nearly all of it for the largest number.
fn share(time: Duration, random: u64) -> Duration {
    let nanos = time.as_nanos().saturating_mul(u128::from(random)) >> u64::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(backoff: &mut Backoff, randoms: &[u64]) -> Vec<u64> {
        randoms.iter().map(|random| backoff.pause(*random).as_secs()).collect()
    }

    #[test]
    fn from_a_second_to_five_minutes() {
        assert_eq!(seconds(&mut Backoff::new(Pace::FLEET), &[0; 10]), [1, 2, 4, 8, 16, 32, 64, 128, 150, 150]);
        assert_eq!(seconds(&mut Backoff::new(Pace::FLEET), &[u64::MAX; 10]), [1, 3, 7, 15, 31, 63, 127, 255, 299, 299]);
        assert_eq!(Backoff::new(Pace::FLEET).pause(1 << 63), Duration::from_millis(1500));
    }

    #[test]
    fn a_stable_minute_begins_anew_and_less_does_not() {
        let mut backoff = Backoff::new(Pace::FLEET);
        seconds(&mut backoff, &[0; 4]);
        backoff.held(Duration::from_secs(59));
        assert_eq!(seconds(&mut backoff, &[0]), [16]);
        backoff.held(Duration::from_secs(60));
        assert_eq!(seconds(&mut backoff, &[0]), [1]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Pause(u64),
        Held(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![any::<u64>().prop_map(Step::Pause), (0_u64..200).prop_map(Step::Held)];
        proptest::collection::vec(step, 1..100)
    }

    proptest! {
        /// Whatever happens, a pause lies between the bounds, and within twice of what the failures since the last good minute allow.
        #[test]
        fn a_pause_lies_between_its_bounds(least in 1_u64..5_000, more in 0_u64..500_000, steps in steps()) {
            let millis = Duration::from_millis;
            let pace = Pace { least: millis(least), most: millis(least + more), stable: Duration::from_secs(60) };
            let mut backoff = Backoff::new(pace);
            let mut failures = 0;
            for step in steps {
                match step {
                    Step::Pause(random) => {
                        let pause = backoff.pause(random);
                        prop_assert!(pause >= pace.least && pause <= pace.most, "{pause:?}");
                        failures += 1;
                        prop_assert!(pause <= pace.least.saturating_mul(1 << failures.min(30)), "{pause:?} after {failures}");
                    }
                    Step::Held(seconds) => {
                        backoff.held(Duration::from_secs(seconds));
                        if seconds >= 60 {
                            failures = 0;
                        }
                    }
                }
            }
        }

        /// Those who draw evenly come evenly: each quarter of the time between floor and ceiling gets its quarter of the numbers.
        #[test]
        fn who_draws_evenly_comes_evenly(failures in 0_usize..12) {
            let mut backoff = Backoff::new(Pace::FLEET);
            for _ in 0..failures {
                backoff.pause(0);
            }
            let pauses: Vec<_> = (0..4_u64).map(|quarter| backoff.clone().pause(quarter << 62)).collect();
            let gaps: Vec<_> = pauses.windows(2).map(|two| two[1].saturating_sub(two[0]).as_millis()).collect();
            prop_assert!(gaps.iter().all(|gap| gap.abs_diff(gaps[0]) <= 1 && *gap >= 250), "{pauses:?}");
        }
    }
}
