//! `sally relay --config FILE`: reads options from a TOML file. They become arguments before the typed ones, so that a file can express
//! what a command line can and nothing else.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{ArgAction, CommandFactory};
use sally_proto::error::Fault;
use toml::{Table, Value};

use super::Cli;

const COMMAND: &str = "relay";
const OPTION: &str = "config";

/// Returns the command line with the options of its file, if it names one. A typed option replaces the file's.
///
/// # Errors
/// [`Fault::Options`].
pub fn expand(mut arguments: Vec<OsString>) -> Result<Vec<OsString>, Fault> {
    let Some(at) = command(&arguments) else { return Ok(arguments) };
    let typed = arguments.get(at..).unwrap_or_default();
    let Some(file) = value(typed, OPTION).map(OsStr::to_owned) else { return Ok(arguments) };
    let words = read(Path::new(&file), |name| arguments.iter().skip(1).any(|word| after(word, name).is_some()))?;
    arguments.splice(at..at, words);
    Ok(arguments)
}

/// Returns where the arguments after `relay` begin: only global options stand before it.
fn command(arguments: &[OsString]) -> Option<usize> {
    let mut words = arguments.iter().enumerate().skip(1);
    while let Some((at, word)) = words.next() {
        match word.to_str()? {
            COMMAND => return Some(at + 1),
            "--log-format" => drop(words.next()),
            option if option.starts_with('-') => {}
            _ => return None,
        }
    }
    None
}

/// Returns what follows an option's name in a word, `=` included; `None` for another word.
fn after<'a>(word: &'a OsStr, name: &str) -> Option<&'a str> {
    let rest = word.to_str()?.strip_prefix("--")?.strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with('=')).then_some(rest)
}

fn value<'a>(typed: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let at = typed.iter().position(|word| after(word, name).is_some())?;
    match after(typed.get(at)?, name)?.strip_prefix('=') {
        Some(value) => Some(OsStr::new(value)),
        None => typed.get(at + 1).map(OsString::as_os_str),
    }
}

fn read(file: &Path, typed: impl Fn(&str) -> bool) -> Result<Vec<OsString>, Fault> {
    let fault = |reason: String| Fault::Options { file: file.display().to_string(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| fault(crate::term::reason(&error)))?;
    let table: Table = toml::from_str(&text).map_err(|error: toml::de::Error| fault(error.message().to_owned()))?;
    let mut cli = Cli::command();
    cli.build();
    let relay = cli.find_subcommand(COMMAND).ok_or_else(|| fault("there is no relay".into()))?;
    let mut words = Vec::new();
    for (name, value) in &table {
        let option =
            relay.get_arguments().find(|option| option.get_long() == Some(name.as_str()) && !matches!(name.as_str(), OPTION | "help"));
        let option = option.ok_or_else(|| fault(format!("{} is not an option of sally relay", crate::term::one_line(name))))?;
        let said = said(name, option.get_action(), value).ok_or_else(|| fault(format!("{name}: {}", wanted(option.get_action()))))?;
        if !typed(name) {
            words.extend(said);
        }
    }
    Ok(words)
}

/// Returns the arguments for an option's value; `None` if the option doesn't take a value of this kind.
fn said(name: &str, action: &ArgAction, value: &Value) -> Option<Vec<OsString>> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(format!("--{name}={text}").into()),
        Value::Integer(number) => Some(format!("--{name}={number}").into()),
        _ => None,
    };
    match (action, value) {
        (ArgAction::SetTrue, Value::Boolean(said)) => Some(said.then(|| format!("--{name}").into()).into_iter().collect()),
        (ArgAction::Count, Value::Integer(times @ 0..=9)) => Some((0..*times).map(|_| format!("--{name}").into()).collect()),
        (ArgAction::Append, Value::Array(values)) => values.iter().map(word).collect(),
        (ArgAction::Append | ArgAction::Set, value) => Some(vec![word(value)?]),
        _ => None,
    }
}

fn wanted(action: &ArgAction) -> &'static str {
    match action {
        ArgAction::SetTrue => "expected true or false",
        ArgAction::Count => "expected a number from 0 to 9",
        ArgAction::Append => "expected a string, or a list of strings",
        _ => "expected a string or a number",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, RelayArgs};
    use super::*;

    fn parse(file: &str, line: &str) -> Result<RelayArgs, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.toml");
        std::fs::write(&path, file).unwrap();
        let line = line.replace("FILE", path.to_str().unwrap());
        let words =
            expand(line.split(' ').map(Into::into).collect()).map_err(|fault| fault.to_string().replace(path.to_str().unwrap(), "FILE"))?;
        match Cli::parse_line(words.into_iter()).map_err(|error| error.to_string())?.command {
            Command::Relay(relay) => Ok(*relay),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_says_what_a_command_line_can() {
        let file = "visitors = [\"v1\", \"v2\"]\ndevices = \"d\"\nlisten = 2022\ndrain = \"5m\"\npq-only = true\naudit-may-fail = false\n\
            alive-count = 7\nlog-format = \"json\"\n";
        for line in ["sally relay --config FILE", "sally -v --log-format text relay --config=FILE"] {
            let relay = parse(file, line).unwrap();
            assert_eq!((relay.visitors, relay.devices), (vec!["v1".into(), "v2".into()], vec!["d".into()]));
            assert_eq!((relay.listen, relay.server.drain.as_secs()), ((None, 2022), 300));
            assert_eq!((relay.connection.pq_only, relay.server.audit_may_fail, relay.server.alive_count), (true, false, 7));
        }
    }

    #[test]
    fn what_is_typed_counts() {
        let file = "visitors = [\"v1\", \"v2\"]\ndevices = \"d\"\nlisten = 2022\n";
        let relay = parse(file, "sally relay --listen 1.2.3.4:7 --visitors=other --config FILE --visitors more").unwrap();
        assert_eq!(relay.visitors, ["other", "more"].map(std::path::PathBuf::from));
        assert_eq!((relay.devices.len(), relay.listen.1), (1, 7));
    }

    #[test]
    fn a_word_or_value_that_makes_no_sense_is_refused() {
        for (file, said) in [
            ("visitor = \"v\"", "Invalid options: FILE: visitor is not an option of sally relay"),
            ("config = \"other\"", "Invalid options: FILE: config is not an option of sally relay"),
            ("help = true", "Invalid options: FILE: help is not an option of sally relay"),
            ("pq-only = \"yes\"", "Invalid options: FILE: pq-only: expected true or false"),
            ("listen = [1, 2]", "Invalid options: FILE: listen: expected a string or a number"),
            ("[visitors]\na = 1", "Invalid options: FILE: visitors: expected a string, or a list of strings"),
        ] {
            assert_eq!(parse(file, "sally relay --config FILE").unwrap_err(), said);
        }
        assert!(parse("listen =", "sally relay --config FILE").unwrap_err().starts_with("Invalid options: FILE: "));
        assert!(parse("", "sally relay --config nowhere").unwrap_err().starts_with("Invalid options: nowhere: "));
        assert!(parse("drain = \"soon\"\ndevices = \"d\"", "sally relay --config FILE").unwrap_err().contains("--drain"));
    }

    #[test]
    fn another_command_is_left_alone() {
        for line in ["sally once --authorized-keys relay --config x", "sally ssh --config c relay", "sally"] {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            assert_eq!(expand(words.clone()).unwrap(), words);
        }
    }
}
