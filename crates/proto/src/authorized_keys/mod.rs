//! Reads the OpenSSH `authorized_keys` format, and decides in one place which clients may log in and what they may do.
//!
//! [`parse`] makes [`KeyEntry`]s of bytes; entries become a [`KeyRing`]; a key ring and a client's offer become a [`Grant`], or a [`Denial`]
//! that says why. A `Grant` can't be made in any other way: authorisation is a value that only the checker makes.
//!
//! Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT", and what OpenSSH's sshd does where the page is silent;
//! `tests/authorized_keys_oracle.rs` compares the two by logins. Nothing here reads a clock, a file or the network, so there are
//! differences on purpose, and each permits less:
//!
//! - `from=` matches addresses only. Names never match, as with sshd's default (`UseDNS no`): no reverse look-ups here.
//! - `from=` denies if the peer's address is only another program's claim ([`Context::peer`] is `None`).
//! - `expiry-time=` without `Z` is UTC; sshd uses the machine's time zone, which a pure function doesn't have. Dates that don't exist
//!   (`20270231`) reject the line; sshd counts them on into March.
//! - An invalid address anywhere in `from=` denies every client; sshd takes some of those for a pattern.
//! - `permitopen=` and `permitlisten=` take port numbers or `*`, not names from `/etc/services`.
//! - Options must be UTF-8; comments may have any bytes.
//! - RSA keys over 8192 bits are refused, because their signatures can't be checked here. As with sshd, 1024 bits is the least.
//! - A valid key of a type that isn't supported is skipped, as by sshd; an invalid line rejects a file that is accepted only as a whole.
//! - A certificate without principals is refused (by sshd from 10.3 on).
//! - `environment=` is obeyed, `LD_PRELOAD` included (sshd: only with `PermitUserEnvironment`). The author of the key file decides about
//!   the account, and the client decides nothing, so this permits no more than the file says. Names that are not made of letters, digits
//!   and `_` reject the line. A caller that doesn't want it leaves it out of [`Enforced`].
//!
//! The SSH layer must check besides [`KeyRing::authorize`]: the signature itself, that its algorithm is one that
//! [`signature_algorithm_allowed`] names (no SHA-1), and for security keys [`Grant::check_presence`].

mod admitted;
mod certificate;
mod checker;
mod grant;
mod key;
mod kinds;
mod line;
mod options;
mod pattern;
mod permit;
mod presence;
mod ring;

pub use admitted::{ADMITTED_OPTIONS, AdmittedLine};
pub(crate) use certificate::{CertificateLimits, check as check_certificate, check_signature};
pub use checker::{Context, Denial, Offer};
pub use grant::{CertificateFacts, Grant};
pub use key::{RSA_BITS_MAX, RSA_BITS_MIN, signature_algorithm_allowed};
pub use kinds::{Enforced, OptionKind};
pub use line::{COMMENT_MAX, KeyEntry, LINE_MAX, LineError, LineErrorKind, parse};
pub use options::{ENVIRONMENT_MAX, Options, PERMIT_MAX, TunDevice};
pub use pattern::{HOST_MAX, matches_pattern};
pub use permit::PermitRule;
pub use presence::UserPresence;
pub use ring::{KeyRing, KeyRingBuilder};

#[cfg(test)]
mod tests;
