//! Keeping typed passwords off the record.
//!
//! A program that asks for a password reads a LINE without echo; what is typed then is masked by one marker that tells no length. A visitor
//! could turn echo off to hide what is typed, so the mask covers little ([`MAX_LINES`], [`MAX_BYTES`]) of each period without echo.
//!
//! A program that asks again turns echo on and off within microseconds, which nobody can be sure to see from outside. What it SHOWS between
//! two lines can't be missed, and counts as a new prompt with a new allowance; at most [`MAX_PROMPTS`] times in a period, since a shell
//! under `stty -echo` shows something between two lines as well.

/// Lines masked after one prompt: a password and its repetition.
pub const MAX_LINES: usize = 2;
/// Bytes masked after one prompt: no password prompt takes more (`PASS_MAX` of getpass(3) is 128).
pub const MAX_BYTES: usize = 256;
/// Prompts answered in what looks like one period without echo: an old password, a new one, its repetition, and a mistake in them.
pub const MAX_PROMPTS: usize = 7;

/// What may be recorded of a piece of input. The parts apply in the order of the fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Recordable<'a> {
    /// A masked stretch begins: one marker for it.
    pub masked: bool,
    /// The allowance ran out while echo was still off: one marker says that input is plain again.
    pub exhausted: bool,
    /// To be recorded as it is.
    pub plain: &'a [u8],
}

/// The state of one terminal's input.
#[derive(Debug)]
pub struct Mask {
    enabled: bool,
    period: Option<Period>,
}

#[derive(Debug)]
struct Period {
    lines: usize,
    bytes: usize,
    /// Prompts that may still bring a new allowance.
    prompts: usize,
    /// What the terminal had shown when the last line ended; nothing in the middle of a line.
    shown_at_end: Option<u64>,
    exhausted: bool,
}

impl Mask {
    /// A mask, or (`--record-passwords`) none.
    pub fn new(enabled: bool) -> Self {
        Self { enabled, period: None }
    }

    /// Whether a period without echo is under way: then the terminal's state is worth watching, for its end gives a new allowance.
    pub fn in_period(&self) -> bool {
        self.period.is_some()
    }

    /// Notes the terminal's state, seen at any time.
    pub fn observe(&mut self, reads_secret: bool) {
        if !reads_secret {
            self.period = None;
        }
    }

    /// Splits a piece of input by what may be recorded. `reads_secret` is the terminal's state as the piece arrives, `shown` how many bytes
    /// it has shown by then.
    pub fn input<'a>(&mut self, piece: &'a [u8], reads_secret: bool, shown: u64) -> Recordable<'a> {
        self.observe(reads_secret);
        if !self.enabled || !reads_secret || piece.is_empty() {
            return Recordable { masked: false, exhausted: false, plain: piece };
        }
        let masked = self.period.is_none();
        let period = self.period.get_or_insert_with(Period::new);
        let masked = period.prompted(shown) || masked;
        let hidden = period.take(piece, shown);
        let plain = piece.get(hidden..).unwrap_or_default();
        let exhausted = !plain.is_empty() && !period.exhausted;
        period.exhausted |= exhausted;
        Recordable { masked, exhausted, plain }
    }
}

impl Period {
    fn new() -> Self {
        Self { lines: MAX_LINES, bytes: MAX_BYTES, prompts: MAX_PROMPTS - 1, shown_at_end: None, exhausted: false }
    }

    /// Whether a new prompt was shown since the last line ended: then the allowance is a new one.
    fn prompted(&mut self, shown: u64) -> bool {
        let prompted = self.shown_at_end.is_some_and(|then| then != shown) && self.prompts > 0 && !self.exhausted;
        if prompted {
            self.prompts -= 1;
            (self.lines, self.bytes) = (MAX_LINES, MAX_BYTES);
        }
        prompted
    }

    /// How many bytes of the piece are covered by what is left of the allowance.
    fn take(&mut self, piece: &[u8], shown: u64) -> usize {
        self.shown_at_end = matches!(piece.last(), Some(b'\r' | b'\n')).then_some(shown);
        let mut hidden = 0;
        for byte in piece {
            if self.lines == 0 || self.bytes == 0 {
                break;
            }
            hidden += 1;
            self.bytes -= 1;
            if matches!(byte, b'\r' | b'\n') {
                self.lines -= 1;
            }
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(piece: &[u8]) -> Recordable<'_> {
        Recordable { masked: false, exhausted: false, plain: piece }
    }

    #[test]
    fn a_password_is_one_marker_however_it_is_typed() {
        let mut mask = Mask::new(true);
        assert_eq!(mask.input(b"h", true, 9), Recordable { masked: true, exhausted: false, plain: b"" });
        assert_eq!(mask.input(b"unter2\r", true, 9), plain(b""));
        assert_eq!(mask.input(b"ls\r", false, 9), plain(b"ls\r"));
        assert!(mask.input(b"again\r", true, 9).masked);
    }

    #[test]
    fn echo_off_does_not_hide_a_session() {
        let mut mask = Mask::new(true);
        mask.input(b"one\ntwo\n", true, 0);
        assert_eq!(mask.input(b"rm -rf /\n", true, 0), Recordable { masked: false, exhausted: true, plain: b"rm -rf /\n" });
        assert_eq!(mask.input(b"more\n", true, 0), plain(b"more\n"));
        assert_eq!(mask.input(b"more\n", true, 99), plain(b"more\n"), "what is plain stays plain until echo is on again");
    }

    #[test]
    fn a_shell_without_echo_that_prompts_after_each_line_is_hidden_for_so_many_and_no_more() {
        let mut mask = Mask::new(true);
        let hidden = (0..100).take_while(|shown| mask.input(b"echo\n", true, *shown).plain.is_empty()).count();
        assert_eq!(hidden, MAX_PROMPTS - 1 + MAX_LINES);
    }

    #[test]
    fn a_new_prompt_has_a_new_allowance_even_where_echo_was_never_seen_on() {
        let mut mask = Mask::new(true);
        mask.input(b"old\nnew\n", true, 0);
        mask.observe(false);
        assert!(mask.input(b"again\n", true, 0).masked);
        for shown in 1..5 {
            assert_eq!(mask.input(b"s", true, shown), Recordable { masked: true, exhausted: false, plain: b"" });
            assert_eq!(mask.input(b"ecret\n", true, shown), plain(b""));
        }
    }

    #[test]
    fn what_is_shown_in_the_middle_of_a_line_is_no_prompt() {
        let mut mask = Mask::new(true);
        let hidden = (0..1000).take_while(|shown| mask.input(b"x", true, *shown).plain.is_empty()).count();
        assert_eq!(hidden, MAX_BYTES);
    }

    #[test]
    fn off_means_off() {
        assert_eq!(Mask::new(false).input(b"secret\n", true, 0), plain(b"secret\n"));
    }

    proptest! {
        #[test]
        fn never_hides_more_than_its_allowance(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>(), any::<u64>()), 0..40),
        ) {
            let mut mask = Mask::new(true);
            let mut hidden = 0;
            for (piece, secret, shown) in &pieces {
                let recorded = mask.input(piece, *secret, *shown).plain;
                if !secret { hidden = 0; }
                prop_assert!(piece.ends_with(recorded));
                prop_assert!(*secret || recorded.len() == piece.len());
                hidden += piece.len() - recorded.len();
                prop_assert!(hidden <= MAX_BYTES * MAX_PROMPTS);
            }
        }
    }
}
