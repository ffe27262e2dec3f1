//! What a relay is, and its limits.

use std::time::Duration;

use sally_proto::rate::Rate;
use sally_proto::relay::PortSet;

use crate::tunnel::registry::Takeover;

/// Channels of one visitor's connection: an IDE with port forwards behind a shared connection opens a few dozen.
pub const CHANNELS_MAX: usize = 64;
/// Sessions (console commands) of one connection at once, as sshd's MaxSessions.
pub const SESSIONS_MAX: usize = 10;
/// Names and ports that one connection holds.
pub const FORWARDS_MAX: usize = 16;
/// Lists of devices that a key may ask for: each is as long as the fleet, and costs a look at all of it.
pub(crate) const LISTS_PER_KEY: Rate = Rate { burst: 10, every: Duration::from_secs(2) };
/// How many keys are counted at once for that.
pub(crate) const LISTERS_MAX: usize = 4096;
/// Later than anything that is waited for.
pub(crate) const FAR: Duration = Duration::from_secs(24 * 3600);
/// How long a device has to take a visitor's channel: less than the 10 s that Ansible gives the whole connection.
pub const OPEN_LIMIT: Duration = Duration::from_secs(8);

/// What this relay is.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What it calls itself.
    pub kind: Kind,
    /// The one user name let in, if any.
    pub user: Option<String>,
    /// What a newer connection does to an older one of its key.
    pub takeover: Takeover,
    /// Whether a visit or a tunnel may begin while the audit log can't be written.
    pub unaudited: bool,
    /// Connections of one key at once, and sockets of the ports that it holds.
    pub connections_per_key: usize,
    /// A connection is asked for a sign of life after this much silence, …
    pub alive_interval: Duration,
    /// … and given up after so many unanswered questions.
    pub alive_count: usize,
}

/// A relay, or what is left of one.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Names, and ports where a key's `permitlisten=` grants them; a console.
    Relay,
    /// These ports and nothing else.
    Jail(PortSet),
}

impl Rules {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Relay => "relay",
            Kind::Jail(_) => "jail",
        }
    }
}
