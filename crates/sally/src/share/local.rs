//! Shows a share on the terminal that Sally was started on, whose last row is the status line.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetwinsize, tcsetattr};
use sally_proto::record::Via;
use sally_proto::share::ShareRole;
use sally_sys::pty::WindowSize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::control::Host;
use super::hub::{NotJoined, ShareHub};
use super::person::Joining;
use super::viewer::{Left, NOTICE, ViewerTerminal};
use crate::screen::{Depth, RESTORE};
use crate::session::fd::Fd;
use crate::session::{Disconnected, Ending, Inbound, Input, Outbound, OutputStream};
use crate::term;

/// The number of the local keyboard on the record.
pub const LOCAL: u32 = 1;
/// The least time between two status lines.
const STATUS: Duration = Duration::from_millis(33);
/// The most bytes that are read at once.
const PIECE: usize = 4 << 10;
/// What the status line says of its commands.
const KEYS: &str = r"Ctrl-\ twice: command";

/// The terminal that Sally was started on, in raw mode; dropping it restores it.
pub struct HostTerminal {
    fd: Arc<Fd>,
    _messages: term::Hold,
}

impl HostTerminal {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// There is none.
    pub fn take_over() -> io::Result<Self> {
        // A description of its own: whether it blocks concerns no other process.
        let fd: OwnedFd = open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&fd, OptionalActions::Flush, &raw)?;
        let fd = Arc::new(Fd::new(fd)?);
        let of_end = Arc::clone(&fd);
        let restore = move || restore(&of_end, &before);
        Ok(Self { fd, _messages: term::hold(Box::new(restore)) })
    }

    /// Returns the size of the terminal.
    ///
    /// # Errors
    /// There is no terminal.
    pub fn size() -> io::Result<WindowSize> {
        let fd = open("/dev/tty", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
        Ok(window(&fd)?)
    }

    /// Shows the share here until it is over, or the terminal is gone: returns whether it is over.
    ///
    /// # Errors
    /// [`NotJoined`].
    pub async fn attend(&self, hub: &Arc<ShareHub>, host: &Arc<Host>) -> Result<bool, NotJoined> {
        let size = window(&*self.fd).unwrap_or_default();
        hub.join(Joining {
            number: LOCAL,
            name: host.account.clone(),
            source: None,
            fingerprint: None,
            via: Via::Local,
            limit: ShareRole::Write,
            link: ShareRole::Write,
            peer: None,
            window: above_status(size),
        })?;
        let (windows, window) = watch::channel(size);
        let (status, shown) = watch::channel(String::new());
        let viewer = ViewerTerminal {
            hub: Arc::clone(hub),
            number: LOCAL,
            window,
            status: shown,
            notice: status.clone(),
            is_local: true,
            depth: Depth::True,
            frame: None,
        };
        let said = watch::Sender::new(None);
        let (inbound, outbound) = (LocalInput(Arc::clone(&self.fd)), LocalOutput(Arc::clone(&self.fd)));
        let left = tokio::select! {
            biased;
            left = viewer.run(inbound, &outbound) => left,
            never = self.follow(&windows) => never,
            never = keep_status(hub, &status, &said) => never,
            never = obey_commands(hub, host, &said) => never,
        };
        let is_over = matches!(left, Left::Over(_));
        hub.leave(LOCAL, if is_over { "the share ended" } else { "the terminal was closed" });
        Ok(is_over)
    }

    /// Follows the size of the terminal.
    async fn follow(&self, windows: &watch::Sender<WindowSize>) -> Left {
        if let Ok(mut changed) = signal(SignalKind::window_change()) {
            while changed.recv().await.is_some() {
                if let Ok(size) = window(&*self.fd) {
                    windows.send_replace(size);
                }
            }
        }
        std::future::pending().await
    }
}

/// Gives the terminal back as it was. It waits for nothing: the terminal may be gone, or not read what it was sent.
fn restore(fd: &Fd, before: &Termios) {
    // If the terminal has not taken everything, it gets no more of that.
    if rustix::io::write(fd, RESTORE.as_bytes()) != Ok(RESTORE.len()) {
        let _ = tcflush(fd, QueueSelector::OFlush); // As above.
        let _ = rustix::io::write(fd, RESTORE.as_bytes());
    }
    let _ = tcsetattr(fd, OptionalActions::Now, before);
}

fn window(fd: impl std::os::fd::AsFd) -> rustix::io::Result<WindowSize> {
    let size = tcgetwinsize(fd)?;
    Ok(WindowSize::clamped((size.ws_col.into(), size.ws_row.into()), (size.ws_xpixel.into(), size.ws_ypixel.into())))
}

/// Returns the size without the row of the status line.
pub fn above_status(size: WindowSize) -> WindowSize {
    WindowSize { rows: size.rows.saturating_sub(1).max(1), ..size }
}

/// Keeps the status line up to date: what the host types to Sally, else the answer, else who is there.
async fn keep_status(hub: &ShareHub, status: &watch::Sender<String>, said: &watch::Sender<Option<Said>>) -> Left {
    let (mut changes, mut newest) = (hub.changes(), said.subscribe());
    let mut answer_ends = Instant::now();
    loop {
        changes.mark_unchanged();
        if answer_ends <= Instant::now() {
            said.send_if_modified(|said| said.take_if(|said| matches!(said, Said::Answer(_))).is_some());
        }
        let summary = hub.summary(NOTICE);
        let said_now = newest.borrow().clone();
        let is_answer = matches!(said_now, Some(Said::Answer(_)));
        let is_notice = said_now.is_none() && summary.notice.is_some();
        let text = match said_now {
            Some(Said::Typing(line)) => format!("sally> {line}"),
            Some(Said::Answer(answer)) => answer,
            None => {
                let notice = summary.notice.map(|notice| format!(" | {notice}")).unwrap_or_default();
                format!("shared: {} write, {} watch | {KEYS}{notice}", summary.writing, summary.watching)
            }
        };
        status.send_if_modified(|shown| {
            let differs = *shown != text;
            *shown = text;
            differs
        });
        tokio::select! {
            _ = changes.changed() => {}
            Ok(()) = newest.changed() => answer_ends = Instant::now() + NOTICE,
            () = sleep_until(answer_ends), if is_answer => {}
            () = sleep(NOTICE), if is_notice => {}
        }
        sleep(STATUS).await;
    }
}

/// Obeys what the host types to Sally, and shows it.
async fn obey_commands(hub: &ShareHub, host: &Host, said: &watch::Sender<Option<Said>>) -> Left {
    loop {
        let (commands, line) = hub.commanded().await;
        for command in commands {
            let words: Vec<_> = command.split_whitespace().collect();
            let (Ok(answer) | Err(answer)) = host.obey(&words).await;
            let answer = answer.lines().collect::<Vec<_>>().join(" | ");
            said.send_replace(Some(answer).filter(|answer| !answer.is_empty()).map(Said::Answer));
        }
        match line {
            Some(line) => drop(said.send_replace(Some(Said::Typing(line)))),
            None => drop(said.send_if_modified(|said| said.take_if(|said| matches!(said, Said::Typing(_))).is_some())),
        }
    }
}

/// What stands on the status line in place of who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// A command as far as it is typed.
    Typing(String),
    /// The answer to one.
    Answer(String),
}

/// The local terminal's end for input.
struct LocalInput(Arc<Fd>);

impl Inbound for LocalInput {
    async fn next(&mut self) -> Option<Input> {
        let mut buffer = Vec::new();
        let read = self.0.read(&mut buffer, PIECE).await;
        if read.is_err() || buffer.is_empty() { None } else { Some(Input::Data(buffer.into())) }
    }
}

/// The local terminal's end for output.
struct LocalOutput(Arc<Fd>);

impl Outbound for LocalOutput {
    async fn deliver(&self, _: OutputStream, bytes: Bytes) -> Result<(), Disconnected> {
        self.0.write_all(&[bytes]).await.map_err(|_| Disconnected)
    }

    async fn finish(&self, _: Ending) -> Result<(), Disconnected> {
        Ok(())
    }
}
