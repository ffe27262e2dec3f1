//! Shows a share on the terminal that Sally was started on, whose last row is the status line.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sally_proto::record::Via;
use sally_proto::share::ShareRole;
use sally_sys::pty::WindowSize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::control::Host;
use super::hub::{NotJoined, ShareHub};
use super::person::Joining;
use super::status::Prompt;
use super::viewer::{Left, NOTICE, ViewerTerminal};
use crate::screen::Depth;
use crate::session::fd::Fd;
use crate::session::{Disconnected, Ending, Inbound, Input, Outbound, OutputStream};
use crate::term;

/// The number of the local keyboard on the record.
pub const LOCAL: u32 = 1;
/// How long a second press of the prefix key may take to come.
const PREFIX_WAIT: Duration = Duration::from_millis(500);
/// The most bytes that are read at once.
const PIECE: usize = 4 << 10;
/// What the status line says of its commands.
const KEYS: &str = r"Ctrl-\ twice: command";

/// The terminal that Sally was started on, in raw mode; dropping it restores its modes.
pub struct HostTerminal {
    fd: Arc<Fd>,
    before: Termios,
    /// Printed when the terminal is as it was: it is dropped after the modes are restored.
    _messages: term::Hold,
}

impl HostTerminal {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// There is none.
    pub fn take_over() -> io::Result<Self> {
        // A description of its own: whether it blocks is nobody else's matter.
        let fd: OwnedFd = open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&fd, OptionalActions::Flush, &raw)?;
        Ok(Self { fd: Arc::new(Fd::new(fd)?), before, _messages: term::hold() })
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
        let said = Arc::new(watch::Sender::new(None));
        let inbound = LocalInput { fd: Arc::clone(&self.fd), prompt: Prompt::default(), host: Arc::clone(host), said: Arc::clone(&said) };
        let outbound = LocalOutput(Arc::clone(&self.fd));
        let left = tokio::select! {
            biased;
            left = viewer.run(inbound, &outbound) => left,
            never = self.follow(&windows) => never,
            never = keep_status(hub, &status, &said) => never,
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

impl Drop for HostTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&*self.fd, OptionalActions::Drain, &self.before); // The terminal may be gone.
    }
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
    loop {
        changes.mark_unchanged();
        let summary = hub.summary(NOTICE);
        let (is_passing, text) = match newest.borrow_and_update().clone() {
            Some(Said::Typing(line)) => (false, format!("sally> {line}")),
            Some(Said::Answer(answer)) => (true, answer),
            None => {
                let notice = summary.notice.as_ref().map(|notice| format!(" | {notice}")).unwrap_or_default();
                let people = format!("shared: {} write, {} watch", summary.writing, summary.watching);
                (summary.notice.is_some(), format!("{people} | {KEYS}{notice}"))
            }
        };
        status.send_if_modified(|shown| {
            let differs = *shown != text;
            *shown = text;
            differs
        });
        tokio::select! {
            _ = changes.changed() => {}
            Ok(()) = newest.changed() => {}
            () = tokio::time::sleep(NOTICE), if is_passing => {
                said.send_if_modified(|said| matches!(said.take(), Some(Said::Answer(_))));
            }
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

/// What is typed on the local terminal, without the commands to Sally.
struct LocalInput {
    fd: Arc<Fd>,
    prompt: Prompt,
    host: Arc<Host>,
    said: Arc<watch::Sender<Option<Said>>>,
}

impl Inbound for LocalInput {
    async fn next(&mut self) -> Option<Input> {
        loop {
            let mut buffer = Vec::new();
            let passed = tokio::select! {
                read = self.fd.read(&mut buffer, PIECE) => {
                    if read.is_err() || buffer.is_empty() {
                        return None;
                    }
                    self.take(&buffer)
                }
                () = tokio::time::sleep(PREFIX_WAIT), if self.prompt.waits() => self.prompt.settle(),
            };
            if !passed.is_empty() {
                return Some(Input::Data(passed.into()));
            }
        }
    }
}

impl LocalInput {
    /// Runs the commands in what was typed; returns the rest.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let typed = self.prompt.typed(bytes);
        for command in typed.commands {
            let words: Vec<_> = command.split_whitespace().collect();
            let (Ok(answer) | Err(answer)) = self.host.obey(&words);
            let answer = answer.lines().collect::<Vec<_>>().join(" | ");
            self.said.send_replace(Some(answer).filter(|answer| !answer.is_empty()).map(Said::Answer));
        }
        match self.prompt.line() {
            Some(line) => drop(self.said.send_replace(Some(Said::Typing(line)))),
            None => drop(self.said.send_if_modified(|said| {
                let was_open = matches!(said, Some(Said::Typing(_)));
                if was_open {
                    *said = None;
                }
                was_open
            })),
        }
        typed.passed
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
