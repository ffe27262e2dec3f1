//! Defines the events of a record besides bytes: the `a` lines, one compact JSON object each.

use serde::{Deserialize, Serialize};

use super::share::{Approval, Join, ShareStart};
use super::streams::RecordStream;
use super::untrusted::UntrustedText;
use crate::share::ShareRole;

/// The certificate with which a client logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The key ID, as the CA wrote it.
    pub id: UntrustedText,
    /// The serial number.
    pub serial: u64,
    /// The fingerprint of the CA's key.
    pub ca: String,
}

/// An operation on files by SFTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpOperation {
    /// The channel of the session.
    pub channel: u32,
    /// The operation's name: `open`, `close`, `remove`, `rename`, …
    pub op: String,
    /// The path as the client asked for it.
    pub path: UntrustedText,
    /// The second path of a rename, link or copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UntrustedText>,
    /// The purpose of an open (`read`, `write`, `append`, `create`, …), or the attributes to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The number of bytes read, at the file's close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// The offset of the first read, if each read continued where the previous one ended: the digest is then that of this part of the
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_from: Option<u64>,
    /// The SHA-256 (hex) of what was read, in the order of delivery: in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_sha256: Option<String>,
    /// The BLAKE3 (hex) of what was read: in format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_blake3: Option<String>,
    /// The number of bytes written, at the file's close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// The offset of the first write, if each write continued where the previous one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_from: Option<u64>,
    /// The SHA-256 (hex) of what was written, in the order of arrival: in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_sha256: Option<String>,
    /// The BLAKE3 (hex) of what was written: in format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_blake3: Option<String>,
    /// `ok`, or the error. `None`: the operation is about to be done, and another event will have its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// The direction of a forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardDirection {
    /// `ssh -L`, `-D`, `-W`, `-J`: the client connects from this machine to others.
    Local,
    /// `ssh -R`: others connect to this machine, and reach the client.
    Remote,
    /// `ssh -A`: programs on this machine reach the client's agent.
    Agent,
}

/// An audit event. Readers ignore unknown events and fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditEvent {
    /// A connection arrived.
    Connect {
        /// The client's address and port, as the kernel reports them.
        peer: String,
        /// The server's address and port.
        local: String,
    },
    /// The client authenticated.
    Auth {
        /// The user name that the client asked for.
        user: UntrustedText,
        /// The method: `publickey`, or another.
        method: String,
        /// The type of the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_type: Option<String>,
        /// The SHA-256 fingerprint of the key.
        fingerprint: String,
        /// The key's comment in the file that has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<UntrustedText>,
        /// The source of the key: a file and line, or a URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// The certificate, if the client used one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<Certificate>,
    },
    /// A command starts.
    Exec {
        /// The channel of the session.
        channel: u32,
        /// The command that the client asked for.
        command: UntrustedText,
        /// The command that runs in its place (`command=`, force-command).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forced: Option<UntrustedText>,
    },
    /// A shell starts.
    Shell {
        /// The channel of the session.
        channel: u32,
        /// The program.
        program: UntrustedText,
        /// The command that runs in its place (`command=`, force-command).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forced: Option<UntrustedText>,
    },
    /// A subsystem starts.
    Subsystem {
        /// The channel of the session.
        channel: u32,
        /// The subsystem's name.
        name: UntrustedText,
        /// The command that runs in its place (`command=`, force-command).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forced: Option<UntrustedText>,
    },
    /// The client sent an environment variable.
    Env {
        /// The channel of the session.
        channel: u32,
        /// The variable's name.
        name: UntrustedText,
        /// The variable's value, if the session gets it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<UntrustedText>,
        /// Whether the session gets it.
        accepted: bool,
    },
    /// A terminal was allocated.
    Pty {
        /// The channel of the session.
        channel: u32,
        /// The type of terminal (TERM).
        term: UntrustedText,
        /// Columns.
        cols: u32,
        /// Rows.
        rows: u32,
    },
    /// The client sent a signal to the session.
    Signal {
        /// The channel of the session.
        channel: u32,
        /// The signal's name without SIG, as in RFC 4254.
        name: UntrustedText,
    },
    /// The client sent a break (RFC 4335).
    Break {
        /// The channel of the session.
        channel: u32,
        /// The requested length in milliseconds.
        length: u32,
    },
    /// A request was refused.
    Refusal {
        /// The request.
        what: UntrustedText,
        /// The reason.
        why: String,
    },
    /// An SFTP operation.
    Sftp(SftpOperation),
    /// A forwarding was requested and permitted: its connection or listener is about to be opened.
    Forward {
        /// Our number for the forwarding, also in `forward-open` and `forward-end`.
        id: u64,
        /// The direction.
        direction: ForwardDirection,
        /// The target, or the address to listen on: `host:port` or a socket's path.
        target: UntrustedText,
        /// The originator: for a local forwarding as the client reports it, else as the kernel does. `None` for a listener.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<UntrustedText>,
    },
    /// Both ends of a forwarded connection are open: bytes may flow.
    ForwardOpen {
        /// The number of its `forward`.
        id: u64,
    },
    /// A forwarding ended, or could not be opened.
    ForwardEnd {
        /// The number of its `forward`.
        id: u64,
        /// The number of bytes to the client.
        sent: u64,
        /// The number of bytes from the client.
        received: u64,
        /// The SHA-256 (hex) of what was sent, for a connection that was opened: in format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_sha256: Option<String>,
        /// The BLAKE3 (hex) of what was sent: in format 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_blake3: Option<String>,
        /// The SHA-256 (hex) of what was received, for a connection that was opened: in format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received_sha256: Option<String>,
        /// The BLAKE3 (hex) of what was received: in format 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received_blake3: Option<String>,
        /// Milliseconds since its `forward`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasted: Option<u64>,
        /// The reason, if it wasn't a regular end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The following events of this direction belong to this channel and stream.
    Stream {
        /// The channel of the session.
        channel: u32,
        /// The stream.
        stream: RecordStream,
    },
    /// A stream has passed its head: what follows is counted and hashed, not recorded.
    StreamCut {
        /// The channel of the session.
        channel: u32,
        /// The stream.
        stream: RecordStream,
        /// The number of recorded bytes.
        recorded: u64,
    },
    /// A stream of which only the head is recorded has ended.
    StreamEnd {
        /// The channel of the session.
        channel: u32,
        /// The stream.
        stream: RecordStream,
        /// The length of the whole stream.
        bytes: u64,
        /// The SHA-256 (hex) of the whole stream: in format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// The BLAKE3 (hex) of the whole stream: in format 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blake3: Option<String>,
    },
    /// A signal ended a program; an `x` line with 128 + its number follows.
    ExitSignal {
        /// The channel of the session.
        channel: u32,
        /// The signal's name without SIG.
        signal: String,
        /// Whether the program dumped core.
        core: bool,
    },
    /// Typed input was masked, most likely a password.
    Masked {
        /// The channel of the session.
        channel: u32,
        /// The command in the foreground.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        foreground: Option<UntrustedText>,
    },
    /// A terminal is shared.
    Share(ShareStart),
    /// A viewer of a shared terminal joins.
    Join(Join),
    /// A viewer has left, or was made to.
    Leave {
        /// The viewer's number.
        channel: u32,
        /// The reason.
        reason: String,
    },
    /// A viewer's role changes: the event is on the record before the role holds.
    Role {
        /// The viewer's number.
        channel: u32,
        /// The role that holds from now on.
        role: ShareRole,
        /// Who changed it.
        by: UntrustedText,
    },
    /// A viewer who waited was let in, or was not.
    Approve(Approval),
    /// A viewer is made to leave, and their key is refused from now on.
    Kick {
        /// The viewer's number.
        channel: u32,
        /// Who said so.
        by: UntrustedText,
    },
    /// The shared terminal changes its size: an `r` line follows.
    Size {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
        /// Whose window or word it follows.
        by: UntrustedText,
    },
    /// The visit is over.
    Close {
        /// The reason.
        reason: String,
    },
    /// A part of an event that is too long for a line: all texts in order are its JSON.
    Part {
        /// The part's number, from 1.
        part: u32,
        /// The number of parts.
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
    fn untrusted_text_cannot_break_a_line_and_is_kept_byte_for_byte() {
        for said in [&b"ls\n[0.1,\"o\",\"x\"]\r\n\x1b]0;x\x07"[..], b"caf\xe9", b""] {
            let event = AuditEvent::Exec { channel: 3, command: UntrustedText(said.to_vec()), forced: None };
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
            let event = AuditEvent::StreamEnd { channel: 0, stream: RecordStream::Stdout, bytes: 0, sha256, blake3 };
            let json = serde_json::to_string(&event).unwrap();
            assert!(json.ends_with(expected), "{json}");
            assert_eq!(serde_json::from_str::<AuditEvent>(&json).unwrap(), event);
        }
    }

    #[test]
    fn events_are_compact_and_named_as_documented() {
        let event = AuditEvent::Stream { channel: 0, stream: RecordStream::Stderr };
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
