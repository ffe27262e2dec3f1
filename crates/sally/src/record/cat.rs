//! Runs `sally record cat`: prints the bytes of streams.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use sally_proto::error::exit as status;
use sally_proto::record::{Event, Stream};

use super::cmd::CatArgs;
use super::source::{SourceError, Tape};
use super::visible::Visible;
use crate::term;

pub(super) fn run(args: &CatArgs) -> u8 {
    let tape = match Tape::open(&args.file) {
        Ok(tape) => tape,
        Err(error) => return error.report(&args.file),
    };
    let raw = args.raw || !rustix::termios::isatty(rustix::stdio::stdout());
    match copy(tape, args, raw, BufWriter::with_capacity(1 << 16, io::stdout().lock())) {
        Ok(cut) => {
            for (channel, stream) in cut {
                term::say(&format!("note: the record has only the beginning of {} of channel {channel}", stream.name()));
            }
            0
        }
        Err(Failure::Source(error)) => error.report(&args.file),
        Err(Failure::Stdout(error)) => stdout_failed(&error),
    }
}

/// Returns the exit status after stdout failed: a reader that has enough is no error.
pub(super) fn stdout_failed(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return 0;
    }
    term::say(&format!("stdout can't be written: {}", term::reason(error)));
    status::RECORD
}

#[derive(Debug)]
pub(super) enum Failure {
    Source(SourceError),
    Stdout(io::Error),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Copies the streams that were asked for; returns those of which only the head was recorded.
pub(super) fn copy(mut tape: Tape, args: &CatArgs, raw: bool, mut to: impl Write) -> Result<Vec<(u32, Stream)>, Failure> {
    let mut cut = Vec::new();
    let mut shown: BTreeMap<(u32, Stream), Visible> = BTreeMap::new();
    let mut text = String::new();
    while let Some(moment) = tape.next()? {
        let (channel, stream) = (moment.channel, moment.stream);
        let bytes: &[u8] = match &moment.event {
            Event::Output(text) | Event::Input(text) => text.as_bytes(),
            Event::Bytes(_, bytes) => bytes,
            Event::Audit(json) => {
                if let Ok(sally_proto::record::AuditEvent::StreamCut { channel, stream, .. }) = serde_json::from_str(json) {
                    cut.push((channel, stream));
                }
                continue;
            }
            _ => continue,
        };
        let wanted = args.stream.map_or(stream != Stream::Stdin, |wanted| stream == Stream::from(wanted));
        if !wanted || args.channel.is_some_and(|wanted| channel != wanted) {
            continue;
        }
        if raw {
            to.write_all(bytes).map_err(Failure::Stdout)?;
        } else {
            text.clear();
            shown.entry((channel, stream)).or_default().push(bytes, &mut text);
            to.write_all(text.as_bytes()).map_err(Failure::Stdout)?;
        }
    }
    text.clear();
    for visible in shown.values_mut() {
        visible.finish(&mut text);
    }
    to.write_all(text.as_bytes()).and_then(|()| to.flush()).map_err(Failure::Stdout)?;
    Ok(cut)
}
