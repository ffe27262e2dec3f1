//! Every fault is documented as it is said.

use super::*;

/// One of each: a new kind of fault has to be added here by hand, and to the documentation.
fn one_of_each() -> Vec<Fault> {
    let keys = |defect| Fault::KeysInvalid { source_name: "FILE".into(), defect };
    vec![
        keys(KeyDefect::Missing),
        keys(KeyDefect::Unreadable("r".into())),
        keys(KeyDefect::Unparseable { line: 3, reason: "r".into() }),
        keys(KeyDefect::Empty),
        keys(KeyDefect::Unsupported { line: 3, reason: "r".into() }),
        keys(KeyDefect::Unfetched("r".into())),
        Fault::KeysUnnamed,
        Fault::HostKeyInvalid { file: "FILE".into(), reason: "r".into() },
        Fault::HostKeyPem { file: "FILE".into() },
        Fault::HostCertificateInvalid { file: "FILE".into(), reason: "r".into() },
        Fault::BannerInvalid { file: "FILE".into(), reason: "r".into() },
        Fault::RevokedKeysInvalid { file: "FILE".into(), reason: "r".into() },
        Fault::AnnounceInvalid { command: "CMD".into(), reason: "r".into() },
        Fault::AnnounceFailed { status: 1, stderr: "x".into() },
        Fault::Bind { port: 22, reason: "r".into() },
        Fault::Inetd("r".into()),
        Fault::ConnectionLost,
        Fault::Record { file: "FILE".into(), reason: "r".into() },
        Fault::Relay { relay: "HOST:22".into(), reason: "r".into() },
        Fault::TlsInvalid { file: "FILE".into(), reason: "r".into() },
        Fault::Options { file: "FILE".into(), reason: "r".into() },
        Fault::Audit { file: "FILE".into(), reason: "r".into() },
        Fault::State { directory: "DIR".into(), reason: "r".into() },
        Fault::FleetInvalid { file: "FILE".into(), reason: "r".into() },
        Fault::AuthorityExposed { file: "FILE".into() },
        Fault::TwoRoles { key: "K".into(), one: "A".into(), other: "B".into() },
        Fault::NotInFleet { name: "N".into() },
        Fault::Exists { file: "FILE".into() },
        Fault::Unwritable { file: "FILE".into(), reason: "r".into() },
        Fault::Idle(1),
        Fault::MaxDuration(1),
        Fault::Signalled(15),
        Fault::NoSession(30),
        Fault::Settings { file: "FILE".into(), reason: "r".into() },
        Fault::NoRelay,
        Fault::NoEntrance,
        Fault::NoTerminal,
        Fault::NoShare("r".into()),
        Fault::JoinLink("r".into()),
        Fault::NoViewerTerminal,
        Fault::NotJoined("r".into()),
        Fault::ShareHostKey("K".into()),
        Fault::ShareEnded,
        Fault::KeyRemoved,
        Fault::KeyGone,
        Fault::Unvisited(600),
        Fault::ViewersLeft,
        Fault::Program { program: "COMMAND".into(), reason: "r".into() },
        Fault::AccountInvalid { user: "USER".into(), reason: "r".into() },
        Fault::Shell { shell: "/nope/sh".into(), reason: "r".into() },
        Fault::Client { program: "ssh".into(), reason: "r".into() },
        Fault::Internal("r".into()),
    ]
}

/// The cells of a row of a Markdown table.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn the_documentation_has_every_fault_with_its_status_and_hint() {
    let documentation = include_str!("../../../../docs/errors.md");
    for fault in one_of_each() {
        let status = match &fault {
            Fault::Signalled(_) => "128+n".into(),
            other => other.exit_status().to_string(),
        };
        let said = fault.to_string();
        let documented = documentation.lines().map(cells).any(|row| match row.as_slice() {
            [code, words, _, hint] => *code == status && said.starts_with(words.trim_matches('`')) && *hint == fault.hint().unwrap_or("–"),
            _ => false,
        });
        assert!(documented, "docs/errors.md lacks: {status} {said:?} {:?}", fault.hint());
    }
}

#[test]
fn the_words_of_the_contract() {
    for (fault, words) in [
        (KeyDefect::Missing, "authorized keys invalid: FILE does not exist."),
        (KeyDefect::Empty, "authorized keys invalid: FILE contained no keys."),
        (KeyDefect::Unparseable { line: 3, reason: "r".into() }, "authorized keys invalid: FILE contains unparseable data. (line 3: r)"),
    ] {
        assert_eq!(Fault::KeysInvalid { source_name: "FILE".into(), defect: fault }.to_string(), words);
    }
}
