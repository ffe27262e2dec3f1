//! Runs the announce command once the server listens: an executable with one argument, which has 30 s.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::Access;
use rustix::process::Signal;
use sally_proto::error::Fault;
use sally_sys::process::Launch;

use crate::lock::lock;
use crate::session::environment::Environment;
use crate::session::reaper::Reaper;
use crate::term;

/// The time that the command may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The bytes that are kept of the end of its stderr: enough for a message.
const STDERR_KEPT: usize = 4 << 10;
/// The time, after its end, for reading the rest of its stderr.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The exit status for a command that took too long, as that of timeout(1).
const TOO_LONG: u8 = 124;

/// An announce command that exists and is executable.
#[derive(Clone, Debug)]
pub struct Announce {
    command: PathBuf,
    /// The bytes on its stdin.
    input: Vec<u8>,
    /// Whether its stdout goes to Sally's stderr.
    shows_output: bool,
}

impl Announce {
    /// Finds the command: as a path if it has a slash, else in `path`.
    ///
    /// # Errors
    /// [`Fault::AnnounceInvalid`].
    pub fn find(command: &Path, path: &OsString) -> Result<Self, Fault> {
        let invalid = |reason: &str| Fault::AnnounceInvalid { command: command.display().to_string(), reason: reason.into() };
        let found = if command.as_os_str().as_encoded_bytes().contains(&b'/') {
            Some(command.to_owned())
        } else {
            let candidates = || std::env::split_paths(path).map(|directory| directory.join(command)).filter(|file| file.is_file());
            candidates().find(|file| is_executable(file)).or_else(|| candidates().next())
        };
        let found = found.filter(|found| found.exists()).ok_or_else(|| invalid("not found"))?;
        if !is_executable(&found) {
            return Err(invalid("not executable"));
        }
        Ok(Self { command: found, input: Vec::new(), shows_output: true })
    }

    /// Gives the command these bytes on its stdin: unlike its argument and its environment, no other process can read them.
    #[must_use]
    pub fn reading(self, input: Vec<u8>) -> Self {
        Self { input, ..self }
    }

    /// Drops what the command prints on its stdout.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { shows_output: false, ..self }
    }

    /// Runs the command to its end, with one argument.
    ///
    /// # Errors
    /// [`Fault::AnnounceFailed`] unless it exits with 0 in time.
    pub async fn run(self, argument: OsString, environment: Environment, reaper: Reaper) -> Result<(), Fault> {
        let failed = |status, stderr: String| Fault::AnnounceFailed { status, stderr };
        let (launch, stderr) = self.launch(argument, environment).map_err(|error| failed(126, term::reason(&error)))?;
        let mut child = reaper.spawn(launch).map_err(|error| failed(126, term::reason(&error)))?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let said = tokio::task::spawn_blocking({
            let heard = Arc::clone(&heard);
            move || listen(stderr, &heard)
        });
        let Ok(ending) = tokio::time::timeout(LIMIT, child.wait()).await else {
            let _ = rustix::process::kill_process_group(child.pid, Signal::KILL); // If it has just ended, it was still too late.
            child.wait().await;
            return Err(failed(TOO_LONG, format!("it took longer than {} s", LIMIT.as_secs())));
        };
        if ending.status() == 0 {
            return Ok(());
        }
        // A process that it has left running may keep its stderr open for any time.
        let _ = tokio::time::timeout(LAST_WORDS, said).await;
        Err(failed(ending.status(), last_words(&heard)))
    }

    fn launch(self, argument: OsString, environment: Environment) -> io::Result<(Launch, OwnedFd)> {
        let (stderr, their_stderr) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // Sally's stdout may be the record, so the command's output goes to stderr.
        let stdout = if self.shows_output {
            rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?
        } else {
            File::create("/dev/null")?.into()
        };
        let stdin = if self.input.is_empty() { File::open("/dev/null")?.into() } else { in_memory(&self.input)? };
        let launch = Launch {
            arg0: self.command.clone().into(),
            program: self.command,
            args: vec![argument],
            environment: environment.into_iter().collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            stdio: [stdin, stdout, their_stderr],
            terminal: false,
        };
        Ok((launch, stderr))
    }
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok()
}

/// Returns a file with these bytes that has no name.
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("announce", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads stderr to its end, and keeps the last [`STDERR_KEPT`] bytes.
fn listen(stderr: OwnedFd, heard: &Mutex<Vec<u8>>) {
    let mut stderr = File::from(stderr);
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut piece) {
        let mut kept = lock(heard);
        kept.extend_from_slice(piece.get(..read).unwrap_or_default());
        let excess = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..excess);
    }
}

/// Returns what was kept as one printable line.
fn last_words(heard: &Mutex<Vec<u8>>) -> String {
    let kept = lock(heard);
    term::printable(String::from_utf8_lossy(&kept).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_by_path_or_in_path() {
        let path = "/nowhere:/bin:/usr/bin".into();
        assert!(Announce::find(Path::new("true"), &path).is_ok());
        assert!(Announce::find(Path::new("/bin/sh"), &path).is_ok());
    }

    #[test]
    fn what_cannot_run_is_named() {
        let path = OsString::new();
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let plain = plain.to_str().unwrap();
        for (command, reason) in [("no-such", "not found"), ("/no/such", "not found"), (plain, "not executable"), ("/", "not executable")] {
            let fault = Announce::find(Path::new(command), &path).unwrap_err();
            assert_eq!(fault.to_string(), format!("Invalid announce command: {command} ({reason})"));
        }
    }
}
