//! Reads and writes a terminal's mouse reports.

/// The offset of button and coordinates in an X10 report.
const X10_OFFSET: u8 = 32;
/// The bits of a button's code that say that the pointer has moved, or that the button is a wheel's: neither has a release.
const MOTION_OR_WHEEL: u16 = 32 | 64;
/// The button of an X10 report of a release, which doesn't say of which button.
const X10_RELEASE: u16 = 3;

/// A mouse report, as mode 1006 (SGR) of xterm has it.
///
/// Source: xterm's ctlseqs, "Mouse Tracking".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MouseReport {
    /// The code of button, modifiers and motion.
    pub button: u16,
    /// The column, from 1.
    pub column: u16,
    /// The row, from 1.
    pub row: u16,
    /// Whether the button was released.
    pub release: bool,
}

impl MouseReport {
    /// Returns the bytes of mode 1006: `ESC [ < button ; column ; row M`, or `m` for a release.
    #[must_use]
    pub fn to_sgr(self) -> Vec<u8> {
        let Self { button, column, row, release } = self;
        format!("\x1b[<{button};{column};{row}{}", if release { 'm' } else { 'M' }).into_bytes()
    }

    /// Returns the bytes for a program that asked for mouse reports without mode 1006: `ESC [ M` and three bytes. `None` if button,
    /// column or row is too large for them.
    #[must_use]
    pub fn to_x10(self) -> Option<Vec<u8>> {
        // X10 doesn't say which button was released, but with which modifiers.
        let button = if self.release { self.button | X10_RELEASE } else { self.button };
        let byte = |value: u16| u8::try_from(value.checked_add(X10_OFFSET.into())?).ok();
        Some(vec![0x1b, b'[', b'M', byte(button)?, byte(self.column)?, byte(self.row)?])
    }

    /// Reads the parameters of a report of mode 1006, without the `<`.
    pub(super) fn from_sgr(parameters: &[u8], release: bool) -> Option<Self> {
        let [button, column, row] = three_numbers(parameters)?;
        Self { button, column, row, release }.checked()
    }

    /// Reads the parameters of a report of mode 1015 (rxvt-unicode): as X10's, in decimal.
    pub(super) fn from_urxvt(parameters: &[u8]) -> Option<Self> {
        let [button, column, row] = three_numbers(parameters)?;
        Self::without_release(button.checked_sub(X10_OFFSET.into())?, column, row)
    }

    /// Reads the three bytes of an X10 report.
    pub(super) fn from_x10(bytes: [u8; 3]) -> Option<Self> {
        let [button, column, row] = bytes.map(|byte| byte.checked_sub(X10_OFFSET).map(u16::from));
        Self::without_release(button?, column?, row?)
    }

    /// Makes a report of a code that has button 3 for a release.
    fn without_release(button: u16, column: u16, row: u16) -> Option<Self> {
        let release = button & X10_RELEASE == X10_RELEASE && button & MOTION_OR_WHEEL == 0;
        let button = if release { button & !X10_RELEASE } else { button };
        Self { button, column, row, release }.checked()
    }

    /// Refuses a place that no terminal has.
    fn checked(self) -> Option<Self> {
        (self.column > 0 && self.row > 0).then_some(self)
    }
}

/// Reads `a;b;c`.
fn three_numbers(parameters: &[u8]) -> Option<[u16; 3]> {
    let mut numbers = parameters.split(|byte| *byte == b';').map(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reports_of_each_mode_are_read() {
        let press = MouseReport { button: 0, column: 10, row: 5, release: false };
        assert_eq!(MouseReport::from_sgr(b"0;10;5", false), Some(press));
        assert_eq!(MouseReport::from_x10([32, 42, 37]), Some(press));
        assert_eq!(MouseReport::from_urxvt(b"32;10;5"), Some(press));
        let release = MouseReport { release: true, ..press };
        assert_eq!(MouseReport::from_x10([35, 42, 37]), Some(release));
        // Motion without a button is no release.
        assert_eq!(MouseReport::from_x10([67, 42, 37]), Some(MouseReport { button: 35, ..press }));
        assert_eq!((press.to_sgr(), release.to_sgr()), (b"\x1b[<0;10;5M".to_vec(), b"\x1b[<0;10;5m".to_vec()));
        assert_eq!((press.to_x10(), release.to_x10()), (Some(b"\x1b[M *%".to_vec()), Some(b"\x1b[M#*%".to_vec())));
    }

    #[test]
    fn what_is_none_is_refused() {
        for parameters in [&b""[..], b"1", b"1;2", b"1;2;3;4", b"1;0;3", b"1;2;0", b"1;2;70000", b"1;-2;3", b"1;2;", b"1:2:3"] {
            assert_eq!(MouseReport::from_sgr(parameters, false), None, "{}", parameters.escape_ascii());
        }
        assert_eq!(MouseReport::from_x10([32, 32, 33]), None);
        assert_eq!(MouseReport::from_x10([31, 33, 33]), None);
        assert_eq!(MouseReport { button: 0, column: 224, row: 1, release: false }.to_x10(), None);
    }

    proptest! {
        #[test]
        fn an_x10_report_is_written_as_it_was_read(button in 32..=255_u8, column in 33..=255_u8, row in 33..=255_u8) {
            let Some(report) = MouseReport::from_x10([button, column, row]) else { panic!("not read") };
            prop_assert_eq!(report.to_x10(), Some(vec![0x1b, b'[', b'M', button, column, row]));
        }
    }
}
