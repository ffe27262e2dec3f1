//! Holds the state that the program and the people of a share have in common, and decides whose input is next.
//!
//! One lock guards everything that changes; nothing waits while it is held. Who may type is asked in one place, `next_input`, when
//! input goes to the program's pump, which records it and hands it on.
//!
//! - `people`: lets people in and out
//! - `turns`: whose input is next
//! - `approval`: who waits for the host's word
//! - `sizes`: the terminal's size
//! - `ends`: how a share has ended
//! - `host`: what the host decides
//! - `keys`: whose key may still join

mod approval;
mod ends;
mod host;
mod keys;
mod people;
mod sizes;
mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use sally_proto::share::{NamedViewer, SharedSize, SizeChanges, SizePolicy, Unit, ViewerNames};
use sally_sys::pty;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use self::approval::ApprovalWait;
use self::approval::WaitingViewer;
pub use self::ends::Over;
pub use self::host::Listed;
pub(super) use self::keys::KEY_GONE;
pub use self::people::NotJoined;
pub(super) use self::people::shown;
use super::person::{Heard, Person};
use crate::lock::lock;
use crate::record::Recorder;
use crate::screen::{FrameView, Screen, ScreenFrame};
use crate::share::sources::AllowedKeys;
use crate::share::status::Prompt;

/// How long the people may take to read how the share ended.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);
/// The most bytes of the screen's answers that wait for the program.
const REPLIES: usize = 4 << 10;

/// The rules of a share.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The name of the host's account.
    pub host: String,
    /// Whether no viewer may ever write.
    pub read_only: bool,
    /// Whether joins and leaves are said on stderr.
    pub announces: bool,
    /// Whether the host lets each viewer in.
    pub approve: bool,
    /// The most people that connections bring.
    pub viewers: usize,
    /// What decides the terminal's size.
    pub size: SizePolicy,
}

/// How many viewers have joined, and how many are there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attendance {
    joined: u64,
    here: usize,
}

/// The shared state.
pub struct ShareHub {
    state: Mutex<ShareState>,
    rules: Rules,
    recorder: Recorder,
    /// Counts what viewers are to be shown.
    changes: watch::Sender<u64>,
    /// Wakes the task that gives the terminal its size.
    resized: Notify,
    /// Wakes the program's input.
    typed: Notify,
    /// Wakes people whose input waited.
    room: Notify,
    /// Wakes the task that obeys the host's commands.
    commanded: Notify,
    /// The program's terminal, from which input that the program has not read can be dropped.
    terminal: OnceLock<OwnedFd>,
    /// Counts the pieces of output, and says that the newest was drawn by a viewer.
    drawn: watch::Sender<u64>,
    /// Who comes and goes, for what waits for that.
    attendance: watch::Sender<Attendance>,
    /// Cancelled when the share is over.
    over: CancellationToken,
}

struct ShareState {
    screen: Screen,
    people: BTreeMap<u32, Person>,
    names: ViewerNames,
    /// Who waits for the host's word, and who has it and is about to join.
    waiting: BTreeMap<u32, WaitingViewer>,
    approved: BTreeSet<u32>,
    /// The keys that the host has removed.
    kicked: BTreeSet<String>,
    /// The keys that may join, once their sources were read again.
    allowed: Option<AllowedKeys>,
    /// Whether a viewer has ever joined.
    visited: bool,
    /// The name that is the host's, whether the host is there or not.
    host: Option<NamedViewer>,
    /// Whose input was next last.
    turn: u32,
    /// Whether input is on its way to the program's terminal.
    is_writing: bool,
    /// Whose next input is an interrupt that must find room in a full terminal.
    interrupts: Option<u32>,
    /// Commands that the host has typed to Sally.
    commands: Vec<String>,
    /// The screen's answers to the program.
    replies: Vec<u8>,
    /// Input of people who may not type any more, which ends what they began.
    endings: VecDeque<(u32, Unit)>,
    /// Since when a paste keeps others waiting, and its size so far.
    paste: Option<(u32, Instant, usize)>,
    /// The newest notice for the status line.
    notice: Option<(Instant, String)>,
    over: Option<Over>,
    /// What stderr is to get, once the state is released.
    unsaid: Vec<String>,
    resizes: SizeChanges,
    /// Whose window or word the size that is asked for follows.
    resized_by: String,
}

/// What a status line says.
pub(super) struct Summary {
    pub(super) writing: usize,
    pub(super) watching: usize,
    pub(super) notice: Option<String>,
}

impl ShareHub {
    /// Makes a share without people.
    pub fn new(rules: Rules, size: SharedSize, recorder: Recorder) -> Arc<Self> {
        let mut names = ViewerNames::default();
        // No viewer looks like the host.
        let host = names.join(&rules.host);
        let state = ShareState {
            screen: Screen::new(on_screen(size), 0),
            people: BTreeMap::new(),
            names,
            waiting: BTreeMap::new(),
            approved: BTreeSet::new(),
            kicked: BTreeSet::new(),
            allowed: None,
            visited: false,
            host,
            turn: 0,
            is_writing: false,
            interrupts: None,
            commands: Vec::new(),
            replies: Vec::new(),
            endings: VecDeque::new(),
            paste: None,
            notice: None,
            over: None,
            unsaid: Vec::new(),
            resizes: SizeChanges::new(size),
            resized_by: String::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            rules,
            recorder,
            changes: watch::Sender::new(0),
            resized: Notify::new(),
            typed: Notify::new(),
            room: Notify::new(),
            commanded: Notify::new(),
            terminal: OnceLock::new(),
            drawn: watch::Sender::new(0),
            attendance: watch::Sender::default(),
            over: CancellationToken::new(),
        })
    }

    /// Takes what a person typed. Returns the first byte of a key of a person who may not write.
    pub fn typed(&self, number: u32, bytes: &[u8]) -> Option<u8> {
        self.hear(number, |person| person.typed(bytes))
    }

    /// Takes a person's unfinished sequence as it is. Returns as `typed` does.
    pub(super) fn settle(&self, number: u32) -> Option<u8> {
        self.hear(number, Person::settle)
    }

    fn hear(&self, number: u32, hear: impl FnOnce(&mut Person) -> Heard) -> Option<u8> {
        let mut state = lock(&self.state);
        let person = state.people.get_mut(&number)?;
        let has_prompt = person.prompt.is_some();
        let Heard { interrupts, watcher_key, commands } = hear(person);
        state.commands.extend(commands);
        // The host's Ctrl-C is for what runs now: what others typed before it is dropped.
        if interrupts {
            state.drop_others_input(number);
            if state.is_writing {
                // What is being written gets through, and the interrupt finds room behind it.
                self.drop_unread_input();
                state.interrupts = Some(number);
            }
            self.room.notify_waiters();
        }
        drop(state);
        if has_prompt {
            self.commanded.notify_one();
        }
        self.typed.notify_one();
        watcher_key
    }

    /// Says which terminal is the program's.
    pub fn of_terminal(&self, master: OwnedFd) {
        let _ = self.terminal.set(master); // A share has one.
    }

    /// Drops the input that the program has not read: its terminal may be full.
    fn drop_unread_input(&self) {
        if let Some(master) = self.terminal.get()
            && let Err(error) = pty::drop_unread_input(master)
        {
            tracing::debug!(%error, "the input that the program has not read stays");
        }
    }

    /// Waits for what the host types to Sally: the commands, and the line as far as it is typed. Cancel-safe.
    pub(super) async fn commanded(&self) -> (Vec<String>, Option<String>) {
        self.commanded.notified().await;
        let mut state = lock(&self.state);
        let line = state.people.values().find_map(|person| person.prompt.as_ref()).and_then(Prompt::line);
        (std::mem::take(&mut state.commands), line)
    }

    /// Returns whether a person has begun a sequence and not ended it.
    pub(super) fn waits(&self, number: u32) -> bool {
        lock(&self.state).people.get(&number).is_some_and(Person::waits)
    }

    /// Waits until there is room for more input of a person. Cancel-safe.
    pub(super) async fn has_room(&self, number: u32) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if lock(&self.state).people.get(&number).is_none_or(Person::has_room) {
                return;
            }
            room.await;
        }
    }

    /// Waits for the next input for the program: the number of the keyboard, and the bytes. 0 is the terminal's own: its answers to the
    /// program's questions. Cancel-safe.
    pub(super) async fn next_input(&self) -> (u32, Vec<u8>) {
        loop {
            let (input, wait) = {
                let mut state = lock(&self.state);
                let next = state.take_input();
                state.is_writing = next.0.is_some();
                if let Some((number, _)) = next.0
                    && state.interrupts.take_if(|host| *host == number).is_some()
                {
                    self.drop_unread_input();
                }
                next
            };
            if let Some(input) = input {
                self.room.notify_waiters();
                return input;
            }
            tokio::select! {
                () = self.typed.notified() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// Shows what the program wrote.
    pub(super) fn show(&self, bytes: &[u8]) {
        let has_replies = {
            let mut state = lock(&self.state);
            state.screen.feed(bytes);
            let replies = state.screen.take_replies();
            // A program that asks and doesn't read gets no more answers than a terminal would keep.
            if state.replies.len() + replies.len() <= REPLIES {
                state.replies.extend_from_slice(&replies);
            }
            !state.replies.is_empty()
        };
        if has_replies {
            self.typed.notify_one();
        }
        self.change();
    }

    fn change(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Returns the counter of changes, for a viewer.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the counter of what viewers have drawn.
    pub(super) fn drawn(&self) -> watch::Receiver<u64> {
        self.drawn.subscribe()
    }

    /// Notes that a viewer has taken everything up to a change.
    pub(super) fn has_drawn(&self, change: u64) {
        self.drawn.send_if_modified(|drawn| {
            let newer = change > *drawn;
            *drawn = change.max(*drawn);
            newer
        });
    }

    /// Draws what a person's terminal shows.
    pub(super) fn draw(&self, number: u32, view: &FrameView<'_>, before: Option<&ScreenFrame>) -> (String, ScreenFrame) {
        let mut state = lock(&self.state);
        let may_write = state.people.get(&number).is_some_and(Person::may_write);
        let mut view = *view;
        view.permits.mouse = may_write;
        let (drawn, frame) = state.screen.frame(&view, before);
        if let Some(person) = state.people.get_mut(&number) {
            person.part = (frame.origin(), frame.area());
        }
        (drawn, frame)
    }

    /// Returns whether any viewer has joined.
    pub fn was_visited(&self) -> bool {
        lock(&self.state).visited
    }

    /// Returns how many people are there, the local one included.
    pub(super) fn count(&self) -> usize {
        lock(&self.state).people.len()
    }

    /// Waits until everybody has left. Cancel-safe.
    pub(super) async fn emptied(&self) {
        let mut changes = self.changes.subscribe();
        while self.count() > 0 && changes.changed().await.is_ok() {}
    }

    /// Returns what the status line says.
    pub(super) fn summary(&self, newer_than: Duration) -> Summary {
        let state = lock(&self.state);
        let viewers = state.people.values().filter(|person| !person.is_local());
        let writing = viewers.clone().filter(|person| person.may_write()).count();
        let watching = viewers.count() - writing;
        let notice = state.notice.as_ref().filter(|(at, _)| at.elapsed() < newer_than).map(|(_, text)| text.clone());
        let notice = notice.or_else(|| state.question());
        Summary { writing, watching, notice }
    }
}

fn on_screen(size: SharedSize) -> crate::screen::ScreenSize {
    crate::screen::ScreenSize { columns: size.cols, rows: size.rows }
}
