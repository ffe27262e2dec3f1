//! Reads and writes the first line of a record.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::DigestName;

/// The longest environment value in the header, in bytes; a longer one is left out, because a line has a limit.
const MAX_ENV: usize = 1024;

/// How much of a stream without a terminal is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Every byte.
    #[default]
    All,
    /// The first so many bytes of each stream, then its length and digest.
    Head(u64),
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Head(size) => write!(f, "head={size}"),
        }
    }
}

/// Says that a text isn't a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use `all`, or `head=SIZE` with a size such as 65536, 64K or 1M")]
pub struct PolicyError;

impl FromStr for Policy {
    type Err = PolicyError;

    /// Reads `all` or `head=SIZE`; a size may end in K, M or G (1024 each).
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text == "all" {
            return Ok(Self::All);
        }
        parse_size(text.strip_prefix("head=").ok_or(PolicyError)?).map(Self::Head)
    }
}

/// Reads a number of bytes; it may end in K, M or G (1024 each).
///
/// # Errors
/// [`PolicyError`].
pub fn parse_size(size: &str) -> Result<u64, PolicyError> {
    let (digits, unit) = match size.as_bytes().last() {
        Some(b'K' | b'k') => (size.get(..size.len() - 1), 1u64 << 10),
        Some(b'M' | b'm') => (size.get(..size.len() - 1), 1 << 20),
        Some(b'G' | b'g') => (size.get(..size.len() - 1), 1 << 30),
        _ => (Some(size), 1),
    };
    let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())).ok_or(PolicyError)?;
    let count: u64 = digits.parse().map_err(|_| PolicyError)?;
    count.checked_mul(unit).ok_or(PolicyError)
}

/// The header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The columns of the terminal at the start (80 if none is known yet).
    pub width: u16,
    /// The rows of the terminal at the start.
    pub height: u16,
    /// When the record starts: seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// The shell of sessions.
    pub shell: Option<String>,
    /// The type of terminal, if it is known at the start.
    pub term: Option<String>,
    /// How much of a stream without a terminal is recorded.
    pub policy: Policy,
    /// The minor version of the format: 0, or [`Header::SHARE`].
    pub minor: u16,
    /// The digest of the chain, streams, files and forwards, which decides the version of the format.
    pub digest: DigestName,
    /// The key that signs, as announced: `ssh-ed25519 AAAA…`, without a comment.
    pub host_key: String,
}

/// Says that a record's format is unknown. Readers refuse an unknown major version, and an unknown digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownFormat {
    /// The version is unknown; holds it.
    #[error("this record has format version {0}, and this sally reads versions 1 and 2 only: use a newer sally")]
    Version(String),
    /// The digest is unknown; holds its name.
    #[error("this record's digest is {0}, and this sally knows blake3 and sha256 only: use a newer sally")]
    Digest(String),
}

#[derive(Serialize)]
struct Written<'a> {
    version: u8,
    width: u16,
    height: u16,
    timestamp: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'a str, &'a str>,
    sally: String,
    /// Version 1 has one digest, and no name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    record: String,
    host_key: &'a str,
}

#[derive(Deserialize)]
struct HeaderFields {
    width: u16,
    height: u16,
    #[serde(default)]
    timestamp: u64,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    record: String,
    #[serde(default)]
    host_key: String,
}

impl Header {
    /// The minor version that adds the events of a shared terminal. Records without them are of minor version 0.
    pub const SHARE: u16 = 1;

    /// Returns the line as written, without its newline.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let env = [("SHELL", &self.shell), ("TERM", &self.term)];
        let env = env.into_iter().filter_map(|(name, value)| value.as_deref().filter(|v| v.len() <= MAX_ENV).map(|v| (name, v)));
        serde_json::to_string(&Written {
            version: 2,
            width: self.width,
            height: self.height,
            timestamp: self.timestamp,
            env: env.collect(),
            sally: self.version(),
            digest: Some(self.digest.name()).filter(|_| self.digest != DigestName::Sha256),
            record: self.policy.to_string(),
            host_key: &self.host_key,
        })
    }

    /// Returns the version of the format as written: `2`, or with the minor version `2.1`.
    fn version(&self) -> String {
        match self.minor {
            0 => self.digest.format().to_owned(),
            minor => format!("{}.{minor}", self.digest.format()),
        }
    }

    /// Reads a line. `None`: it isn't a header of ours (but another program's line), and must be skipped.
    pub fn parse(line: &[u8]) -> Option<Result<Self, UnknownFormat>> {
        if line.first() != Some(&b'{') {
            return None;
        }
        // These two suffice to recognise a header of an unknown version.
        #[derive(Deserialize)]
        struct Marks {
            version: u8,
            sally: String,
            digest: Option<serde_json::Value>,
        }
        let marks: Marks = serde_json::from_slice(line).ok().filter(|marks: &Marks| marks.version == 2)?;
        let digest = match (marks.sally.split('.').next(), marks.digest) {
            (Some("1"), _) => DigestName::Sha256,
            (Some("2"), Some(digest)) if digest == DigestName::Blake3.name() => DigestName::Blake3,
            (Some("2"), digest) => {
                return Some(Err(UnknownFormat::Digest(digest.map_or_else(|| "not named".into(), |name| name.to_string()))));
            }
            _ => return Some(Err(UnknownFormat::Version(marks.sally))),
        };
        // Additions of a minor version are passed over, whatever it is.
        let minor = marks.sally.split_once('.').and_then(|(_, minor)| minor.parse().ok()).unwrap_or_default();
        let HeaderFields { width, height, timestamp, mut env, record, host_key } = serde_json::from_slice(line).ok()?;
        let policy = record.parse().ok()?;
        Some(Ok(Self { width, height, timestamp, shell: env.remove("SHELL"), term: env.remove("TERM"), policy, minor, digest, host_key }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            width: 80,
            height: 24,
            timestamp: 1_790_000_000,
            shell: Some("/bin/bash".into()),
            term: None,
            policy: Policy::Head(1 << 20),
            minor: 0,
            digest: DigestName::Blake3,
            host_key: "ssh-ed25519 AAAA".into(),
        }
    }

    #[test]
    fn is_one_line_and_is_read_back() {
        let written = |header: &Header| {
            let line = header.to_json().unwrap();
            assert_eq!(Header::parse(line.as_bytes()).as_ref(), Some(&Ok(header.clone())));
            line
        };
        assert_eq!(
            written(&header()),
            r#"{"version":2,"width":80,"height":24,"timestamp":1790000000,"env":{"SHELL":"/bin/bash"},"sally":"2","digest":"blake3","record":"head=1048576","host_key":"ssh-ed25519 AAAA"}"#
        );
        assert_eq!(
            written(&Header { digest: DigestName::Sha256, ..header() }),
            r#"{"version":2,"width":80,"height":24,"timestamp":1790000000,"env":{"SHELL":"/bin/bash"},"sally":"1","record":"head=1048576","host_key":"ssh-ed25519 AAAA"}"#
        );
        assert!(written(&Header { minor: Header::SHARE, ..header() }).contains(r#""sally":"2.1","digest":"blake3""#));
        assert!(written(&Header { minor: Header::SHARE, digest: DigestName::Sha256, ..header() }).contains(r#""sally":"1.1","record""#));
    }

    #[test]
    fn an_unknown_major_version_is_refused_with_a_plain_sentence_and_a_minor_one_is_read() {
        let line = header().to_json().unwrap();
        let newer = Header::parse(line.replace(r#""sally":"2""#, r#""sally":"3.0","what":{}"#).as_bytes());
        assert_eq!(newer, Some(Err(UnknownFormat::Version("3.0".into()))));
        assert!(newer.unwrap().unwrap_err().to_string().contains("format version 3.0"));
        assert_eq!(
            Header::parse(line.replace(r#""sally":"2""#, r#""sally":"2.7","new":"x""#).as_bytes()),
            Some(Ok(Header { minor: 7, ..header() }))
        );
    }

    #[test]
    fn a_digest_that_is_not_known_is_refused_and_none_of_version_1_is_looked_at() {
        let line = header().to_json().unwrap();
        for (digest, unknown) in [(r#""digest":"k12","#, "\"k12\""), (r#""digest":"sha256","#, "\"sha256\""), ("", "not named")] {
            let read = Header::parse(line.replace(r#""digest":"blake3","#, digest).as_bytes());
            assert_eq!(read, Some(Err(UnknownFormat::Digest(unknown.into()))), "{digest}");
        }
        let older = Header::parse(line.replace(r#""sally":"2""#, r#""sally":"1.1""#).as_bytes());
        assert_eq!(older, Some(Ok(Header { digest: DigestName::Sha256, minor: 1, ..header() })));
    }

    #[test]
    fn other_programs_lines_are_no_header() {
        for line in [
            "",
            "starting",
            "{",
            "{}",
            r#"{"version":2}"#,
            r#"{"version":2,"width":80,"height":24}"#,
            r#"{"version":3,"sally":"1"}"#,
            "[1]",
        ] {
            assert_eq!(Header::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn policies_are_read_as_they_are_said() {
        assert_eq!("all".parse(), Ok(Policy::All));
        assert_eq!("head=64K".parse(), Ok(Policy::Head(65536)));
        assert_eq!("head=0".parse(), Ok(Policy::Head(0)));
        for wrong in [
            "",
            "none",
            "head",
            "head=",
            "head=K",
            "head=-1",
            "head=+1",
            "head=1T",
            "head=99999999999999999999",
            "head=18446744073709551615G",
        ] {
            assert_eq!(wrong.parse::<Policy>(), Err(PolicyError), "{wrong}");
        }
    }
}
