//! Asks for the passphrase of a key, on the terminal.

use std::io;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use ssh_key::PrivateKey;

use crate::session::fd::Fd;
use crate::term;

/// How often a passphrase may be typed, as with ssh(1).
const TRIES: usize = 3;
/// The longest line.
const LINE: usize = 4096;

/// Asks for the passphrase of a file's key, and decrypts it.
pub(super) async fn decrypt(file: &Path, key: PrivateKey) -> Result<PrivateKey, String> {
    let unasked = |error: io::Error| format!("its passphrase can't be asked for: {}", term::reason(&error));
    for _ in 0..TRIES {
        let name = term::one_line(&file.display().to_string());
        let passphrase = ask(&format!("Enter passphrase for key '{name}': ")).await.map_err(unasked)?;
        if let Ok(decrypted) = key.decrypt(&passphrase) {
            return Ok(decrypted);
        }
    }
    Err("the passphrase is wrong".into())
}

/// A terminal that doesn't show what is typed, until this is dropped.
struct Unechoed {
    fd: Fd,
    before: Termios,
}

impl Drop for Unechoed {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.fd, OptionalActions::Now, &self.before); // The terminal may be gone.
    }
}

/// Asks for a line, which is not shown.
async fn ask(question: &str) -> io::Result<Vec<u8>> {
    // A description of its own: whether it blocks concerns no other process.
    let fd = Fd::new(open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)?;
    let before = tcgetattr(&fd)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&fd, OptionalActions::Flush, &silent)?;
    let terminal = Unechoed { fd, before };
    terminal.fd.write_all(&[Bytes::copy_from_slice(question.as_bytes())]).await?;
    let mut line = Vec::new();
    terminal.fd.read(&mut line, LINE).await?;
    terminal.fd.write_all(&[Bytes::from_static(b"\r\n")]).await?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
