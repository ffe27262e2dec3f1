//! Keeps typed passwords off the record.
//!
//! A program that asks for a password reads a LINE without echo; what is typed then is masked by one marker that doesn't show its length.
//! A client could turn echo off to hide what it types, so masking is limited: for one prompt ([`PROMPT_LINES`], [`PROMPT_BYTES`]), and
//! for a visit to so many lines in a time ([`MaskBudget`]), however often echo is switched and whatever program reads.
//!
//! A program that asks again turns echo on and off within 50 to 200 µs (passwd, ssh-keygen, openssl, getpass: measured), which can't be
//! seen reliably from outside. What it SHOWS between two lines can't be missed, and counts as a new prompt.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many lines are masked after one prompt: a password and its repetition.
pub const PROMPT_LINES: usize = 2;
/// How many bytes are masked after one prompt: no password prompt takes more (`PASS_MAX` of getpass(3) is 128).
pub const PROMPT_BYTES: usize = 256;
/// How many lines are masked in a visit within [`MASK_WINDOW`]: an old password, a new one and its repetition, with a mistake or two, or
/// as many `sudo`s.
pub const MASK_LINES: usize = 8;
/// How many of those lines the visit's own shell may read: `read -s` by hand, for a secret and its repetition.
pub const SHELL_MASK_LINES: usize = 2;
/// How long a masked line counts.
pub const MASK_WINDOW: Duration = Duration::from_secs(600);

/// What may be recorded of a piece of input. The parts apply in the order of the fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Recordable<'a> {
    /// A masked stretch begins: record one marker for it.
    pub masked: bool,
    /// Nothing more is masked although echo is off: record one marker that says so.
    pub exhausted: bool,
    /// The bytes to record unchanged.
    pub plain: &'a [u8],
}

/// The lines that may be masked in one visit, for all of its terminals together.
#[derive(Debug, Default)]
pub struct MaskBudget {
    all: VecDeque<Instant>,
    of_shell: VecDeque<Instant>,
}

impl MaskBudget {
    /// Takes a line that the visit's own shell or another program reads; returns false if none is left. Asks which only if any line is
    /// left: the answer may take a look at every process.
    fn take(&mut self, now: Instant, shell: impl FnOnce() -> bool) -> bool {
        for spent in [&mut self.all, &mut self.of_shell] {
            while spent.front().is_some_and(|then| now.saturating_duration_since(*then) >= MASK_WINDOW) {
                spent.pop_front();
            }
        }
        if self.all.len() >= MASK_LINES {
            return false;
        }
        if shell() {
            if self.of_shell.len() >= SHELL_MASK_LINES {
                return false;
            }
            self.of_shell.push_back(now);
        }
        self.all.push_back(now);
        true
    }
}

/// The state of a terminal when a piece of input arrives.
#[derive(Clone, Copy, Debug)]
pub struct Typing {
    /// The time.
    pub now: Instant,
    /// Whether a program reads a line without echo.
    pub reads_secret: bool,
    /// How many bytes the terminal has shown.
    pub shown: u64,
}

/// The state of one terminal's input.
#[derive(Debug, Default)]
pub struct Mask {
    period: Option<Period>,
    /// A marker has said that nothing more is masked; no other one follows until something is masked again.
    told: bool,
}

/// A period without echo, as far as it can be told from the next.
#[derive(Debug)]
struct Period {
    lines: usize,
    bytes: usize,
    /// Whether the input is in the middle of a masked line.
    in_line: bool,
    /// Whether something was masked since the prompt.
    marked: bool,
    /// What the terminal had shown when the last line ended; `None` in the middle of a line.
    shown_at_end: Option<u64>,
    /// Whether input was recorded: then it is recorded until echo is on again.
    exhausted: bool,
}

impl Mask {
    /// Returns whether a period without echo is open: the terminal's state should then be watched, because its end gives a new allowance.
    pub fn in_period(&self) -> bool {
        self.period.is_some()
    }

    /// Notes the terminal's state, seen at any time.
    pub fn observe(&mut self, reads_secret: bool) {
        if !reads_secret {
            self.period = None;
        }
    }

    /// Splits a piece of input by what may be recorded. Calls `shell` where a line begins, to learn whether the visit's own shell reads
    /// it.
    pub fn input<'a>(&mut self, piece: &'a [u8], typing: Typing, budget: &mut MaskBudget, shell: impl Fn() -> bool) -> Recordable<'a> {
        self.observe(typing.reads_secret);
        if !typing.reads_secret || piece.is_empty() {
            return Recordable { masked: false, exhausted: false, plain: piece };
        }
        let period = self.period.get_or_insert_with(Period::new);
        period.heed_prompt(typing.shown);
        let hidden = period.take(piece, || budget.take(typing.now, &shell));
        period.shown_at_end = matches!(piece.last(), Some(b'\r' | b'\n')).then_some(typing.shown);
        let masked = hidden > 0 && !period.marked;
        period.marked |= masked;
        self.told &= hidden == 0;
        let plain = piece.get(hidden..).unwrap_or_default();
        period.exhausted |= !plain.is_empty();
        let exhausted = period.exhausted && !self.told;
        self.told |= exhausted;
        Recordable { masked, exhausted, plain }
    }
}

impl Period {
    const fn new() -> Self {
        Self { lines: PROMPT_LINES, bytes: PROMPT_BYTES, in_line: false, marked: false, shown_at_end: None, exhausted: false }
    }

    /// Renews the allowance if something was shown since the last line ended: that was a prompt.
    fn heed_prompt(&mut self, shown: u64) {
        if self.shown_at_end.is_some_and(|then| then != shown) && !self.exhausted {
            *self = Self::new();
        }
    }

    /// Returns how many bytes of the piece the allowance covers; calls `granted` when a line begins.
    fn take(&mut self, piece: &[u8], mut granted: impl FnMut() -> bool) -> usize {
        let mut hidden = 0;
        for byte in piece {
            if self.exhausted || self.bytes == 0 || (!self.in_line && (self.lines == 0 || !granted())) {
                break;
            }
            if !self.in_line {
                self.lines -= 1;
            }
            self.in_line = !matches!(byte, b'\r' | b'\n');
            self.bytes -= 1;
            hidden += 1;
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A terminal, and a visit that has it.
    struct Visit {
        mask: Mask,
        budget: MaskBudget,
        now: Instant,
    }

    impl Visit {
        fn new() -> Self {
            Self { mask: Mask::default(), budget: MaskBudget::default(), now: Instant::now() }
        }

        fn types<'a>(&mut self, piece: &'a [u8], reads_secret: bool, shown: u64) -> Recordable<'a> {
            self.mask.input(piece, Typing { now: self.now, reads_secret, shown }, &mut self.budget, || false)
        }

        fn types_at_shell<'a>(&mut self, piece: &'a [u8], shown: u64) -> Recordable<'a> {
            self.mask.input(piece, Typing { now: self.now, reads_secret: true, shown }, &mut self.budget, || true)
        }

        /// Echo is on, then off again.
        fn turns_echo_on(&mut self) {
            self.mask.observe(false);
        }
    }

    fn plain(piece: &[u8]) -> Recordable<'_> {
        Recordable { masked: false, exhausted: false, plain: piece }
    }

    fn first_plain(piece: &[u8]) -> Recordable<'_> {
        Recordable { exhausted: true, ..plain(piece) }
    }

    const MASKED: Recordable<'static> = Recordable { masked: true, exhausted: false, plain: b"" };

    #[test]
    fn a_password_is_one_marker_however_it_is_typed() {
        let mut visit = Visit::new();
        assert_eq!(visit.types(b"h", true, 9), MASKED);
        assert_eq!(visit.types(b"unter2\r", true, 9), plain(b""));
        assert_eq!(visit.types(b"ls\r", false, 9), plain(b"ls\r"));
        assert_eq!(visit.types(b"again\r", true, 9), MASKED);
    }

    #[test]
    fn echo_off_does_not_hide_a_session() {
        let mut visit = Visit::new();
        visit.types(b"one\ntwo\n", true, 0);
        assert_eq!(visit.types(b"rm -rf /\n", true, 0), first_plain(b"rm -rf /\n"));
        assert_eq!(visit.types(b"more\n", true, 0), plain(b"more\n"));
        assert_eq!(visit.types(b"more\n", true, 99), plain(b"more\n"), "what is plain stays plain until echo is on again");
    }

    #[test]
    fn whoever_turns_echo_off_and_on_hides_no_more_until_time_has_passed() {
        let mut visit = Visit::new();
        let mut hidden = 0;
        let mut markers = 0;
        for shown in 0..40 {
            visit.turns_echo_on();
            visit.now += Duration::from_secs(10);
            let recordable = visit.types(b"evil\n", true, shown);
            hidden += usize::from(recordable.plain.is_empty());
            markers += usize::from(recordable.exhausted);
        }
        assert_eq!((hidden, markers), (MASK_LINES, 1), "400 s");
        visit.turns_echo_on();
        visit.now += MASK_WINDOW;
        assert_eq!(visit.types(b"secret\n", true, 50), MASKED);
    }

    #[test]
    fn a_shell_without_echo_that_prompts_after_each_line_is_hidden_for_so_many_and_no_more() {
        let mut visit = Visit::new();
        let hidden = (0..100).take_while(|shown| visit.types(b"echo\n", true, *shown).plain.is_empty()).count();
        assert_eq!(hidden, MASK_LINES);
    }

    #[test]
    fn the_visits_own_shell_has_a_small_budget_and_leaves_the_rest_to_others() {
        let mut visit = Visit::new();
        let hidden = (0..100).take_while(|shown| visit.types_at_shell(b"echo\n", *shown).plain.is_empty()).count();
        assert_eq!(hidden, SHELL_MASK_LINES);
        visit.turns_echo_on();
        for shown in 0..MASK_LINES - SHELL_MASK_LINES {
            assert_eq!(visit.types(b"password\n", true, 200 + shown as u64), MASKED);
        }
        assert_eq!(visit.types(b"password\n", true, 300), first_plain(b"password\n"));
    }

    #[test]
    fn lines_that_never_end_count_as_well() {
        let mut visit = Visit::new();
        let hidden = (0..100).take_while(|_| {
            visit.turns_echo_on();
            visit.types(b"x", true, 0).plain.is_empty()
        });
        assert_eq!(hidden.count(), MASK_LINES);
    }

    #[test]
    fn a_new_prompt_has_a_new_allowance_even_where_echo_was_never_seen_on() {
        let mut visit = Visit::new();
        visit.types(b"old\nnew\n", true, 0);
        visit.turns_echo_on();
        assert_eq!(visit.types(b"again\n", true, 0), MASKED);
        for shown in 1..5 {
            assert_eq!(visit.types(b"s", true, shown), MASKED);
            assert_eq!(visit.types(b"ecret\n", true, shown), plain(b""));
        }
    }

    #[test]
    fn what_is_shown_in_the_middle_of_a_line_is_no_prompt() {
        let mut visit = Visit::new();
        let hidden = (0..1000).take_while(|shown| visit.types(b"x", true, *shown).plain.is_empty()).count();
        assert_eq!(hidden, PROMPT_BYTES);
    }

    #[derive(Debug, Clone)]
    struct Step {
        piece: Vec<u8>,
        secret: bool,
        shown: u64,
        seconds: u64,
        shell: bool,
        terminal: usize,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let piece = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "[a-z\n\x04]{0,8}".prop_map(String::into_bytes),
            Just(b"evil\n".to_vec())
        ];
        (piece, proptest::bool::weighted(0.8), 0u64..4, 0u64..200, any::<bool>(), 0usize..2)
            .prop_map(|(piece, secret, shown, seconds, shell, terminal)| Step { piece, secret, shown, seconds, shell, terminal })
    }

    proptest! {
        #[test]
        fn never_hides_more_than_the_budget_of_the_visit(steps in proptest::collection::vec(any_step(), 0..80)) {
            let start = Instant::now();
            let (mut masks, mut budget, mut at) = ([Mask::default(), Mask::default()], MaskBudget::default(), Duration::ZERO);
            // When, how many bytes, how many lines ended, whether the shell read them.
            let mut hidden: Vec<(Duration, usize, usize, bool)> = Vec::new();
            for step in &steps {
                at += Duration::from_secs(step.seconds);
                let typing = Typing { now: start + at, reads_secret: step.secret, shown: step.shown };
                let recorded = masks[step.terminal].input(&step.piece, typing, &mut budget, || step.shell);
                prop_assert!(step.piece.ends_with(recorded.plain));
                prop_assert!(step.secret || recorded.plain.len() == step.piece.len());
                let gone = &step.piece[..step.piece.len() - recorded.plain.len()];
                prop_assert!(!recorded.masked || !gone.is_empty());
                hidden.push((at, gone.len(), gone.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count(), step.shell));
                let lately = hidden.iter().filter(|(then, ..)| at - *then < MASK_WINDOW);
                // A line that began before, at each of two terminals, may end within.
                let (bytes, lines) = lately.clone().fold((0, 0), |sum, one| (sum.0 + one.1, sum.1 + one.2));
                prop_assert!(bytes <= (MASK_LINES + 2) * PROMPT_BYTES && lines <= MASK_LINES + 2, "{bytes} bytes, {lines} lines");
            }
        }

        #[test]
        fn never_hides_more_of_one_prompt_than_its_allowance(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20),
            shown in any::<u64>(),
        ) {
            let mut visit = Visit::new();
            let hidden: usize = pieces.iter().map(|piece| piece.len() - visit.types(piece, true, shown).plain.len()).sum();
            let joined = pieces.concat();
            prop_assert!(hidden <= PROMPT_BYTES);
            prop_assert!(joined[..hidden].iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() <= PROMPT_LINES);
        }
    }
}
