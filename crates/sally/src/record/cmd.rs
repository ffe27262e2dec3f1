//! `sally record`: what can be done with a record. Definitions of arguments; each command is in its own file.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sally_proto::record::Stream;

use super::{cat, export, play, verify};

/// What to do with a record.
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Say what can be proven of a record
    ///
    /// Exit status: 0 sealed, 3 partial (recorded with head=), 4 self-consistent but nobody outside the file names the signer,
    /// 5 not sealed, 6 broken, 7 several records in one file; 65 there is no record in the file, 66 the file can't be read. The worst that applies is given.
    Verify(VerifyArgs),
    /// Play a record as it was shown
    ///
    /// On a terminal: space pauses, . steps to the next output, ← and → seek 5 s, q quits. It prints what the session printed,
    /// escape sequences included: play a record of people you don't trust in a terminal you don't mind.
    Play(PlayArgs),
    /// Print the bytes of streams
    ///
    /// On a terminal control characters are shown and not sent, unless --raw is said.
    Cat(CatArgs),
    /// Write a record in another format
    Export(ExportArgs),
}

/// Arguments of `sally record verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The record, - for stdin
    pub file: PathBuf,
    /// The key that should have signed: as announced (ssh-ed25519 AAAA…), a file of such keys, or its fingerprint (SHA256:…)
    #[arg(long, value_name = "KEY", conflicts_with = "known_hosts")]
    pub host_key: Option<String>,
    /// A known_hosts file that lists the key that should have signed
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// Only what known_hosts has for this host, written as there: `name` or `[name]:port`
    #[arg(long, value_name = "NAME", requires = "known_hosts")]
    pub host: Option<String>,
    /// Answer with a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sally record play`.
#[derive(Args, Debug)]
pub struct PlayArgs {
    /// The record, - for stdin
    pub file: PathBuf,
    /// So many times as fast
    #[arg(short, long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Wait so many seconds at most where nothing was shown
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub idle_limit: Option<f64>,
    /// Begin so many seconds into the record
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    pub seek: f64,
    /// Keep a line with the time at the bottom of the terminal
    #[arg(long)]
    pub status: bool,
}

/// Arguments of `sally record cat`.
#[derive(Args, Debug)]
pub struct CatArgs {
    /// The record, - for stdin
    pub file: PathBuf,
    /// Which stream [default: stdout and stderr]
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<StreamName>,
    /// Of this channel only
    #[arg(long, value_name = "NUMBER")]
    pub channel: Option<u32>,
    /// Send control characters to the terminal as they are
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `sally record export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The record, - for stdin
    pub file: PathBuf,
    /// Which format
    #[arg(long, value_name = "FORMAT")]
    pub format: Format,
}

/// A stream, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StreamName {
    /// Output, a terminal's included.
    Stdout,
    /// Error output, where there was no terminal.
    Stderr,
    /// What the visitor typed or sent.
    Stdin,
}

impl From<StreamName> for Stream {
    fn from(name: StreamName) -> Self {
        match name {
            StreamName::Stdout => Self::Stdout,
            StreamName::Stderr => Self::Stderr,
            StreamName::Stdin => Self::Stdin,
        }
    }
}

/// What a record can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// asciicast v3, for players
    V3,
    /// The text that was shown, as a terminal left it
    Text,
    /// What happened besides output, one event a line
    Audit,
}

impl RecordCommand {
    /// Does it; the exit status comes back.
    pub fn run(self) -> u8 {
        match self {
            Self::Verify(args) => verify::run(&args),
            Self::Play(args) => play::run(&args),
            Self::Cat(args) => cat::run(&args),
            Self::Export(args) => export::run(&args),
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0).ok_or_else(|| "say a number of seconds, such as 2.5".into())
}

fn speed(text: &str) -> Result<f64, String> {
    seconds(text).ok().filter(|value| *value > 0.0).ok_or_else(|| "say a number above 0, such as 2 or 0.5".into())
}
