//! Opens and controls a pseudo-terminal: close-on-exec from the start, so that no child started meanwhile inherits it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{self, ControlModes, InputModes, LocalModes, OutputModes, Termios, Winsize};

/// Both ends of a new pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// Our end.
    pub master: OwnedFd,
    /// The end that a program runs on.
    pub slave: OwnedFd,
    /// The slave's path, `SSH_TTY` for the program.
    pub name: String,
}

/// The most rows and columns: a client's larger number is clamped, because a terminal of 65535x65535 costs programs gigabytes.
const MAX_DIMENSION: u32 = 4096;

/// The speeds, in bits per second, that Linux has names for: for any other a terminal gets [`OTHER_SPEED`], as with sshd.
const SPEEDS: [u32; 19] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400];
const OTHER_SPEED: u32 = 9600;

/// The size of a terminal's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Characters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// The width and height in pixels; 0 if they are not known.
    pub pixels: (u16, u16),
}

impl WindowSize {
    /// Makes a usable size: 0 becomes 80 or 24 as sshd's clients expect, and too large dimensions are clamped.
    pub fn clamped((columns, rows): (u32, u32), (width, height): (u32, u32)) -> Self {
        let clamp = |value: u32, default: u16| match value {
            0 => default,
            value => u16::try_from(value.min(MAX_DIMENSION)).unwrap_or(default),
        };
        let pixels = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        Self { columns: clamp(columns, 80), rows: clamp(rows, 24), pixels: (pixels(width), pixels(height)) }
    }
}

/// Opens a pseudo-terminal.
///
/// # Errors
/// Those of openpt(3) and related calls; `ENOSPC` if no terminal is left.
pub fn open() -> io::Result<Pty> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok(Pty { master, slave, name })
}

/// Sets the window size; the kernel tells the foreground process with SIGWINCH.
///
/// # Errors
/// `EIO` if the terminal has gone.
pub fn resize(pty: impl AsFd, size: WindowSize) -> io::Result<()> {
    let (ws_xpixel, ws_ypixel) = size.pixels;
    Ok(termios::tcsetwinsize(pty, Winsize { ws_col: size.columns, ws_row: size.rows, ws_xpixel, ws_ypixel })?)
}

/// Drops the input that the program has not read, of the terminal whose master this is.
///
/// # Errors
/// `EIO` if the terminal has gone.
pub fn drop_unread_input(master: impl AsFd) -> io::Result<()> {
    // On the master itself this would drop output.
    let slave = rustix::pty::ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok(termios::tcflush(slave, termios::QueueSelector::IFlush)?)
}

/// Returns whether a program is reading a line without echo, as one that asks for a password does.
///
/// `ICANON && !ECHO`: shells and editors turn echo off too, but read characters, not lines.
pub fn reads_secret(pty: impl AsFd) -> bool {
    termios::tcgetattr(pty)
        .is_ok_and(|modes| modes.local_modes.contains(LocalModes::ICANON) && !modes.local_modes.contains(LocalModes::ECHO))
}

/// Returns the process group in the terminal's foreground, if there is one.
pub fn foreground(pty: impl AsFd) -> Option<Pid> {
    termios::tcgetpgrp(pty).ok()
}

/// Sends a break (RFC 4335) to the terminal.
///
/// # Errors
/// Those of tcsendbreak(3).
pub fn send_break(pty: impl AsFd) -> io::Result<()> {
    Ok(termios::tcsendbreak(pty)?)
}

/// Applies the terminal modes of a `pty-req` (RFC 4254 section 8): (opcode, argument) pairs; unknown opcodes are skipped.
///
/// # Errors
/// Those of tcgetattr(3) and tcsetattr(3).
pub fn set_modes(pty: impl AsFd, modes: &[(u8, u32)]) -> io::Result<()> {
    let mut attributes = termios::tcgetattr(&pty)?;
    for (opcode, argument) in modes {
        set_mode(&mut attributes, *opcode, *argument);
    }
    Ok(termios::tcsetattr(pty, termios::OptionalActions::Now, &attributes)?)
}

fn set_mode(attributes: &mut Termios, opcode: u8, argument: u32) {
    let on = argument != 0;
    match opcode {
        1..=18 => {
            if let Some(index) = special_code(opcode) {
                // 255 is RFC 4254's "undefined"; the kernel's own is 0. Of a larger number the last byte counts, as with sshd.
                attributes.special_codes[index] = if argument == 255 { 0 } else { argument.to_le_bytes()[0] };
            }
        }
        30..=42 => input_mode(opcode).into_iter().for_each(|flag| attributes.input_modes.set(flag, on)),
        50..=62 => local_mode(opcode).into_iter().for_each(|flag| attributes.local_modes.set(flag, on)),
        70..=75 => output_mode(opcode).into_iter().for_each(|flag| attributes.output_modes.set(flag, on)),
        // The kernel keeps those of these that a pseudo-terminal may have.
        90..=93 => control_mode(opcode).into_iter().for_each(|flag| attributes.control_modes.set(flag, on)),
        // A pseudo-terminal has one speed, and only reports it: the last that is named.
        128 | 129 => {
            let speed = if SPEEDS.contains(&argument) { argument } else { OTHER_SPEED };
            let _ = attributes.set_speed(speed); // It takes any.
        }
        _ => {}
    }
}

fn special_code(opcode: u8) -> Option<termios::SpecialCodeIndex> {
    use termios::SpecialCodeIndex as Code;
    Some(match opcode {
        1 => Code::VINTR,
        2 => Code::VQUIT,
        3 => Code::VERASE,
        4 => Code::VKILL,
        5 => Code::VEOF,
        6 => Code::VEOL,
        7 => Code::VEOL2,
        8 => Code::VSTART,
        9 => Code::VSTOP,
        10 => Code::VSUSP,
        12 => Code::VREPRINT,
        13 => Code::VWERASE,
        14 => Code::VLNEXT,
        18 => Code::VDISCARD,
        _ => return None,
    })
}

fn input_mode(opcode: u8) -> Option<InputModes> {
    Some(match opcode {
        30 => InputModes::IGNPAR,
        31 => InputModes::PARMRK,
        32 => InputModes::INPCK,
        33 => InputModes::ISTRIP,
        34 => InputModes::INLCR,
        35 => InputModes::IGNCR,
        36 => InputModes::ICRNL,
        37 => InputModes::IUCLC,
        38 => InputModes::IXON,
        39 => InputModes::IXANY,
        40 => InputModes::IXOFF,
        41 => InputModes::IMAXBEL,
        42 => InputModes::IUTF8,
        _ => return None,
    })
}

fn local_mode(opcode: u8) -> Option<LocalModes> {
    Some(match opcode {
        50 => LocalModes::ISIG,
        51 => LocalModes::ICANON,
        52 => LocalModes::XCASE,
        53 => LocalModes::ECHO,
        54 => LocalModes::ECHOE,
        55 => LocalModes::ECHOK,
        56 => LocalModes::ECHONL,
        57 => LocalModes::NOFLSH,
        58 => LocalModes::TOSTOP,
        59 => LocalModes::IEXTEN,
        60 => LocalModes::ECHOCTL,
        61 => LocalModes::ECHOKE,
        62 => LocalModes::PENDIN,
        _ => return None,
    })
}

fn output_mode(opcode: u8) -> Option<OutputModes> {
    Some(match opcode {
        70 => OutputModes::OPOST,
        71 => OutputModes::OLCUC,
        72 => OutputModes::ONLCR,
        73 => OutputModes::OCRNL,
        74 => OutputModes::ONOCR,
        75 => OutputModes::ONLRET,
        _ => return None,
    })
}

fn control_mode(opcode: u8) -> Option<ControlModes> {
    Some(match opcode {
        90 => ControlModes::CS7,
        91 => ControlModes::CS8,
        92 => ControlModes::PARENB,
        93 => ControlModes::PARODD,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_sizes_are_clamped() {
        assert_eq!(WindowSize::clamped((0, 0), (0, 0)), WindowSize { columns: 80, rows: 24, pixels: (0, 0) });
        let size = WindowSize { columns: 4096, rows: 50, pixels: (65535, 600) };
        assert_eq!(WindowSize::clamped((u32::MAX, 50), (70_000, 600)), size);
    }

    #[test]
    fn a_password_prompt_is_told_from_a_shell() {
        let pty = open().unwrap();
        assert!(!reads_secret(&pty.master), "echo is on");
        set_modes(&pty.slave, &[(53, 0)]).unwrap();
        assert!(reads_secret(&pty.master), "a line without echo");
        set_modes(&pty.slave, &[(51, 0)]).unwrap();
        assert!(!reads_secret(&pty.master), "characters without echo, as readline does");
    }

    #[test]
    fn modes_of_a_pty_request_are_applied() {
        let pty = open().unwrap();
        set_modes(&pty.slave, &[(1, 7), (2, 300), (36, 0), (72, 0), (129, 19_200), (200, 1)]).unwrap();
        let attributes = termios::tcgetattr(&pty.slave).unwrap();
        assert_eq!(attributes.special_codes[termios::SpecialCodeIndex::VINTR], 7);
        assert_eq!(attributes.special_codes[termios::SpecialCodeIndex::VQUIT], 44);
        assert_eq!(attributes.output_speed(), 19_200);
        assert!(!attributes.input_modes.contains(InputModes::ICRNL));
        assert!(!attributes.output_modes.contains(OutputModes::ONLCR));
    }
}
