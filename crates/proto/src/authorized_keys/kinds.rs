//! Lists the kinds of options; a caller enforces some of them.

use std::fmt;

/// The kinds of options. `no-pty` and `pty` are one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OptionKind {
    /// `restrict`
    Restrict,
    /// `cert-authority`
    CertAuthority,
    /// `[no-]port-forwarding`
    PortForwarding,
    /// `[no-]agent-forwarding`
    AgentForwarding,
    /// `[no-]X11-forwarding`
    X11Forwarding,
    /// `[no-]pty`
    Pty,
    /// `[no-]user-rc`
    UserRc,
    /// `[no-]touch-required`; every security key without `no-touch-required` carries this kind, as touch is the default.
    TouchRequired,
    /// `[no-]verify-required`
    VerifyRequired,
    /// `command=`, and a certificate's `force-command`
    Command,
    /// `principals=`
    Principals,
    /// `from=`, and a certificate's `source-address`
    From,
    /// `expiry-time=`
    ExpiryTime,
    /// `environment=`
    Environment,
    /// `permitopen=`
    PermitOpen,
    /// `permitlisten=`
    PermitListen,
    /// `tunnel=`
    Tunnel,
}

impl OptionKind {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::Restrict,
        Self::CertAuthority,
        Self::PortForwarding,
        Self::AgentForwarding,
        Self::X11Forwarding,
        Self::Pty,
        Self::UserRc,
        Self::TouchRequired,
        Self::VerifyRequired,
        Self::Command,
        Self::Principals,
        Self::From,
        Self::ExpiryTime,
        Self::Environment,
        Self::PermitOpen,
        Self::PermitListen,
        Self::Tunnel,
    ];

    /// Returns the name as sshd(8) writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restrict => "restrict",
            Self::CertAuthority => "cert-authority",
            Self::PortForwarding => "port-forwarding",
            Self::AgentForwarding => "agent-forwarding",
            Self::X11Forwarding => "X11-forwarding",
            Self::Pty => "pty",
            Self::UserRc => "user-rc",
            Self::TouchRequired => "touch-required",
            Self::VerifyRequired => "verify-required",
            Self::Command => "command",
            Self::Principals => "principals",
            Self::From => "from",
            Self::ExpiryTime => "expiry-time",
            Self::Environment => "environment",
            Self::PermitOpen => "permitopen",
            Self::PermitListen => "permitlisten",
            Self::Tunnel => "tunnel",
        }
    }

    /// Returns whether the option takes `="VALUE"`; if not, it is a flag.
    pub(super) fn takes_value(self) -> bool {
        self >= Self::Command
    }

    /// Returns whether the option may have the prefix `no-`.
    pub(super) fn negatable(self) -> bool {
        (Self::PortForwarding..=Self::VerifyRequired).contains(&self)
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of option kinds: those that the caller enforces after [`super::KeyRing::authorize`].
///
/// A line with another kind is an error, never ignored; so is a certificate that would need one.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Enforced(u32);

impl Enforced {
    /// The empty set: keys without options only.
    pub const NONE: Self = Self(0);

    /// Makes a set of these kinds.
    pub fn new(kinds: &[OptionKind]) -> Self {
        kinds.iter().fold(Self::NONE, |set, kind| set.with(*kind))
    }

    /// Makes a set of all kinds.
    pub fn all() -> Self {
        Self::new(&OptionKind::ALL)
    }

    /// Returns this set and one kind more.
    #[must_use]
    pub fn with(self, kind: OptionKind) -> Self {
        Self(self.0 | kind.bit())
    }

    /// Returns this set without one kind.
    #[must_use]
    pub fn without(self, kind: OptionKind) -> Self {
        Self(self.0 & !kind.bit())
    }

    /// Returns whether the kind is in the set.
    pub fn contains(self, kind: OptionKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Returns the first kind of `other` that isn't in this set.
    pub(super) fn lacks(self, other: Self) -> Option<OptionKind> {
        OptionKind::ALL.into_iter().find(|kind| other.contains(*kind) && !self.contains(*kind))
    }
}

impl fmt::Debug for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(OptionKind::ALL.iter().filter(|kind| self.contains(**kind))).finish()
    }
}
