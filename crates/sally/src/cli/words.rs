//! What a command line is before it is parsed: that of an otssh is made ours, and words of OpenSSH's clients are marked as theirs.

use std::ffi::OsString;
use std::path::PathBuf;

/// The name under which the binary is a drop-in for otssh.
const OTSSH: &str = "otssh";
/// otssh's flags, which take one dash or two.
const OTSSH_FLAGS: [&str; 5] = ["port", "log", "announce", "authorized-keys", "timeout"];

/// Turns `otssh -port=2022 …` into `sally once --port=2022 …`; any other command line stays as it is.
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

/// Subcommands whose words are those of a program of OpenSSH's, but for the options of ours that stand before them.
const CLIENTS: [&str; 3] = ["ssh", "scp", "sftp"];
/// Those options; each takes a word.
const BEFORE_CLIENTS_WORDS: [&str; 3] = ["--relay", "--config", "--wait"];

/// Marks where OpenSSH's words begin in `sally ssh …`, since `-v` and many others of ssh's would be taken for ours.
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
