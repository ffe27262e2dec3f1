//! Sizes the window: how much a client may send ahead of what is consumed. A short path needs little, a long one much.
//!
//! A window larger than what the path holds fills the client's memory: OpenSSH's client reads as much input as the window allows, and moves
//! it with each packet (at 16 MiB an upload over loopback takes three times as long as at 2 MiB). A smaller window makes the client wait.
//! So the window grows when it is the bottleneck: a path stays full with twice the round trip times the rate.

use std::time::{Duration, Instant};

/// The first window, in bytes, as OpenSSH's.
pub(super) const FIRST: u32 = 2 << 20;
/// The largest window, in bytes. A long path (100 ms) at 1 Gbit/s holds 12 MB.
const LARGEST: u32 = 16 << 20;
/// The shortest time over which the rate is measured: shorter measurements are noise.
const SHORTEST: Duration = Duration::from_millis(20);

/// The measurements of one connection.
#[derive(Debug)]
pub(super) struct Window {
    /// The time of the last answer that the client had to wait for.
    answered: Option<Instant>,
    /// The shortest time from such an answer to the client's next message.
    round_trip: Option<Duration>,
    since: Instant,
    received: u64,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { answered: None, round_trip: None, since: now, received: 0 }
    }

    /// Notes a message that the client could not send before the last answer.
    pub(super) fn asked(&mut self, now: Instant) {
        if let Some(answered) = self.answered.take() {
            let took = now.duration_since(answered);
            self.round_trip = Some(self.round_trip.map_or(took, |least| least.min(took)));
        }
    }

    /// Notes that the answer to it is sent.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Notes received data.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Returns the size that the window should have; it is `current` now. Called whenever the window is refilled.
    pub(super) fn target(&mut self, now: Instant, current: u32) -> u32 {
        let Some(round_trip) = self.round_trip else { return current };
        let elapsed = now.duration_since(self.since);
        if elapsed < SHORTEST.max(2 * round_trip) {
            return current;
        }
        let in_a_round_trip = u128::from(self.received) * round_trip.as_micros() / elapsed.as_micros().max(1);
        (self.since, self.received) = (now, 0);
        if 2 * in_a_round_trip > u128::from(current) { current.saturating_mul(2).min(LARGEST) } else { current }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends for ten seconds as fast as `rate` (bytes a second) and the window allow; returns the window at the end.
    fn after_sending(round_trip: Duration, rate: u64) -> u32 {
        let start = Instant::now();
        let mut window = Window::new(start);
        window.answered(start);
        window.asked(start + round_trip);
        window.answered(start + round_trip);
        window.asked(start + round_trip + Duration::from_secs(1));
        let (mut now, mut size) = (start, FIRST);
        while now < start + Duration::from_secs(10) {
            let piece = size / 4;
            let a_window_takes = Duration::from_secs_f64(f64::from(size) / rate as f64).max(round_trip);
            now += a_window_takes / 4;
            window.received(piece as usize);
            size = window.target(now, size);
        }
        size
    }

    #[test]
    fn it_stays_small_where_the_way_is_short_however_fast() {
        assert_eq!(after_sending(Duration::from_micros(300), 2_000_000_000), FIRST);
    }

    #[test]
    fn it_stays_small_where_the_way_is_long_and_slow() {
        assert_eq!(after_sending(Duration::from_millis(100), 5_000_000), FIRST);
    }

    #[test]
    fn it_grows_where_the_way_is_long_and_fast() {
        assert_eq!(after_sending(Duration::from_millis(100), 1_000_000_000), LARGEST);
        assert_eq!(after_sending(Duration::from_millis(20), 150_000_000), 8 << 20);
    }

    #[test]
    fn a_visitor_who_types_is_no_long_way() {
        let start = Instant::now();
        let mut window = Window::new(start);
        window.answered(start);
        window.asked(start + Duration::from_millis(100));
        window.received(1000);
        assert_eq!(window.target(start + Duration::from_secs(60), FIRST), FIRST);
    }
}
