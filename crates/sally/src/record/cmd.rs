//! Defines the arguments of `sally record`; each command is in its own file.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sally_proto::record::RecordStream;

use super::{cat, export, play, verify};

/// The subcommands of `sally record`.
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Check a record's hash chain and signatures, and print the verdict
    ///
    /// Exit status: 0 sealed by the expected key, 3 partial (recorded with head=), 4 consistent, but signed by a key that no option confirms,
    /// 5 not sealed, 6 broken, 7 several records in one file, 65 no record in the file, 66 the file can't be read. If several apply, the
    /// worst is given.
    Verify(VerifyArgs),
    /// Play a record in the terminal, at the speed of the session
    ///
    /// Keys: space pauses, . steps to the next output, ← and → seek 5 s, q quits. Play prints the session's output unchanged, escape
    /// sequences included: if you don't trust a record, play it in a terminal that you can close.
    Play(PlayArgs),
    /// Print the bytes of a record's streams
    ///
    /// On a terminal, cat makes control characters visible, unless --raw is set.
    Cat(CatArgs),
    /// Convert a record to another format, on stdout
    Export(ExportArgs),
}

/// Arguments of `sally record verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Record file; - reads stdin
    pub file: PathBuf,
    /// Key that must have signed the record: a public key (ssh-ed25519 AAAA…), a file of public keys, or a fingerprint (SHA256:…)
    #[arg(long, value_name = "KEY", conflicts_with = "known_hosts")]
    pub host_key: Option<String>,
    /// known_hosts file that lists the key that must have signed the record
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// Accept only the keys that known_hosts lists for this host, written as in that file: `name` or `[name]:port`
    #[arg(long, value_name = "NAME", requires = "known_hosts")]
    pub host: Option<String>,
    /// Print the verdict as a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sally record play`.
#[derive(Args, Debug)]
pub struct PlayArgs {
    /// Record file; - reads stdin
    pub file: PathBuf,
    /// Playback speed factor (2 is twice as fast)
    #[arg(short, long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Shorten pauses in the output to this many seconds [default: no limit]
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub idle_limit: Option<f64>,
    /// Start this many seconds into the record
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    pub seek: f64,
    /// Show a status line with the time at the bottom of the terminal
    #[arg(long)]
    pub status: bool,
}

/// Arguments of `sally record cat`.
#[derive(Args, Debug)]
pub struct CatArgs {
    /// Record file; - reads stdin
    pub file: PathBuf,
    /// Stream to print [default: stdout and stderr]
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<StreamName>,
    /// Number of the channel to print [default: all channels]
    #[arg(long, value_name = "NUMBER")]
    pub channel: Option<u32>,
    /// Send control characters to the terminal unchanged
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `sally record export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Record file; - reads stdin
    pub file: PathBuf,
    /// Format to convert to
    #[arg(long, value_name = "FORMAT")]
    pub format: Format,
}

/// A stream, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StreamName {
    /// Standard output, or a terminal's output
    Stdout,
    /// Standard error of a session without a terminal
    Stderr,
    /// What the client typed or sent
    Stdin,
}

impl From<StreamName> for RecordStream {
    fn from(name: StreamName) -> Self {
        match name {
            StreamName::Stdout => Self::Stdout,
            StreamName::Stderr => Self::Stderr,
            StreamName::Stdin => Self::Stdin,
        }
    }
}

/// The formats that a record can be converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// asciicast v3, for players
    V3,
    /// The text that was shown, as a terminal rendered it
    Text,
    /// Events other than input and output, one JSON object per line
    Audit,
}

impl RecordCommand {
    /// Runs the command and returns the exit status.
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
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| "expected a number of seconds, such as 2.5".into())
}

fn speed(text: &str) -> Result<f64, String> {
    seconds(text).ok().filter(|value| *value > 0.0).ok_or_else(|| "expected a number above 0, such as 2 or 0.5".into())
}
