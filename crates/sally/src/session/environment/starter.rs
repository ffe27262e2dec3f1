//! What an environment says of whoever started Sally, and of nothing else. A session has a shell, a terminal and a login of its own:
//! variables that tell of the starter's mislead its programs, or lead them into what isn't theirs.
//!
//! What configures a program, the container or the account (`PATH`, `LANG`, `XDG_RUNTIME_DIR`, an application's own) is not here: it is
//! copied. The guide has the same list (docs/guide-once.md, "Its environment").

use std::ffi::OsStr;

/// The shell that Sally was started from.
const SHELL: &[&str] = &[
    "SHLVL",     // how deep: bash reads ~/.bashrc for the command of a login by ssh only where it is the first
    "OLDPWD",    // where that shell was before: `cd -` would go there
    "_",         // the program that it ran last: Sally
    "SHELLOPTS", // its switches, which every bash below it takes over (`set -x`)
    "BASHOPTS",  // likewise
];

/// The terminal that Sally was started on: the visitor's is another, or there is none.
const TERMINAL: &[&str] = &[
    "TERM",            // its type: the visitor's client says its own
    "TERMCAP",         // the same in full
    "COLORTERM",       // its colours
    "COLORFGBG",       // likewise
    "COLUMNS",         // its size: programs take it for theirs, and don't ask the terminal
    "LINES",           // likewise
    "GPG_TTY",         // its device: gpg would ask for a passphrase there
    "TERM_PROGRAM*",   // the program that draws it: others send it sequences that the visitor's may not know
    "TERM_SESSION_ID", // its window or tab in such a program
    "LC_TERMINAL*",    // iTerm2's name, under a name that sshd lets through
    "VTE_VERSION",     // as TERM_PROGRAM, each under a name of its own
    "XTERM_VERSION",
    "KONSOLE_*",
    "ITERM_*",
    "KITTY_*",
    "ALACRITTY_*",
    "WEZTERM_*",
    "GHOSTTY_*",
    "GNOME_TERMINAL_*",
    "TERMINATOR_UUID",
    "TILIX_ID",
    "WT_SESSION",
    "WT_PROFILE_ID",
    "VSCODE_*",
    "WINDOWID", // its window on the starter's screen
    "TMUX",     // a terminal in tmux: tmux would not start in it, and speaks to the starter's server
    "TMUX_PANE",
    "STY",          // the same of screen
    "ZELLIJ*",      // of zellij
    "NVIM",         // of neovim: the socket of that editor
    "INSIDE_EMACS", // of Emacs
];

/// The login that Sally was started in, and what it leads to: the starter's agent, display, desktop.
const LOGIN: &[&str] = &[
    "SSH_CLIENT", // where the starter came from: the visitor's own is set
    "SSH_CONNECTION",
    "SSH_TTY",
    "SSH_ORIGINAL_COMMAND", // what the starter had asked for: a script of command= would obey it
    "SSH_USER_AUTH",        // the file that says how the starter was let in
    "SSH_TUNNEL",           // the starter's tun device
    "SSH_AUTH_SOCK",        // the starter's agent: --allow agent-forward is about the visitor's
    "SSH_AGENT_PID",
    "DISPLAY", // the starter's screen
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_SESSION_*", // the login as systemd counts it
    "XDG_SEAT",
    "XDG_VTNR",
    "XDG_CURRENT_DESKTOP",
    "DESKTOP_SESSION",
    "SESSION_MANAGER",
    "DBUS_SESSION_BUS_ADDRESS", // the programs of that desktop, its keyring among them
    "MAIL",                     // the starter's mailbox: a shell watches it
    "SUDO_*",                   // who became this account, and by which command
    "DOAS_USER",
];

/// The supervisor that started Sally, and speaks to Sally alone through these (systemd.exec(5), sd_notify(3), sd_listen_fds(3)).
const SUPERVISOR: &[&str] = &[
    "NOTIFY_SOCKET", // whoever has it speaks for Sally's unit
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS", // descriptors that a session doesn't inherit
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "INVOCATION_ID", // that unit's start
    "SYSTEMD_EXEC_PID",
    "MAINPID",
    "MANAGERPID",
    "JOURNAL_STREAM",        // Sally's stderr, not the session's
    "MEMORY_PRESSURE_*",     // Sally's own control group
    "CREDENTIALS_DIRECTORY", // Sally's own secrets
];

/// Whether a variable stays behind.
pub(super) fn tells_of_starter(name: &OsStr) -> bool {
    [SHELL, TERMINAL, LOGIN, SUPERVISOR].iter().any(|list| list.iter().any(|pattern| super::matches(pattern, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_the_same_list() {
        let guide = include_str!("../../../../../docs/guide-once.md");
        let (_, section) = guide.split_once("### Its environment").unwrap();
        let section = section.split("\n## ").next().unwrap();
        for name in [SHELL, TERMINAL, LOGIN, SUPERVISOR].concat() {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }
}
