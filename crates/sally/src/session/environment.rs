//! The environment of a session: a copy of ours, less our own secrets, plus what a login and the visitor add.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use super::account::Account;

/// Whatever starts so is ours (tickets, addresses), never the visitor's.
const OWN_PREFIX: &str = "SALLY_";
/// A key source: what it holds is not secret, but it is not the session's business either.
const KEY_SOURCE: &str = "AUTHORIZED_KEYS";
/// Variables that a client may send without further ado, as Debian's sshd_config accepts them.
const ACCEPTED: [&str; 2] = ["LANG", "LC_*"];

/// The copy made at the start, before anything of a visitor's is known.
pub type Environment = BTreeMap<OsString, OsString>;

/// Copies an environment, less our own secrets and key sources.
pub fn copy(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    variables.filter(|(name, _)| !is_own(name)).collect()
}

fn is_own(name: &OsStr) -> bool {
    name == KEY_SOURCE || name.as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes())
}

/// Whether a client may set this variable: LANG and LC_*, and the patterns of `--accept-env`.
pub fn accepts(name: &str, extra: &[String]) -> bool {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    !is_own(OsStr::new(name)) && (ACCEPTED.into_iter().any(matches) || extra.iter().map(String::as_str).any(matches))
}

/// What is known of a visit when its session starts.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Where the visitor comes from.
    pub peer: SocketAddr,
    /// Where the visitor arrived.
    pub local: SocketAddr,
    /// The terminal's path and the visitor's `$TERM`, where there is a terminal.
    pub terminal: Option<(&'a str, &'a str)>,
    /// The command that the visitor asked for, where another one runs instead.
    pub original_command: Option<&'a str>,
    /// What the client sent, already checked by [`accepts`]. First, so that a login's own variables win.
    pub sent: &'a [(String, String)],
    /// `environment=` of the visitor's key.
    pub of_key: &'a [(String, String)],
}

/// The whole environment of a session.
pub fn build(base: &Environment, account: &Account, visit: &Visit<'_>) -> Vec<(OsString, OsString)> {
    let mut all = base.clone();
    let mut set = |name: &str, value: &OsStr| drop(all.insert(name.into(), value.into()));
    for (name, value) in visit.sent.iter().chain(visit.of_key) {
        set(name, value.as_ref());
    }
    let (peer, local) = (visit.peer, visit.local);
    let (from, to) = (peer.ip().to_canonical(), local.ip().to_canonical());
    set("USER", account.name.as_ref());
    set("LOGNAME", account.name.as_ref());
    set("HOME", account.home.as_os_str());
    set("SHELL", account.shell.as_os_str());
    set("PWD", account.home.as_os_str());
    set("SSH_CONNECTION", format!("{from} {} {to} {}", peer.port(), local.port()).as_ref());
    set("SSH_CLIENT", format!("{from} {} {}", peer.port(), local.port()).as_ref());
    if let Some(command) = visit.original_command {
        set("SSH_ORIGINAL_COMMAND", command.as_ref());
    }
    match visit.terminal {
        Some((path, term)) => {
            set("SSH_TTY", path.as_ref());
            set("TERM", term.as_ref());
        }
        // What our own terminal is says nothing of the visitor's.
        None => ["SSH_TTY", "TERM"].into_iter().for_each(|name| drop(all.remove(OsStr::new(name)))),
    }
    all.entry("PATH".into()).or_insert_with(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        list.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn our_own_secrets_stay_ours() {
        let base = copy(pairs(&[("SALLY_TICKET", "x"), ("AUTHORIZED_KEYS", "k"), ("DATABASE_URL", "d")]).into_iter());
        assert_eq!(base.into_iter().collect::<Vec<_>>(), pairs(&[("DATABASE_URL", "d")]));
    }

    #[test]
    fn a_client_sets_its_language_and_nothing_else() {
        assert!(accepts("LANG", &[]) && accepts("LC_ALL", &[]));
        for name in ["LD_PRELOAD", "LANGUAGE", "PATH", "SALLY_X"] {
            assert!(!accepts(name, &[]), "{name}");
        }
        assert!(accepts("GIT_PROTOCOL", &["GIT_*".into()]));
        assert!(!accepts("SALLY_X", &["*".into()]), "ours even where everything is accepted");
    }

    #[test]
    fn a_login_wins_over_what_was_sent() {
        let visit = Visit {
            peer: "[::ffff:192.0.2.7]:50000".parse().unwrap(),
            local: "[::ffff:192.0.2.1]:2022".parse().unwrap(),
            terminal: Some(("/dev/pts/3", "xterm")),
            original_command: None,
            sent: &[("USER".into(), "mallory".into()), ("LANG".into(), "C".into())],
            of_key: &[],
        };
        let account = Account { name: "app".into(), home: "/app".into(), shell: "/bin/sh".into() };
        let all: Environment =
            build(&copy(pairs(&[("TERM", "dumb"), ("PWD", "/srv")]).into_iter()), &account, &visit).into_iter().collect();
        for (name, value) in [
            ("USER", "app"),
            ("LANG", "C"),
            ("TERM", "xterm"),
            ("SSH_TTY", "/dev/pts/3"),
            ("PWD", "/app"),
            ("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 2022"),
            ("SSH_CLIENT", "192.0.2.7 50000 2022"),
        ] {
            assert_eq!(all.get(OsStr::new(name)).map(|value| value.to_string_lossy()), Some(value.into()), "{name}");
        }
    }
}
