//! A program, on a terminal or on pipes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use sally_sys::process::Launch;
use sally_sys::pty::Pty;

use super::account::Account;
use super::fd::Fd;
use super::reaper::{Child, Reaper};

/// What a pipe holds, where the system allows so much: program and pump need not wait for each other at every piece.
const PIPE: usize = 256 << 10;

/// What the visitor wants, or what the key allows instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A login shell.
    Shell,
    /// A command line, run through the account's shell.
    Command(OsString),
    /// A subsystem's name, in place of which the key has something else run.
    Subsystem(OsString),
}

/// A running program and our ends of its streams.
#[derive(Debug)]
pub struct Program {
    pub(super) child: Child,
    pub(super) streams: Streams,
}

#[derive(Debug)]
pub(super) enum Streams {
    Terminal(Arc<Fd>),
    Pipes { stdin: Arc<Fd>, stdout: Arc<Fd>, stderr: Arc<Fd> },
}

/// Starts it. It returns when the program runs, or has failed to.
///
/// # Errors
/// Where the shell can't be executed, or no descriptor or process is left.
pub fn start(
    reaper: &Reaper,
    account: &Account,
    what: &What,
    environment: Vec<(OsString, OsString)>,
    terminal: Option<Pty>,
) -> io::Result<Program> {
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
    let (arg0, args) = arguments(&account.shell, what);
    let launch =
        Launch { program: account.shell.clone(), arg0, args, environment, directory: account.home.clone(), stdio, terminal: on_terminal };
    Ok(Program { child: reaper.spawn(launch)?, streams })
}

/// A pipe: its reading end, its writing end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&write, PIPE); // Beyond an account's share of memory for pipes it stays at 64 KiB.
    Ok((read, write))
}

/// A shell is a login shell when its name begins with `-` (sh(1), "Invocation").
fn arguments(shell: &Path, what: &What) -> (OsString, Vec<OsString>) {
    let name = shell.file_name().unwrap_or(OsStr::new("sh"));
    match what {
        What::Shell => {
            let mut arg0 = OsString::from("-");
            arg0.push(name);
            (arg0, Vec::new())
        }
        What::Command(command) | What::Subsystem(command) => (name.into(), vec!["-c".into(), command.clone()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_a_login_shell_and_a_command_is_not() {
        assert_eq!(arguments(Path::new("/bin/bash"), &What::Shell), ("-bash".into(), vec![]));
        assert_eq!(arguments(Path::new("/bin/bash"), &What::Command("ls".into())), ("bash".into(), vec!["-c".into(), "ls".into()]));
    }
}
