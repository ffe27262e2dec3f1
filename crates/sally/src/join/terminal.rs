//! The terminal that a share is shown on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sally_sys::pty::WindowSize;
use tokio::sync::Mutex;

use crate::screen::RESTORE;
use crate::session::fd::Fd;
use crate::term;

/// The most bytes that are read at once.
const PIECE: usize = 4 << 10;
/// What a share's alternate screen is entered and left with, but for the last letter.
const ALTERNATE: &[u8] = b"\x1b[?1049";
/// What the last row begins with: the share may have been in the middle of anything.
const CALM: &str = "\x1b\\\x1b[?2026l\x1b[0m\x1b]8;;\x1b\\\x1b(B\x0f\x1b[r\x1b[?6l\x1b[?7l";
/// Modes that a share may leave on; none of these moves the cursor.
const MODES_OFF: &str = "\x1b[0m\x1b[?1l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?7h\x1b>\x1b[?25h";
/// How long a terminal that takes nothing may keep the end waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// The terminal, in raw mode. Dropping this gives it back as it was: its screen, its modes.
pub(super) struct ViewerScreen {
    fd: Arc<Fd>,
    shown: Arc<Mutex<AlternateScreen>>,
    /// Restores the terminal, and prints the messages that were held back.
    _messages: term::Hold,
}

/// Whether the terminal shows its alternate screen, by what it was sent.
#[derive(Debug, Default)]
struct AlternateScreen {
    is_shown: bool,
    /// The newest bytes, in which a sequence may have begun.
    newest: Vec<u8>,
}

impl AlternateScreen {
    fn sent(&mut self, bytes: &[u8]) {
        self.newest.extend_from_slice(bytes);
        let switches = self.newest.windows(ALTERNATE.len() + 1).filter(|window| window.starts_with(ALTERNATE));
        match switches.filter_map(|window| window.last()).rfind(|last| matches!(last, b'h' | b'l')) {
            Some(b'h') => self.is_shown = true,
            Some(_) => self.is_shown = false,
            None => {}
        }
        let old = self.newest.len().saturating_sub(ALTERNATE.len());
        self.newest.drain(..old);
    }
}

impl ViewerScreen {
    /// Takes over the terminal. What was typed before is dropped.
    pub(super) fn take_over() -> io::Result<Self> {
        // A description of its own: whether it blocks concerns no other process.
        let fd: OwnedFd = open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&fd, OptionalActions::Flush, &raw)?;
        let (fd, shown) = (Arc::new(Fd::new(fd)?), Arc::<Mutex<AlternateScreen>>::default());
        let (of_end, shown_at_end) = (Arc::clone(&fd), Arc::clone(&shown));
        let restore = move || restore(&of_end, &shown_at_end, &before);
        Ok(Self { fd, shown, _messages: term::hold(Box::new(restore)) })
    }

    /// Returns the size of the terminal here.
    pub(super) fn size_here() -> io::Result<WindowSize> {
        window(open("/dev/tty", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
    }

    /// Returns the size now.
    pub(super) fn size(&self) -> WindowSize {
        window(&*self.fd).unwrap_or_default()
    }

    /// Returns what is typed next; `None` when the terminal is gone. Cancel-safe.
    pub(super) async fn typed(&self) -> Option<Bytes> {
        let mut buffer = Vec::new();
        let read = self.fd.read(&mut buffer, PIECE).await;
        Some(Bytes::from(buffer)).filter(|buffer| read.is_ok() && !buffer.is_empty())
    }

    /// Writes what the share sends.
    pub(super) async fn write(&self, bytes: Bytes) -> io::Result<()> {
        let mut shown = self.shown.lock().await;
        shown.sent(&bytes);
        self.fd.write_all(&[bytes]).await
    }

    /// Shows a line on the last row, above what the share has drawn.
    pub(super) async fn say(&self, line: &str) -> io::Result<()> {
        let WindowSize { columns, rows, .. } = self.size();
        let enter = if self.shown.lock().await.is_shown { "" } else { "\x1b[?1049h\x1b[2J" };
        let line = term::one_line(line);
        let line = line.chars().take(columns.into()).collect::<String>();
        self.write(format!("{CALM}{enter}\x1b[{rows};1H\x1b[7m{line}\x1b[0m\x1b[K\x1b[?7h\x1b[?25l").into()).await
    }

    /// Leaves the alternate screen, if it is shown.
    pub(super) async fn clear(&self) -> io::Result<()> {
        let is_shown = self.shown.lock().await.is_shown;
        if is_shown { self.write(Bytes::from_static(RESTORE.as_bytes())).await } else { Ok(()) }
    }
}

/// Leaves the alternate screen, turns the modes off that a share turns on, and restores the terminal's modes.
fn restore(fd: &Fd, shown: &Mutex<AlternateScreen>, before: &Termios) {
    // In the middle of a write it is not known.
    let is_shown = shown.try_lock().map_or(true, |shown| shown.is_shown);
    write_now(fd, if is_shown { RESTORE } else { MODES_OFF }.as_bytes());
    let _ = tcsetattr(fd, OptionalActions::Now, before); // The terminal may be gone.
}

fn window(fd: impl AsFd) -> io::Result<WindowSize> {
    let size = tcgetwinsize(fd)?;
    Ok(WindowSize::clamped((size.ws_col.into(), size.ws_row.into()), (size.ws_xpixel.into(), size.ws_ypixel.into())))
}

/// Writes without the runtime, which a panic may have ended; gives up on a terminal that takes nothing.
fn write_now(fd: &Fd, mut bytes: &[u8]) {
    let until = Instant::now() + PATIENCE;
    while !bytes.is_empty() && Instant::now() < until {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(fd, PollFlags::OUT)], Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alternate_screen_is_noticed_however_its_sequence_is_cut() {
        for at in 0..8 {
            let (mut screen, (one, other)) = (AlternateScreen::default(), b"\x1b[?1049h".split_at(at));
            screen.sent(one);
            assert!(!screen.is_shown);
            screen.sent(other);
            assert!(screen.is_shown, "{at}");
            screen.sent(b"text\x1b[?25h");
            assert!(screen.is_shown);
            screen.sent(RESTORE.as_bytes());
            assert!(!screen.is_shown);
            screen.sent(b"\x1b[?1049l\x1b[?1049h");
            assert!(screen.is_shown);
        }
    }
}
