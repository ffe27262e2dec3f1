//! A clock that a test sets, for what is started with it and for nothing else.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Home;

/// Debian's libfaketime, for `LD_PRELOAD`. Its wrapper `faketime` is left aside: it stops where a killed process with its
/// id left a semaphore behind, and stands between a test and what the test wants to kill.
fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketime.so.1")));
    found.into_iter().find(|path| path.exists()).expect("libfaketime.so.1 is missing: apt-get install faketime")
}

/// A command, and all that it starts, under a clock that is so far off: `+2d`.
pub fn off_by(offset: &str, mut command: Command) -> Command {
    command.env("LD_PRELOAD", library()).env("FAKETIME", offset);
    command
}

/// It can only be put forward: what runs by it takes the time between for passed.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    pub fn new(home: &Home) -> Self {
        let clock = Self { file: home.path("clock") };
        clock.set("+0");
        clock
    }

    /// Makes a command, and all that it starts, go by this clock.
    pub fn govern(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &self.file).env("FAKETIME_NO_CACHE", "1");
        command
    }

    /// The same for the time of day alone: what measures time doesn't notice.
    pub fn govern_dates(&self, command: Command) -> Command {
        let mut command = self.govern(command);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        command
    }

    /// As a clock that is set, to so much off (`-1d`): for what is under [`Clock::govern_dates`].
    pub fn set_off_by(&self, offset: &str) {
        self.set(offset);
    }

    /// So many seconds have passed, at once.
    pub fn put_forward_to(&self, seconds: u32) {
        self.set(&format!("+{seconds}s"));
    }

    /// From now on it goes so many times as fast.
    pub fn hurry(&self, times: u32) {
        self.set(&format!("+0 x{times}"));
    }

    /// Never half-written: whoever reads it may read at any moment.
    fn set(&self, offset: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{offset}\n")).unwrap();
        fs::rename(next, &self.file).unwrap();
    }
}
