//! Builds the command line that the system's OpenSSH is started with: the visitor's own arguments, after options of Sally's.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sally_proto::error::Fault;

use super::destination::OpenSshProgram;
use super::settings::ClientSettings;
use crate::term;

/// Returns Sally's own executable, which ssh calls back.
fn ourselves() -> Result<PathBuf, Fault> {
    std::env::current_exe().map_err(|error| Fault::Internal(term::reason(&error)))
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Doubles the percent signs, which ssh would expand in an option's value.
fn literal(word: &str) -> String {
    word.replace('%', "%%")
}

fn text(path: &Path) -> Result<&str, Fault> {
    path.to_str().ok_or_else(|| Fault::Usage(format!("{} is not UTF-8", path.display())))
}

/// Returns the options that name trusted host keys. KnownHostsCommand (OpenSSH 8.5) adds to the user's own files.
pub(super) fn known_hosts_options(settings: &ClientSettings) -> Result<Vec<String>, Fault> {
    let Some(file) = &settings.known_hosts else { return Ok(Vec::new()) };
    let sally = ourselves()?;
    // ssh's quoting, not a shell's: a backslash and a double quote are special.
    let quote = |word: &str| format!("\"{}\"", literal(word).replace('\\', r"\\").replace('"', "\\\""));
    Ok(vec!["-o".into(), format!("KnownHostsCommand={} known-hosts {}", quote(text(&sally)?), quote(text(file)?))])
}

/// Returns the options for the key, if the settings name one.
pub(super) fn identity_options(settings: &ClientSettings) -> Vec<OsString> {
    settings.identity.iter().flat_map(|file| ["-i".into(), file.clone().into_os_string()]).collect()
}

/// Replaces this process by ssh, scp or sftp: returns only on failure.
///
/// # Errors
/// A faulty host name, or a program that can't be started.
pub fn become_client(program: OpenSshProgram, settings: &ClientSettings, words: Vec<OsString>) -> Fault {
    match command(program, settings, words) {
        Ok(mut command) => {
            let error = command.exec();
            Fault::Client { program: program.name().into(), reason: term::reason(&error) }
        }
        Err(fault) => fault,
    }
}

fn command(program: OpenSshProgram, settings: &ClientSettings, words: Vec<OsString>) -> Result<Command, Fault> {
    let readable: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(word) = program.first_unfit(&readable) {
        return Err(Fault::Usage(format!("'{}' is not a host name", word.escape_default())));
    }
    let mut command = Command::new(program.name());
    command.arg("-o").arg(format!("ProxyCommand={}", proxy_command(settings, program.config_file(&readable))?));
    command.args(known_hosts_options(settings)?).args(identity_options(settings)).args(words);
    Ok(command)
}

fn proxy_command(settings: &ClientSettings, ssh_config: Option<&str>) -> Result<String, Fault> {
    let sally = ourselves()?;
    // ssh puts `exec` before the command.
    let mut words = vec![quoted(&literal(text(&sally)?)), "proxy".into(), "--relay".into(), quoted(&settings.relay.to_string())];
    if let Some(config) = &settings.config {
        words.extend(["--config".into(), quoted(&literal(text(config)?))]);
    }
    if let Some(wait) = settings.wait {
        words.extend(["--wait".into(), wait.as_secs().to_string()]);
    }
    if let Some(file) = ssh_config {
        words.extend(["--ssh-config".into(), quoted(&literal(file))]);
    }
    words.extend(["--".into(), "'%h'".into(), "'%p'".into()]);
    Ok(words.join(" "))
}

/// Returns the command for ssh to the relay itself, whose console answers.
pub(super) fn to_relay(settings: &ClientSettings, ssh_config: Option<&Path>) -> Result<Command, Fault> {
    let mut command = Command::new(OpenSshProgram::Ssh.name());
    if let Some(file) = ssh_config {
        command.arg("-F").arg(file);
    }
    command.args(known_hosts_options(settings)?).args(identity_options(settings));
    if let Some(port) = settings.relay.port() {
        command.args(["-p", &port.to_string()]);
    }
    Ok(command)
}

/// Replaces this process by `ssh RELAY devices`: returns only on failure.
///
/// # Errors
/// A program that can't be started.
pub fn become_console(settings: &ClientSettings, words: &[&str]) -> Fault {
    match to_relay(settings, None) {
        Ok(mut command) => {
            let error = command.args(["-T", "--"]).arg(settings.relay.destination()).args(words).exec();
            Fault::Client { program: OpenSshProgram::Ssh.name().into(), reason: term::reason(&error) }
        }
        Err(fault) => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ClientSettings {
        ClientSettings {
            relay: "alice@relay:2222".parse().unwrap(),
            identity: Some("/k".into()),
            known_hosts: None,
            config: Some("/c%d/it's".into()),
            wait: None,
        }
    }

    #[test]
    fn the_visitors_words_come_last_and_unchanged() {
        let words: Vec<OsString> = ["-F", "f", "-L", "8080:x:80", "cam-17", "--", "echo", "$HOME"].map(Into::into).to_vec();
        let command = command(OpenSshProgram::Ssh, &settings(), words.clone()).unwrap();
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        assert!(args.ends_with(&words));
        let proxy = args.get(1).unwrap().to_str().unwrap();
        assert!(proxy.ends_with(r"proxy --relay 'alice@relay:2222' --config '/c%%d/it'\''s' --ssh-config 'f' -- '%h' '%p'"), "{proxy}");
    }

    #[test]
    fn a_name_for_a_shell_goes_nowhere() {
        let refused = command(OpenSshProgram::Ssh, &settings(), vec!["$(id)".into()]);
        assert!(matches!(refused, Err(Fault::Usage(_))));
    }
}
