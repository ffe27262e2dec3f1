//! The catalogue of everything that can stop Sally: what a person reads, what caused it, what to do, and the exit status.
//!
//! The first words of each are part of the contract (docs/errors.md holds the same table, and a test keeps the two alike).

use std::fmt;

/// Exit statuses, stable for scripts; a session's own status is passed through as it is.
pub mod exit {
    /// The arguments were refused.
    pub const USAGE: u8 = 2;
    /// `EX_UNAVAILABLE`: a port could not be bound, or there is no connection to serve.
    pub const BIND: u8 = 69;
    /// `EX_SOFTWARE`: a defect of ours, or of the machine.
    pub const INTERNAL: u8 = 70;
    /// `EX_CANTCREAT`: a file could not be written, or is there already.
    pub const CANT_CREATE: u8 = 73;
    /// `EX_IOERR`: the record could not be written.
    pub const RECORD: u8 = 74;
    /// `EX_TEMPFAIL`: the announce command failed.
    pub const ANNOUNCE: u8 = 75;
    /// `EX_CONFIG`: no usable authorized keys, or no usable announce command.
    pub const CONFIG: u8 = 78;
    /// The visitor was idle for longer than allowed (as timeout(1)).
    pub const IDLE: u8 = 124;
    /// The visit lasted longer than allowed.
    pub const MAX_DURATION: u8 = 125;
    /// Added to the number of the signal that ended a session or Sally itself, as a shell does.
    pub const SIGNALLED: u8 = 128;
    /// The connection broke (as ssh(1)).
    pub const CONNECTION: u8 = 255;
}

/// Why a source of authorized keys can't be used. `Display` completes the sentence `authorized keys invalid: SOURCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyDefect {
    /// There is no such file.
    Missing,
    /// The file is there and can't be read; the reason follows.
    Unreadable(String),
    /// A line can't be accepted: its number (from 1) and the reason.
    Unparseable {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing but blank lines and comments.
    Empty,
    /// Keys of types that aren't supported, and no other: the first one's line (from 1) and the reason.
    Unsupported {
        /// Number of the line, from 1.
        line: usize,
        /// Which type it is.
        reason: String,
    },
    /// The keys could not be fetched; the reason follows.
    Unfetched(String),
}

impl fmt::Display for KeyDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist."),
            Self::Unreadable(reason) => write!(f, "is not readable. ({reason})"),
            Self::Unparseable { line, reason } => write!(f, "contains unparseable data. (line {line}: {reason})"),
            Self::Empty => f.write_str("contained no keys."),
            Self::Unsupported { line, reason } => write!(f, "contained no keys. (line {line}: {reason})"),
            Self::Unfetched(reason) => write!(f, "could not be fetched. ({reason})"),
        }
    }
}

/// Everything that ends Sally with a status other than a session's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A key source fails: nothing starts.
    #[error("authorized keys invalid: {source_name} {defect}")]
    KeysInvalid {
        /// The file, URL or variable, as the user named it.
        source_name: String,
        /// What is wrong with it.
        defect: KeyDefect,
    },
    /// No key source was named at all.
    #[error("authorized keys invalid: no source of keys was given.")]
    KeysUnnamed,
    /// The host key of the user's own can't be used.
    #[error("Invalid host key: {file} ({reason})")]
    HostKeyInvalid {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The same, of which ssh-keygen makes one that can.
    #[error("Invalid host key: {file} (it is in PEM, not in OpenSSH's own format)")]
    HostKeyPem {
        /// The file as named.
        file: String,
    },
    /// A certificate for a host key can't be used.
    #[error("Invalid host certificate: {file} ({reason})")]
    HostCertificateInvalid {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What is to be shown before authentication can't be.
    #[error("Invalid banner: {file} ({reason})")]
    BannerInvalid {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The list of revoked keys can't be relied on.
    #[error("Invalid list of revoked keys: {file} ({reason})")]
    RevokedKeysInvalid {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The announce command is not found or not executable.
    #[error("Invalid announce command: {command} ({reason})")]
    AnnounceInvalid {
        /// The command as named.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The announce command ended non-zero, was killed, or took too long.
    #[error("Announce failed: {status} {stderr}")]
    AnnounceFailed {
        /// Its exit status, 128+n for a signal, 124 for too long.
        status: u8,
        /// The last of what it wrote to stderr, made printable.
        stderr: String,
    },
    /// The listening socket could not be had.
    #[error("Could not bind to port {port}: {reason}")]
    Bind {
        /// The port asked for.
        port: u16,
        /// The system's reason.
        reason: String,
    },
    /// Standard input and output are no connection.
    #[error("Could not serve stdin and stdout: {0}")]
    Inetd(String),
    /// The visitor's side vanished.
    #[error("Connection closed unexpectedly")]
    ConnectionLost,
    /// The record can't be written: nothing goes on unrecorded.
    #[error("Could not write to log file {file}: {reason}")]
    Record {
        /// The file as named, `stdout` for none.
        file: String,
        /// The system's reason.
        reason: String,
    },
    /// A name on a relay can't be had, or is lost.
    #[error("Could not hold a name on relay {relay}: {reason}")]
    Relay {
        /// The relay as named.
        relay: String,
        /// Its words, or the system's.
        reason: String,
    },
    /// The certificate or key of a server's TLS can't be used.
    #[error("Invalid TLS certificate or key: {file} ({reason})")]
    TlsInvalid {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of options can't be used.
    #[error("Invalid options: {file}: {reason}")]
    Options {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The audit log can't be opened.
    #[error("Could not open audit log {file}: {reason}")]
    Audit {
        /// The file as named.
        file: String,
        /// The system's reason.
        reason: String,
    },
    /// A file of a fleet is missing, damaged, or of another version.
    #[error("Invalid fleet: {file} ({reason})")]
    FleetInvalid {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A relay's folder holds a private key that it may not have.
    #[error("A relay may not have this private key: {file}")]
    AuthorityExposed {
        /// The file.
        file: String,
    },
    /// One authority would certify for two roles.
    #[error("One authority has two roles: {key} is in {one} and in {other}")]
    TwoRoles {
        /// Its fingerprint.
        key: String,
        /// The one file.
        one: String,
        /// The other.
        other: String,
    },
    /// Nobody of that name, or number, was certified.
    #[error("Not in the fleet: {name}")]
    NotInFleet {
        /// As named.
        name: String,
    },
    /// What was to be made is there already.
    #[error("Already there: {file}")]
    Exists {
        /// The file or the name.
        file: String,
    },
    /// A file can't be written.
    #[error("Could not create {file}: {reason}")]
    Unwritable {
        /// The file.
        file: String,
        /// The system's reason.
        reason: String,
    },
    /// The state directory can't be used.
    #[error("Invalid state directory: {directory} ({reason})")]
    State {
        /// The directory as named.
        directory: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Arguments that make sense to the parser and not together.
    #[error("{0}")]
    Usage(String),
    /// The visitor was idle too long.
    #[error("The visit ended: idle for {0} s")]
    Idle(u64),
    /// The visit took too long.
    #[error("The visit ended: it lasted {0} s, the longest allowed")]
    MaxDuration(u64),
    /// Sally was told to stop.
    #[error("Stopped by signal {0}")]
    Signalled(u8),
    /// The visitor came in and opened nothing.
    #[error("The visit ended: no session was opened within {0} s")]
    NoSession(u64),
    /// A file of settings can't be used.
    #[error("Invalid settings: {file}: {reason}")]
    Settings {
        /// The file or variable.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A visit through a relay, and no relay.
    #[error("No relay is named")]
    NoRelay,
    /// The account that sessions are to run as can't be had.
    #[error("Invalid account: {user} ({reason})")]
    AccountInvalid {
        /// Its name or number, as named.
        user: String,
        /// What is wrong with it, or the system's reason.
        reason: String,
    },
    /// The shell that a session runs through can't be started.
    #[error("Could not start shell {shell}: {reason}")]
    Shell {
        /// Its path.
        shell: String,
        /// The system's reason.
        reason: String,
    },
    /// One of OpenSSH's programs can't be started.
    #[error("Could not start {program}: {reason}")]
    Client {
        /// Its name.
        program: String,
        /// The system's reason.
        reason: String,
    },
    /// A defect of ours, or of the machine.
    #[error("Internal error: {0}")]
    Internal(String),
}

impl Fault {
    /// The exit status: stable, listed in docs/errors.md.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::KeysInvalid { .. }
            | Self::KeysUnnamed
            | Self::HostKeyInvalid { .. }
            | Self::HostKeyPem { .. }
            | Self::HostCertificateInvalid { .. }
            | Self::BannerInvalid { .. }
            | Self::RevokedKeysInvalid { .. }
            | Self::AnnounceInvalid { .. }
            | Self::TlsInvalid { .. }
            | Self::Options { .. }
            | Self::State { .. } => exit::CONFIG,
            Self::FleetInvalid { .. } | Self::AuthorityExposed { .. } | Self::TwoRoles { .. } | Self::NotInFleet { .. } => exit::CONFIG,
            Self::Exists { .. } | Self::Unwritable { .. } => exit::CANT_CREATE,
            Self::Settings { .. } | Self::NoRelay | Self::Client { .. } | Self::Shell { .. } | Self::AccountInvalid { .. } => exit::CONFIG,
            Self::AnnounceFailed { .. } => exit::ANNOUNCE,
            Self::Bind { .. } | Self::Relay { .. } | Self::Inetd(_) => exit::BIND,
            Self::ConnectionLost | Self::NoSession(_) => exit::CONNECTION,
            Self::Record { .. } | Self::Audit { .. } => exit::RECORD,
            Self::Usage(_) => exit::USAGE,
            Self::Idle(_) => exit::IDLE,
            Self::MaxDuration(_) => exit::MAX_DURATION,
            Self::Signalled(signal) => exit::SIGNALLED.saturating_add(*signal),
            Self::Internal(_) => exit::INTERNAL,
        }
    }

    /// What the reader can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::KeysInvalid { defect, .. } => Some(match defect {
                KeyDefect::Missing => "name a file in the format of ~/.ssh/authorized_keys, or - for stdin",
                KeyDefect::Unreadable(_) => "check the file's owner and mode",
                KeyDefect::Unparseable { .. } => "mend or remove that line: a key file is taken whole or not at all",
                KeyDefect::Empty | KeyDefect::Unsupported { .. } => "add a public key, as in ~/.ssh/id_ed25519.pub",
                KeyDefect::Unfetched(_) => "keys come over https from a server that answers 200, bare keys only",
            }),
            Self::KeysUnnamed => Some("say --authorized-keys FILE, --github USER, or set AUTHORIZED_KEYS"),
            Self::HostKeyInvalid { .. } => Some("make one with: ssh-keygen -t ed25519 -N '' -f FILE"),
            Self::HostKeyPem { .. } => Some("convert it, where it lies, with: ssh-keygen -p -N '' -f FILE"),
            Self::HostCertificateInvalid { .. } => Some("make one with: ssh-keygen -s CA -h -I NAME -n HOSTNAME,... FILE.pub"),
            Self::BannerInvalid { .. } => Some("name a file of UTF-8 text, 64 KiB at most"),
            Self::RevokedKeysInvalid { .. } => {
                Some("make one with: ssh-keygen -k -f FILE KEY.pub...; or name a file of public keys, one a line")
            }
            Self::AnnounceInvalid { .. } => Some("name one executable file; it is run without a shell"),
            Self::AnnounceFailed { .. } => Some("it gets the host key as its one argument and 30 s to exit with 0"),
            Self::Bind { .. } => Some("choose another: --port with once, --listen with relay and jail; 0 is any that is free"),
            Self::Inetd(_) => Some("--inetd serves a socket or two pipes that somebody else has put there"),
            Self::Record { .. } => Some("nothing runs unrecorded: free some space, or name a new file"),
            Self::Relay { .. } => Some(
                "its host key has to be in known_hosts, or said with --relay-host-key; its --devices need the key of --identity, with no \
                 permitlisten= but for --name",
            ),
            Self::TlsInvalid { .. } => {
                Some("--http-cert takes a certificate and those that vouch for it, --http-key its private key, both PEM")
            }
            Self::Options { .. } => {
                Some("the words are the long options of sally relay, as listen = 2222, visitors = [\"FILE\"], pq-only = true")
            }
            Self::Audit { .. } => Some("name a new file, or one of your own that nobody else may write to, or - for stdout"),
            Self::State { .. } => Some("name a folder of your own: the host key lies there, mode 0600"),
            Self::FleetInvalid { .. } => Some(
                "fleet init makes a fleet, of which a relay has its relay folder whole; fleet add makes an agent's folder; a visitor has a .pub file",
            ),
            Self::AuthorityExposed { .. } => Some("keep FLEET/ca away from relays; if it was on one, make a new fleet"),
            Self::TwoRoles { .. } => Some("a certificate would be good for both: make each authority's key anew"),
            Self::NotInFleet { .. } => Some("sally fleet list FLEET says who is"),
            Self::Exists { .. } => Some("nothing is overwritten: name another, or say --replace for a device's new bundle"),
            Self::Unwritable { .. } => Some("check the folder's owner and mode, and that there is space"),
            Self::Settings { .. } => Some("settings are relay, identity and known_hosts, each with a text as its value"),
            Self::NoRelay => {
                Some("say --relay HOST[:PORT], set SALLY_RELAY, or write relay = \"HOST:PORT\" into ~/.config/sally/config.toml")
            }
            Self::AccountInvalid { .. } => {
                Some("name one of /etc/passwd, or a number; only root can run sessions as another account than its own")
            }
            Self::Shell { .. } => {
                Some("$SHELL says which, else /etc/passwd: it has to be there, with room for one more process and its descriptors")
            }
            Self::Client { .. } => Some("it is part of OpenSSH's client: install openssh-client"),
            Self::Internal(_) => Some("run again with -v, and report it with what it prints"),
            Self::ConnectionLost | Self::Usage(_) | Self::Idle(_) | Self::MaxDuration(_) | Self::Signalled(_) | Self::NoSession(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
