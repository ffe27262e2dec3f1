//! Somebody who is connected: who they are, what they may, and their line.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use sally_proto::authority::Visitor;
use sally_proto::authorized_keys::{Denial, Grant, Offer, Presence};
use sally_proto::id::DeviceId;
use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fleet::Member;
use super::places::HeldDescriptors;
use crate::clock::unix_time_or_expired;
use crate::lock::lock;
use crate::tunnel::line::Line;

/// What somebody may, by role: each grant is the checker's. A grant that has ended is none: who asks gets what holds at that moment.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub(super) visitor: Option<Grant>,
    pub(super) device: Option<Grant>,
    pub(super) admin: Option<Grant>,
    /// What the fleet's authorities say.
    pub(super) member: Option<Member>,
    /// What each registration wants of a signature that admitted the key when it came in.
    pub(super) guest: Vec<Presence>,
}

fn has_ended(grant: &Grant) -> bool {
    grant.expires().is_some_and(|end| end <= unix_time_or_expired())
}

impl Access {
    /// Reach names.
    pub fn visitor(&self) -> Option<&Grant> {
        self.visitor.as_ref().filter(|grant| !has_ended(grant))
    }

    /// Hold names and ports.
    pub fn device(&self) -> Option<&Grant> {
        self.device.as_ref().filter(|grant| !has_ended(grant))
    }

    /// Read and end everything on the console.
    pub fn admin(&self) -> Option<&Grant> {
        self.admin.as_ref().filter(|grant| !has_ended(grant))
    }

    /// Somebody of the fleet.
    pub fn member(&self) -> Option<&Member> {
        self.member.as_ref().filter(|member| member.until() > unix_time_or_expired())
    }

    /// The device that the fleet says somebody is.
    pub fn fleet_device(&self) -> Option<&DeviceId> {
        match self.member() {
            Some(Member::Device { id, .. }) => Some(id),
            _ => None,
        }
    }

    /// The visitor that the fleet says somebody is.
    pub fn fleet_visitor(&self) -> Option<&Visitor> {
        match self.member() {
            Some(Member::Visitor(visitor)) => Some(visitor),
            _ => None,
        }
    }

    /// Whether anything is asked for that a visitor, an administrator or a guest may ask for.
    pub fn may_visit(&self) -> bool {
        self.visitor().is_some() || self.admin().is_some() || self.is_guest() || self.fleet_visitor().is_some()
    }

    /// Whether some registration admitted the key.
    fn is_guest(&self) -> bool {
        !self.guest.is_empty()
    }

    /// Whether a visitor's or a device's grant is over: the answer to who had it is another then.
    pub fn has_expired(&self) -> bool {
        let fleets = self.member.is_some() && self.member().is_none();
        fleets || [&self.visitor, &self.device].into_iter().flatten().any(has_ended)
    }

    /// Whether what let a device in is over.
    pub(super) fn device_has_ended(&self) -> bool {
        let of_a_fleet = matches!(&self.member, Some(member @ Member::Device { .. }) if member.until() <= unix_time_or_expired());
        of_a_fleet || self.device.as_ref().is_some_and(has_ended)
    }

    /// Whether these keys say the same as those of before, wherever in the files they stand.
    pub(super) fn is_still(&self, before: &Self) -> bool {
        let roles = [(&self.visitor, &before.visitor), (&self.device, &before.device), (&self.admin, &before.admin)];
        self.member == before.member
            && roles.into_iter().all(|(now, before)| match (now, before) {
                (Some(now), Some(before)) => now.permits_the_same(before),
                (None, None) => true,
                _ => false,
            })
    }

    /// This access, where there is any.
    pub(crate) fn some_role(self) -> Option<Self> {
        let any = self.visitor.is_some() || self.device.is_some() || self.admin.is_some() || self.is_guest();
        (any || self.member.is_some()).then_some(self)
    }

    /// Gives this access, where a security key has said what every role wants (PROTOCOL.u2f); any other key has nothing to say.
    pub(crate) fn check_presence(self, flags: u8) -> Result<Self, Denial> {
        // Every field is named, so that a role which is added has to be asked too.
        let Self { visitor, device, admin, member, mut guest } = self;
        for grant in [&visitor, &device, &admin].into_iter().flatten() {
            grant.check_presence(flags)?;
        }
        member.as_ref().map_or(Ok(()), |member| member.presence().check(flags))?;
        // A device that wants more of a key than the relay's own files shuts it out from its own name alone.
        let denial = guest.iter().find_map(|presence| presence.check(flags).err());
        guest.retain(|presence| presence.check(flags).is_ok());
        Self { visitor, device, admin, member, guest }.some_role().ok_or(denial.unwrap_or(Denial::UnknownKey))
    }

    /// A grant that says whose key it is.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.visitor.as_ref().or(self.device.as_ref()).or(self.admin.as_ref())
    }

    /// The names of the roles.
    pub fn roles(&self) -> Vec<&'static str> {
        let fleets = self.member.as_ref().map(Member::role);
        let roles = [
            (self.visitor.is_some() || fleets == Some("visitor"), "visitor"),
            (self.device.is_some() || fleets == Some("device"), "device"),
            (self.admin.is_some(), "admin"),
            (self.is_guest(), "guest"),
        ];
        roles.into_iter().filter(|(has, _)| *has).map(|(_, role)| role).collect()
    }
}

/// What somebody proved to hold, kept to be judged again.
#[derive(Clone, Debug)]
pub enum Proven {
    /// A key.
    Key(KeyData),
    /// A certificate.
    Certificate(Box<Certificate>),
}

impl Proven {
    /// For the checker.
    pub fn as_offer(&self) -> Offer<'_> {
        match self {
            Self::Key(key) => Offer::Key(key),
            Self::Certificate(certificate) => Offer::Certificate(certificate),
        }
    }

    /// `SHA256:…` of the key, or of the certified key.
    pub fn fingerprint(&self) -> String {
        let key = match self {
            Self::Key(key) => key,
            Self::Certificate(certificate) => certificate.public_key(),
        };
        key.fingerprint(ssh_key::HashAlg::Sha256).to_string()
    }
}

/// Somebody who has authenticated, before the connection is theirs.
#[derive(Debug)]
pub struct LetIn {
    /// The user name that was asked for.
    pub user: String,
    /// What they may.
    pub access: Access,
    /// What they proved to hold.
    pub offer: Proven,
    /// What the signature said of the person at a security key; 0 of any other key.
    pub flags: u8,
}

/// Somebody who is connected.
#[derive(Debug)]
pub struct Caller {
    /// Its number, for as long as this process runs.
    pub number: u64,
    /// Where it comes from, as the kernel says.
    pub peer: SocketAddr,
    /// The user name it asked for.
    pub user: String,
    /// What it may.
    pub access: Access,
    /// What it proved to hold.
    pub offer: Proven,
    /// What the signature said of the person at a security key; 0 of any other key.
    pub flags: u8,
    /// The key, as `SHA256:…`.
    pub fingerprint: String,
    /// Who it is where connections are counted: a fleet's name, since that may have several keys, else the key.
    pub(super) identity: String,
    /// The key's comment or the certificate's name, fit for a terminal; the fingerprint where it has none.
    pub who: String,
    /// Since when, for durations.
    pub since: Instant,
    /// Since when, for people.
    pub since_clock: jiff::Timestamp,
    /// Its connection.
    pub line: Line,
    /// The sockets of ports that it holds.
    pub(crate) sockets: Mutex<HashMap<u16, Sockets>>,
}

/// The sockets of a port, and how to close them.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) stop: CancellationToken,
    pub(crate) loops: Vec<JoinHandle<()>>,
    pub(crate) _descriptors: HeldDescriptors,
}

impl Sockets {
    /// When this returns, the port can be bound again.
    pub(super) async fn close(self) {
        self.stop.cancel();
        for accepting in self.loops {
            let _ = accepting.await; // A loop that panicked has dropped its socket too.
        }
    }
}

impl Caller {
    /// Somebody who has just been let in.
    pub fn new(number: u64, peer: SocketAddr, let_in: LetIn, line: Line) -> Self {
        let LetIn { user, access, offer, flags } = let_in;
        let fingerprint = offer.fingerprint();
        let identity = access.member.as_ref().map_or_else(|| fingerprint.clone(), |member| format!("{} {}", member.role(), member.name()));
        let member = access.member.as_ref().map(|member| crate::term::printable(member.name()));
        let comment = access.grant().map(|grant| grant.comment().to_owned()).or(member).filter(|comment| !comment.is_empty());
        Self {
            number,
            peer,
            user,
            who: comment.unwrap_or_else(|| fingerprint.clone()),
            access,
            offer,
            flags,
            identity,
            fingerprint,
            since: Instant::now(),
            since_clock: jiff::Timestamp::now(),
            line,
            sockets: Mutex::default(),
        }
    }

    pub(crate) fn sockets(&self) -> MutexGuard<'_, HashMap<u16, Sockets>> {
        lock(&self.sockets)
    }

    /// Whether a line of the files, or the fleet, lets it know of a name.
    pub fn sees(&self, name: &DeviceId) -> bool {
        let listed = self.access.visitor().is_some_and(|grant| grant.sees_device(name)) || self.access.admin().is_some();
        listed || self.access.fleet_visitor().is_some_and(|visitor| visitor.may_reach(name))
    }

    /// Whether a line of the files, or the fleet, lets it reach a name at a port. Which ports there are, a fleet's devices say.
    pub fn reaches(&self, name: &DeviceId, port: u16) -> bool {
        let listed = self.access.visitor().is_some_and(|grant| grant.allows_device(name, port));
        listed || self.access.fleet_visitor().is_some_and(|visitor| visitor.may_reach(name))
    }
}
