//! Starts a program, on a terminal or on pipes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use sally_sys::process::Launch;
use sally_sys::pty::Pty;

use super::account::Account;
use super::fd::Fd;
use super::reaper::{Child, Reaper};

/// The size of a pipe in bytes, if the system allows it: program and pump then don't wait for each other at every piece.
const PIPE: usize = 256 << 10;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// The account's shell, as a login shell.
    Shell,
    /// A command line, through the account's shell.
    Command(OsString),
    /// A program, without a shell.
    Program {
        /// Its file.
        file: PathBuf,
        /// Its arguments, without its name.
        arguments: Vec<OsString>,
        /// Its working directory; the others run in the account's home.
        directory: PathBuf,
    },
}

/// A running program and our ends of its streams.
#[derive(Debug)]
pub struct RunningProgram {
    /// The first process.
    pub child: Child,
    pub(super) streams: Streams,
}

#[derive(Debug)]
pub(super) enum Streams {
    Terminal(Arc<Fd>),
    Pipes { stdin: Arc<Fd>, stdout: Arc<Fd>, stderr: Arc<Fd> },
}

/// Starts a program. Returns when it runs, or has failed to start.
///
/// # Errors
/// The shell can't be executed, or no descriptor or process is left.
pub fn start(
    reaper: &Reaper,
    account: &Account,
    run: &Run,
    environment: Vec<(OsString, OsString)>,
    terminal: Option<Pty>,
) -> io::Result<RunningProgram> {
    let (streams, stdio, on_terminal) = match terminal {
        Some(pty) => {
            let stdio = [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave];
            (Streams::Terminal(Arc::new(Fd::new(pty.master)?)), stdio, true)
        }
        None => {
            let (their_stdin, our_stdin) = pipe()?;
            let (our_stdout, their_stdout) = pipe()?;
            let (our_stderr, their_stderr) = pipe()?;
            let ours = |fd| Fd::new(fd).map(Arc::new);
            let streams = Streams::Pipes { stdin: ours(our_stdin)?, stdout: ours(our_stdout)?, stderr: ours(our_stderr)? };
            (streams, [their_stdin, their_stdout, their_stderr], false)
        }
    };
    let (program, arg0, args) = words(&account.shell, run);
    let directory = match run {
        Run::Program { directory, .. } => directory,
        Run::Shell | Run::Command(_) => &account.home,
    };
    let launch = Launch { program, arg0, args, environment, directory: directory.clone(), stdio, terminal: on_terminal };
    Ok(RunningProgram { child: reaper.spawn(launch)?, streams })
}

/// Makes a pipe; returns its reading end and its writing end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&write, PIPE); // Beyond an account's share of memory for pipes it stays at 64 KiB.
    Ok((read, write))
}

/// Returns the file, the name it is called by, and its arguments. A shell is a login shell if its name begins with `-` (sh(1),
/// "Invocation").
fn words(shell: &Path, run: &Run) -> (PathBuf, OsString, Vec<OsString>) {
    let name = shell.file_name().unwrap_or(OsStr::new("sh"));
    match run {
        Run::Shell => {
            let mut arg0 = OsString::from("-");
            arg0.push(name);
            (shell.into(), arg0, Vec::new())
        }
        Run::Command(command) => (shell.into(), name.into(), vec!["-c".into(), command.clone()]),
        Run::Program { file, arguments, .. } => (file.clone(), file.into(), arguments.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_a_login_shell_a_command_is_not_and_a_program_needs_none() {
        let bash = Path::new("/bin/bash");
        assert_eq!(words(bash, &Run::Shell), (bash.into(), "-bash".into(), vec![]));
        assert_eq!(words(bash, &Run::Command("ls".into())), (bash.into(), "bash".into(), vec!["-c".into(), "ls".into()]));
        let top = Run::Program { file: "/bin/top".into(), arguments: vec!["-b".into()], directory: "/".into() };
        assert_eq!(words(bash, &top), ("/bin/top".into(), "/bin/top".into(), vec!["-b".into()]));
    }
}
