//! Tests the recorder with files, full disks and slow pipes, and the readers with its records.

mod proof;
mod readers;
mod recorder;
mod sink;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sally_proto::record::{NoRecord, RecordLines, Report, Trust, Verifier};

use super::sink::SinkOutput;
use super::testing::{key, record_to, settings};
use super::*;

pub(super) fn verdict(file: &[u8]) -> Result<Report, NoRecord> {
    let mut verifier = Verifier::new(|signer| if signer == key().public_key() { Trust::Proven } else { Trust::Refused("other".into()) });
    let mut lines = RecordLines::new(file);
    while let Some(line) = lines.next().unwrap() {
        verifier.line(&line);
    }
    verifier.finish()
}

/// Memory that fails in the ways of a file.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) bytes: Arc<Mutex<Vec<u8>>>,
    /// The size at which the disk is full.
    pub(super) full_at: Option<usize>,
    /// The most bytes that one write takes; every other call is interrupted or would block.
    pub(super) at_once: Option<usize>,
    pub(super) calls: usize,
    pub(super) synced: Arc<Mutex<usize>>,
}

impl Memory {
    pub(super) fn sink(&self, sync: bool) -> RecordSink {
        RecordSink::over(Box::new(self.clone()), "memory".into(), sync, sally_proto::record::MAX_LINE)
    }

    pub(super) fn contents(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl SinkOutput for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.at_once.is_some() {
            match self.calls % 3 {
                0 => return Err(io::ErrorKind::Interrupted.into()),
                1 => return Err(io::ErrorKind::WouldBlock.into()),
                _ => {}
            }
        }
        let mut held = self.bytes.lock().unwrap();
        let room = self.full_at.map_or(usize::MAX, |full| full - held.len());
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(room).min(self.at_once.unwrap_or(usize::MAX));
        held.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn wait(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        *self.synced.lock().unwrap() += 1;
        Ok(())
    }

    fn check(&mut self, written: u64) -> Result<(), String> {
        if written == self.contents().len() as u64 { Ok(()) } else { Err("shortened".into()) }
    }
}

/// Returns the recorded bytes of all streams in the whole lines of a file, in order.
pub(super) fn recorded(file: &[u8]) -> Vec<u8> {
    use sally_proto::record::{RecordEvent, RecordLine};
    let mut all = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n').skip(1).filter_map(|line| line.strip_suffix(b"\n")) {
        match RecordLine::parse(line).unwrap().event().unwrap() {
            RecordEvent::Output(text) | RecordEvent::Input(text) => all.extend_from_slice(text.as_bytes()),
            RecordEvent::Bytes(_, bytes) => all.extend_from_slice(&bytes),
            _ => {}
        }
    }
    all
}
