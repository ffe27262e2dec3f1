//! Builds a session's environment: a copy of ours, without our secrets and what describes the starter, plus what the login and the client
//! add.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::account::Account;
use crate::net::endpoint::Endpoint;

mod starter;

/// The prefix of Sally's own variables (tickets, addresses), which a session never gets.
const OWN_PREFIX: &str = "SALLY_";
/// A key source: its keys are not secret, but no session needs them.
const KEY_SOURCE: &str = "AUTHORIZED_KEYS";
/// The same, for those who may only watch a share.
const VIEW_KEYS: &str = "VIEW_KEYS";
/// The variables that a client may always set, as in Debian's sshd_config.
const ACCEPTED: [&str; 2] = ["LANG", "LC_*"];

/// The terminal that a shared program sees.
pub const SHARE_TERM: &str = "xterm-256color";

/// The copy made at the start, before any client connects.
pub type Environment = BTreeMap<OsString, OsString>;

/// Copies an environment, without our secrets and key sources, and without what describes the starter's shell, terminal, login or
/// supervisor.
pub fn copy(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    variables.filter(|(name, _)| !is_own(name) && !starter::tells_of_starter(name)).collect()
}

/// Returns the environment of a shared program: this process's own, in which nothing of ours but `SALLY_SHARE` is found, and the terminal
/// that Sally emulates.
pub fn of_share(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    let terminal = ["TERM", "TERMCAP", "COLUMNS", "LINES"];
    let inherited = variables.filter(|(name, _)| !is_own(name) && name != VIEW_KEYS && !terminal.iter().any(|known| name == known));
    let ours = [("TERM", SHARE_TERM), ("COLORTERM", "truecolor"), ("SALLY_SHARE", "1")];
    inherited.chain(ours.map(|(name, value)| (name.into(), value.into()))).collect()
}

/// The folders of programs, for an account that has named none.
pub const LOGIN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns whether a variable is of the machine, and no account's: the language, the time zone, the terminal's colors.
pub fn is_for_every_account(name: &OsStr) -> bool {
    ["LANG", "LANGUAGE", "LC_*", "TZ", "NO_COLOR"].into_iter().any(|pattern| matches(pattern, name))
}

fn is_own(name: &OsStr) -> bool {
    name == KEY_SOURCE || name.as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes())
}

/// Returns whether a client may set a variable: LANG, LC_*, and the patterns of `--accept-env`.
pub fn accepts(name: &str, extra: &[String]) -> bool {
    let (is_name, name) = (!name.contains(['=', '\0']), OsStr::new(name));
    let mut patterns = ACCEPTED.into_iter().chain(extra.iter().map(String::as_str));
    is_name && !is_own(name) && patterns.any(|pattern| matches(pattern, name))
}

/// Returns whether a variable's name equals the pattern, or begins with what precedes a final `*`.
fn matches(pattern: &str, name: &OsStr) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.as_encoded_bytes().starts_with(prefix.as_bytes()),
        None => name == pattern,
    }
}

/// The facts about a session when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The address that the client comes from.
    pub peer: Endpoint,
    /// The local address of the connection.
    pub local: Endpoint,
    /// The terminal's path and the client's `$TERM`, if there is a terminal; an empty `$TERM` is left out.
    pub terminal: Option<(&'a str, &'a str)>,
    /// The command that the client asked for, if another one runs instead.
    pub original_command: Option<&'a OsStr>,
    /// The client's variables, already checked by [`accepts`]: a login's own variables win.
    pub sent: &'a [(String, String)],
    /// The variables that `environment=` of the user's key sets.
    pub of_key: &'a [(String, String)],
    /// The socket that leads to the user's agent.
    pub agent: Option<&'a Path>,
}

/// Returns the environment of a login in a folder. The login's variables win over those that the client sent.
pub fn login(base: &Environment, account: &Account, directory: &Path, sent: &[(String, String)]) -> Environment {
    let mut all = base.clone();
    for (name, value) in sent {
        all.insert(name.into(), value.into());
    }
    all.insert("PWD".into(), directory.into());
    all.extend(account.variables());
    all.entry("PATH".into()).or_insert_with(|| LOGIN_PATH.into());
    all
}

/// Returns the environment of a session that a connection has brought.
pub fn build(base: &Environment, account: &Account, visit: &Circumstances<'_>) -> Vec<(OsString, OsString)> {
    let mut all = login(base, account, &account.home, visit.sent);
    let ((from, from_port), (to, to_port)) = (visit.peer.words(), visit.local.words());
    // As with sshd: they replace the login's variables, and the connection's replace them.
    let mut set = |name: &str, value: &OsStr| drop(all.insert(name.into(), value.into()));
    for (name, value) in visit.of_key {
        set(name, value.as_ref());
    }
    set("SSH_CONNECTION", format!("{from} {from_port} {to} {to_port}").as_ref());
    set("SSH_CLIENT", format!("{from} {from_port} {to_port}").as_ref());
    if let Some(command) = visit.original_command {
        set("SSH_ORIGINAL_COMMAND", command);
    }
    if let Some(agent) = visit.agent {
        set("SSH_AUTH_SOCK", agent.as_os_str());
    }
    if let Some((path, term)) = visit.terminal {
        set("SSH_TTY", path.as_ref());
        if !term.is_empty() {
            set("TERM", term.as_ref());
        }
    }
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
        for name in ["LD_PRELOAD", "LANGUAGE", "PATH", "SALLY_X", "LC_X=Y", "LC_\0"] {
            assert!(!accepts(name, &[]), "{name}");
        }
        assert!(accepts("GIT_PROTOCOL", &["GIT_*".into()]));
        assert!(!accepts("SALLY_X", &["*".into()]), "ours even where everything is accepted");
    }

    #[test]
    fn a_login_wins_over_what_was_sent() {
        let visit = Circumstances {
            peer: Some("[::ffff:192.0.2.7]:50000".parse().unwrap()).into(),
            local: Some("[::ffff:192.0.2.1]:2022".parse().unwrap()).into(),
            terminal: Some(("/dev/pts/3", "xterm")),
            original_command: None,
            sent: &[("USER".into(), "mallory".into()), ("LANG".into(), "C".into())],
            of_key: &[],
            agent: Some(Path::new("/tmp/sally-x/agent")),
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
            ("SSH_AUTH_SOCK", "/tmp/sally-x/agent"),
            ("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 2022"),
            ("SSH_CLIENT", "192.0.2.7 50000 2022"),
        ] {
            assert_eq!(all.get(OsStr::new(name)).map(|value| value.to_string_lossy()), Some(value.into()), "{name}");
        }
    }
}
