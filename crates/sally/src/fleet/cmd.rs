//! `sally fleet`: who and what belongs to a fleet. Definitions of arguments; each command is in its own file.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use sally_proto::authority::is_pattern;
use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;

use super::settings::Broker;
use super::{device, init, list, revoke, rotate, visitor};
use crate::term;

/// What to do with a fleet.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Make a fleet: its authorities, and the folder for its relays
    ///
    /// FLEET/ca holds the private keys and stays with you, offline; FLEET/relay goes to every relay.
    Init(InitArgs),
    /// Make one device's bundle: a folder to copy onto it
    Add(AddArgs),
    /// The people who may visit devices
    #[command(subcommand)]
    Visitor(VisitorCommand),
    /// Take a device or a visitor out of the fleet
    ///
    /// Writes FLEET/relay/revoked (an OpenSSH key revocation list) and FLEET/relay/tls.crl. Copy FLEET/relay to the relays afterwards.
    Revoke(RevokeArgs),
    /// Replace the key that wakes devices, in two steps: publish a second one, then retire the first
    RotateWake(RotateArgs),
    /// List everything that was certified
    List(ListArgs),
}

/// Visitors.
#[derive(Debug, Subcommand)]
pub enum VisitorCommand {
    /// Certify a visitor's public key; prints the line for their known_hosts
    Add(VisitorAddArgs),
}

/// Arguments of `sally fleet init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The folder to make
    pub fleet: PathBuf,
    /// Where devices and visitors reach the relays (repeatable: the same relays under several addresses)
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub relay: Vec<HostPort>,
    /// Where wakes are published: mqtts://HOST:PORT, or wss://HOST:PORT/PATH [default: the first relay's host, at 8883]
    #[arg(long, value_name = "URL")]
    pub broker: Option<Broker>,
}

/// Arguments of `sally fleet add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The fleet's folder
    pub fleet: PathBuf,
    /// The device's name: 1 to 64 of a-z, 0-9, _ and -
    pub id: DeviceId,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Certify the host key that the device's sshd has, instead of making one
    #[arg(long, value_name = "FILE.pub")]
    pub host_key: Option<PathBuf>,
    /// What visitors reach on the device
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:22")]
    pub to: HostPort,
    /// Where the folder will lie on the device: sshd wants whole paths
    #[arg(long, value_name = "DIR", default_value = "/etc/sally", value_parser = whole_path)]
    pub installed: String,
    /// The device was there before: its old bundle stops working
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of `sally fleet visitor add`.
#[derive(Args, Debug)]
pub struct VisitorAddArgs {
    /// The fleet's folder
    pub fleet: PathBuf,
    /// The visitor's public key
    #[arg(value_name = "FILE.pub")]
    pub key: PathBuf,
    /// Devices that they may reach, a pattern with * and ? (repeatable)
    #[arg(long = "for", value_name = "PATTERN", required = true)]
    pub patterns: Vec<Pattern>,
    /// For how long: 30m, 8h, 7d, 52w
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = span)]
    pub valid: Duration,
    /// Who they are, for logs [default: the file's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Where the certificate goes [default: FILE-cert.pub, where ssh finds it]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `sally fleet revoke`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("who").required(true))]
pub struct RevokeArgs {
    /// The fleet's folder
    pub fleet: PathBuf,
    /// A device, with everything that it ever had
    #[arg(group = "who", value_name = "DEVICE")]
    pub device: Option<DeviceId>,
    /// A visitor, with every certificate under this name
    #[arg(long, group = "who", value_name = "NAME")]
    pub visitor: Option<String>,
    /// What has this number alone
    #[arg(long, group = "who", value_name = "NUMBER")]
    pub serial: Option<u64>,
}

/// Arguments of `sally fleet rotate-wake`.
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// The fleet's folder
    pub fleet: PathBuf,
    /// The second step: every device has the new key
    #[arg(long)]
    pub retire: bool,
}

/// Arguments of `sally fleet list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// The fleet's folder
    pub fleet: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// A pattern of device names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        if is_pattern(&text) { Ok(Self(text)) } else { Err("a pattern is a device's name with * and ? in it".into()) }
    }
}

impl FleetCommand {
    /// Does it; the exit status comes back.
    pub fn run(self) -> u8 {
        let done = match self {
            Self::Init(args) => init::run(args),
            Self::Add(args) => device::run(args),
            Self::Visitor(VisitorCommand::Add(args)) => visitor::add(args),
            Self::Revoke(args) => revoke::run(args),
            Self::RotateWake(args) => rotate::run(args),
            Self::List(args) => list::run(args),
        };
        match done {
            Ok(()) => 0,
            Err(fault) => {
                term::fault(&fault);
                fault.exit_status()
            }
        }
    }
}

fn whole_path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if text.starts_with('/') && plain { Ok(text.into()) } else { Err("a path from / on, of letters, digits and . _ -".into()) }
}

/// A number and its unit.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and s, m, h, d or w, such as 8h".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|number| digits && *number > 0).ok_or_else(wrong)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("8h"), Ok(Duration::from_secs(28_800)));
        assert_eq!(span("52w"), Ok(Duration::from_secs(52 * 604_800)));
        for text in ["", "h", "8", "0h", "-1h", "+1h", "8 h", "1y", "99999999999999999999d", "ü"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_goes_into_a_script_or_a_settings_file_is_plain() {
        assert!(whole_path("/etc/sally").is_ok());
        for path in ["etc", "/etc/a b", "/etc/%u", "/a\n/b", "/$x", "/\""] {
            assert!(whole_path(path).is_err(), "{path}");
        }
        assert_eq!("Cam-*".parse(), Ok(Pattern("cam-*".into())));
        for pattern in ["", "cam.*", "a b", "[ab]", "!a", "a,b", "-x", "$(x)"] {
            assert!(pattern.parse::<Pattern>().is_err(), "{pattern}");
        }
    }
}
