//! Serves files over SFTP instead of a program, as the account that Sally runs as.
//!
//! One thread serves a session's requests in their order, so that a slow disk delays no other task. Requests and answers pass through two
//! bounded channels, so that requests are read ahead while others are served.
//!
//! - `service`: serves a client that asks for the subsystem
//! - `server`: takes requests, records operations, sends answers
//! - `files`: requests for an open file
//! - `tree`: requests for a path
//! - `listing`: lists folders, and formats files as `ls -l` does
//! - `handles`: open files and folders, and the count and hash of their bytes
//! - `accounts`: names of users and groups
//! - `failure`: failures in SFTP's terms

mod accounts;
mod failure;
mod files;
mod handles;
mod listing;
mod opening;
mod server;
mod service;
mod tree;

use std::io;

use bytes::Bytes;
use rustix::fs::Mode;
use sally_proto::error::Fault;
use sally_proto::sftp::SftpFlags;
use sally_proto::visit::DEADLINES;
use tokio::sync::{mpsc, oneshot};

use self::server::{SftpOutcome, SftpServer};
pub use self::service::SftpService as Service;
use super::account::Account;
use super::ending::{SessionEnd, SessionEndReason};
use super::service::{Obeys, SessionChannel, StartedSession};
use super::{Disconnected, Ending, Inbound, Input, Outbound, OutputStream};
use crate::panic::{Panicked, caught_as_fault};
use crate::record::{RecordError, Recorder};

/// The most pieces of requests, at most 32 KiB each, that wait for the thread: as many as OpenSSH's client has in flight.
const PIECES: usize = 64;
/// The most batches of answers that wait for the client.
const BATCHES: usize = 4;
/// The thread's stack in bytes: it has no deep calls, and buffers are on the heap.
const STACK: usize = 512 << 10;

/// A thread that serves files, and our ends of its channels.
#[derive(Debug)]
pub struct SftpThread {
    requests: mpsc::Sender<Bytes>,
    answers: mpsc::Receiver<Bytes>,
    outcome: oneshot::Receiver<Result<SftpOutcome, RecordError>>,
}

/// The terms on which one client's files are served.
#[derive(Clone, Debug)]
pub struct SftpTerms {
    /// The account whose files are served.
    pub account: Account,
    /// The flags of the client's key.
    pub flags: SftpFlags,
    /// Whether the client sends a symbolic link's path before its target.
    pub link_first: bool,
}

/// Starts the thread.
///
/// # Errors
/// No thread can be made.
pub fn start(channel: u32, terms: SftpTerms, recorder: Recorder) -> io::Result<SftpThread> {
    if let Some(mask) = terms.flags.umask() {
        // umask(2) is for the whole process: with such a key all sessions of the visit are SFTP, by that key.
        rustix::process::umask(Mode::from_raw_mode(mask));
    }
    let (requests, inlet) = mpsc::channel(PIECES);
    let (outlet, answers) = mpsc::channel(BATCHES);
    let (told, outcome) = oneshot::channel();
    std::thread::Builder::new().name("sftp".into()).stack_size(STACK).spawn(move || {
        let ended = SftpServer::new(channel, terms, recorder, outlet).serve(inlet);
        let _ = told.send(ended); // The session no longer waits.
    })?;
    Ok(SftpThread { requests, answers, outcome })
}

/// A session that serves files.
#[derive(Debug)]
pub struct SftpSession {
    /// Its number on the record.
    channel: u32,
    /// The thread that serves them.
    files: SftpThread,
    /// The recorder.
    recorder: Recorder,
}

impl StartedSession for SftpSession {
    /// Obeys nothing: there is no window to resize, and no program for signals.
    fn obeys(&self) -> Obeys {
        Obeys::default()
    }

    /// Runs to its end; then every file is closed, and the bytes that went through each are recorded.
    ///
    /// # Errors
    /// [`Fault::Record`] if the record can't be written, [`Fault::ConnectionLost`] if the client vanished while it wrote a file, or the
    /// reason that the visit ends for.
    async fn run<I: Inbound, O: Outbound>(self, ends: SessionChannel<I, O>) -> Result<Ending, Fault> {
        caught_as_fault(self.run_to_end(ends)).await
    }
}

impl SftpSession {
    async fn run_to_end<I: Inbound, O: Outbound>(self, ends: SessionChannel<I, O>) -> Result<Ending, Fault> {
        let Self { channel, files, recorder } = self;
        let SessionChannel { inbound, outbound, control: _running, size: _, channel_end } = ends;
        let SftpThread { requests, answers, outcome } = files;
        let why = tokio::select! {
            biased;
            fault = channel_end.stopped() => SessionEndReason::Stopped(fault),
            () = channel_end.gone() => SessionEndReason::Gone,
            why = carry(inbound, requests, answers, &outbound) => why,
        };
        // Both channels are closed now: the thread ends as soon as it notices.
        let outcome = match tokio::time::timeout(DEADLINES.files, outcome).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_)) => return Err(Panicked.into()),
            Err(_) => SftpOutcome { status: Ending::Exited(1), unfinished: true },
        };
        let end = SessionEnd { channel, recorder: &recorder, visitor: &outbound, channel_end: &channel_end };
        match why {
            SessionEndReason::Ended(_) => end.close(outcome.status).await,
            // Most clients just disconnect, some with an open file that they have read: only an unfinished write counts as a loss.
            SessionEndReason::Gone if !outcome.unfinished => end.close(outcome.status).await,
            SessionEndReason::Gone => Err(end.lost().await),
            SessionEndReason::Stopped(fault) => {
                end.say_goodbye(&fault, OutputStream::Stderr).await;
                Err(fault)
            }
        }
    }
}

/// Carries requests to the thread and answers to the client, until the thread has closed its end.
async fn carry<I: Inbound, O: Outbound>(
    mut inbound: I,
    requests: mpsc::Sender<Bytes>,
    mut answers: mpsc::Receiver<Bytes>,
    visitor: &O,
) -> SessionEndReason {
    let asking = async move {
        loop {
            match inbound.next().await {
                Some(Input::Data(piece) | Input::Typed(_, piece)) => {
                    if requests.send(piece).await.is_err() {
                        // The thread takes no more; its last answers are still to be delivered.
                        std::future::pending::<()>().await;
                    }
                }
                Some(Input::Eof) => break Ok(inbound),
                None => break Err(Disconnected),
            }
        }
    };
    let answering = async {
        while let Some(batch) = answers.recv().await {
            visitor.deliver(OutputStream::Stdout, batch).await?;
        }
        Ok::<(), Disconnected>(())
    };
    tokio::pin!(asking, answering);
    let mut asked = None;
    loop {
        tokio::select! {
            done = &mut answering => return done.map_or(SessionEndReason::Gone, |()| SessionEndReason::Ended(Ending::Exited(0))),
            end = &mut asking, if asked.is_none() => match end {
                // Kept, so that the channel's other half stays open until the last answer is sent.
                Ok(inbound) => asked = Some(inbound),
                Err(Disconnected) => return SessionEndReason::Gone,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sally_proto::visit;
    use sally_sys::pty::WindowSize;
    use tokio::sync::watch;

    use super::*;
    use crate::record::Policy;
    use crate::record::testing::record_to;
    use crate::session::visit::{ChannelEnd, Visit};

    /// A client that asks for the version, and for nothing else.
    struct Asks(Option<Bytes>);

    impl Inbound for Asks {
        async fn next(&mut self) -> Option<Input> {
            match self.0.take() {
                Some(bytes) => Some(Input::Data(bytes)),
                None => std::future::pending().await,
            }
        }
    }

    /// A client that takes answers, or panics at the first.
    struct Hears {
        panics: bool,
        answered: mpsc::Sender<Bytes>,
    }

    impl Outbound for Hears {
        async fn deliver(&self, _: OutputStream, bytes: Bytes) -> Result<(), Disconnected> {
            assert!(!self.panics, "as a test does");
            self.answered.send(bytes).await.map_err(|_| Disconnected)
        }

        async fn finish(&self, _: Ending) -> Result<(), Disconnected> {
            Ok(())
        }
    }

    struct Running {
        recorder: Recorder,
        visit: Arc<Visit>,
        answers: mpsc::Receiver<Bytes>,
        ended: tokio::task::JoinHandle<Result<Ending, Fault>>,
    }

    fn run(file: std::path::PathBuf, panics: bool) -> Running {
        let recorder = record_to(file, Policy::All);
        let terms = SftpTerms { account: Account::current(None, None), flags: SftpFlags::default(), link_first: false };
        let (answered, answers) = mpsc::channel(1);
        let visit = Visit::new(visit::VisitTerms { wait: Duration::MAX, several: false });
        assert!(visit.admit(false, || ()));
        let session = SftpSession { channel: 0, files: start(0, terms, recorder.clone()).unwrap(), recorder: recorder.clone() };
        let channel = SessionChannel {
            inbound: Asks(Some(Bytes::from_static(&[0, 0, 0, 5, 1, 0, 0, 0, 3]))),
            outbound: Hears { panics, answered },
            control: mpsc::channel(1).1,
            size: watch::channel(WindowSize::default()).1,
            channel_end: ChannelEnd::of_channel(&visit),
        };
        Running { recorder, visit, answers, ended: tokio::spawn(session.run(channel)) }
    }

    #[tokio::test]
    async fn a_panic_ends_one_session_with_its_record_broken_off_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut lives = run(dir.path().join("lives"), false);
        let broken = run(dir.path().join("broken"), true);
        assert_eq!(broken.ended.await.unwrap(), Err(Panicked.into()));
        assert_eq!(broken.recorder.seal(), Err(RecordError::BrokenOff));
        assert!(lives.answers.recv().await.is_some_and(|answer| answer.get(4) == Some(&2)), "SSH_FXP_VERSION");
        lives.visit.stop(Fault::Signalled(15));
        assert_eq!(lives.ended.await.unwrap(), Err(Fault::Signalled(15)));
        lives.recorder.seal().unwrap();
    }
}
