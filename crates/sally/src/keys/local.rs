//! Reads keys on this machine: from files, standard input, the environment.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use sally_proto::error::KeyDefect;

use super::FILE_MAX;

pub(super) async fn read_file(file: PathBuf, deadline: Duration) -> Result<Vec<u8>, KeyDefect> {
    aside(move || File::open(file).and_then(read_whole), deadline).await
}

pub(super) async fn read_stdin(deadline: Duration) -> Result<Vec<u8>, KeyDefect> {
    aside(|| read_whole(io::stdin().lock()), deadline).await
}

/// Reads in its own thread: a FIFO without a writer blocks its reader forever, and the runtime would wait for its own threads at the end.
async fn aside(read: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static, deadline: Duration) -> Result<Vec<u8>, KeyDefect> {
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("keys".into()).spawn(move || drop(done.send(read())));
    let read = match thread {
        Ok(_) => match tokio::time::timeout(deadline, result).await {
            Ok(read) => read.unwrap_or_else(|_| Err(io::Error::other("the reading thread ended"))),
            Err(_) => Err(io::Error::other(format!("it did not end within {} s", deadline.as_secs_f32()))),
        },
        Err(error) => Err(error),
    };
    read.map_err(|error| match error.kind() {
        ErrorKind::NotFound => KeyDefect::Missing,
        _ => KeyDefect::Unreadable(crate::term::reason(&error)),
    })
}

fn read_whole(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = file.take(FILE_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_MAX {
        return Err(io::Error::other(format!("longer than {FILE_MAX} bytes")));
    }
    Ok(bytes)
}

/// Converts the variable to a file's lines: a literal `\n` outside of quotes ends a line too, for systems that can't put a newline into a
/// variable; within quotes it belongs to a command.
pub fn lines_of_variable(value: &OsStr) -> Vec<u8> {
    let mut lines = Vec::with_capacity(value.len());
    let mut quoted = false;
    let mut rest = value.as_bytes();
    loop {
        rest = match rest {
            [] => return lines,
            [b'\\', b'"', tail @ ..] => {
                lines.extend_from_slice(b"\\\"");
                tail
            }
            [b'\\', b'n', tail @ ..] if !quoted => {
                lines.push(b'\n');
                tail
            }
            [byte, tail @ ..] => {
                quoted = (quoted != (*byte == b'"')) && *byte != b'\n';
                lines.push(*byte);
                tail
            }
        };
    }
}
