//! Reads the viewer's keyboard, over all connections to a share.

use std::time::Duration;

use sally_proto::share::{EscapeKeys, Escaped};
use tokio::time::Instant;

/// A pause in typing, after which a key is no longer the rest of what was typed before.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a paste may pause. One whose end has not come by then is over.
const PASTE_PAUSE: Duration = Duration::from_secs(10);

/// The viewer's keyboard.
#[derive(Debug, Default)]
pub(super) struct ViewerKeys {
    escape: EscapeKeys,
    /// When something was typed last.
    newest: Option<Instant>,
    /// Whether what is typed is the rest of something that began while the connection was lost.
    is_rest: bool,
}

impl ViewerKeys {
    /// Takes what was typed while the share is shown. The rest of a paste or a line that began before is dropped: the share has not seen
    /// its beginning.
    pub(super) fn typed(&mut self, bytes: &[u8], now: Instant) -> Escaped {
        let paused = self.pauses(now);
        let was_pasting = self.escape.is_pasting();
        self.is_rest &= was_pasting || !paused;
        let mut escaped = self.escape.typed(bytes);
        if self.is_rest {
            escaped.passed.clear();
            self.is_rest = if was_pasting { self.escape.is_pasting() } else { !bytes.ends_with(b"\r") && !bytes.ends_with(b"\n") };
        }
        escaped
    }

    /// Notes that the connection was lost.
    pub(super) fn lost(&mut self, now: Instant) {
        self.newest = Some(now);
        self.is_rest |= self.escape.is_pasting();
    }

    /// Takes what was typed while the connection is lost, and drops it; returns whether the viewer leaves. `q` leaves after a pause only: it
    /// may be a letter of text that was meant for the share.
    pub(super) fn leaves(&mut self, bytes: &[u8], now: Instant) -> bool {
        let paused = self.pauses(now);
        let is_q = paused && !self.escape.is_pasting() && bytes == b"q";
        self.is_rest = true;
        is_q || self.escape.typed(bytes).leaves
    }

    /// Notes that something is typed; returns whether there was a pause before it.
    fn pauses(&mut self, now: Instant) -> bool {
        let pause = self.newest.replace(now).map(|newest| now.saturating_duration_since(newest));
        if pause.is_some_and(|pause| pause >= PASTE_PAUSE) {
            self.escape.end_paste();
        }
        pause.is_none_or(|pause| pause >= PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(keys: &mut ViewerKeys, text: &str, now: Instant) -> String {
        String::from_utf8(keys.typed(text.as_bytes(), now).passed).unwrap()
    }

    #[test]
    fn the_rest_of_a_line_that_began_while_the_connection_was_lost_is_dropped() {
        let (mut keys, mut now) = (ViewerKeys::default(), Instant::now());
        assert_eq!(passed(&mut keys, "rm -rf ", now), "rm -rf ");
        keys.lost(now);
        assert!(!keys.leaves(b"./a", now));
        assert_eq!(passed(&mut keys, "/b", now), "");
        assert_eq!(passed(&mut keys, "\r", now), "");
        assert_eq!(passed(&mut keys, "ls\r", now), "ls\r");
        keys.lost(now);
        assert!(!keys.leaves(b"half", now));
        now += PAUSE;
        assert_eq!(passed(&mut keys, "ls\r", now), "ls\r", "after a pause it is no rest");
    }

    #[test]
    fn the_rest_of_a_paste_is_dropped_to_its_end() {
        let (mut keys, mut now) = (ViewerKeys::default(), Instant::now());
        passed(&mut keys, "\x1b[200~one\n", now);
        keys.lost(now);
        assert!(!keys.leaves(b"q\n", now));
        now += PAUSE;
        assert!(!keys.leaves(b"q", now), "a letter of a paste is no key");
        assert_eq!(passed(&mut keys, "two\nthree\n", now), "");
        assert_eq!(passed(&mut keys, "four\x1b[201~", now), "");
        assert_eq!(passed(&mut keys, "ls\r", now), "ls\r");
    }

    #[test]
    fn q_leaves_after_a_pause_and_no_letter_of_a_word_does() {
        let (mut keys, mut now) = (ViewerKeys::default(), Instant::now());
        keys.lost(now);
        assert!(!keys.leaves(b"s", now) && !keys.leaves(b"q", now));
        now += PAUSE;
        assert!(!keys.leaves(b"quit", now));
        now += PAUSE;
        assert!(keys.leaves(b"q", now));
        assert!(ViewerKeys::default().leaves(b"~.", now));
    }

    #[test]
    fn a_paste_without_an_end_is_over_after_a_pause() {
        let (mut keys, mut now) = (ViewerKeys::default(), Instant::now());
        passed(&mut keys, "\x1b[200~text\r", now);
        now += PASTE_PAUSE;
        assert!(keys.typed(b"~.", now).leaves);
    }
}
