//! Defines the audit events of a shared terminal, which minor version 1 of the format adds.
//!
//! The terminal is channel 0. Each viewer's keyboard is a channel of its own, numbered as they join and never used twice: the `stream`
//! events say whose input follows.

use serde::{Deserialize, Serialize};

use super::untrusted::UntrustedText;
use crate::share::ShareRole;

/// The way on which a viewer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The local terminal, or another one of the host's account on this machine.
    Local,
    /// An SSH connection to a port of the share's own.
    Direct,
    /// An SSH connection through a relay, end to end: `ssh -J`.
    Jump,
    /// An SSH connection that ends at the relay, which says who the viewer is.
    Relay,
    /// The page of the share.
    Web,
}

/// A terminal is shared from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareStart {
    /// The SHA-256 (hex) of each name that the share has at its relay: who knows a name may try to join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Columns of the terminal.
    pub cols: u16,
    /// Rows of the terminal.
    pub rows: u16,
    /// The program.
    pub program: UntrustedText,
}

/// A viewer joins: the event is on the record before they see a byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The viewer's number, which is the channel of their keyboard.
    pub channel: u32,
    /// The viewer's name; of the local terminal the host's account.
    pub name: UntrustedText,
    /// The SHA-256 fingerprint of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The source of the key: a file and line, or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The way on which they have come. Of `relay`, name and fingerprint are what the relay says.
    pub via: Via,
    /// What they may do.
    pub role: ShareRole,
    /// The viewer's address and port, as the kernel or the relay reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// A viewer who waited for the host was let in, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The viewer's number.
    pub channel: u32,
    /// The viewer's name.
    pub name: UntrustedText,
    /// The SHA-256 fingerprint of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The role that was asked for.
    pub role: ShareRole,
    /// The answer.
    pub approved: bool,
    /// Who answered; nothing if the time for an answer was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UntrustedText>,
}

#[cfg(test)]
mod tests {
    use super::super::audit::AuditEvent;
    use super::*;

    /// Every event of a share, and its JSON.
    fn events() -> Vec<(AuditEvent, &'static str)> {
        let join = Join {
            channel: 1,
            name: "alice".into(),
            fingerprint: Some("SHA256:x".into()),
            source: Some("https://github.com/alice.keys".into()),
            via: Via::Jump,
            role: ShareRole::Write,
            peer: Some("192.0.2.7:50123".into()),
        };
        let local = Join { channel: 2, name: "pair".into(), fingerprint: None, source: None, via: Via::Local, peer: None, ..join.clone() };
        let approval = Approval {
            channel: 1,
            name: "alice".into(),
            fingerprint: Some("SHA256:x".into()),
            role: ShareRole::Watch,
            approved: true,
            by: Some("pair".into()),
        };
        let start = ShareStart { names: vec!["00ff".into()], cols: 120, rows: 40, program: "/bin/bash".into() };
        vec![
            (AuditEvent::Share(start.clone()), r#"{"event":"share","names":["00ff"],"cols":120,"rows":40,"program":"/bin/bash"}"#),
            (AuditEvent::Share(ShareStart { names: vec![], ..start }), r#"{"event":"share","cols":120,"rows":40,"program":"/bin/bash"}"#),
            (
                AuditEvent::Join(join),
                r#"{"event":"join","channel":1,"name":"alice","fingerprint":"SHA256:x","source":"https://github.com/alice.keys","via":"jump","role":"write","peer":"192.0.2.7:50123"}"#,
            ),
            (AuditEvent::Join(local), r#"{"event":"join","channel":2,"name":"pair","via":"local","role":"write"}"#),
            (
                AuditEvent::Approve(approval.clone()),
                r#"{"event":"approve","channel":1,"name":"alice","fingerprint":"SHA256:x","role":"watch","approved":true,"by":"pair"}"#,
            ),
            (
                AuditEvent::Approve(Approval { fingerprint: None, approved: false, by: None, ..approval }),
                r#"{"event":"approve","channel":1,"name":"alice","role":"watch","approved":false}"#,
            ),
            (
                AuditEvent::Role { channel: 1, role: ShareRole::Watch, by: "pair".into() },
                r#"{"event":"role","channel":1,"role":"watch","by":"pair"}"#,
            ),
            (AuditEvent::Kick { channel: 1, by: "pair".into() }, r#"{"event":"kick","channel":1,"by":"pair"}"#),
            (AuditEvent::Leave { channel: 1, reason: "left".into() }, r#"{"event":"leave","channel":1,"reason":"left"}"#),
            (AuditEvent::Size { cols: 80, rows: 24, by: "pair".into() }, r#"{"event":"size","cols":80,"rows":24,"by":"pair"}"#),
        ]
    }

    #[test]
    fn events_are_named_as_documented_and_are_read_back() {
        for (event, json) in events() {
            assert_eq!(serde_json::to_string(&event).unwrap(), json);
            assert_eq!(serde_json::from_str::<AuditEvent>(json).unwrap(), event);
            let newer = json.replacen(r#","#, r#","later":{"x":[1]},"#, 1);
            assert_eq!(serde_json::from_str::<AuditEvent>(&newer).unwrap(), event, "a field of a later version is passed over");
        }
    }

    #[test]
    fn each_way_and_role_has_its_name() {
        for (via, name) in [(Via::Local, "local"), (Via::Direct, "direct"), (Via::Jump, "jump"), (Via::Relay, "relay"), (Via::Web, "web")] {
            assert_eq!(serde_json::to_string(&via).unwrap(), format!("\"{name}\""));
        }
    }
}
