//! A client without a terminal, while it runs.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;

use super::{PATIENCE, lines, wait};

/// A running client whose lines are awaited. Killed when dropped.
pub struct Client {
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    said: Vec<String>,
}

impl Client {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdin, stdout, stderr, said: Vec::new() }
    }

    /// Waits for a line on stdout that begins so, and gives the rest of it.
    pub fn await_line(&mut self, beginning: &str) -> String {
        loop {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if let Some(rest) = line.strip_prefix(beginning) {
                        return rest.to_owned();
                    }
                }
                Err(error) => {
                    let stderr: Vec<_> = self.stderr.try_iter().collect();
                    panic!("no {beginning:?} on stdout ({error}), only {:#?}; on stderr {stderr:#?}", self.said)
                }
            }
        }
    }

    /// The lines of stdout up to the last that was awaited.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Waits for a line on stderr that has this in it.
    pub fn await_stderr(&mut self, words: &str) -> String {
        let mut said = Vec::new();
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => said.push(line),
                Err(error) => panic!("no {words:?} on stderr ({error}), only {said:#?}"),
            }
        }
    }

    /// The number that the command says next on a line of its own: that of a process.
    pub fn await_pid(&mut self) -> u32 {
        self.await_line("").trim().parse().unwrap()
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(bytes.as_ref()).unwrap();
        stdin.flush().unwrap();
    }

    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().unwrap()
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Closes stdin, waits for the end: status, what was left of stdout, stderr.
    pub fn finish(mut self) -> (ExitStatus, String, String) {
        self.stdin = None;
        let status = wait(&mut self.child);
        let joined = |receiver: &Receiver<String>| receiver.iter().collect::<Vec<_>>().join("\n");
        (status, joined(&self.stdout), joined(&self.stderr))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
