//! The lines of the audit log.

use sally_proto::relay::Veiled;
use serde::Serialize;

/// The version of the lines; a reader must reject an unknown one.
const VERSION: u8 = 1;

/// The events. Fields that may contain a generated name are [`Veiled`]: a visitor that may reach any name could use it like a key.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/audit-log.md is the schema")]
pub enum RelayEvent<'a> {
    Start {
        kind: &'a str,
        version: &'a str,
        listen: String,
        host_key: String,
    },
    Stop {
        why: &'a str,
    },
    Keys {
        visitors: usize,
        devices: usize,
        admins: usize,
    },
    LineSkipped {
        source: &'a str,
        line: usize,
        reason: &'a str,
    },
    KeysFailed {
        reason: String,
    },
    Auth {
        connection: u64,
        peer: String,
        user: Veiled,
        key: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        who: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<u64>,
        roles: &'a [&'static str],
    },
    AuthRefused {
        peer: String,
        user: Veiled,
        key: &'a str,
        reason: String,
    },
    Refused {
        connection: u64,
        peer: String,
        key: &'a str,
        what: Veiled,
        why: &'a str,
        said: Veiled,
    },
    Register {
        connection: u64,
        key: &'a str,
        slot: Veiled,
        address: Veiled,
    },
    Takeover {
        slot: Veiled,
        old: u64,
        new: u64,
    },
    Release {
        connection: u64,
        slot: Veiled,
        why: &'a str,
    },
    Open {
        visit: u64,
        slot: Veiled,
        device: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        connection: Option<u64>,
        from: String,
        who: &'a str,
    },
    Close {
        visit: u64,
        slot: Veiled,
        up: u64,
        down: u64,
        seconds: f64,
        why: &'a str,
    },
    Wake {
        device: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        jti: Option<String>,
        what: &'a str,
        #[serde(skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    Console {
        connection: u64,
        key: &'a str,
        command: Veiled,
        allowed: bool,
    },
    Disconnect {
        connection: u64,
        why: &'a str,
        seconds: u64,
    },
    Counting {
        what: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        slot: Option<Veiled>,
        from: String,
    },
    Counted {
        what: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        slot: Option<Veiled>,
        from: String,
        count: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        closed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        up: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        down: Option<u64>,
        seconds: f64,
    },
    Lost {
        lines: u64,
    },
}

#[derive(Serialize)]
struct AuditLine<'a> {
    v: u8,
    t: String,
    #[serde(flatten)]
    event: &'a RelayEvent<'a>,
}

/// Returns the line for the file.
pub(super) fn line(event: &RelayEvent<'_>) -> Vec<u8> {
    let line = AuditLine { v: VERSION, t: format!("{:.3}", jiff::Timestamp::now()), event };
    // Strings and numbers always serialise.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
