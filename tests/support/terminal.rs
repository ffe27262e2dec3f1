//! A program on a terminal, and the person in front of it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{PATIENCE, tool, until, wait};

#[derive(Default)]
struct Screen {
    seen: Vec<u8>,
    closed: bool,
}

/// A terminal with a program on it. The program is killed when this is dropped.
pub struct Terminal {
    pub child: Child,
    master: File,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    /// What has been awaited so far ends here.
    at: usize,
}

impl Terminal {
    /// Starts a program with a new terminal of 80 × 24 as its controlling one.
    pub fn start(command: &Command) -> Self {
        Self::of_size(command, 80, 24)
    }

    pub fn of_size(command: &Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        tcsetwinsize(&slave, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let mut on_terminal = tool("setsid", "util-linux");
        on_terminal.arg("--ctty").arg(command.get_program()).args(command.get_args()).env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        let stdio = |slave: &OwnedFd| Stdio::from(slave.try_clone().unwrap());
        let child = on_terminal.stdin(stdio(&slave)).stdout(stdio(&slave)).stderr(stdio(&slave)).spawn().unwrap();
        drop((slave, on_terminal));
        let master = File::from(master);
        let screen: Arc<(Mutex<Screen>, Condvar)> = Arc::default();
        thread::spawn({
            let (mut master, screen) = (master.try_clone().unwrap(), Arc::clone(&screen));
            move || watch(&mut master, &screen)
        });
        Self { child, master, screen, at: 0 }
    }

    pub fn keys(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Everything that the terminal was sent.
    pub fn seen(&self) -> Vec<u8> {
        self.screen.0.lock().unwrap().seen.clone()
    }

    /// Waits until ssh hands on what is typed, key by key: through a master what a session shows may come before that.
    pub fn await_raw(&self) {
        let raw = || tcgetattr(&self.master).ok().filter(|modes| !modes.local_modes.contains(LocalModes::ICANON));
        until("ssh makes the terminal raw", || raw().map(|_| ()));
    }

    /// Waits until the screen shows this, after whatever was awaited last; gives what stood in between.
    pub fn await_text(&mut self, text: &str) -> String {
        let start = Instant::now();
        let (lock, changed) = &*self.screen;
        let mut screen = lock.lock().unwrap();
        loop {
            let fresh = &screen.seen[self.at..];
            if let Some(found) = fresh.windows(text.len()).position(|window| window == text.as_bytes()) {
                let between = String::from_utf8_lossy(&fresh[..found]).into_owned();
                self.at += found + text.len();
                return between;
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(!screen.closed && !left.is_zero(), "the screen never showed {text:?}, but {:?}", String::from_utf8_lossy(fresh));
            screen = changed.wait_timeout(screen, left).unwrap().0;
        }
    }

    /// What stands on the rest of the line after this text.
    pub fn await_word(&mut self, text: &str) -> String {
        self.await_text(text);
        self.await_text("\r\n")
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(self.master.as_fd(), Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    /// Waits until the program has written nothing for so long, or is gone: everything it has written, and whether it is gone.
    pub fn at_rest(&self, quiet: Duration) -> (Vec<u8>, bool) {
        let start = Instant::now();
        let (lock, changed) = &*self.screen;
        let mut screen = lock.lock().unwrap();
        loop {
            let before = screen.seen.len();
            screen = changed.wait_timeout_while(screen, quiet, |screen| !screen.closed && screen.seen.len() == before).unwrap().0;
            if screen.closed || screen.seen.len() == before || start.elapsed() > 4 * quiet {
                return (screen.seen.clone(), screen.closed);
            }
        }
    }

    /// Waits for the program's end: its status, and everything the terminal has shown.
    pub fn finish(&mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        let (lock, changed) = &*self.screen;
        let screen = lock.lock().unwrap();
        let (screen, _) = changed.wait_timeout_while(screen, PATIENCE, |screen| !screen.closed).unwrap();
        (status, String::from_utf8_lossy(&screen.seen).into_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The terminal answers EIO when its last program is gone.
fn watch(master: &mut File, screen: &(Mutex<Screen>, Condvar)) {
    let mut piece = [0; 4096];
    let (lock, changed) = screen;
    while let Ok(read @ 1..) = master.read(&mut piece) {
        lock.lock().unwrap().seen.extend_from_slice(&piece[..read]);
        changed.notify_all();
    }
    lock.lock().unwrap().closed = true;
    changed.notify_all();
}

/// Waits until a program on this terminal (the server's, by its path) reads a line without echo.
pub fn await_echo_off(tty: &Path) {
    until("a password is asked for", || {
        let slave = rustix::fs::open(tty, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let modes = tcgetattr(&slave).ok()?.local_modes;
        (modes.contains(LocalModes::ICANON) && !modes.contains(LocalModes::ECHO)).then_some(())
    });
}
