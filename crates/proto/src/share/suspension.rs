//! Notices that the machine was suspended.

use std::time::Duration;

/// How much further the wall clock may go than the monotonic one: more than a clock is set by while a machine runs well.
const TOLERANCE: Duration = Duration::from_secs(3);

/// Compares two clocks: the monotonic one stands still while the machine is suspended.
#[derive(Clone, Copy, Debug)]
pub struct SuspendWatch {
    wall: Duration,
    monotonic: Duration,
}

impl SuspendWatch {
    /// Begins with the time of both clocks, each since any moment of its own.
    pub fn new(wall: Duration, monotonic: Duration) -> Self {
        Self { wall, monotonic }
    }

    /// Returns whether the machine was suspended since the last call. A wall clock that was put forward looks the same.
    pub fn was_suspended(&mut self, wall: Duration, monotonic: Duration) -> bool {
        let before = std::mem::replace(self, Self { wall, monotonic });
        let passed = wall.saturating_sub(before.wall);
        passed > monotonic.saturating_sub(before.monotonic).saturating_add(TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_runs_ahead_after_a_suspension() {
        let seconds = Duration::from_secs;
        let mut watch = SuspendWatch::new(seconds(1000), seconds(5));
        assert!(!watch.was_suspended(seconds(1001), seconds(6)));
        assert!(!watch.was_suspended(seconds(1101), seconds(106)), "a process that was stopped");
        assert!(!watch.was_suspended(seconds(1105), seconds(107)), "a clock that was set");
        assert!(!watch.was_suspended(seconds(105), seconds(108)), "a clock that was put back");
        assert!(watch.was_suspended(seconds(110), seconds(109)));
        assert!(!watch.was_suspended(seconds(111), seconds(110)), "once");
    }
}
