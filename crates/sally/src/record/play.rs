//! Runs `sally record play`: shows the output at the recorded times.

use std::fs::File;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use sally_proto::record::{RecordEvent, RecordStream};

use super::cat::{CatError, stdout_failed};
use super::cmd::PlayArgs;
use super::decode::Decoders;
use super::export::Ptys;
use super::source::{self, RecordReader};
use crate::screen::{Permits, Screen, ScreenSize};

/// How far an arrow key seeks, in seconds.
const STEP: f64 = 5.0;
/// Restores scrolling, character sets, colours, cursor, mouse and paste modes, however the record left them.
const RESET: &str = "\x1b7\x1b[r\x1b8\x1b(B\x0f\x1b[0m\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l";

pub(super) fn run(args: &PlayArgs) -> u8 {
    let played = Player::new(args).and_then(|mut player| {
        let played = player.play();
        player.leave();
        played
    });
    match played {
        Ok(()) => 0,
        Err(CatError::Source(error)) => error.report(&args.file),
        Err(CatError::Stdout(error)) => stdout_failed(&error),
    }
}

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Pause,
    Step,
    Seek(f64),
    Quit,
}

/// The result of a wait.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WaitEnd {
    Show,
    SeekTo(f64),
    Quit,
}

/// Output to show.
struct PlayedFrame {
    at: f64,
    text: String,
    size: Option<(u16, u16)>,
}

/// Returns the screen at a record's beginning.
fn blank_screen(reader: &RecordReader) -> Screen {
    Screen::new(ScreenSize { columns: reader.header.width, rows: reader.header.height }, 0)
}

struct Player<'a> {
    args: &'a PlayArgs,
    reader: RecordReader,
    ptys: Ptys,
    decoders: Decoders,
    out: BufWriter<StdoutLock<'static>>,
    keys: Option<Keyboard>,
    /// The present screen, to draw again after a seek or over a status line. `None` without a terminal.
    screen: Option<Screen>,
    /// The position in the record at the time `since`, in seconds.
    position: f64,
    /// The time of the last output, in seconds.
    last: f64,
    since: Instant,
    paused: bool,
    /// The target of a seek in seconds: everything before it is skipped.
    target: Option<f64>,
}

impl<'a> Player<'a> {
    fn new(args: &'a PlayArgs) -> Result<Self, CatError> {
        let reader = RecordReader::open(&args.file)?;
        let keys = if isatty(rustix::stdio::stdout()) { Keyboard::open() } else { None };
        let screen = keys.as_ref().map(|_| blank_screen(&reader));
        let target = Some(args.seek).filter(|seek| *seek > 0.0);
        let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let (ptys, decoders, since) = (Ptys::default(), Decoders::default(), Instant::now());
        Ok(Self { args, reader, ptys, decoders, out, keys, screen, position: 0.0, last: 0.0, since, paused: false, target })
    }

    fn play(&mut self) -> Result<(), CatError> {
        'frames: while let Some(frame) = self.next_frame()? {
            if let Some(target) = self.target {
                if frame.at < target {
                    self.apply(&frame);
                    continue;
                }
                self.target = None;
                self.position = target;
                self.since = Instant::now();
                self.redraw().map_err(CatError::Stdout)?;
            }
            loop {
                match self.wait(frame.at).map_err(CatError::Stdout)? {
                    WaitEnd::Show => break,
                    WaitEnd::Quit => return Ok(()),
                    WaitEnd::SeekTo(target) if target >= frame.at => {
                        self.target = Some(target);
                        self.apply(&frame);
                        continue 'frames;
                    }
                    WaitEnd::SeekTo(target) => {
                        if target < self.position && self.rewind()? {
                            self.target = Some(target);
                            continue 'frames;
                        }
                        self.position = self.position.max(target);
                        self.since = Instant::now();
                    }
                }
            }
            self.apply(&frame);
            self.show(&frame).map_err(CatError::Stdout)?;
        }
        // A seek past the end shows the last screen.
        if self.target.is_some() { self.redraw().map_err(CatError::Stdout) } else { Ok(()) }
    }

    fn next_frame(&mut self) -> Result<Option<PlayedFrame>, CatError> {
        while let Some(moment) = self.reader.next()? {
            let (at, channel, stream) = (moment.at.seconds(), moment.channel, moment.stream);
            let text = match moment.event {
                RecordEvent::Output(text) => self.decoders.text(channel, stream, text.as_bytes()),
                RecordEvent::Bytes(RecordStream::Stdout | RecordStream::Stderr, bytes) => self.decoders.text(channel, stream, &bytes),
                RecordEvent::Resize(cols, rows) => return Ok(Some(PlayedFrame { at, text: String::new(), size: Some((cols, rows)) })),
                RecordEvent::Audit(json) => {
                    self.ptys.follow(&json);
                    continue;
                }
                _ => continue,
            };
            let text = if self.ptys.has(channel) { text } else { text.replace('\n', "\r\n") };
            self.last = at;
            return Ok(Some(PlayedFrame { at, text, size: None }));
        }
        // A stream may end within a character.
        let text: String = self.decoders.ends().map(|(_, text)| text).collect();
        Ok(Some(PlayedFrame { at: self.last, text, size: None }).filter(|frame| !frame.text.is_empty()))
    }

    /// Applies a frame to our own screen.
    fn apply(&mut self, frame: &PlayedFrame) {
        let Some(screen) = &mut self.screen else { return };
        if let Some((columns, rows)) = frame.size {
            screen.resize(ScreenSize { columns, rows });
        }
        screen.feed(frame.text.as_bytes());
    }

    fn show(&mut self, frame: &PlayedFrame) -> io::Result<()> {
        self.out.write_all(frame.text.as_bytes())?;
        if self.args.status || self.paused {
            self.draw_status()?;
        }
        self.out.flush()
    }

    /// Waits until `at` is due, or until a key interrupts.
    fn wait(&mut self, at: f64) -> io::Result<WaitEnd> {
        loop {
            let left = (!self.paused).then(|| self.left(at));
            if left.is_some_and(|left| left.is_zero()) {
                // Late frames don't delay the frames after them.
                self.since = self.since.max(Instant::now() - Duration::from_secs(1)) + self.gap(at);
                self.since = self.since.min(Instant::now());
                self.position = at;
                return Ok(WaitEnd::Show);
            }
            let key = match (&mut self.keys, left) {
                (Some(keys), left) => keys.read(left)?,
                (None, left) => {
                    std::thread::sleep(left.unwrap_or_default());
                    None
                }
            };
            match key {
                None => {}
                Some(Key::Quit) => return Ok(WaitEnd::Quit),
                Some(Key::Pause) if self.paused => {
                    self.paused = false;
                    self.since = Instant::now();
                    self.redraw()?;
                }
                Some(Key::Pause) => {
                    self.position = self.now(at);
                    self.paused = true;
                    self.draw_status()?;
                    self.out.flush()?;
                }
                Some(Key::Step) if self.paused => {
                    self.position = at;
                    self.since = Instant::now();
                    return Ok(WaitEnd::Show);
                }
                Some(Key::Step) => {}
                Some(Key::Seek(seconds)) => {
                    let now = if self.paused { self.position } else { self.now(at) };
                    return Ok(WaitEnd::SeekTo((now + seconds).max(0.0)));
                }
            }
        }
    }

    /// Returns the playing time from the last output to `at`.
    fn gap(&self, at: f64) -> Duration {
        let gap = (at - self.position).max(0.0);
        let gap = self.args.idle_limit.map_or(gap, |limit| gap.min(limit));
        Duration::try_from_secs_f64(gap / self.args.speed).unwrap_or(Duration::MAX)
    }

    fn left(&self, at: f64) -> Duration {
        self.gap(at).saturating_sub(self.since.elapsed())
    }

    /// Returns the present position in the record, on the way to `at`.
    fn now(&self, at: f64) -> f64 {
        (self.position + self.since.elapsed().as_secs_f64() * self.args.speed).min(at)
    }

    /// Starts again at the beginning; returns false for a pipe, which can't.
    fn rewind(&mut self) -> Result<bool, CatError> {
        if source::is_stdin(&self.args.file) {
            return Ok(false);
        }
        self.reader = RecordReader::open(&self.args.file)?;
        self.decoders = Decoders::default();
        if let Some(screen) = &mut self.screen {
            *screen = blank_screen(&self.reader);
        }
        Ok(true)
    }

    fn redraw(&mut self) -> io::Result<()> {
        let Some(screen) = &self.screen else { return Ok(()) };
        let frame = screen.dump(0, Permits::ALL);
        self.out.write_all(frame.as_bytes())?;
        if self.args.status || self.paused {
            self.draw_status()?;
        }
        self.out.flush()
    }

    /// Draws the status line at the bottom; the cursor stays where it is.
    fn draw_status(&mut self) -> io::Result<()> {
        let rows = tcgetwinsize(rustix::stdio::stdout()).map_or(24, |size| size.ws_row);
        let keys = if self.paused { "paused: space continues, . steps, ← → seek, q quits" } else { "space pauses" };
        let at = self.position;
        write!(self.out, "\x1b7\x1b[{rows};1H\x1b[7m {at:.1} s  {keys} \x1b[0m\x1b[K\x1b8")
    }

    /// Restores the terminal. Write errors are ignored: they have been reported before.
    fn leave(&mut self) {
        if let Some(screen) = &self.screen {
            let _ = write!(self.out, "{}{RESET}", if screen.is_alternate() { "\x1b[?1049l" } else { "" });
        }
        let _ = self.out.flush();
        self.keys = None;
    }
}

/// Reads single keys from the terminal; dropping it restores the terminal's settings.
struct Keyboard {
    tty: File,
    before: Termios,
}

impl Keyboard {
    fn open() -> Option<Self> {
        let tty = File::open("/dev/tty").ok()?;
        let before = tcgetattr(&tty).ok()?;
        let mut keys = before.clone();
        // Ctrl-C arrives as a key, so that the terminal is restored before the player ends.
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        // The recorded output has passed through a terminal already.
        keys.output_modes -= OutputModes::OPOST;
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&tty, OptionalActions::Now, &keys).ok()?;
        Some(Self { tty, before })
    }

    /// Returns the next key if it comes within `wait`; `None` if none comes, or one without an action.
    fn read(&mut self, wait: Option<Duration>) -> io::Result<Option<Key>> {
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut [PollFd::new(&self.tty, PollFlags::IN)], wait.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 16];
        let count = rustix::io::read(&self.tty, &mut bytes)?;
        Ok(key(bytes.get(..count).unwrap_or_default()))
    }
}

/// Returns the action of the bytes that a key sends.
fn key(bytes: &[u8]) -> Option<Key> {
    match bytes {
        // Ctrl-C, Ctrl-D, or the terminal is gone.
        [] | [b'q' | b'Q' | 0x03 | 0x04, ..] => Some(Key::Quit),
        [b' ', ..] => Some(Key::Pause),
        [b'.', ..] => Some(Key::Step),
        [0x1b, b'[' | b'O', b'C', ..] => Some(Key::Seek(STEP)),
        [0x1b, b'[' | b'O', b'D', ..] => Some(Key::Seek(-STEP)),
        _ => None,
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_manual() {
        assert_eq!(key(b" "), Some(Key::Pause));
        assert_eq!(key(b"."), Some(Key::Step));
        assert_eq!(key(b"\x1b[C"), Some(Key::Seek(STEP)));
        assert_eq!(key(b"\x1bOD"), Some(Key::Seek(-STEP)));
        assert_eq!((key(b"\x03"), key(b"q"), key(b"")), (Some(Key::Quit), Some(Key::Quit), Some(Key::Quit)));
        assert_eq!(key(b"x"), None);
    }
}
