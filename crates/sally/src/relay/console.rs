//! The console (`ssh relay devices`): a few commands, with answers for people or as JSON. It gives no shell.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sally_proto::authorized_keys::Grant;
use sally_proto::calendar::utc_minute;
use sally_proto::id::DeviceId;
use sally_proto::relay::Refusal;
use serde::Serialize;

use super::client::Client;
use super::fleet::Member;
use super::rules::RelayKind;
use super::{Relay, RelayVisit};
use crate::lock::lock;

/// The message for a session without a console, before it is closed.
pub const NO_CONSOLE: &str = "This account can only be used for forwarding";

const HELP: &str = "\
This is a relay: it has no shell. Reach a device through it:
  ssh -J THIS-HOST DEVICE         (scp, sftp, rsync, git and Ansible too, with -J or ProxyJump)
Commands:
  devices [--json]                the devices that you may reach
  sessions [--json]               your open visits; for an administrator, all open visits
  kick SESSION|DEVICE             end a visit, by its number, or a device's connection (administrators)
  kick device DEVICE              end a device's connection if the device's name is a number
  whoami [--json]                 your name, key and permissions on this relay
  help
";

/// The result of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct ConsoleAnswer {
    /// The text for stdout.
    pub text: String,
    /// The text for stderr.
    pub error: String,
    /// The exit status.
    pub status: u8,
}

impl ConsoleAnswer {
    fn said(text: String) -> Self {
        Self { text, error: String::new(), status: 0 }
    }

    pub(super) fn refused(error: &str) -> Self {
        Self { text: String::new(), error: format!("{error}\n"), status: 1 }
    }
}

#[derive(Serialize)]
struct DeviceRow {
    name: String,
    connected: bool,
    ports: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Serialize)]
struct SessionRow {
    session: u64,
    to: String,
    who: String,
    from: String,
    seconds: u64,
    up: u64,
    down: u64,
}

impl Relay {
    /// Returns whether sessions of this client are answered: not those of a device, nor of a key with `command=`.
    pub(crate) fn has_console(&self, client: &Client) -> bool {
        let access = &client.access;
        let forced = access.grant().is_some_and(|grant| grant.forced_command().is_some());
        matches!(self.rules.kind, RelayKind::Relay) && !forced && access.may_visit()
    }

    /// Answers a command. The command is empty if the client asked for a shell.
    pub(crate) fn console(&self, client: &Client, command: &str) -> ConsoleAnswer {
        let (options, words): (Vec<_>, Vec<_>) = command.split_whitespace().partition(|word| word.starts_with('-'));
        let json = options == ["--json"];
        if !json && !options.is_empty() {
            return ConsoleAnswer {
                status: 2,
                ..ConsoleAnswer::refused(&format!("there is no option {}; try: help", crate::term::excerpt(&options.join(" "))))
            };
        }
        match words.as_slice() {
            [] | ["help"] => ConsoleAnswer::said(HELP.into()),
            ["devices"] => match self.may_list(client) {
                Ok(()) => show(self.devices(client), json, devices_table),
                Err(after) => ConsoleAnswer::refused(&format!("too many lists for this key: try again in {} s", after.as_secs().max(1))),
            },
            ["sessions"] => show(self.sessions(client), json, sessions_table),
            ["whoami"] => whoami(client, &self.names_admitting(client), json),
            ["kick", target @ ..] => self.kick(client, target),
            [other, ..] => ConsoleAnswer {
                status: 2,
                ..ConsoleAnswer::refused(&format!("there is no command '{}' here, and no shell; try: help", crate::term::excerpt(other)))
            },
        }
    }

    /// Counts a list of devices against the key's rate limit, since a list is as long as the fleet. Returns the time to wait if it is
    /// exceeded.
    fn may_list(&self, client: &Client) -> Result<(), Duration> {
        let (began, lists) = &self.lists;
        lock(lists).take(client.identity.clone(), began.elapsed())
    }

    fn devices(&self, client: &Client) -> Vec<DeviceRow> {
        let admin = client.access.admin().is_some();
        let guest_of = self.names_admitting(client);
        let device = |name: DeviceId| {
            let held = self.tunnels().held(&name);
            let connection = held.first().and_then(|(_, holder)| self.client(*holder));
            let ports = held.into_iter().map(|(port, _)| port).collect();
            let name = name.veiled().to_string();
            let mut device = DeviceRow { connected: connection.is_some(), ports, from: None, since: None, key: None, name };
            if let Some(connection) = connection {
                device.since = Some(format!("{:.0}", connection.since_clock));
                device.from = admin.then(|| connection.peer.to_string());
                device.key = admin.then(|| connection.fingerprint.clone());
            }
            device
        };
        self.listed_names(client, &guest_of).into_iter().map(device).collect()
    }

    fn sessions(&self, client: &Client) -> Vec<SessionRow> {
        let all: Vec<Arc<RelayVisit>> = self.visits().values().cloned().collect();
        let theirs = |visit: &Arc<RelayVisit>| client.access.admin().is_some() || self.is_theirs(client, visit);
        let session = |visit: Arc<RelayVisit>| {
            let (up, down) = visit.bytes();
            let to = visit.slot.veiled().to_string();
            let from = visit.from.to_string();
            SessionRow { session: visit.number, to, who: visit.who.clone(), from, seconds: visit.since.elapsed().as_secs(), up, down }
        };
        all.into_iter().filter(theirs).map(session).collect()
    }

    /// Returns whether a connection with the caller's key made the visit.
    fn is_theirs(&self, client: &Client, visit: &RelayVisit) -> bool {
        let visitor = visit.visitor.and_then(|number| self.client(number));
        visitor.is_some_and(|visitor| visitor.fingerprint == client.fingerprint)
    }

    /// Ends a session or a device's connection. A number alone always means a session, even if no session has it: the meaning must not
    /// depend on which session has just ended.
    fn kick(&self, client: &Client, target: &[&str]) -> ConsoleAnswer {
        if client.access.admin().is_none() {
            return ConsoleAnswer::refused(&Refusal::NotPermitted.to_string());
        }
        let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        match target {
            ["session", number] => self.kick_session(number),
            ["device", name] => self.kick_device(name),
            [number] if is_number(number) => {
                let answer = self.kick_session(number);
                let named = answer.status != 0 && !self.holders(number).is_empty();
                if !named {
                    answer
                } else {
                    ConsoleAnswer::refused(&format!("there is no session {number} (a device of that name is: kick device {number})"))
                }
            }
            [name] => self.kick_device(name),
            _ => ConsoleAnswer { status: 2, ..ConsoleAnswer::refused("kick takes a session's number or a device's name; try: help") },
        }
    }

    fn kick_session(&self, number: &str) -> ConsoleAnswer {
        let shown = crate::term::excerpt(number);
        let Ok(parsed) = number.parse() else { return ConsoleAnswer::refused(&format!("'{shown}' is not the number of a session")) };
        let Some(visit) = self.visits().get(&parsed).cloned() else {
            return ConsoleAnswer::refused(&format!("there is no session {shown}"));
        };
        visit.kick();
        ConsoleAnswer::said(format!("session {shown} ended\n"))
    }

    fn kick_device(&self, target: &str) -> ConsoleAnswer {
        let (shown, holders) = (crate::term::excerpt(target), self.holders(target));
        for client in holders.iter().filter_map(|holder| self.client(*holder)) {
            client.line.dismiss(&Refusal::Kicked.to_string());
        }
        if holders.is_empty() {
            ConsoleAnswer::refused(&format!("{shown} is not connected"))
        } else {
            ConsoleAnswer::said(format!("{shown} disconnected\n"))
        }
    }

    /// Returns the connections that hold a name; a generated name is matched by its form in `devices` or by the name itself.
    fn holders(&self, target: &str) -> Vec<u64> {
        let name = DeviceId::parse(target).ok();
        self.tunnels().holders(|own| name.as_ref().map_or_else(|| own.veiled().as_str() == target, |name| name == own))
    }
}

fn show<T: Serialize>(items: Vec<T>, json: bool, table: fn(&[T]) -> String) -> ConsoleAnswer {
    if json { as_json(&items) } else { ConsoleAnswer::said(table(&items)) }
}

fn as_json(value: &impl Serialize) -> ConsoleAnswer {
    match serde_json::to_string_pretty(value) {
        Ok(text) => ConsoleAnswer::said(text + "\n"),
        Err(error) => ConsoleAnswer::refused(&error.to_string()),
    }
}

fn devices_table(devices: &[DeviceRow]) -> String {
    if devices.is_empty() {
        return "no devices that you may reach\n".into();
    }
    let ports = |device: &DeviceRow| device.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let state = |device: &DeviceRow| device.since.as_ref().map_or("not connected".into(), |since| format!("connected since {since}"));
    let rows = devices.iter().map(|device| [device.name.clone(), ports(device), state(device), device.from.clone().unwrap_or_default()]);
    table(["DEVICE", "PORTS", "STATE", "FROM"], rows)
}

fn sessions_table(sessions: &[SessionRow]) -> String {
    if sessions.is_empty() {
        return "no open visits\n".into();
    }
    let rows = sessions.iter().map(|session| {
        let bytes = format!("{}/{}", session.up, session.down);
        [
            session.session.to_string(),
            session.to.clone(),
            session.who.clone(),
            session.from.clone(),
            format!("{} s", session.seconds),
            bytes,
        ]
    });
    table(["SESSION", "TO", "WHO", "FROM", "FOR", "UP/DOWN"], rows)
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(String::from)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  "); // Writing to a String does not fail.
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn whoami(client: &Client, guest_of: &[DeviceId], json: bool) -> ConsoleAnswer {
    let may_reach: Vec<String> = match (client.access.visitor(), client.access.fleet_visitor()) {
        (Some(visitor), _) if visitor.permit_open().is_empty() => vec!["*:*".into()],
        (Some(visitor), _) => visitor.permit_open().iter().map(ToString::to_string).collect(),
        (None, Some(of_the_fleet)) => of_the_fleet.patterns.iter().map(|pattern| format!("{pattern}:*")).collect(),
        (None, None) => Vec::new(),
    };
    let certificate_ends = client.access.member().map(Member::until).filter(|until| *until < u64::MAX);
    let expires = client.access.grant().and_then(Grant::expires).into_iter().chain(certificate_ends).min();
    if json {
        let guest_of: Vec<_> = guest_of.iter().map(DeviceId::veiled).collect();
        return as_json(&serde_json::json!({
            "who": client.who, "key": client.fingerprint, "user": client.user, "from": client.peer.to_string(),
            "roles": client.access.roles(), "reaches": may_reach, "guest_of": guest_of,
            "expires": expires,
        }));
    }
    let mut text = format!("{} ({})\nfrom {} as {}\n", client.who, client.fingerprint, client.peer, crate::term::excerpt(&client.user));
    let _ = writeln!(text, "roles: {}", client.access.roles().join(", "));
    if !may_reach.is_empty() {
        let _ = writeln!(text, "may reach: {}", may_reach.join(" "));
    }
    if let Some(end) = expires {
        let _ = writeln!(text, "until {} UTC", utc_minute(end));
    }
    ConsoleAnswer::said(text)
}
