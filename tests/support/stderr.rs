//! What a server of ours says on stderr, line by line.

use std::process::Child;
use std::sync::mpsc::Receiver;

use super::{PATIENCE, lines};

/// The lines that have come are kept: a failing test shows them.
pub struct Stderr {
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Stderr {
    /// Takes it of a child whose stderr is a pipe.
    pub fn of(child: &mut Child) -> Self {
        Self { lines: lines(child.stderr.take().unwrap()), said: Vec::new() }
    }

    /// Waits for a line that begins so; it may have come already.
    pub fn await_beginning(&mut self, beginning: &str) -> String {
        match self.said.iter().find(|line| line.starts_with(beginning)) {
            Some(line) => line.clone(),
            None => self.await_next(beginning, |line| line.starts_with(beginning)),
        }
    }

    /// Waits for another line that has this in it.
    pub fn await_words(&mut self, words: &str) -> String {
        self.await_next(words, |line| line.contains(words))
    }

    fn await_next(&mut self, words: &str, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("no {words:?} on stderr ({error}), only {:#?}", self.said),
            }
        }
    }

    /// What has been awaited so far.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Everything, to its end.
    pub fn whole(&mut self) -> String {
        self.said.extend(self.lines.iter());
        self.said.join("\n")
    }
}
