//! Verifies a record and gives one of six verdicts.

use ssh_key::PublicKey;

use super::chain::{Seal, check_signature};
use super::digest::{DigestName, RunningDigest};
use super::header::{Header, Policy, UnknownFormat};
use super::parse::RecordLine;
use super::playable::could_be_played;
use super::read::RawLine;
use super::time::Timestamp;

/// Names the exit statuses of `sally record verify`, which are stable for scripts.
pub mod exit {
    /// The record is sealed by a key that comes from outside the file; nothing is missing.
    pub const SEALED: u8 = 0;
    /// The record is sealed, and recorded with `head=`: some streams have only their beginning.
    pub const PARTIAL: u8 = 3;
    /// The record is complete and consistent, signed by a key that only the file itself names.
    pub const UNPROVEN: u8 = 4;
    /// The record ends without a seal.
    pub const NOT_SEALED: u8 = 5;
    /// Data was changed, removed, inserted or moved, or another key signed.
    pub const BROKEN: u8 = 6;
    /// Another record begins in the same file.
    pub const SEVERAL: u8 = 7;
    /// `EX_DATAERR`: the file has no record, or one of an unknown version.
    pub const NO_RECORD: u8 = 65;
    /// `EX_NOINPUT`: the file can't be read.
    pub const UNREADABLE: u8 = 66;
}

/// What is known of a signer from outside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The signer is the expected key.
    Proven,
    /// The signer isn't known.
    Unproven,
    /// Another key was expected, or this one is revoked; holds the sentence.
    Refused(String),
}

/// The verdicts, worst first: the first that applies is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The record was changed. Lines before `line` are as they were signed.
    Broken {
        /// The first line that is not proven.
        line: u64,
        /// Where and how the change was noticed.
        why: String,
    },
    /// Another record begins behind the first: there is no verdict on either, because a player shows them as one.
    Several {
        /// The line of the second record's header.
        next: u64,
    },
    /// The record ends without a seal (kill -9, a truncated file): what follows line `signed_to` is unproven.
    NotSealed {
        /// The last line with a good signature; 0 for none.
        signed_to: u64,
    },
    /// The record is sealed and consistent; nothing outside the file confirms its key.
    Unproven,
    /// The expected key sealed the record, which was recorded with `head=`.
    Partial,
    /// The expected key sealed the record.
    Sealed,
}

impl Verdict {
    /// Returns the exit status.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Broken { .. } => exit::BROKEN,
            Self::Several { .. } => exit::SEVERAL,
            Self::NotSealed { .. } => exit::NOT_SEALED,
            Self::Unproven => exit::UNPROVEN,
            Self::Partial => exit::PARTIAL,
            Self::Sealed => exit::SEALED,
        }
    }

    /// Returns the word for the verdict in `--json` and in the documentation.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Broken { .. } => "broken",
            Self::Several { .. } => "several",
            Self::NotSealed { .. } => "not-sealed",
            Self::Unproven => "unproven",
            Self::Partial => "partial",
            Self::Sealed => "sealed",
        }
    }
}

/// The verdict and what it rests on. All line numbers are those of the file, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// The header; `None` if it is missing or torn.
    pub header: Option<Header>,
    /// Whether the key that signed is known from outside the file.
    pub signer_proven: bool,
    /// The line of the header; lines before it are not part of the record.
    pub first_line: u64,
    /// The last line of the record that was read.
    pub last_line: u64,
    /// The last line with a good signature; 0 for none.
    pub signed_to: u64,
    /// The last line whose hash is right, signed or not; 0 for none.
    pub chained_to: u64,
    /// The time of the last signed line.
    pub signed_time: Timestamp,
    /// The number of lines after the seal that are not part of the record.
    pub lines_after: u64,
    /// The line where another record begins, after the seal or where the first one breaks off.
    pub next_record: Option<u64>,
}

/// Says why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    /// The file has no header of a record.
    #[error("there is no record in it")]
    None,
    /// The record has a major version that this code doesn't know.
    #[error(transparent)]
    Unknown(#[from] UnknownFormat),
}

enum VerifierState {
    /// The header hasn't been found yet: lines of other programs may precede it.
    Searching,
    Recording(Box<VerifiedRecording>),
    /// The seal was good.
    Sealed,
    /// The verdict can't change any more.
    Broken(u64, String),
    Unknown(UnknownFormat),
}

struct VerifiedRecording {
    key: PublicKey,
    digest: DigestName,
    chain: RunningDigest,
    /// The first line since the last hash that isn't a record's.
    foreign: Option<u64>,
}

/// Verifies a record line by line and gives the verdict at the end; its memory is bounded by a line.
pub struct Verifier<'k> {
    judge: Box<dyn Fn(&PublicKey) -> Trust + 'k>,
    state: VerifierState,
    report: Report,
    torn_header: bool,
    /// The first line before the header that a player could take for a header or an event.
    forged: Option<u64>,
}

impl<'k> Verifier<'k> {
    /// Makes a verifier that asks `judge` what is known of the signer from outside the file.
    pub fn new(judge: impl Fn(&PublicKey) -> Trust + 'k) -> Self {
        let report = Report {
            verdict: Verdict::NotSealed { signed_to: 0 },
            header: None,
            signer_proven: false,
            first_line: 0,
            last_line: 0,
            signed_to: 0,
            chained_to: 0,
            signed_time: Timestamp::default(),
            lines_after: 0,
            next_record: None,
        };
        Self { judge: Box::new(judge), state: VerifierState::Searching, report, torn_header: false, forged: None }
    }

    /// Takes the next line.
    pub fn line(&mut self, raw: &RawLine<'_>) {
        if self.report.next_record.is_some() {
            return;
        }
        match &mut self.state {
            VerifierState::Searching => self.search(raw),
            VerifierState::Recording(_) => self.record(raw),
            VerifierState::Sealed => self.after_seal(raw),
            VerifierState::Broken(..) | VerifierState::Unknown(_) => {}
        }
    }

    /// Returns the verdict, at the end of the file.
    ///
    /// # Errors
    /// If there is no record, or none that this version reads.
    pub fn finish(mut self) -> Result<Report, NoRecord> {
        let signed_to = self.report.signed_to;
        self.report.verdict = match (self.state, self.report.next_record) {
            (VerifierState::Unknown(unknown), _) => return Err(unknown.into()),
            (VerifierState::Searching, _) if !self.torn_header => return Err(NoRecord::None),
            (VerifierState::Broken(line, why), _) => Verdict::Broken { line, why },
            (_, Some(next)) => Verdict::Several { next },
            (VerifierState::Searching | VerifierState::Recording(_), None) => Verdict::NotSealed { signed_to },
            (VerifierState::Sealed, None) if !self.report.signer_proven => Verdict::Unproven,
            (VerifierState::Sealed, None) if self.report.header.as_ref().is_some_and(|header| header.policy != Policy::All) => {
                Verdict::Partial
            }
            (VerifierState::Sealed, None) => Verdict::Sealed,
        };
        Ok(self.report)
    }

    /// Looks for the header.
    fn search(&mut self, raw: &RawLine<'_>) {
        let content = raw.content();
        match Header::parse(content) {
            _ if raw.too_long => self.note_before(raw),
            Some(_) if !raw.complete => self.torn_header = true,
            Some(Ok(header)) => self.begin(raw, header),
            Some(Err(unknown)) => self.state = VerifierState::Unknown(unknown),
            None if !raw.complete => self.torn_header = content.starts_with(br#"{"version":2,"width":"#),
            None => {
                // Only a record has such a line, and a record without its header is no longer complete.
                if RecordLine::parse(content).is_ok_and(|line| line.hash().is_ok()) {
                    self.state =
                        VerifierState::Broken(1, format!("the header is missing or damaged: line {} is of a record already", raw.number));
                } else {
                    self.note_before(raw);
                }
            }
        }
    }

    /// Checks a line before the header. Lines of other programs may be there; if a player could take one for a part of the recording,
    /// what it shows is forged.
    fn note_before(&mut self, raw: &RawLine<'_>) {
        if self.forged.is_none() && could_be_played(raw) {
            self.forged = Some(raw.number);
        }
    }

    fn begin(&mut self, raw: &RawLine<'_>, header: Header) {
        self.report.first_line = raw.number;
        self.report.last_line = raw.number;
        let key = PublicKey::from_openssh(&header.host_key).ok().filter(|key| key.comment().as_bytes().is_empty());
        let digest = header.digest;
        self.report.header = Some(header);
        if let Some(line) = self.forged {
            self.state = VerifierState::Broken(line, "a player could take it, before the record, for a part of the record".into());
            return;
        }
        let Some(key) = key else {
            self.state = VerifierState::Broken(raw.number, "the header names no key that could have signed".into());
            return;
        };
        match (self.judge)(&key) {
            Trust::Refused(why) => {
                self.state = VerifierState::Broken(raw.number, why);
                return;
            }
            trust => self.report.signer_proven = trust == Trust::Proven,
        }
        let mut chain = digest.start();
        chain.update(raw.bytes);
        self.state = VerifierState::Recording(Box::new(VerifiedRecording { key, digest, chain, foreign: None }));
    }

    fn record(&mut self, raw: &RawLine<'_>) {
        let VerifierState::Recording(recording) = &mut self.state else { return };
        if is_header(raw) {
            self.report.next_record = Some(raw.number);
            return;
        }
        self.report.last_line = raw.number;
        if !raw.complete {
            // A torn line is the last one: it proves nothing and breaks nothing.
            return;
        }
        let line = if raw.too_long { None } else { RecordLine::parse(raw.content()).ok() };
        let Some(line) = line else {
            recording.foreign.get_or_insert(raw.number);
            recording.chain.update(raw.bytes);
            return;
        };
        if line.code != b'h' {
            recording.chain.update(raw.bytes);
            return;
        }
        let checked = recording.check(raw.number, &line);
        recording.chain.update(raw.bytes);
        match checked {
            Err(why) => {
                // A forger can recompute hashes without a signature: only what is signed is proven.
                let proven = self.report.signed_to.max(self.report.first_line - 1);
                self.state = VerifierState::Broken(proven + 1, why);
            }
            Ok(seal) => {
                self.report.chained_to = raw.number;
                if let Some(seal) = seal {
                    self.report.signed_to = raw.number;
                    self.report.signed_time = line.at;
                    if seal == Seal::Seal {
                        self.state = VerifierState::Sealed;
                    }
                }
            }
        }
    }

    /// Checks a line after the seal. Lines of other programs, and another record, may follow, but nothing that a player would take for a
    /// part of this one.
    fn after_seal(&mut self, raw: &RawLine<'_>) {
        if is_header(raw) {
            self.report.next_record = Some(raw.number);
        } else if could_be_played(raw) {
            let what =
                if raw.too_long { "a line that is too long to check" } else { "a line that a player could take for a part of the record" };
            self.state = VerifierState::Broken(raw.number, format!("{what} stands after the seal"));
        } else {
            self.report.lines_after += 1;
        }
    }
}

/// Returns whether a record of any version begins here.
fn is_header(raw: &RawLine<'_>) -> bool {
    !raw.too_long && Header::parse(raw.content()).is_some()
}

impl VerifiedRecording {
    /// Checks an `h` line against everything before it.
    fn check(&self, number: u64, line: &RecordLine<'_>) -> Result<Option<Seal>, String> {
        if let Some(foreign) = self.foreign {
            return Err(format!("line {foreign} is not a line of a record"));
        }
        let said = line.hash().map_err(|error| format!("line {number} can't be read: {error}"))?;
        let hash = self.chain.hex();
        if said.hash != hash {
            return Err(format!("the hash at line {number} doesn't match the lines before it"));
        }
        match said.seal {
            None => Ok(None),
            Some((seal, blob)) if check_signature(&self.key, self.digest, seal, line.time, &hash, blob) => Ok(Some(seal)),
            Some(_) => Err(format!("the signature at line {number} is not by the key that the header names")),
        }
    }
}
