//! Edge cases of authorized_keys, with the outcome written down: `authorized_keys_table.rs` checks it against our checker alone,
//! `authorized_keys_oracle.rs` against a real sshd as well.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each of the two test binaries uses its part")]

pub mod agent;
mod certificates;
mod forwards;
pub mod keys;
mod lines;
mod options;

use keys::Keys;
use sally_proto::authorized_keys::{Context, Denial, Enforced, Grant, KeyRing, Offer};

/// What happens to whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Comes in.
    In,
    /// Every line is fine, and none lets this visitor in.
    Denied,
    /// A line can't be accepted: the file is refused whole, or that line is left out, and nobody comes in by it.
    BadLine,
    /// A line is passed over: nobody comes in by it, and the file is taken without it.
    PassedOver,
}

/// What the visitor has.
#[derive(Clone, Copy, Debug)]
pub enum Visitor {
    /// The private key of this name (`keys::Keys`).
    Key(&'static str),
    /// Key `ed` with a certificate that the case describes.
    Certificate(Certificate),
    /// Key `ed` with a certificate made beforehand.
    Made(&'static str),
}

/// A certificate over key `ed`, to be made.
#[derive(Clone, Copy, Debug)]
pub struct Certificate {
    pub authority: &'static str,
    pub principals: &'static [&'static str],
    /// Seconds from now.
    pub valid: (i64, i64),
    pub critical: &'static [(&'static str, &'static str)],
    pub extensions: &'static [&'static str],
    pub host: bool,
    /// Damages the signature.
    pub forged: bool,
}

pub const EVERY_EXTENSION: &[&str] =
    &["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"];

/// A certificate as `ssh-keygen -s ca -n root` makes it.
pub const CERTIFICATE: Certificate = Certificate {
    authority: "ca",
    principals: &["root"],
    valid: (-3600, 3600),
    critical: &[],
    extensions: EVERY_EXTENSION,
    host: false,
    forged: false,
};

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    /// The file; `{ed}` and so on stand for public keys (`keys::Keys::expand`).
    pub file: &'static [u8],
    pub visitor: Visitor,
    /// The loopback address that the visitor comes from.
    pub peer: &'static str,
    pub outcome: Outcome,
    /// Why sshd decides otherwise, where it does.
    pub sshd_differs: Option<&'static str>,
    /// What `[ -t 0 ] && echo PTY; echo FOO=$FOO` prints, lines joined by a space, with `ssh -tt`; `None`: not looked at.
    pub prints: Option<&'static str>,
}

/// A key, a file and the outcome; the rest as usual.
pub const fn case(name: &'static str, file: &'static [u8], outcome: Outcome) -> Case {
    Case { name, file, visitor: Visitor::Key("ed"), peer: "127.0.0.1", outcome, sshd_differs: None, prints: None }
}

impl Case {
    pub const fn with(mut self, visitor: Visitor) -> Self {
        self.visitor = visitor;
        self
    }

    pub const fn from(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    pub const fn sshd_differs(mut self, reason: &'static str) -> Self {
        self.sshd_differs = Some(reason);
        self
    }

    pub const fn prints(mut self, text: &'static str) -> Self {
        self.prints = Some(text);
        self
    }

    /// What our checker says, bad lines left out.
    pub fn decide(&self, keys: &Keys, now: u64) -> Result<Grant, Denial> {
        let mut builder = KeyRing::builder(Enforced::all());
        builder.add_lenient("file", &keys.expand(self.file));
        let context = Context { peer: self.peer.parse().ok(), now, account: Some("root") };
        let Ok(ring) = builder.build() else { return Err(Denial::UnknownKey) };
        match self.visitor {
            Visitor::Key(name) => ring.authorize(Offer::from(keys.public(name).key_data()), &context),
            Visitor::Certificate(certificate) => ring.authorize(Offer::from(&keys.certificate(&certificate, now)), &context),
            Visitor::Made(name) => ring.authorize(Offer::from(&keys.made(name)), &context),
        }
    }

    /// Whether our checker accepts the file, and how many of its lines it passes over.
    pub fn reads(&self, keys: &Keys) -> Result<usize, sally_proto::error::KeyDefect> {
        Ok(KeyRing::builder(Enforced::all()).add("file", &keys.expand(self.file))?.len())
    }
}

/// A forward: `-W host:port` of a listening port, or `-R host:port`.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    pub name: &'static str,
    /// `{port}` is a port that listens on loopback, `{free}` one that doesn't.
    pub file: &'static str,
    pub way: Way,
    pub host: &'static str,
    pub port: Port,
    pub permitted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    Listen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// `{port}` to open, `{free}` to listen on.
    Given,
    Zero,
}

pub fn cases() -> Vec<Case> {
    [lines::CASES, options::CASES, certificates::CASES].concat()
}

pub fn forwards() -> &'static [Forward] {
    forwards::FORWARDS
}
