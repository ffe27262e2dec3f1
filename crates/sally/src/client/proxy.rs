//! ssh's ProxyCommand: `ssh -W` to the relay, its bytes passed on, and between the two what a person wants to know: that a device is being
//! woken, and why one is not reached.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use sally_proto::error::{Fault, exit};

use super::openssh;
use super::settings::Settings;
use crate::term;

/// A visit that is quicker than this needs no words.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much is passed on at a time: a packet of OpenSSH's and more.
const PIECE: usize = 256 << 10;

/// Connects stdin and stdout to the device's port through the relay; gives the exit status.
///
/// # Errors
/// Where ssh can't be started.
pub fn run(settings: &Settings, ssh_config: Option<&Path>, host: &str, port: u16) -> Result<u8, Fault> {
    let mut command = openssh::to_relay(settings, ssh_config)?;
    // VERBOSE says when the relay has let us in. Whatever the visitor's own level is, the relay's sentences must come through.
    command.args(["-o", "LogLevel=VERBOSE", "-W", &target(host, port, settings.wait), "--", &settings.relay.destination()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| client_fault(&error))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Fault::Internal("ssh has no output".into()));
    };
    let (told, news) = mpsc::sync_channel(4);
    let progress = Arc::new(Progress::new(host));
    let words = {
        let (told, progress) = (told.clone(), Arc::clone(&progress));
        std::thread::spawn(move || relay_words(stderr, &told, &progress))
    };
    let bytes = std::thread::spawn(move || pass_on(stdout, &told));
    progress.show(&news);
    // Neither ends before ssh does; a thread that panicked has nothing to say.
    let _ = bytes.join();
    let _ = words.join();
    status(&mut child)
}

fn client_fault(error: &io::Error) -> Fault {
    Fault::Client { program: "ssh".into(), reason: term::reason(error) }
}

fn target(host: &str, port: u16, wait: Option<Duration>) -> String {
    match wait {
        // The relay reads it off the name: stock ssh has no other way to say it.
        Some(wait) => format!("{host}?wait={}:{port}", wait.as_secs()),
        None if host.contains(':') => format!("[{host}]:{port}"),
        None => format!("{host}:{port}"),
    }
}

fn status(child: &mut Child) -> Result<u8, Fault> {
    let status = child.wait().map_err(|error| client_fault(&error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::CONNECTION))
}

/// What the two threads see.
enum News {
    /// The relay has let us in.
    Admitted,
    /// The first byte has come: the device is there.
    Reached,
}

fn pass_on(mut from: ChildStdout, told: &mpsc::SyncSender<News>) {
    let mut piece = vec![0; PIECE];
    let mut to = io::stdout().lock();
    let mut first = true;
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if std::mem::take(&mut first) {
            let _ = told.send(News::Reached); // Nobody may be listening any more.
        }
        let bytes = piece.get(..length).unwrap_or_default();
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// Passes on what ssh says of the relay, in plainer words.
fn relay_words(stderr: ChildStderr, told: &mpsc::SyncSender<News>, progress: &Progress) {
    let mut refused = false;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        match said(line.trim_end(), refused) {
            Said::Admitted => drop(told.send(News::Admitted)),
            Said::Refusal(sentence) => {
                refused = true;
                progress.say(&format!("sally: {sentence}"));
            }
            Said::Other(line) => progress.say(line),
            Said::Noise => {}
        }
    }
}

/// What a line of ssh's is.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Admitted,
    Refusal(&'a str),
    Other(&'a str),
    Noise,
}

fn said(line: &str, refused: bool) -> Said<'_> {
    if line.starts_with("Authenticated to ") {
        return Said::Admitted;
    }
    if let Some((_, sentence)) = line.split_once("open failed: ").filter(|(before, _)| before.starts_with("channel ")) {
        // `connect failed: ` and its like name the reason's number (RFC 4254 section 5.1); the sentence is what follows.
        return Said::Refusal(sentence.split_once(": ").map_or(sentence, |(_, sentence)| sentence));
    }
    let noise = ["Transferred: ", "Bytes per second: ", "Authenticating to "].iter().any(|start| line.starts_with(start));
    if noise || line.is_empty() || (refused && line == "stdio forwarding failed") {
        return Said::Noise;
    }
    Said::Other(line)
}

/// One line on a terminal that says what we are waiting for, and goes when there is something better to read.
struct Progress {
    host: String,
    terminal: bool,
    shown: AtomicBool,
}

impl Progress {
    fn new(host: &str) -> Self {
        Self { host: term::printable(host), terminal: io::stderr().is_terminal(), shown: AtomicBool::new(false) }
    }

    /// Counts the seconds until the device is there or ssh has given up. Not before the relay has let us in: ssh may be asking something.
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
            Said::Refusal("cam-17 is offline: last seen 2026-11-21 10:02 UTC (3 h ago)")
        );
        assert_eq!(said("channel 0: open failed: administratively prohibited: not permitted", false), Said::Refusal("not permitted"));
        assert_eq!(said("stdio forwarding failed", true), Said::Noise);
        assert_eq!(said("stdio forwarding failed", false), Said::Other("stdio forwarding failed"));
    }

    #[test]
    fn what_a_stranger_says_is_shown_as_it_is() {
        assert_eq!(said("alice@relay: Permission denied (publickey).", false), Said::Other("alice@relay: Permission denied (publickey)."));
        assert_eq!(said("Authenticated to relay ([192.0.2.1]:22) using \"publickey\".", false), Said::Admitted);
    }
}
