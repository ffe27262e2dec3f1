//! A relay's kind and its limits.

use std::time::Duration;

use sally_proto::rate::Rate;
use sally_proto::relay::PortSet;

use crate::tunnel::registry::Takeover;

/// The limit of channels on one visitor's connection: an IDE with port forwards behind a shared connection opens a few dozen.
pub const CHANNELS_MAX: usize = 64;
/// The limit of sessions (console commands) on one connection at once, as sshd's MaxSessions.
pub const SESSIONS_MAX: usize = 10;
/// The limit of names and ports of one connection.
pub const FORWARDS_MAX: usize = 16;
/// The rate of lists of devices for each key: a list is as long as the fleet, and costs a look at all of it.
pub(crate) const LISTS_PER_KEY: Rate = Rate { burst: 10, every: Duration::from_secs(2) };
/// The number of keys whose lists are counted at once.
pub(crate) const LISTERS_MAX: usize = 4096;
/// A time later than any deadline.
pub(crate) const FAR: Duration = Duration::from_secs(24 * 3600);
/// The time in which a device must open a visitor's channel: less than the 10 s that Ansible gives the whole connection.
pub const OPEN_LIMIT: Duration = Duration::from_secs(8);

/// A relay's rules.
#[derive(Clone, Debug)]
pub struct RelayRules {
    /// The kind.
    pub kind: RelayKind,
    /// The only user name that may log in, if limited.
    pub user: Option<String>,
    /// What a newer connection does to an older one of the same key.
    pub takeover: Takeover,
    /// Whether a visit or a tunnel may begin while the audit log can't be written.
    pub unaudited: bool,
    /// The limit, for each key, of connections at once together with the sockets of the ports that it holds.
    pub connections_per_key: usize,
    /// The silence after which a keepalive request is sent on a connection.
    pub alive_interval: Duration,
    /// The number of unanswered requests after which the connection is closed.
    pub alive_count: usize,
}

/// The kinds of relay.
#[derive(Clone, Debug)]
pub enum RelayKind {
    /// Names, ports that a key's `permitlisten=` grants, and a console.
    Relay,
    /// These ports only.
    Jail(PortSet),
}

impl RelayRules {
    /// Returns the command's name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            RelayKind::Relay => "relay",
            RelayKind::Jail(_) => "jail",
        }
    }
}
