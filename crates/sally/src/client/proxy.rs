//! ssh's ProxyCommand: runs `ssh -W` to the relay, passes its bytes on, and tells the user when a device is being woken, and why a device
//! can't be reached.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use sally_proto::error::{Fault, exit};

use super::openssh;
use super::settings::ClientSettings;
use crate::term;

/// The time after which progress is shown; a quicker connection needs none.
const PATIENCE: Duration = Duration::from_secs(1);
/// The bytes that are passed on at a time: a packet of OpenSSH's and more.
const PIECE: usize = 256 << 10;

/// Connects stdin and stdout to the device's port through the relay, and returns the exit status.
///
/// # Errors
/// [`Fault::Client`] if ssh can't be started.
pub fn run(settings: &ClientSettings, ssh_config: Option<&Path>, host: &str, port: u16) -> Result<u8, Fault> {
    let mut command = openssh::to_relay(settings, ssh_config)?;
    // At VERBOSE, ssh reports the login. The level is set whatever the visitor's own is, so that the relay's messages are printed.
    command.args(["-o", "LogLevel=VERBOSE", "-W", &target(host, port, settings.wait), "--", &settings.relay.destination()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| client_fault(&error))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Fault::Internal("ssh has no output".into()));
    };
    let (told, news) = mpsc::sync_channel(4);
    let progress = Arc::new(ProgressLine::new(host));
    let words = {
        let (told, progress) = (told.clone(), Arc::clone(&progress));
        std::thread::spawn(move || relay_words(stderr, &told, &progress))
    };
    let bytes = std::thread::spawn(move || pass_on(stdout, &told));
    progress.show(&news);
    // The threads end when ssh does; one that panicked has nothing to report.
    let _ = bytes.join();
    let _ = words.join();
    status(&mut child)
}

fn client_fault(error: &io::Error) -> Fault {
    Fault::Client { program: "ssh".into(), reason: term::reason(error) }
}

fn target(host: &str, port: u16, wait: Option<Duration>) -> String {
    match wait {
        // The relay reads the time from the name: stock ssh has no other way to send it.
        Some(wait) => format!("{host}?wait={}:{port}", wait.as_secs()),
        None if host.contains(':') => format!("[{host}]:{port}"),
        None => format!("{host}:{port}"),
    }
}

fn status(child: &mut Child) -> Result<u8, Fault> {
    let status = child.wait().map_err(|error| client_fault(&error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::CONNECTION))
}

/// The events that the two threads report.
enum News {
    /// The login at the relay has succeeded.
    Admitted,
    /// The first byte has come: the device is connected.
    Reached,
}

fn pass_on(mut from: ChildStdout, told: &mpsc::SyncSender<News>) {
    let mut piece = vec![0; PIECE];
    let mut to = io::stdout().lock();
    let mut first = true;
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if std::mem::take(&mut first) {
            let _ = told.send(News::Reached); // The receiver may be gone.
        }
        let bytes = piece.get(..length).unwrap_or_default();
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// Passes on ssh's messages about the relay, in plainer words.
fn relay_words(stderr: ChildStderr, told: &mpsc::SyncSender<News>, progress: &ProgressLine) {
    let mut refused = false;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        match said(line.trim_end(), refused) {
            StderrLine::Admitted => drop(told.send(News::Admitted)),
            StderrLine::Refusal(sentence) => {
                refused = true;
                progress.say(&format!("sally: {sentence}"));
            }
            StderrLine::Other(line) => progress.say(line),
            StderrLine::Noise => {}
        }
    }
}

/// The kinds of lines of ssh's stderr.
#[derive(Debug, PartialEq, Eq)]
enum StderrLine<'a> {
    Admitted,
    Refusal(&'a str),
    Other(&'a str),
    Noise,
}

fn said(line: &str, refused: bool) -> StderrLine<'_> {
    if line.starts_with("Authenticated to ") {
        return StderrLine::Admitted;
    }
    if let Some((_, sentence)) = line.split_once("open failed: ").filter(|(before, _)| before.starts_with("channel ")) {
        // `connect failed: ` and the like stand for the reason code (RFC 4254 section 5.1); the message follows.
        return StderrLine::Refusal(sentence.split_once(": ").map_or(sentence, |(_, sentence)| sentence));
    }
    let noise = ["Transferred: ", "Bytes per second: ", "Authenticating to "].iter().any(|start| line.starts_with(start));
    if noise || line.is_empty() || (refused && line == "stdio forwarding failed") {
        return StderrLine::Noise;
    }
    StderrLine::Other(line)
}

/// A progress line on a terminal, which is erased before other output.
struct ProgressLine {
    host: String,
    terminal: bool,
    shown: AtomicBool,
}

impl ProgressLine {
    fn new(host: &str) -> Self {
        Self { host: term::printable(host), terminal: io::stderr().is_terminal(), shown: AtomicBool::new(false) }
    }

    /// Shows the seconds until the device is connected or ssh has given up. Starts after the login, since ssh may prompt before it.
    fn show(&self, news: &mpsc::Receiver<News>) {
        let Ok(News::Admitted) = news.recv() else { return };
        let since = Instant::now();
        loop {
            match news.recv_timeout(PATIENCE) {
                Err(RecvTimeoutError::Timeout) => self.draw(since.elapsed()),
                Ok(News::Admitted) => {}
                Ok(News::Reached) | Err(RecvTimeoutError::Disconnected) => return self.clear(),
            }
        }
    }

    fn draw(&self, waited: Duration) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[KWaiting for {} … {} s", self.host, waited.as_secs());
            self.shown.store(true, Ordering::Relaxed);
        }
    }

    fn clear(&self) {
        if self.shown.swap(false, Ordering::Relaxed) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }

    fn say(&self, line: &str) {
        self.clear();
        term::say(&term::printable(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_relays_sentence() {
        assert_eq!(
            said("channel 0: open failed: connect failed: cam-17 is offline: last seen 2026-11-21 10:02 UTC (3 h ago)", false),
            StderrLine::Refusal("cam-17 is offline: last seen 2026-11-21 10:02 UTC (3 h ago)")
        );
        assert_eq!(said("channel 0: open failed: administratively prohibited: not permitted", false), StderrLine::Refusal("not permitted"));
        assert_eq!(said("stdio forwarding failed", true), StderrLine::Noise);
        assert_eq!(said("stdio forwarding failed", false), StderrLine::Other("stdio forwarding failed"));
    }

    #[test]
    fn untrusted_text_is_shown_as_it_is() {
        assert_eq!(
            said("alice@relay: Permission denied (publickey).", false),
            StderrLine::Other("alice@relay: Permission denied (publickey).")
        );
        assert_eq!(said("Authenticated to relay ([192.0.2.1]:22) using \"publickey\".", false), StderrLine::Admitted);
    }
}
