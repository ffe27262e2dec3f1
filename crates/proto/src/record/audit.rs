//! What happened besides bytes: the `a` lines of a record, one compact JSON object each.

use serde::{Deserialize, Serialize};

use super::said::Said;
use super::streams::Stream;

/// The certificate that a visitor came in by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Key id, as its CA wrote it.
    pub id: Said,
    /// Serial number.
    pub serial: u64,
    /// Fingerprint of the CA's key.
    pub ca: String,
}

/// One operation on files by SFTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpOperation {
    /// Channel of the session.
    pub channel: u32,
    /// Its name: `open`, `close`, `remove`, `rename`, …
    pub op: String,
    /// The path as asked for.
    pub path: Said,
    /// The second path of a rename, link or copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Said>,
    /// What an open was for (`read`, `write`, `append`, `create`, …), or the attributes set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Bytes read, at the file's close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Where reading began, if each read went on where the one before ended: then the hash is that of this part of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_from: Option<u64>,
    /// SHA-256 (hex) of what was read, in the order it was delivered: in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_sha256: Option<String>,
    /// BLAKE3 (hex) of the same: in format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_blake3: Option<String>,
    /// Bytes written, at the file's close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// Where writing began, if each write went on where the one before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_from: Option<u64>,
    /// SHA-256 (hex) of what was written, in the order it came: in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_sha256: Option<String>,
    /// BLAKE3 (hex) of the same: in format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_blake3: Option<String>,
    /// `ok`, or why not. None: it is about to be done, and another event will say what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// Which way a forwarding was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// `ssh -L`, `-D`, `-W`, `-J`: the visitor connects out from here.
    Local,
    /// `ssh -R`: somebody connects in here, to the visitor.
    Remote,
    /// `ssh -A`: the visitor's agent is reachable from here.
    Agent,
}

/// An audit event. Readers pass over events and fields that they don't know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditEvent {
    /// A connection came in.
    Connect {
        /// Its address and port, as the kernel says.
        peer: String,
        /// Our end of it.
        local: String,
    },
    /// The visitor is authenticated.
    Auth {
        /// The user name asked for.
        user: Said,
        /// `publickey`, or another.
        method: String,
        /// Type of the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_type: Option<String>,
        /// SHA-256 fingerprint of the key.
        fingerprint: String,
        /// The key's comment in the file that let it in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<Said>,
        /// Where the key is listed: a file and line, a URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// The certificate, where it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<Certificate>,
    },
    /// A command runs.
    Exec {
        /// Channel of the session.
        channel: u32,
        /// What the visitor asked for.
        command: Said,
        /// What runs in its place (`command=`, force-command).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forced: Option<Said>,
    },
    /// A shell runs.
    Shell {
        /// Channel of the session.
        channel: u32,
        /// The program.
        program: Said,
        /// What runs in its place (`command=`, force-command).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forced: Option<Said>,
    },
    /// A subsystem runs.
    Subsystem {
        /// Channel of the session.
        channel: u32,
        /// Its name.
        name: Said,
        /// What runs in its place (`command=`, force-command).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forced: Option<Said>,
    },
    /// The visitor asked for an environment variable.
    Env {
        /// Channel of the session.
        channel: u32,
        /// Its name.
        name: Said,
        /// Its value, where the session gets it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Said>,
        /// Whether the session gets it.
        accepted: bool,
    },
    /// A terminal was made.
    Pty {
        /// Channel of the session.
        channel: u32,
        /// The kind of terminal (TERM).
        term: Said,
        /// Columns.
        cols: u32,
        /// Rows.
        rows: u32,
    },
    /// The visitor sent a signal to the session.
    Signal {
        /// Channel of the session.
        channel: u32,
        /// Its name without SIG, as RFC 4254 has it.
        name: Said,
    },
    /// The visitor sent a break (RFC 4335).
    Break {
        /// Channel of the session.
        channel: u32,
        /// Length in milliseconds, as asked for.
        length: u32,
    },
    /// Something was refused.
    Refusal {
        /// What was asked for.
        what: Said,
        /// Why not.
        why: String,
    },
    /// An SFTP operation.
    Sftp(SftpOperation),
    /// A forwarding was asked for and permitted: what it needs is about to be opened, or listened on.
    Forward {
        /// Our number for it, for `forward-open` and `forward-end`.
        id: u64,
        /// Which way.
        direction: Direction,
        /// Where it goes or listens: `host:port` or a socket's path.
        target: Said,
        /// Who comes through it: for a local one as the visitor says, else as the kernel does. Nothing for what is listened on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Said>,
    },
    /// Both ends of a forwarded connection are there: bytes may flow.
    ForwardOpen {
        /// The number of its `forward`.
        id: u64,
    },
    /// A forwarding ended, or could not be opened.
    ForwardEnd {
        /// The number of its `forward`.
        id: u64,
        /// Bytes towards the visitor.
        sent: u64,
        /// Bytes from the visitor.
        received: u64,
        /// SHA-256 (hex) of what was sent; for a connection that was opened, in format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_sha256: Option<String>,
        /// BLAKE3 (hex) of the same: in format 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_blake3: Option<String>,
        /// SHA-256 (hex) of what was received; for a connection that was opened, in format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received_sha256: Option<String>,
        /// BLAKE3 (hex) of the same: in format 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received_blake3: Option<String>,
        /// Milliseconds since its `forward`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasted: Option<u64>,
        /// Why it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The events of this direction that follow belong to this channel and stream.
    Stream {
        /// Channel of the session.
        channel: u32,
        /// The stream.
        stream: Stream,
    },
    /// A stream has passed its head: what follows is counted and hashed, not recorded.
    StreamCut {
        /// Channel of the session.
        channel: u32,
        /// The stream.
        stream: Stream,
        /// How many bytes of it are recorded.
        recorded: u64,
    },
    /// A stream of which only the head is recorded came to its end.
    StreamEnd {
        /// Channel of the session.
        channel: u32,
        /// The stream.
        stream: Stream,
        /// Its whole length.
        bytes: u64,
        /// SHA-256 (hex) of the whole of it: in format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// BLAKE3 (hex) of the whole of it: in format 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blake3: Option<String>,
    },
    /// A program was ended by a signal; an `x` line with 128 + its number follows.
    ExitSignal {
        /// Channel of the session.
        channel: u32,
        /// Its name without SIG.
        signal: String,
        /// Whether it left a core.
        core: bool,
    },
    /// Typed input was masked: a password, most likely.
    Masked {
        /// Channel of the session.
        channel: u32,
        /// The command in the foreground.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        foreground: Option<Said>,
    },
    /// The visit is over.
    Close {
        /// Why.
        reason: String,
    },
    /// A part of an event that is too long for a line: all texts, joined in order, are its JSON.
    Part {
        /// Which, from 1.
        part: u32,
        /// Of how many.
        parts: u32,
        /// The piece of JSON text.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::super::digest::DigestName;
    use super::*;

    #[test]
    fn what_a_stranger_says_cannot_break_a_line_and_is_kept_byte_for_byte() {
        for said in [&b"ls\n[0.1,\"o\",\"x\"]\r\n\x1b]0;x\x07"[..], b"caf\xe9", b""] {
            let event = AuditEvent::Exec { channel: 3, command: Said(said.to_vec()), forced: None };
            let json = serde_json::to_string(&event).unwrap();
            assert!(json.bytes().all(|byte| byte >= 0x20));
            assert_eq!(serde_json::from_str::<AuditEvent>(&json).unwrap(), event);
        }
    }

    #[test]
    fn digests_stand_under_the_name_of_their_algorithm() {
        for (name, expected) in [
            (DigestName::Sha256, r#""bytes":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#),
            (DigestName::Blake3, r#""bytes":0,"blake3":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}"#),
        ] {
            let (sha256, blake3) = name.start().fields();
            let event = AuditEvent::StreamEnd { channel: 0, stream: Stream::Stdout, bytes: 0, sha256, blake3 };
            let json = serde_json::to_string(&event).unwrap();
            assert!(json.ends_with(expected), "{json}");
            assert_eq!(serde_json::from_str::<AuditEvent>(&json).unwrap(), event);
        }
    }

    #[test]
    fn events_are_compact_and_named_as_documented() {
        let event = AuditEvent::Stream { channel: 0, stream: Stream::Stderr };
        assert_eq!(serde_json::to_string(&event).unwrap(), r#"{"event":"stream","channel":0,"stream":"stderr"}"#);
        let event = AuditEvent::Sftp(SftpOperation {
            channel: 1,
            op: "remove".into(),
            path: "/etc/motd".into(),
            result: Some("ok".into()),
            ..SftpOperation::default()
        });
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"sftp","channel":1,"op":"remove","path":"/etc/motd","result":"ok"}"#
        );
    }
}
