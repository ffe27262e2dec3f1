//! The OpenSSH `authorized_keys` format, and the one place that decides who may come in and what they may do.
//!
//! Bytes become [`Entry`]s by [`parse`]; entries become a [`KeyRing`]; a key ring and what a visitor offers become a [`Grant`], or a
//! [`Denial`] that says why. A `Grant` can't be made in any other way: authorisation is a value that only the checker makes.
//!
//! Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT", and what OpenSSH's sshd does where the page is silent; `tests/authorized_keys_oracle.rs`
//! compares the two by logins. Nothing here reads a clock, a file or the network, so there are differences on purpose, all of them to the
//! narrower side:
//!
//! - `from=` matches addresses only. Names never match, and neither does sshd's default (`UseDNS no`): no reverse lookups here.
//! - `from=` where the peer's address is only somebody's claim ([`Context::peer`] is `None`) denies.
//! - `expiry-time=` without `Z` is UTC; sshd takes the machine's time zone, which a pure function has not. Dates that don't exist
//!   (`20270231`) reject the line; sshd counts them on into March.
//! - An address with something wrong in it anywhere in `from=` denies everybody; sshd lets some of those pass as a pattern.
//! - `permitopen=` and `permitlisten=` take port numbers or `*`, not names from `/etc/services`.
//! - Options have to be UTF-8; comments may hold anything.
//! - RSA keys over 8192 bits are refused, since their signatures can't be checked here. As with sshd, 1024 bits is the least.
//! - A whole key of a type that isn't supported is skipped, as by sshd; a line in which anything is wrong fails a file that is taken whole.
//! - A certificate that names no principal is refused (sshd did so from 10.3 on).
//! - `environment=` is honoured, `LD_PRELOAD` and its like included (sshd: only with `PermitUserEnvironment`). Whoever writes the key file
//!   decides about the account that it opens, the visitor decides nothing, so that this is no wider than the file says. Names that are not
//!   made of letters, digits and `_` reject the line. A caller that wants none of it leaves it out of [`Enforced`].
//!
//! What the SSH layer has to check beside [`KeyRing::authorize`]: the signature itself, that its algorithm is one that
//! [`signature_algorithm_allowed`] names (no SHA-1), and for security keys [`Grant::check_presence`].

mod certificate;
mod checker;
mod grant;
mod guests;
mod key;
mod kinds;
mod line;
mod options;
mod pattern;
mod permit;
mod presence;
mod ring;

pub(crate) use certificate::{Limits, check as check_certificate, check_signature};
pub use checker::{Context, Denial, Offer};
pub use grant::{CertificateFacts, Grant};
pub use guests::{GUEST_OPTIONS, GuestLine};
pub use key::{RSA_BITS_MAX, RSA_BITS_MIN, signature_algorithm_allowed};
pub use kinds::{Enforced, OptionKind};
pub use line::{COMMENT_MAX, Entry, LINE_MAX, LineError, LineErrorKind, parse};
pub use options::{ENVIRONMENT_MAX, Options, PERMIT_MAX, Tunnel};
pub use pattern::{HOST_MAX, matches_pattern};
pub use permit::PermitRule;
pub use presence::Presence;
pub use ring::{KeyRing, KeyRingBuilder};

#[cfg(test)]
mod tests;
