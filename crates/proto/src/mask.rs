//! Keeping typed passwords off the record.
//!
//! A program that asks for a password reads a LINE without echo; what is typed then is masked by one marker that tells no length. A visitor
//! could turn echo off to hide what is typed, so the mask covers little ([`MAX_LINES`], [`MAX_BYTES`]) of each period without echo.

/// Lines masked in one period without echo: a password and its repetition.
pub const MAX_LINES: usize = 2;
/// Bytes masked in one period without echo: no password prompt takes more (`PASS_MAX` of getpass(3) is 128).
pub const MAX_BYTES: usize = 256;

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

    /// Splits a piece of input by what may be recorded; `reads_secret` is the terminal's state as the piece arrives.
    pub fn input<'a>(&mut self, piece: &'a [u8], reads_secret: bool) -> Recordable<'a> {
        self.observe(reads_secret);
        if !self.enabled || !reads_secret || piece.is_empty() {
            return Recordable { masked: false, exhausted: false, plain: piece };
        }
        let masked = self.period.is_none();
        let period = self.period.get_or_insert(Period { lines: MAX_LINES, bytes: MAX_BYTES, exhausted: false });
        let hidden = period.take(piece);
        let plain = piece.get(hidden..).unwrap_or_default();
        let exhausted = !plain.is_empty() && !period.exhausted;
        period.exhausted |= exhausted;
        Recordable { masked, exhausted, plain }
    }
}

impl Period {
    /// How many bytes of the piece are covered by what is left of the allowance.
    fn take(&mut self, piece: &[u8]) -> usize {
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
        assert_eq!(mask.input(b"h", true), Recordable { masked: true, exhausted: false, plain: b"" });
        assert_eq!(mask.input(b"unter2\r", true), plain(b""));
        assert_eq!(mask.input(b"ls\r", false), plain(b"ls\r"));
        assert!(mask.input(b"again\r", true).masked);
    }

    #[test]
    fn echo_off_does_not_hide_a_session() {
        let mut mask = Mask::new(true);
        mask.input(b"one\ntwo\n", true);
        assert_eq!(mask.input(b"rm -rf /\n", true), Recordable { masked: false, exhausted: true, plain: b"rm -rf /\n" });
        assert_eq!(mask.input(b"more\n", true), plain(b"more\n"));
    }

    #[test]
    fn a_new_prompt_has_a_new_allowance() {
        let mut mask = Mask::new(true);
        mask.input(b"old\nnew\n", true);
        mask.observe(false);
        assert!(mask.input(b"again\n", true).masked);
    }

    #[test]
    fn off_means_off() {
        assert_eq!(Mask::new(false).input(b"secret\n", true), plain(b"secret\n"));
    }

    proptest! {
        #[test]
        fn never_hides_more_than_its_allowance(pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..20)) {
            let mut mask = Mask::new(true);
            let mut hidden = 0;
            for (piece, secret) in &pieces {
                let recorded = mask.input(piece, *secret).plain;
                if !secret { hidden = 0; }
                prop_assert!(piece.ends_with(recorded));
                prop_assert!(*secret || recorded.len() == piece.len());
                hidden += piece.len() - recorded.len();
                prop_assert!(hidden <= MAX_BYTES);
            }
        }
    }
}
