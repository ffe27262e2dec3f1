//! A program on a terminal whose screen is looked at, as by the person in front of it.

use std::process::{Command, ExitStatus};

use vt100::Parser;

use super::{Terminal, until};

/// A terminal with a program on it. What the screen shows is drawn by an emulator that Sally doesn't use.
pub struct View {
    terminal: Terminal,
    columns: u16,
    rows: u16,
}

impl View {
    /// Starts a program on a terminal of 80 × 24.
    pub fn start(command: &Command) -> Self {
        Self::sized(command, 80, 24)
    }

    /// Starts a program on a terminal of another size.
    pub fn sized(command: &Command, columns: u16, rows: u16) -> Self {
        Self { terminal: Terminal::of_size(command, columns, rows), columns, rows }
    }

    pub fn keys(&mut self, text: &str) {
        self.terminal.keys(text);
    }

    /// Changes the size of the window; what was shown before is forgotten.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        (self.columns, self.rows) = (columns, rows);
        self.terminal.resize(columns, rows);
    }

    pub fn pid(&self) -> u32 {
        self.terminal.child.id()
    }

    /// Everything that the terminal was sent.
    pub fn sent(&self) -> Vec<u8> {
        self.terminal.seen()
    }

    /// The screen now.
    pub fn screen(&self) -> vt100::Screen {
        let mut parser = Parser::new(self.rows, self.columns, 0);
        parser.process(&self.sent());
        parser.screen().clone()
    }

    /// The rows of the screen, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        self.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Waits until a row of the screen is this text.
    pub fn await_line(&self, text: &str) {
        until(&format!("a row is {text:?}"), || self.lines().iter().any(|line| line == text).then_some(()));
    }

    /// Waits until the screen has this text somewhere.
    pub fn await_words(&self, text: &str) {
        until(&format!("the screen has {text:?}"), || self.screen().contents().contains(text).then_some(()));
    }

    /// Waits for the program's end: its status, and the screen at the end.
    pub fn finish(&mut self) -> (ExitStatus, String) {
        let (status, _) = self.terminal.finish();
        (status, self.screen().contents())
    }
}
