//! Prepares a command line for the parser: translates otssh's flags into Sally's, and marks where the arguments of OpenSSH's clients begin.

use std::ffi::OsString;
use std::path::PathBuf;

/// The name under which the binary accepts otssh's command line.
const OTSSH: &str = "otssh";
/// otssh's flags, which take one dash or two.
const OTSSH_FLAGS: [&str; 5] = ["port", "log", "announce", "authorized-keys", "timeout"];

/// Translates `otssh -port=2022 …` into `sally once --port=2022 …`; any other command line stays as it is.
pub(super) fn as_sally(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let program = arguments.first().map(PathBuf::from).unwrap_or_default();
    if program.file_name().is_none_or(|name| name != OTSSH) {
        return arguments;
    }
    for argument in arguments.iter_mut().skip(1) {
        let Some(flag) = argument.to_str().and_then(|text| text.strip_prefix('-')) else { continue };
        let name = flag.split('=').next().unwrap_or_default();
        if OTSSH_FLAGS.contains(&name) {
            *argument = format!("--{flag}").into();
        }
    }
    arguments.insert(1, "once".into());
    arguments
}

/// The subcommands that pass their arguments to an OpenSSH program, after options of Sally's.
const CLIENTS: [&str; 3] = ["ssh", "scp", "sftp"];
/// The options of Sally's before them; each takes one value.
const BEFORE_CLIENTS_WORDS: [&str; 3] = ["--relay", "--config", "--wait"];

/// Inserts `--` where OpenSSH's arguments begin in `sally ssh …`: clap would take `-v` and other options of ssh for Sally's.
pub(super) fn clients_own(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let word = |at: usize| arguments.get(at).and_then(|argument| argument.to_str()).unwrap_or_default();
    if !CLIENTS.contains(&word(1)) || ["--help", "-h"].contains(&word(2)) {
        return arguments;
    }
    let mut at = 2;
    while let Some(rest) = BEFORE_CLIENTS_WORDS.iter().find_map(|option| word(at).strip_prefix(option)) {
        at += match rest.chars().next() {
            None => 2,
            Some('=') => 1,
            Some(_) => break,
        };
    }
    if at <= arguments.len() {
        arguments.insert(at, "--".into());
    }
    arguments
}
