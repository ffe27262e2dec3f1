//! Reads a record in order to show it; whether it is true is for `verify`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sally_proto::record::{
    AuditEvent, Direction, Header, NoRecord, RecordEvent, RecordLine, RecordLines, RecordStream, Seal, Timestamp, Tracker, exit,
};

use crate::term;

/// Why a record can't be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The file can't be read.
    #[error("can't be read: {}", term::reason(.0))]
    Unreadable(#[from] io::Error),
    /// The file has no record, or one of an unknown version.
    #[error("{0}")]
    NoRecord(#[from] NoRecord),
}

impl SourceError {
    /// Reports the error about `file`, and returns the exit status.
    pub(super) fn report(&self, file: &Path) -> u8 {
        term::say(&term::printable(&format!("{}: {self}", file.display())));
        self.exit_status()
    }

    pub(super) const fn exit_status(&self) -> u8 {
        match self {
            Self::Unreadable(_) => exit::UNREADABLE,
            Self::NoRecord(_) => exit::NO_RECORD,
        }
    }
}

/// Opens a file, or stdin for `-`.
pub(super) fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    if is_stdin(file) { Ok(Box::new(io::stdin().lock())) } else { Ok(Box::new(File::open(file)?)) }
}

pub(super) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// One line of a record, with its channel and stream.
#[derive(Debug)]
pub(super) struct ChannelEvent<'a> {
    pub(super) at: Timestamp,
    pub(super) channel: u32,
    pub(super) stream: RecordStream,
    pub(super) event: RecordEvent<'a>,
}

/// Reads the events of a record, from the header to the seal; without a seal to the next header or to the end of the file.
pub(super) struct RecordReader {
    lines: RecordLines<Box<dyn Read>>,
    pub(super) header: Header,
    tracker: Tracker,
    at: Timestamp,
    at_end: bool,
}

impl RecordReader {
    /// Opens a record, and skips what precedes the header.
    pub(super) fn open(file: &Path) -> Result<Self, SourceError> {
        Self::over(open(file)?)
    }

    pub(super) fn over(from: Box<dyn Read>) -> Result<Self, SourceError> {
        let mut lines = RecordLines::new(from);
        while let Some(line) = lines.next()? {
            match Header::parse(line.content()) {
                Some(Ok(header)) => {
                    return Ok(Self { lines, header, tracker: Tracker::default(), at: Timestamp::default(), at_end: false });
                }
                Some(Err(unknown)) => return Err(NoRecord::Unknown(unknown).into()),
                None => {}
            }
        }
        Err(NoRecord::None.into())
    }

    /// Returns the next event; an invalid line is an [`RecordEvent::Other`]. Hashes are returned too, though they show nothing.
    pub(super) fn next(&mut self) -> Result<Option<ChannelEvent<'_>>, SourceError> {
        if self.at_end {
            return Ok(None);
        }
        let Some(raw) = self.lines.next()? else { return Ok(None) };
        // The record breaks off, and the next one follows in the same file.
        if Header::parse(raw.content()).is_some() {
            self.at_end = true;
            return Ok(None);
        }
        let line = RecordLine::parse(raw.content()).ok().filter(|_| raw.complete && !raw.too_long);
        let event = line.and_then(|line| line.event().ok()).unwrap_or(RecordEvent::Other(0));
        self.at = line.map_or(self.at, |line| line.at);
        let direction = match &event {
            RecordEvent::Input(_) => Direction::Input,
            RecordEvent::Bytes(stream, _) => stream.direction(),
            _ => Direction::Output,
        };
        match &event {
            RecordEvent::Audit(json) => follow(&mut self.tracker, json),
            RecordEvent::Hash(hash) => self.at_end = hash.seal.is_some_and(|(seal, _)| seal == Seal::Seal),
            _ => {}
        }
        let (channel, current) = self.tracker.current(direction);
        let stream = if let RecordEvent::Bytes(stream, _) = &event { *stream } else { current };
        Ok(Some(ChannelEvent { at: self.at, channel, stream, event }))
    }
}

/// Switches to the stream of the next events, after a `stream` line.
fn follow(tracker: &mut Tracker, json: &str) {
    if json.starts_with(r#"{"event":"stream","#)
        && let Ok(AuditEvent::Stream { channel, stream }) = serde_json::from_str(json)
    {
        tracker.switch(channel, stream);
    }
}
