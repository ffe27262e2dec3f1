//! Remembers the wakes that were seen.

use std::collections::VecDeque;

use super::message::Jti;

/// How many wakes a device remembers. Its own limit ([`super::DIALS`]) admits far fewer while one is valid, so a full memory is an attack
/// with the relay's own key.
pub const REMEMBERED: usize = 256;

/// The wakes that were seen and could still be replayed, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenWakes(VecDeque<(Jti, u64)>);

/// Says why a wake isn't accepted as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotNew {
    Replayed,
    Full,
}

impl SeenWakes {
    /// Remembers a wake until `end`. With a clock (`now`), only ended wakes are forgotten; without one, the oldest is.
    pub(super) fn remember(&mut self, jti: Jti, end: u64, now: Option<u64>) -> Result<(), NotNew> {
        if let Some(now) = now {
            self.0.retain(|(_, end)| *end >= now);
        }
        if self.0.iter().any(|(seen, _)| *seen == jti) {
            return Err(NotNew::Replayed);
        }
        if self.0.len() >= REMEMBERED {
            if now.is_some() {
                return Err(NotNew::Full);
            }
            self.0.pop_front();
        }
        self.0.push_back((jti, end));
        Ok(())
    }
}
