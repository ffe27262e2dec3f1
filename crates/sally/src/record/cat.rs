//! Runs `sally record cat`: prints the bytes of streams.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use sally_proto::error::exit as status;
use sally_proto::record::{RecordEvent, RecordStream};

use super::cmd::CatArgs;
use super::source::{RecordReader, SourceError};
use super::visible::Visible;
use crate::term;

pub(super) fn run(args: &CatArgs) -> u8 {
    let reader = match RecordReader::open(&args.file) {
        Ok(reader) => reader,
        Err(error) => return error.report(&args.file),
    };
    let raw = args.raw || !rustix::termios::isatty(rustix::stdio::stdout());
    match copy(reader, args, raw, BufWriter::with_capacity(1 << 16, io::stdout().lock())) {
        Ok(cut) => {
            for (channel, stream) in cut {
                term::say(&format!("note: the record has only the beginning of {} of channel {channel}", stream.name()));
            }
            0
        }
        Err(CatError::Source(error)) => error.report(&args.file),
        Err(CatError::Stdout(error)) => stdout_failed(&error),
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
pub(super) enum CatError {
    Source(SourceError),
    Stdout(io::Error),
}

impl From<SourceError> for CatError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Copies the streams that were asked for; returns those of which only the head was recorded.
pub(super) fn copy(mut reader: RecordReader, args: &CatArgs, raw: bool, mut to: impl Write) -> Result<Vec<(u32, RecordStream)>, CatError> {
    let mut cut = Vec::new();
    let mut shown: BTreeMap<(u32, RecordStream), Visible> = BTreeMap::new();
    let mut text = String::new();
    while let Some(moment) = reader.next()? {
        let (channel, stream) = (moment.channel, moment.stream);
        let bytes: &[u8] = match &moment.event {
            RecordEvent::Output(text) | RecordEvent::Input(text) => text.as_bytes(),
            RecordEvent::Bytes(_, bytes) => bytes,
            RecordEvent::Audit(json) => {
                if let Ok(sally_proto::record::AuditEvent::StreamCut { channel, stream, .. }) = serde_json::from_str(json) {
                    cut.push((channel, stream));
                }
                continue;
            }
            _ => continue,
        };
        let wanted = args.stream.map_or(stream != RecordStream::Stdin, |wanted| stream == RecordStream::from(wanted));
        if !wanted || args.channel.is_some_and(|wanted| channel != wanted) {
            continue;
        }
        if raw {
            to.write_all(bytes).map_err(CatError::Stdout)?;
        } else {
            text.clear();
            shown.entry((channel, stream)).or_default().push(bytes, &mut text);
            to.write_all(text.as_bytes()).map_err(CatError::Stdout)?;
        }
    }
    text.clear();
    for visible in shown.values_mut() {
        visible.finish(&mut text);
    }
    to.write_all(text.as_bytes()).and_then(|()| to.flush()).map_err(CatError::Stdout)?;
    Ok(cut)
}
