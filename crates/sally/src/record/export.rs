//! Runs `sally record export`: converts a record to another format.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};

use sally_proto::record::{Assembly, AuditEvent, Header, RecordEvent, RecordStream, Timestamp};
use serde_json::json;

use super::cat::{CatError, stdout_failed};
use super::cmd::{ExportArgs, Format};
use super::decode::Decoders;
use super::source::{ChannelEvent, RecordReader};
use super::visible::{self, Visible, visible};
use crate::screen::{Screen, ScreenSize};

pub(super) fn run(args: &ExportArgs) -> u8 {
    let reader = match RecordReader::open(&args.file) {
        Ok(reader) => reader,
        Err(error) => return error.report(&args.file),
    };
    match write(reader, args.format, BufWriter::with_capacity(1 << 16, io::stdout().lock())) {
        Ok(()) => 0,
        Err(CatError::Source(error)) => error.report(&args.file),
        Err(CatError::Stdout(error)) => stdout_failed(&error),
    }
}

pub(super) fn write(reader: RecordReader, format: Format, to: impl Write) -> Result<(), CatError> {
    match format {
        Format::V3 => convert(reader, V3Exporter::new(to)),
        Format::Text => convert(reader, TextExporter::new(to)),
        Format::Audit => convert(reader, AuditExporter { to, assembly: Assembly::default() }),
    }
}

/// Writes a format.
trait Exporter {
    fn begin(&mut self, header: &Header) -> io::Result<()>;
    fn moment(&mut self, moment: &ChannelEvent<'_>) -> io::Result<()>;
    fn end(&mut self) -> io::Result<()>;
}

fn convert(mut reader: RecordReader, mut exporter: impl Exporter) -> Result<(), CatError> {
    exporter.begin(&reader.header).map_err(CatError::Stdout)?;
    while let Some(moment) = reader.next()? {
        exporter.moment(&moment).map_err(CatError::Stdout)?;
    }
    exporter.end().map_err(CatError::Stdout)
}

/// The channels that have a terminal.
#[derive(Debug, Default)]
pub(super) struct Ptys(BTreeSet<u32>);

impl Ptys {
    pub(super) fn follow(&mut self, json: &str) {
        if json.starts_with(r#"{"event":"pty","#)
            && let Ok(AuditEvent::Pty { channel, .. }) = serde_json::from_str(json)
        {
            self.0.insert(channel);
        }
    }

    pub(super) fn has(&self, channel: u32) -> bool {
        self.0.contains(&channel)
    }
}

/// Writes asciicast v3, with times since the event before. Bytes that are no text become U+FFFD; audit events are left out.
struct V3Exporter<W> {
    to: W,
    last: Timestamp,
    decoders: Decoders,
    ptys: Ptys,
    exit: Option<(Timestamp, u32)>,
}

impl<W: Write> V3Exporter<W> {
    fn new(to: W) -> Self {
        Self { to, last: Timestamp::default(), decoders: Decoders::default(), ptys: Ptys::default(), exit: None }
    }

    fn event(&mut self, at: Timestamp, code: &str, data: &str) -> io::Result<()> {
        let interval = Timestamp::from_micros(at.micros().saturating_sub(self.last.micros()));
        self.last = self.last.max(at);
        writeln!(self.to, "[{interval},\"{code}\",{}]", serde_json::to_string(data)?)
    }

    fn bytes(&mut self, moment: &ChannelEvent<'_>, bytes: &[u8]) -> io::Result<()> {
        let text = self.decoders.text(moment.channel, moment.stream, bytes);
        self.text(moment.at, moment.channel, moment.stream, &text)
    }

    fn text(&mut self, at: Timestamp, channel: u32, stream: RecordStream, text: &str) -> io::Result<()> {
        match stream {
            _ if text.is_empty() => Ok(()),
            RecordStream::Stdin => self.event(at, "i", text),
            // A player's terminal knows no other newline.
            _ if !self.ptys.has(channel) => self.event(at, "o", &text.replace('\n', "\r\n")),
            _ => self.event(at, "o", text),
        }
    }
}

impl<W: Write> Exporter for V3Exporter<W> {
    fn begin(&mut self, header: &Header) -> io::Result<()> {
        let mut term = json!({ "cols": header.width, "rows": header.height });
        if let (Some(kind), Some(term)) = (&header.term, term.as_object_mut()) {
            term.insert("type".into(), kind.as_str().into());
        }
        let mut first = json!({ "version": 3, "term": term, "timestamp": header.timestamp });
        if let (Some(shell), Some(first)) = (&header.shell, first.as_object_mut()) {
            first.insert("env".into(), json!({ "SHELL": shell }));
        }
        writeln!(self.to, "{first}")
    }

    fn moment(&mut self, moment: &ChannelEvent<'_>) -> io::Result<()> {
        match &moment.event {
            RecordEvent::Output(text) | RecordEvent::Input(text) => self.bytes(moment, text.as_bytes()),
            RecordEvent::Bytes(_, bytes) => self.bytes(moment, bytes),
            RecordEvent::Resize(cols, rows) => self.event(moment.at, "r", &format!("{cols}x{rows}")),
            RecordEvent::Marker(text) => self.event(moment.at, "m", text),
            RecordEvent::Exit(status) => {
                // Players stop at an exit: of several channels only the last one's is written.
                self.exit = Some((moment.at, *status));
                Ok(())
            }
            RecordEvent::Audit(json) => {
                self.ptys.follow(json);
                Ok(())
            }
            RecordEvent::Hash(_) | RecordEvent::Other(_) => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let ends: Vec<_> = self.decoders.ends().collect();
        for ((channel, stream), text) in ends {
            self.text(self.last, channel, stream, &text)?;
        }
        if let Some((at, status)) = self.exit {
            self.event(at, "x", &status.to_string())?;
        }
        self.to.flush()
    }
}

/// Writes the text that was shown, line by line: a terminal's final lines, and other streams as they were written, with control characters
/// visible.
struct TextExporter<W> {
    to: W,
    size: (u16, u16),
    ptys: Ptys,
    screens: BTreeMap<u32, Screen>,
    decoders: Decoders,
    streams: BTreeMap<(u32, RecordStream), Visible>,
    at_line_start: bool,
}

impl<W: Write> TextExporter<W> {
    fn new(to: W) -> Self {
        let (screens, streams) = (BTreeMap::new(), BTreeMap::new());
        Self { to, size: (80, 24), ptys: Ptys::default(), screens, decoders: Decoders::default(), streams, at_line_start: true }
    }

    fn bytes(&mut self, moment: &ChannelEvent<'_>, bytes: &[u8]) -> io::Result<()> {
        if moment.stream == RecordStream::Stdin {
            return Ok(());
        }
        if self.ptys.has(moment.channel) {
            let text = self.decoders.text(moment.channel, moment.stream, bytes);
            return self.show(moment.channel, &text);
        }
        let mut text = String::new();
        self.streams.entry((moment.channel, moment.stream)).or_default().push(bytes, &mut text);
        self.plain(&text)
    }

    fn show(&mut self, channel: u32, text: &str) -> io::Result<()> {
        let (columns, rows) = self.size;
        let screen = self.screens.entry(channel).or_insert_with(|| Screen::with_transcript(ScreenSize { columns, rows }));
        screen.feed(text.as_bytes());
        let lines = screen.take_lines();
        self.lines(&lines)
    }

    fn resize(&mut self, channel: u32, cols: u16, rows: u16) -> io::Result<()> {
        self.size = (cols, rows);
        let Some(screen) = self.screens.get_mut(&channel) else { return Ok(()) };
        screen.resize(ScreenSize { columns: cols, rows });
        let lines = screen.take_lines();
        self.lines(&lines)
    }

    fn lines(&mut self, lines: &[String]) -> io::Result<()> {
        for line in lines {
            if !self.at_line_start {
                self.plain("\n")?;
            }
            self.plain(&(visible(line) + "\n"))?;
        }
        Ok(())
    }

    fn plain(&mut self, text: &str) -> io::Result<()> {
        self.at_line_start = text.bytes().last().map_or(self.at_line_start, |last| last == b'\n');
        self.to.write_all(text.as_bytes())
    }
}

impl<W: Write> Exporter for TextExporter<W> {
    fn begin(&mut self, header: &Header) -> io::Result<()> {
        self.size = (header.width, header.height);
        Ok(())
    }

    fn moment(&mut self, moment: &ChannelEvent<'_>) -> io::Result<()> {
        match &moment.event {
            RecordEvent::Output(text) => self.bytes(moment, text.as_bytes()),
            RecordEvent::Bytes(_, bytes) => self.bytes(moment, bytes),
            RecordEvent::Resize(cols, rows) => self.resize(moment.channel, *cols, *rows),
            RecordEvent::Audit(json) => {
                self.ptys.follow(json);
                Ok(())
            }
            // A terminal's last lines precede what follows its end.
            RecordEvent::Exit(_) => self.screens.remove(&moment.channel).map_or(Ok(()), |screen| self.lines(&screen.finish())),
            RecordEvent::Input(_) | RecordEvent::Marker(_) | RecordEvent::Hash(_) | RecordEvent::Other(_) => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let ends: Vec<_> = self.decoders.ends().collect();
        for ((channel, _), text) in ends {
            self.show(channel, &text)?;
        }
        for screen in std::mem::take(&mut self.screens).into_values() {
            self.lines(&screen.finish())?;
        }
        let mut text = String::new();
        for stream in self.streams.values_mut() {
            stream.finish(&mut text);
        }
        self.plain(&text)?;
        self.to.flush()
    }
}

/// Writes one JSON object a line: audit events with their time, and markers, sizes and exit statuses in the same form.
struct AuditExporter<W> {
    to: W,
    assembly: Assembly,
}

impl<W: Write> Exporter for AuditExporter<W> {
    fn begin(&mut self, _: &Header) -> io::Result<()> {
        Ok(())
    }

    fn moment(&mut self, moment: &ChannelEvent<'_>) -> io::Result<()> {
        let channel = moment.channel;
        let event = match &moment.event {
            RecordEvent::Audit(json) => match self.assembly.push(json) {
                Some(json) if !json.starts_with(r#"{"event":"stream","#) => json,
                _ => return Ok(()),
            },
            RecordEvent::Marker(text) => format!(r#"{{"event":"marker","text":{}}}"#, serde_json::to_string(text)?),
            RecordEvent::Resize(cols, rows) => format!(r#"{{"event":"resize","channel":{channel},"cols":{cols},"rows":{rows}}}"#),
            RecordEvent::Exit(status) => format!(r#"{{"event":"exit","channel":{channel},"status":{status}}}"#),
            RecordEvent::Output(_) | RecordEvent::Input(_) | RecordEvent::Bytes(..) | RecordEvent::Hash(_) | RecordEvent::Other(_) => {
                return Ok(());
            }
        };
        let fields = event.strip_prefix('{').unwrap_or_default();
        writeln!(self.to, "{{\"time\":{},{}", moment.at, visible::json(fields))
    }

    fn end(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
