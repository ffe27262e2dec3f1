//! Lists every error that ends Sally: the sentence that the user reads, the hint, and the exit status.
//!
//! The first words of each sentence are stable. docs/errors.md has the same table; a test compares the two.

mod hint;

use std::fmt;

/// Names the exit statuses, which are stable for scripts. A session's own status is passed through unchanged.
pub mod exit {
    /// The arguments were refused.
    pub const USAGE: u8 = 2;
    /// `EX_UNAVAILABLE`: a port could not be bound, or there is no connection to serve.
    pub const BIND: u8 = 69;
    /// `EX_SOFTWARE`: a defect of Sally or of the machine.
    pub const INTERNAL: u8 = 70;
    /// `EX_CANTCREAT`: a file could not be written, or exists already.
    pub const CANT_CREATE: u8 = 73;
    /// `EX_IOERR`: the record could not be written.
    pub const RECORD: u8 = 74;
    /// `EX_TEMPFAIL`: the announce command failed.
    pub const ANNOUNCE: u8 = 75;
    /// `EX_CONFIG`: no usable authorized keys, or no usable announce command.
    pub const CONFIG: u8 = 78;
    /// The client was idle for longer than allowed (as timeout(1)).
    pub const IDLE: u8 = 124;
    /// The visit lasted longer than allowed.
    pub const MAX_DURATION: u8 = 125;
    /// The base for a signal: its number is added, as a shell does, for a signal that ended a session or Sally itself.
    pub const SIGNALLED: u8 = 128;
    /// The connection broke (as ssh(1)).
    pub const CONNECTION: u8 = 255;
}

/// Says why a source of authorized keys can't be used. `Display` completes the sentence `authorized keys invalid: SOURCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyDefect {
    /// The file doesn't exist.
    Missing,
    /// The file exists and can't be read; holds the reason.
    Unreadable(String),
    /// A line is invalid.
    Unparseable {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has only blank lines and comments.
    Empty,
    /// Every key is of a type that isn't supported; `line` is the first one's.
    Unsupported {
        /// Number of the line, from 1.
        line: usize,
        /// The type of that key.
        reason: String,
    },
    /// The keys could not be fetched; holds the reason.
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

/// Ends Sally with a status other than a session's own: the sentence (`Display`), the exit status and the hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A key source failed, so Sally doesn't start.
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
    /// The host key that the user named can't be used.
    #[error("Invalid host key: {file} ({reason})")]
    HostKeyInvalid {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host key is in PEM, which ssh-keygen can convert.
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
    /// The banner to show before authentication can't be used.
    #[error("Invalid banner: {file} ({reason})")]
    BannerInvalid {
        /// The file as named.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The list of revoked keys can't be read in full.
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
        /// The end of its stderr, made printable.
        stderr: String,
    },
    /// The listening socket could not be bound.
    #[error("Could not bind to port {port}: {reason}")]
    Bind {
        /// The port asked for.
        port: u16,
        /// The system's reason.
        reason: String,
    },
    /// Standard input and output are not a connection.
    #[error("Could not serve stdin and stdout: {0}")]
    Inetd(String),
    /// The client's connection broke.
    #[error("Connection closed unexpectedly")]
    ConnectionLost,
    /// The record can't be written, so the session ends: nothing runs unrecorded.
    #[error("Could not write to log file {file}: {reason}")]
    Record {
        /// The file as named; `stdout` if none was.
        file: String,
        /// The system's reason.
        reason: String,
    },
    /// A name on a relay can't be registered, or is lost.
    #[error("Could not hold a name on relay {relay}: {reason}")]
    Relay {
        /// The relay as named.
        relay: String,
        /// The relay's reason, or the system's.
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
    /// A relay's folder has a private key that must not be on a relay.
    #[error("A relay may not have this private key: {file}")]
    AuthorityExposed {
        /// The file.
        file: String,
    },
    /// One authority is listed for two roles.
    #[error("One authority has two roles: {key} is in {one} and in {other}")]
    TwoRoles {
        /// The authority's fingerprint.
        key: String,
        /// The first file that lists it.
        one: String,
        /// The second file that lists it.
        other: String,
    },
    /// No certificate has that name or serial number.
    #[error("Not in the fleet: {name}")]
    NotInFleet {
        /// The name or number as given.
        name: String,
    },
    /// The file or device to create exists already.
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
    /// The arguments parse, but contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The client was idle too long.
    #[error("The visit ended: idle for {0} s")]
    Idle(u64),
    /// The visit lasted too long.
    #[error("The visit ended: it lasted {0} s, the longest allowed")]
    MaxDuration(u64),
    /// A signal ended Sally.
    #[error("Stopped by signal {0}")]
    Signalled(u8),
    /// The client logged in and opened no session.
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
    /// The command needs a relay, and none is named.
    #[error("No relay is named")]
    NoRelay,
    /// The share would have no way in.
    #[error("No relay is named, and no --listen")]
    NoEntrance,
    /// A share needs a terminal to show, and there is none here.
    #[error("No terminal is here")]
    NoTerminal,
    /// A command found no share.
    #[error("No share is there: {0}")]
    NoShare(String),
    /// The link of `sally join` can't be used; the reason doesn't repeat the link, whose name is a secret.
    #[error("Invalid link to a share: {0}")]
    JoinLink(String),
    /// A share can't be shown without a terminal.
    #[error("No terminal is here to show the share on")]
    NoViewerTerminal,
    /// A share can't be joined.
    #[error("Could not join the share: {0}")]
    NotJoined(String),
    /// Another host key than the link's was shown.
    #[error("The share has another host key than the link: {0}")]
    ShareHostKey(String),
    /// The host ended the share.
    #[error("The host has ended the share")]
    ShareEnded,
    /// The host removed the viewer's key from the share.
    #[error("The host has removed this key from the share")]
    KeyRemoved,
    /// The viewer's key is gone from its source.
    #[error("This key is no longer among those that may join")]
    KeyGone,
    /// No viewer joined the share in time.
    #[error("The share ended: no viewer joined within {0} s")]
    Unvisited(u64),
    /// All viewers have left the share.
    #[error("The share ended: the last viewer left")]
    ViewersLeft,
    /// The program of a share can't be started.
    #[error("Could not start {program}: {reason}")]
    Program {
        /// Its name.
        program: String,
        /// The system's reason.
        reason: String,
    },
    /// Sessions can't run as the named account.
    #[error("Invalid account: {user} ({reason})")]
    AccountInvalid {
        /// The account's name or number, as given.
        user: String,
        /// What is wrong with it, or the system's reason.
        reason: String,
    },
    /// The session's shell can't be started.
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
    /// A defect of Sally or of the machine.
    #[error("Internal error: {0}")]
    Internal(String),
}

impl Fault {
    /// Returns the exit status, which is stable and listed in docs/errors.md.
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
            Self::Settings { .. }
            | Self::NoRelay
            | Self::NoEntrance
            | Self::NoTerminal
            | Self::NoViewerTerminal
            | Self::Program { .. }
            | Self::Client { .. }
            | Self::Shell { .. }
            | Self::AccountInvalid { .. } => exit::CONFIG,
            Self::AnnounceFailed { .. } => exit::ANNOUNCE,
            Self::Bind { .. } | Self::Relay { .. } | Self::Inetd(_) | Self::NoShare(_) => exit::BIND,
            Self::ShareEnded | Self::Unvisited(_) | Self::ViewersLeft => 0,
            Self::KeyRemoved | Self::KeyGone => 1,
            Self::ConnectionLost | Self::NoSession(_) | Self::NotJoined(_) | Self::ShareHostKey(_) => exit::CONNECTION,
            Self::Record { .. } | Self::Audit { .. } => exit::RECORD,
            Self::Usage(_) | Self::JoinLink(_) => exit::USAGE,
            Self::Idle(_) => exit::IDLE,
            Self::MaxDuration(_) => exit::MAX_DURATION,
            Self::Signalled(signal) => exit::SIGNALLED.saturating_add(*signal),
            Self::Internal(_) => exit::INTERNAL,
        }
    }
}

#[cfg(test)]
mod tests;
