//! Defines the arguments of `sally fleet`; each command is in its own file.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use sally_proto::authority::is_pattern;
use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;

use super::settings::BrokerUrl;
use super::{device, init, list, revoke, rotate, visitor};
use crate::term;

/// The subcommands of `sally fleet`.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Create a fleet: its certificate authorities, and the folder for its relays
    ///
    /// FLEET/ca has the private keys: keep it offline. FLEET/relay has what relays need: copy it to every relay.
    Init(InitArgs),
    /// Certify a device and create its bundle, a folder to copy onto the device
    Add(AddArgs),
    /// Manage the visitors who may reach devices
    #[command(subcommand)]
    Visitor(VisitorCommand),
    /// Revoke the certificates of a device or a visitor
    ///
    /// Writes FLEET/relay/revoked (an OpenSSH key revocation list) and FLEET/relay/tls.crl. Copy FLEET/relay to every relay afterwards.
    Revoke(RevokeArgs),
    /// Replace the key that signs wakes, in two steps: add a second key, then (--retire) remove the first
    RotateWake(RotateArgs),
    /// List every certificate that was issued
    List(ListArgs),
}

/// The subcommands of `sally fleet visitor`.
#[derive(Debug, Subcommand)]
pub enum VisitorCommand {
    /// Certify a visitor's public key, and print the line for the visitor's known_hosts
    Add(VisitorAddArgs),
}

/// Arguments of `sally fleet init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// Folder to create
    pub fleet: PathBuf,
    /// Address at which devices and visitors reach the relays (repeatable, for relays with several addresses)
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub relay: Vec<HostPort>,
    /// MQTT broker that carries the wakes: mqtts://HOST:PORT or wss://HOST:PORT/PATH [default: port 8883 on the first relay's host]
    #[arg(long, value_name = "URL")]
    pub broker: Option<BrokerUrl>,
}

/// Arguments of `sally fleet add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Folder of the fleet
    pub fleet: PathBuf,
    /// Name of the device: 1 to 64 of the characters a-z, 0-9, _ and -
    pub id: DeviceId,
    /// Folder to create the bundle in
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Public host key of the device's sshd, to certify instead of a new key
    #[arg(long, value_name = "FILE.pub")]
    pub host_key: Option<PathBuf>,
    /// Address of the server for visitors who connect to port 22 of the device
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:22")]
    pub to: HostPort,
    /// Absolute path that the bundle will have on the device (sshd_config needs it)
    #[arg(long, value_name = "DIR", default_value = "/etc/sally", value_parser = whole_path)]
    pub installed: String,
    /// Replace the bundle of a device that is already in the fleet, and revoke the old bundle's certificates
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of `sally fleet visitor add`.
#[derive(Args, Debug)]
pub struct VisitorAddArgs {
    /// Folder of the fleet
    pub fleet: PathBuf,
    /// File with the visitor's public key
    #[arg(value_name = "FILE.pub")]
    pub key: PathBuf,
    /// Devices that the visitor may reach: a name, or a pattern with * and ? (repeatable)
    #[arg(long = "for", value_name = "PATTERN", required = true)]
    pub patterns: Vec<Pattern>,
    /// Lifetime of the certificate: 30m, 8h, 7d, 52w
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = span)]
    pub valid: Duration,
    /// Name of the visitor, for logs and for sally fleet revoke [default: the name of the key's file]
    #[arg(long)]
    pub name: Option<String>,
    /// File to write the certificate to [default: FILE-cert.pub, where ssh looks for it]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `sally fleet revoke`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("who").required(true))]
pub struct RevokeArgs {
    /// Folder of the fleet
    pub fleet: PathBuf,
    /// Device to revoke, with every certificate that it ever had
    #[arg(group = "who", value_name = "DEVICE")]
    pub device: Option<DeviceId>,
    /// Visitor to revoke, with every certificate under this name
    #[arg(long, group = "who", value_name = "NAME")]
    pub visitor: Option<String>,
    /// Serial number of the one certificate to revoke
    #[arg(long, group = "who", value_name = "NUMBER")]
    pub serial: Option<u64>,
}

/// Arguments of `sally fleet rotate-wake`.
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// Folder of the fleet
    pub fleet: PathBuf,
    /// Remove the old key: the second step, once every device has the new one
    #[arg(long)]
    pub retire: bool,
}

/// Arguments of `sally fleet list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Folder of the fleet
    pub fleet: PathBuf,
    /// Print one JSON object per line
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
        if is_pattern(&text) { Ok(Self(text)) } else { Err("expected the name of a device, which may contain * and ?".into()) }
    }
}

impl FleetCommand {
    /// Runs the command, and returns the exit status.
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
    if text.starts_with('/') && plain { Ok(text.into()) } else { Err("expected an absolute path of letters, digits and . _ -".into()) }
}

/// Parses a number and its unit.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit (s, m, h, d, w), such as 8h".to_owned();
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
