//! Reads the settings (relay, key, known hosts): `config.toml`, overridden by `$SALLY_RELAY`, overridden by `--relay`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sally_proto::error::Fault;
use sally_proto::host_port::HostPort;
use serde::Deserialize;

/// A relay as ssh takes it: a host or an alias in `~/.ssh/config`, with an optional user and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayDestination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl RelayDestination {
    /// Returns `[user@]host`, as ssh's destination.
    pub fn destination(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        }
    }

    /// Returns the host or alias.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the user, if named.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the port, if named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for RelayDestination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{}' is not [USER@]HOST[:PORT]", text.escape_default());
        let (user, address) = match text.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, text),
        };
        let plain =
            |user: &str| !user.is_empty() && !user.starts_with('-') && user.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if user.is_some_and(|user| !plain(user)) {
            return Err(wrong());
        }
        let user = user.map(str::to_owned);
        if let Ok(named) = address.parse::<HostPort>() {
            return Ok(Self { user, host: named.host().into(), port: Some(named.port()) });
        }
        // An alias of ssh_config is matched as typed.
        format!("{address}:22").parse::<HostPort>().map_err(|_| wrong())?;
        Ok(Self { user, host: address.trim_matches(['[', ']']).into(), port: None })
    }
}

impl std::fmt::Display for RelayDestination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// The content of the file. Unknown keys are errors.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    relay: Option<String>,
    identity: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
}

/// The three places that may name a relay, and the folders of files.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--relay`.
    pub relay: Option<RelayDestination>,
    /// `$SALLY_RELAY`.
    pub variable: Option<OsString>,
    /// `--config`, which must exist if it is named.
    pub config: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

/// The resolved settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// The relay.
    pub relay: RelayDestination,
    /// The private key's file; if `None`, ssh chooses.
    pub identity: Option<PathBuf>,
    /// The file of the relay's and its devices' host keys, in known_hosts format: the output of `sally fleet visitor add`.
    pub known_hosts: Option<PathBuf>,
    /// The settings file that was read.
    pub config: Option<PathBuf>,
    /// The time to wait for a device that is offline.
    pub wait: Option<std::time::Duration>,
}

impl Given {
    /// Reads the file, and resolves the settings.
    ///
    /// # Errors
    /// [`Fault::Settings`] for a file that can't be read or has an unknown key; [`Fault::NoRelay`].
    pub fn resolve(&self) -> Result<ClientSettings, Fault> {
        let folder = match &self.config {
            Some(file) => file.parent().map(Path::to_owned),
            None => self.default_folder(),
        };
        let config = self.config.clone().or_else(|| Some(folder.as_ref()?.join("config.toml")).filter(|file| file.exists()));
        let file = config.as_deref().map(read).transpose()?.unwrap_or_default();
        let settings =
            |reason| Fault::Settings { file: config.as_deref().unwrap_or(Path::new("config.toml")).display().to_string(), reason };
        let variable = match self.variable.as_ref().filter(|value| !value.is_empty()) {
            Some(value) => {
                let parsed = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(str::parse);
                Some(parsed.map_err(|reason| Fault::Settings { file: "$SALLY_RELAY".into(), reason })?)
            }
            None => None,
        };
        let of_file = file.relay.as_deref().map(str::parse).transpose().map_err(settings)?;
        let relay = self.relay.clone().or(variable).or(of_file).ok_or(Fault::NoRelay)?;
        let beside = || Some(folder?.join("known_hosts")).filter(|file| file.exists());
        Ok(ClientSettings {
            relay,
            identity: file.identity.map(|path| self.at_home(path)),
            known_hosts: file.known_hosts.map(|path| self.at_home(path)).or_else(beside),
            config,
            wait: None,
        })
    }

    fn default_folder(&self) -> Option<PathBuf> {
        let base = self.config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")))?;
        Some(base.join("sally"))
    }

    /// Replaces a leading `~` by the home folder.
    fn at_home(&self, path: PathBuf) -> PathBuf {
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        }
    }
}

fn read(file: &Path) -> Result<SettingsFile, Fault> {
    let fault = |reason: String| Fault::Settings { file: file.display().to_string(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| fault(crate::term::reason(&error)))?;
    toml::from_str(&text).map_err(|error| fault(error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_as_ssh_takes_it() {
        for (text, destination, port) in [
            ("relay", "relay", None),
            ("relay.example.com:2222", "relay.example.com", Some(2222)),
            ("alice@relay:22", "alice@relay", Some(22)),
            ("MyAlias", "MyAlias", None),
            ("[2001:db8::7]:2222", "2001:db8::7", Some(2222)),
        ] {
            let relay: RelayDestination = text.parse().unwrap();
            assert_eq!((relay.destination().as_str(), relay.port()), (destination, port));
            assert_eq!(relay.to_string().parse::<RelayDestination>().unwrap(), relay);
        }
        for text in ["", "-oProxyCommand=x", "a b", "re;lay", "@relay", "-x@relay", "relay:0", "relay:99999", "$(id)@relay"] {
            assert!(text.parse::<RelayDestination>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_later_place_is_the_stronger() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "relay = \"file\"\nidentity = \"~/.ssh/alice\"\n").unwrap();
        let mut given = Given { config: Some(config.clone()), home: Some("/home/alice".into()), ..Given::default() };
        let settings = given.resolve().unwrap();
        assert_eq!((settings.relay.host(), settings.identity), ("file", Some("/home/alice/.ssh/alice".into())));
        given.variable = Some("variable".into());
        assert_eq!(given.resolve().unwrap().relay.host(), "variable");
        given.relay = Some("flag".parse().unwrap());
        assert_eq!(given.resolve().unwrap().relay.host(), "flag");
    }

    #[test]
    fn a_word_that_nobody_knows_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "relais = \"x\"\n").unwrap();
        let given = Given { config: Some(config), relay: Some("relay".parse().unwrap()), ..Given::default() };
        assert!(matches!(given.resolve(), Err(Fault::Settings { reason, .. }) if reason.contains("relais")));
    }

    #[test]
    fn without_any_relay_there_is_nowhere_to_go() {
        assert_eq!(Given::default().resolve(), Err(Fault::NoRelay));
    }
}
