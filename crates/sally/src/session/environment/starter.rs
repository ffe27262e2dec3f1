//! Lists the variables that describe how Sally was started, and nothing else. A session has its own shell, terminal and login: the
//! starter's variables would mislead its programs, or lead them into what belongs to the starter.
//!
//! Variables that configure a program, the container or the account (`PATH`, `LANG`, `XDG_RUNTIME_DIR`, an application's own) are not
//! listed, but copied. The guide has the same list (docs/guide-once.md, "Its environment").

use std::ffi::OsStr;

/// The shell that Sally was started from.
const SHELL: &[&str] = &[
    "SHLVL",     // its depth: only at the first level bash reads ~/.bashrc for the command of a login by ssh
    "OLDPWD",    // its previous folder: `cd -` would go there
    "_",         // the program that it ran last: Sally
    "SHELLOPTS", // its options, which every bash below it takes over (`set -x`)
    "BASHOPTS",  // its further options
];

/// The terminal that Sally was started on: a session has another one, or none.
const TERMINAL: &[&str] = &[
    "TERM",            // its type: the client sends its own
    "TERMCAP",         // its type in full
    "COLORTERM",       // its colours
    "COLORFGBG",       // its colours
    "COLUMNS",         // its size: programs take it for theirs, and don't ask the terminal
    "LINES",           // its size
    "GPG_TTY",         // its device: gpg would ask for a passphrase there
    "TERM_PROGRAM*",   // the program that draws it: others send it sequences that the client's may not know
    "TERM_SESSION_ID", // its window or tab in such a program
    "LC_TERMINAL*",    // iTerm2's name, under a name that sshd lets through
    "VTE_VERSION",     // as TERM_PROGRAM, like each of the next
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
    "TMUX",     // the starter's tmux: tmux would not start in it, and speaks to the starter's server
    "TMUX_PANE",
    "STY",          // the starter's screen(1)
    "ZELLIJ*",      // the starter's zellij
    "NVIM",         // the starter's neovim: the socket of that editor
    "INSIDE_EMACS", // the starter's Emacs
];

/// The login that Sally was started in, and what it gives access to: the starter's agent, display and desktop.
const LOGIN: &[&str] = &[
    "SSH_CLIENT", // the starter's address: a session gets its client's
    "SSH_CONNECTION",
    "SSH_TTY",
    "SSH_ORIGINAL_COMMAND", // the command that the starter asked for: a script of command= would obey it
    "SSH_USER_AUTH",        // the file that says how the starter authenticated
    "SSH_TUNNEL",           // the starter's tun device
    "SSH_AUTH_SOCK",        // the starter's agent: --allow agent-forward is about the session's user
    "SSH_AGENT_PID",
    "DISPLAY", // the starter's screen
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_SESSION_*", // the login in systemd's terms
    "XDG_SEAT",
    "XDG_VTNR",
    "XDG_CURRENT_DESKTOP",
    "DESKTOP_SESSION",
    "SESSION_MANAGER",
    "DBUS_SESSION_BUS_ADDRESS", // the programs of that desktop, its keyring among them
    "MAIL",                     // the starter's mailbox: a shell watches it
    "SUDO_*",                   // the user who became this account, and the command
    "DOAS_USER",
];

/// The supervisor that started Sally, and that talks to Sally alone through these variables (systemd.exec(5), sd_notify(3),
/// sd_listen_fds(3)).
const SUPERVISOR: &[&str] = &[
    "NOTIFY_SOCKET", // a process that has it speaks for Sally's unit
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS", // descriptors that a session doesn't inherit
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "INVOCATION_ID", // the unit's start
    "SYSTEMD_EXEC_PID",
    "MAINPID",
    "MANAGERPID",
    "JOURNAL_STREAM",        // Sally's stderr, not the session's
    "MEMORY_PRESSURE_*",     // Sally's own control group
    "CREDENTIALS_DIRECTORY", // Sally's own secrets
];

/// Returns whether a variable describes the starter and is left out.
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
