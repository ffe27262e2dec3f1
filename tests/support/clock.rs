//! A clock that a test sets, for what is started with it and for nothing else.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Home, run, text, tool};

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
        let library = text(&run(tool("faketime", "faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"])).stdout);
        command.env("LD_PRELOAD", library.trim()).env("FAKETIME_TIMESTAMP_FILE", &self.file).env("FAKETIME_NO_CACHE", "1");
        command
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
