//! Reads the options before the key, sshd(8)'s, into types.

use std::fmt;

use super::kinds::{Enforced, OptionKind};
use super::line::quote;
use super::permit::PermitRule;
use crate::calendar::{format_expiry, parse_expiry};
use crate::sftp::SftpFlags;

/// The most `environment=` options of one line (sshd's `SSH_AUTHOPT_ENV_MAX`).
pub const ENVIRONMENT_MAX: usize = 1024;

/// The most `permitopen=`, and the most `permitlisten=`, options of one line (sshd's `SSH_AUTHOPT_PERMIT_MAX`).
pub const PERMIT_MAX: usize = 4096;

/// The tun device that `tunnel=` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunDevice {
    /// Any free one.
    Any,
    /// The device with this number.
    Unit(u32),
}

/// The options of one line in effect: with defaults applied, in the line's order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The kinds that the line has.
    pub kinds: Enforced,
    /// The key is a certificate authority's: it signs certificates, and can't log in itself.
    pub cert_authority: bool,
    /// Permits port forwarding in both directions.
    pub port_forwarding: bool,
    /// Permits agent forwarding.
    pub agent_forwarding: bool,
    /// Permits X11 forwarding.
    pub x11_forwarding: bool,
    /// Permits a terminal.
    pub pty: bool,
    /// Permits running `~/.ssh/rc`.
    pub user_rc: bool,
    /// Requires that a security key attests a touch.
    pub touch_required: bool,
    /// Requires that a security key attests that it verified its user (for example with a PIN).
    pub verify_required: bool,
    /// The value of `command=`, without quotes.
    pub command: Option<String>,
    /// The value of `principals=`, a list of names separated by commas.
    pub principals: Option<String>,
    /// The value of `from=`, a list of address patterns separated by commas.
    pub from: Option<String>,
    /// The earliest `expiry-time=`, in Unix seconds; that second itself is still valid.
    pub expiry: Option<u64>,
    /// The `environment=` pairs in the order of the line; of each name only the first.
    pub environment: Vec<(String, String)>,
    /// The `permitopen=` rules; none means no limit.
    pub permit_open: Vec<PermitRule>,
    /// The `permitlisten=` rules; none means no limit.
    pub permit_listen: Vec<PermitRule>,
    /// The last `tunnel=`.
    pub tunnel: Option<TunDevice>,
}

/// Makes the options of a line without options: everything is permitted.
impl Default for Options {
    fn default() -> Self {
        Self {
            kinds: Enforced::NONE,
            cert_authority: false,
            port_forwarding: true,
            agent_forwarding: true,
            x11_forwarding: true,
            pty: true,
            user_rc: true,
            touch_required: true,
            verify_required: false,
            command: None,
            principals: None,
            from: None,
            expiry: None,
            environment: Vec::new(),
            permit_open: Vec::new(),
            permit_listen: Vec::new(),
            tunnel: None,
        }
    }
}

impl Options {
    /// Reads a list of options separated by commas, without the key.
    ///
    /// # Errors
    /// The reason why sshd, or Sally, rejects the line.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = text;
        loop {
            // sshd ignores empty options (`,no-pty,`) too.
            if !matches!(rest, [] | [b',', ..]) {
                rest = options.take_option(rest)?;
            }
            rest = match rest {
                [] => return Ok(options),
                [b',', tail @ ..] => tail,
                _ => return Err(format!("unexpected {} after an option", quote(rest))),
            };
        }
    }

    /// Takes one option off the front and returns the rest.
    fn take_option<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], String> {
        let end = text.iter().position(|byte| matches!(byte, b',' | b'=' | b'"')).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end).unwrap_or_default();
        let unknown = || format!("{} is neither an option nor a key type", quote(name));
        match (rest, OptionKind::from_name(name)) {
            ([b'=', rest @ ..], Some(kind)) if kind.takes_value() => {
                let (value, rest) = dequote(rest).map_err(|reason| format!("{kind}: {reason}"))?;
                self.set_value(kind, value).map_err(|reason| format!("{kind}: {reason}"))?;
                self.kinds = self.kinds.with(kind);
                Ok(rest)
            }
            (_, Some(kind)) if kind.takes_value() => Err(format!("{kind} needs a value: {kind}=\"…\"")),
            (_, Some(kind)) => {
                self.set_flag(kind, true);
                Ok(rest)
            }
            (_, None) => {
                let kind = name.split_at_checked(3).filter(|(no, _)| no.eq_ignore_ascii_case(b"no-"));
                let kind = kind.and_then(|(_, name)| OptionKind::from_name(name)).filter(|kind| kind.negatable());
                self.set_flag(kind.ok_or_else(unknown)?, false);
                Ok(rest)
            }
        }
    }

    fn set_flag(&mut self, kind: OptionKind, on: bool) {
        self.kinds = self.kinds.with(kind);
        match kind {
            OptionKind::Restrict => {
                for flag in [
                    OptionKind::PortForwarding,
                    OptionKind::AgentForwarding,
                    OptionKind::X11Forwarding,
                    OptionKind::Pty,
                    OptionKind::UserRc,
                ] {
                    if let Some(flag) = self.flag(flag) {
                        *flag = false;
                    }
                }
            }
            kind => {
                if let Some(flag) = self.flag(kind) {
                    *flag = on;
                }
            }
        }
    }

    fn flag(&mut self, kind: OptionKind) -> Option<&mut bool> {
        match kind {
            OptionKind::CertAuthority => Some(&mut self.cert_authority),
            OptionKind::PortForwarding => Some(&mut self.port_forwarding),
            OptionKind::AgentForwarding => Some(&mut self.agent_forwarding),
            OptionKind::X11Forwarding => Some(&mut self.x11_forwarding),
            OptionKind::Pty => Some(&mut self.pty),
            OptionKind::UserRc => Some(&mut self.user_rc),
            OptionKind::TouchRequired => Some(&mut self.touch_required),
            OptionKind::VerifyRequired => Some(&mut self.verify_required),
            _ => None,
        }
    }

    fn set_value(&mut self, kind: OptionKind, value: String) -> Result<(), String> {
        match kind {
            OptionKind::Command => {
                SftpFlags::of_command(&value).transpose()?;
                set_once(&mut self.command, value)
            }
            OptionKind::Principals => set_once(&mut self.principals, value),
            OptionKind::From => set_once(&mut self.from, value),
            OptionKind::ExpiryTime => {
                let expiry = parse_expiry(&value).ok_or("not a time: YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC")?;
                self.expiry = Some(self.expiry.map_or(expiry, |earlier| earlier.min(expiry)));
                Ok(())
            }
            OptionKind::Environment => self.add_environment(&value),
            OptionKind::PermitOpen => push_rule(&mut self.permit_open, PermitRule::parse_open(&value)?),
            OptionKind::PermitListen => push_rule(&mut self.permit_listen, PermitRule::parse_listen(&value)?),
            OptionKind::Tunnel => {
                self.tunnel = Some(parse_tunnel(&value).ok_or("not a tun device: a number or any")?);
                Ok(())
            }
            _ => Err("takes no value".into()),
        }
    }

    fn add_environment(&mut self, pair: &str) -> Result<(), String> {
        let (name, value) = pair.split_once('=').ok_or("not NAME=value")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("a variable's name is made of letters, digits and _".into());
        }
        if self.environment.iter().any(|(known, _)| known == name) {
            return Ok(());
        }
        if self.environment.len() >= ENVIRONMENT_MAX {
            return Err(format!("more than {ENVIRONMENT_MAX} of them"));
        }
        self.environment.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn write_value(&self, f: &mut Joined<'_, '_>, kind: OptionKind) -> fmt::Result {
        let once = |f: &mut Joined<'_, '_>, value: &Option<String>| value.iter().try_for_each(|value| f.value(kind, value));
        match kind {
            OptionKind::Command => once(f, &self.command),
            OptionKind::Principals => once(f, &self.principals),
            OptionKind::From => once(f, &self.from),
            OptionKind::ExpiryTime => self.expiry.iter().try_for_each(|at| f.value(kind, &format_expiry(*at))),
            OptionKind::Environment => self.environment.iter().try_for_each(|(name, value)| f.value(kind, &format!("{name}={value}"))),
            OptionKind::PermitOpen => self.permit_open.iter().try_for_each(|rule| f.value(kind, &rule.to_string())),
            OptionKind::PermitListen => self.permit_listen.iter().try_for_each(|rule| f.value(kind, &rule.to_string())),
            OptionKind::Tunnel => self.tunnel.iter().try_for_each(|tunnel| match tunnel {
                TunDevice::Any => f.value(kind, "any"),
                TunDevice::Unit(unit) => f.value(kind, &unit.to_string()),
            }),
            kind => f.flag(kind, self.clone().flag(kind).is_none_or(|on| *on)),
        }
    }
}

/// Writes the options in an order that reads back as the same options: `restrict` first.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut joined = Joined { f, first: true };
        OptionKind::ALL.into_iter().filter(|kind| self.kinds.contains(*kind)).try_for_each(|kind| self.write_value(&mut joined, kind))
    }
}

/// Writes options separated by commas.
struct Joined<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    first: bool,
}

impl Joined<'_, '_> {
    fn separate(&mut self) -> fmt::Result {
        if std::mem::replace(&mut self.first, false) { Ok(()) } else { self.f.write_str(",") }
    }

    fn flag(&mut self, kind: OptionKind, on: bool) -> fmt::Result {
        self.separate()?;
        write!(self.f, "{}{kind}", if on { "" } else { "no-" })
    }

    fn value(&mut self, kind: OptionKind, value: &str) -> fmt::Result {
        self.separate()?;
        write!(self.f, "{kind}=\"{}\"", value.replace('"', "\\\""))
    }
}

fn set_once(slot: &mut Option<String>, value: String) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("is given twice".into()),
    }
}

fn push_rule(rules: &mut Vec<PermitRule>, rule: PermitRule) -> Result<(), String> {
    if rules.len() >= PERMIT_MAX {
        return Err(format!("more than {PERMIT_MAX} of them"));
    }
    rules.push(rule);
    Ok(())
}

/// Reads `any`, or a number that sshd's `a2tun` accepts.
fn parse_tunnel(value: &str) -> Option<TunDevice> {
    const UNIT_MAX: u32 = 0x7fff_fffd;
    if value.eq_ignore_ascii_case("any") {
        return Some(TunDevice::Any);
    }
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|unit| digits && *unit <= UNIT_MAX).map(TunDevice::Unit)
}

/// Takes a quoted value off the front; the only escape is `\"`.
fn dequote(text: &[u8]) -> Result<(String, &[u8]), String> {
    let [b'"', text @ ..] = text else {
        return Err("the value must be in quotes".into());
    };
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return Err("the quote is not closed".into()),
            [b'"', tail @ ..] => {
                let value = String::from_utf8(value).map_err(|_| "the value is not UTF-8".to_owned())?;
                return Ok((value, tail));
            }
            [b'\\', b'"', tail @ ..] => {
                value.push(b'"');
                rest = tail;
            }
            [byte, tail @ ..] => {
                value.push(*byte);
                rest = tail;
            }
        }
    }
}
