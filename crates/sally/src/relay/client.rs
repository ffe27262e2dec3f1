//! A connected client: its identity, its access and its connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use sally_proto::authority::CertifiedVisitor;
use sally_proto::authorized_keys::{Denial, Grant, Offer, UserPresence};
use sally_proto::id::DeviceId;
use ssh_key::certificate::Certificate;
use ssh_key::public::KeyData;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fleet::Member;
use super::limits::DescriptorPermit;
use crate::clock::unix_time_or_expired;
use crate::lock::lock;
use crate::tunnel::peer::PeerHandle;

/// The grants of a client, by role, as the checker gave them. The accessors omit a grant that has ended, so that each answer holds at that
/// moment.
#[derive(Clone, Debug, Default)]
pub struct ClientAccess {
    pub(super) visitor: Option<Grant>,
    pub(super) device: Option<Grant>,
    pub(super) admin: Option<Grant>,
    /// The role that the fleet's authorities certify.
    pub(super) member: Option<Member>,
    /// The presence that each registration which admitted the key at login requires of a signature.
    pub(super) admissions: Vec<UserPresence>,
}

fn has_ended(grant: &Grant) -> bool {
    grant.expires().is_some_and(|end| end <= unix_time_or_expired())
}

impl ClientAccess {
    /// Returns the grant for reaching names, unless it has ended.
    pub fn visitor(&self) -> Option<&Grant> {
        self.visitor.as_ref().filter(|grant| !has_ended(grant))
    }

    /// Returns the grant for registering names and ports, unless it has ended.
    pub fn device(&self) -> Option<&Grant> {
        self.device.as_ref().filter(|grant| !has_ended(grant))
    }

    /// Returns the grant for seeing and ending everything on the console, unless it has ended.
    pub fn admin(&self) -> Option<&Grant> {
        self.admin.as_ref().filter(|grant| !has_ended(grant))
    }

    /// Returns the fleet's member, unless its certificate has ended.
    pub fn member(&self) -> Option<&Member> {
        self.member.as_ref().filter(|member| member.until() > unix_time_or_expired())
    }

    /// Returns the device's name, if the fleet certifies the client as a device.
    pub fn fleet_device(&self) -> Option<&DeviceId> {
        match self.member() {
            Some(Member::Device { id, .. }) => Some(id),
            _ => None,
        }
    }

    /// Returns the visitor, if the fleet certifies the client as one.
    pub fn fleet_visitor(&self) -> Option<&CertifiedVisitor> {
        match self.member() {
            Some(Member::Visitor(visitor)) => Some(visitor),
            _ => None,
        }
    }

    /// Returns whether the client may ask for what visitors, administrators or clients that a registration admits may ask for.
    pub fn may_visit(&self) -> bool {
        self.visitor().is_some() || self.admin().is_some() || self.is_admitted() || self.fleet_visitor().is_some()
    }

    /// Returns whether a registration admitted the key.
    fn is_admitted(&self) -> bool {
        !self.admissions.is_empty()
    }

    /// Returns whether a visitor's or a device's grant has ended, so that a refusal can say so.
    pub fn has_expired(&self) -> bool {
        let fleets = self.member.is_some() && self.member().is_none();
        fleets || [&self.visitor, &self.device].into_iter().flatten().any(has_ended)
    }

    /// Returns whether the grant or certificate that admitted a device has ended.
    pub(super) fn device_has_ended(&self) -> bool {
        let of_a_fleet = matches!(&self.member, Some(member @ Member::Device { .. }) if member.until() <= unix_time_or_expired());
        of_a_fleet || self.device.as_ref().is_some_and(has_ended)
    }

    /// Returns whether this access equals an earlier one, regardless of where in the files its lines are.
    pub(super) fn is_still(&self, before: &Self) -> bool {
        let roles = [(&self.visitor, &before.visitor), (&self.device, &before.device), (&self.admin, &before.admin)];
        self.member == before.member
            && roles.into_iter().all(|(now, before)| match (now, before) {
                (Some(now), Some(before)) => now.permits_the_same(before),
                (None, None) => true,
                _ => false,
            })
    }

    /// Returns this access if it has at least one role.
    pub(crate) fn some_role(self) -> Option<Self> {
        let any = self.visitor.is_some() || self.device.is_some() || self.admin.is_some() || self.is_admitted();
        (any || self.member.is_some()).then_some(self)
    }

    /// Returns this access if a security key's signature has the flags that every role requires (PROTOCOL.u2f); other keys have no flags.
    /// A requirement of a registration that admits the key only removes that registration.
    pub(crate) fn check_presence(self, flags: u8) -> Result<Self, Denial> {
        // Every field is named, so that a new role can't be forgotten here.
        let Self { visitor, device, admin, member, mut admissions } = self;
        for grant in [&visitor, &device, &admin].into_iter().flatten() {
            grant.check_presence(flags)?;
        }
        member.as_ref().map_or(Ok(()), |member| member.presence().check(flags))?;
        // A device that requires more than the relay's own files excludes the key from its own name only.
        let denial = admissions.iter().find_map(|presence| presence.check(flags).err());
        admissions.retain(|presence| presence.check(flags).is_ok());
        Self { visitor, device, admin, member, admissions }.some_role().ok_or(denial.unwrap_or(Denial::UnknownKey))
    }

    /// Returns a grant whose comment names the key's owner.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.visitor.as_ref().or(self.device.as_ref()).or(self.admin.as_ref())
    }

    /// Returns the names of the roles.
    pub fn roles(&self) -> Vec<&'static str> {
        let fleets = self.member.as_ref().map(Member::role);
        let roles = [
            (self.visitor.is_some() || fleets == Some("visitor"), "visitor"),
            (self.device.is_some() || fleets == Some("device"), "device"),
            (self.admin.is_some(), "admin"),
            (self.is_admitted(), "guest"),
        ];
        roles.into_iter().filter(|(has, _)| *has).map(|(_, role)| role).collect()
    }
}

/// The key or certificate that a client authenticated with, kept so that it can be checked again.
#[derive(Clone, Debug)]
pub enum Proven {
    /// A key.
    Key(KeyData),
    /// A certificate.
    Certificate(Box<Certificate>),
}

impl Proven {
    /// Returns the form that the checker takes.
    pub fn as_offer(&self) -> Offer<'_> {
        match self {
            Self::Key(key) => Offer::Key(key),
            Self::Certificate(certificate) => Offer::Certificate(certificate),
        }
    }

    /// Returns the `SHA256:…` fingerprint of the key, or of the certified key.
    pub fn fingerprint(&self) -> String {
        let key = match self {
            Self::Key(key) => key,
            Self::Certificate(certificate) => certificate.public_key(),
        };
        key.fingerprint(ssh_key::HashAlg::Sha256).to_string()
    }
}

/// A client that has authenticated, before its connection is registered.
#[derive(Debug)]
pub struct UnregisteredClient {
    /// The user name that was asked for.
    pub user: String,
    /// The grants.
    pub access: ClientAccess,
    /// The key or certificate.
    pub offer: Proven,
    /// The signature's flags of user presence and verification, for a security key; 0 for any other key.
    pub flags: u8,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    /// The connection's number, unique while this process runs.
    pub number: u64,
    /// The peer's address, as the kernel gives it.
    pub peer: SocketAddr,
    /// The user name that it asked for.
    pub user: String,
    /// The grants.
    pub access: ClientAccess,
    /// The key or certificate.
    pub offer: Proven,
    /// The signature's flags of user presence and verification, for a security key; 0 for any other key.
    pub flags: u8,
    /// The key's fingerprint, `SHA256:…`.
    pub fingerprint: String,
    /// The identity under which connections are counted: a fleet member's role and name, since it may have several keys, else the
    /// fingerprint.
    pub(super) identity: String,
    /// The key's comment or the certificate's name, fit for a terminal; the fingerprint if there is neither.
    pub who: String,
    /// The time of the login, for durations.
    pub since: Instant,
    /// The time of the login, for people.
    pub since_clock: jiff::Timestamp,
    /// The connection.
    pub line: PeerHandle,
    /// The sockets of the ports that it has registered.
    pub(crate) sockets: Mutex<HashMap<u16, Sockets>>,
}

/// The listening sockets of a port, and how to close them.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) stop: CancellationToken,
    pub(crate) loops: Vec<JoinHandle<()>>,
    pub(crate) _descriptors: DescriptorPermit,
}

impl Sockets {
    /// Closes the sockets. When this returns, the port can be bound again.
    pub(super) async fn close(self) {
        self.stop.cancel();
        for accepting in self.loops {
            let _ = accepting.await; // A loop that panicked has dropped its socket too.
        }
    }
}

impl Client {
    /// Creates the state of a client that has just been admitted.
    pub fn new(number: u64, peer: SocketAddr, let_in: UnregisteredClient, line: PeerHandle) -> Self {
        let UnregisteredClient { user, access, offer, flags } = let_in;
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

    /// Returns whether the key files or the fleet let the client learn that a name exists.
    pub fn sees(&self, name: &DeviceId) -> bool {
        let listed = self.access.visitor().is_some_and(|grant| grant.sees_device(name)) || self.access.admin().is_some();
        listed || self.access.fleet_visitor().is_some_and(|visitor| visitor.may_reach(name))
    }

    /// Returns whether the key files or the fleet let the client reach a port of a name. A fleet does not limit ports: its devices decide.
    pub fn reaches(&self, name: &DeviceId, port: u16) -> bool {
        let listed = self.access.visitor().is_some_and(|grant| grant.allows_device(name, port));
        listed || self.access.fleet_visitor().is_some_and(|visitor| visitor.may_reach(name))
    }
}
