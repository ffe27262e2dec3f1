//! Runs `sally record verify`: prints one sentence, and returns one exit status.

use std::cell::RefCell;
use std::path::Path;

use sally_proto::error::exit as status;
use sally_proto::record::{Header, Policy, RecordLines, Report, Trust, Verdict, Verifier};
use serde::Serialize;
use ssh_key::{Fingerprint, HashAlg, PublicKey};

use super::cmd::VerifyArgs;
use super::source::{self, SourceError};
use crate::host_key::known_hosts;
use crate::term;

/// What the options say of the signer.
enum Expected {
    Nothing,
    Fingerprint(Fingerprint),
    Keys(Vec<PublicKey>),
    KnownHosts(String, Option<String>),
}

/// The JSON answer, whose fields are stable (docs/record-format.md).
#[derive(Serialize)]
struct VerifyAnswer<'a> {
    file: String,
    verdict: &'a str,
    exit_status: u8,
    sentence: String,
    key: Option<&'a str>,
    fingerprint: Option<String>,
    signer_proven: bool,
    known_as: Option<String>,
    record: Option<String>,
    partial: bool,
    first_line: u64,
    last_line: u64,
    signed_to: u64,
    signed_time: f64,
    chained_to: u64,
    broken_line: Option<u64>,
    reason: Option<&'a str>,
    lines_after: u64,
    next_record: Option<u64>,
}

pub(super) fn run(args: &VerifyArgs) -> u8 {
    let (line, exit_status, notes) = match judge(args) {
        Ok(answer) => answer,
        Err(why) => {
            term::say(&term::printable(&format!("error: {why}")));
            return status::USAGE;
        }
    };
    for note in notes {
        term::say(&note);
    }
    match line.map_or(Ok(()), |line| term::data(&line)) {
        Ok(()) => exit_status,
        // A verdict that could not be printed is no success.
        Err(error) => {
            term::say(&format!("stdout can't be written: {}", term::reason(&error)));
            status::RECORD
        }
    }
}

/// Returns the answer for stdout, the exit status, and notes for the user.
pub(super) fn judge(args: &VerifyArgs) -> Result<(Option<String>, u8, Vec<String>), String> {
    let expected = expected(args)?;
    let known_as = RefCell::new(None);
    let judge = |signer: &PublicKey| {
        let (trust, name) = expected.judge(signer);
        *known_as.borrow_mut() = name;
        trust
    };
    let file = args.file.display().to_string();
    match read(&args.file, judge) {
        Ok(report) => {
            let known_as = known_as.take().filter(|_| report.signer_proven);
            let sentence = sentence(&report, known_as.as_deref());
            let exit_status = report.verdict.exit_status();
            if args.json {
                // Serialising this type into memory can't fail: all its keys are strings.
                let answer = serde_json::to_string(&answer(file, &report, sentence, known_as)).unwrap_or_default();
                return Ok((Some(answer), exit_status, Vec::new()));
            }
            Ok((Some(sentence), exit_status, notes(&report)))
        }
        Err(error) => {
            let exit_status = error.exit_status();
            if args.json {
                let answer =
                    serde_json::json!({ "file": file, "verdict": "none", "exit_status": exit_status, "reason": error.to_string() });
                return Ok((Some(answer.to_string()), exit_status, Vec::new()));
            }
            Ok((None, exit_status, vec![term::printable(&format!("{file}: {error}"))]))
        }
    }
}

fn read(file: &Path, judge: impl Fn(&PublicKey) -> Trust) -> Result<Report, SourceError> {
    let mut lines = RecordLines::new(source::open(file)?);
    let mut verifier = Verifier::new(judge);
    while let Some(line) = lines.next()? {
        verifier.line(&line);
    }
    Ok(verifier.finish()?)
}

fn answer<'a>(file: String, report: &'a Report, sentence: String, known_as: Option<String>) -> VerifyAnswer<'a> {
    let header = report.header.as_ref();
    let broken = match &report.verdict {
        Verdict::Broken { line, why } => Some((*line, why.as_str())),
        _ => None,
    };
    VerifyAnswer {
        file,
        verdict: report.verdict.name(),
        exit_status: report.verdict.exit_status(),
        sentence,
        key: header.map(|header| header.host_key.as_str()),
        fingerprint: header.and_then(key_of).map(|key| key.fingerprint(HashAlg::Sha256).to_string()),
        signer_proven: report.signer_proven,
        known_as,
        record: header.map(|header| header.policy.to_string()),
        partial: header.is_some_and(is_partial),
        first_line: report.first_line,
        last_line: report.last_line,
        signed_to: report.signed_to,
        signed_time: report.signed_time.seconds(),
        chained_to: report.chained_to,
        broken_line: broken.map(|(line, _)| line),
        reason: broken.map(|(_, why)| why),
        lines_after: report.lines_after,
        next_record: report.next_record,
    }
}

fn sentence(report: &Report, known_as: Option<&str>) -> String {
    let key = report.header.as_ref().and_then(key_of);
    let key = key.map_or("a key unknown".into(), |key| format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256)));
    let known = known_as.map(|name| format!(" (known as {})", term::printable(name))).unwrap_or_default();
    let whole = format!("complete and unchanged, {} lines, {} s", report.last_line - report.first_line + 1, report.signed_time);
    let heads = report.header.as_ref().filter(|header| is_partial(header));
    let heads = heads.map(|header| format!("; recorded with {}: it has only the beginning of streams without a terminal", header.policy));
    let heads = heads.unwrap_or_default();
    match &report.verdict {
        Verdict::Sealed => format!("Sealed by {key}{known}: {whole}."),
        Verdict::Partial => format!("Partial, sealed by {key}{known}: {whole}{heads}."),
        Verdict::Unproven => {
            format!("Self-consistent, signer unproven: sealed by {key}, which only the file itself names; {whole}{heads}.")
        }
        Verdict::Several { next } => format!(
            "Several records: another begins at line {next}, verify each by itself: head -n {} FILE | sally record verify -; \
             tail -n +{next} FILE | sally record verify -.",
            next - 1
        ),
        Verdict::NotSealed { signed_to: 0 } => "Not sealed: no line is signed, so all of it is unproven.".into(),
        Verdict::NotSealed { signed_to } => {
            let unknown = if report.signer_proven { "" } else { ", which only the file itself names" };
            format!("Not sealed: signed to line {signed_to} ({} s) by {key}{known}{unknown}; the rest is unproven.", report.signed_time)
        }
        Verdict::Broken { line, why } => format!("Broken at or after line {line}: {}.", term::printable(why)),
    }
}

/// Returns notes about what is not part of the verdict.
fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if report.first_line > 1 {
        notes.push(format!("note: the record begins at line {}; the lines before it are not part of it", report.first_line));
    }
    if report.lines_after > 0 {
        notes.push(format!("note: {} lines after the seal are not part of the record", report.lines_after));
    }
    notes
}

fn is_partial(header: &Header) -> bool {
    header.policy != Policy::All
}

fn key_of(header: &Header) -> Option<PublicKey> {
    PublicKey::from_openssh(&header.host_key).ok()
}

fn expected(args: &VerifyArgs) -> Result<Expected, String> {
    let read = |file: &Path| std::fs::read(file).map_err(|error| format!("{} can't be read: {}", file.display(), term::reason(&error)));
    if let Some(file) = &args.known_hosts {
        return Ok(Expected::KnownHosts(String::from_utf8_lossy(&read(file)?).into_owned(), args.host.clone()));
    }
    let Some(key) = &args.host_key else { return Ok(Expected::Nothing) };
    if key.starts_with("SHA256:") {
        let print = key
            .parse::<Fingerprint>()
            .map_err(|_| format!("{key} is not a fingerprint: ssh-keygen -l prints SHA256: and 43 characters"))?;
        return Ok(Expected::Fingerprint(print));
    }
    if let Ok(key) = PublicKey::from_openssh(key.trim()) {
        return Ok(Expected::Keys(vec![key]));
    }
    let text = read(Path::new(key)).map_err(|why| format!("--host-key takes a public key, its SHA256 fingerprint, or a file: {why}"))?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<_>, _> = lines.map(PublicKey::from_openssh).collect();
    match keys {
        Ok(keys) if !keys.is_empty() => Ok(Expected::Keys(keys)),
        _ => Err(format!("{key} is not a file of public keys, one per line, as announced: ssh-ed25519 AAAA…")),
    }
}

impl Expected {
    fn judge(&self, signer: &PublicKey) -> (Trust, Option<String>) {
        let print = signer.fingerprint(HashAlg::Sha256);
        let expected = match self {
            Self::Nothing => return (Trust::Unproven, None),
            Self::KnownHosts(text, host) => return known_hosts::judge(text, host.as_deref(), signer),
            Self::Fingerprint(expected) => *expected == print,
            Self::Keys(keys) => keys.iter().any(|key| key.key_data() == signer.key_data()),
        };
        if expected { (Trust::Proven, None) } else { (Trust::Refused(format!("it is signed by another key, {print}")), None) }
    }
}
