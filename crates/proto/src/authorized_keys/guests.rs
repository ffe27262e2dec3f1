//! The lines of a door as a relay is asked to admit them to the door's name.
//!
//! What a line permits inside is the door's affair. Who may come is the relay's too: it would let nobody else pass, and it sees first whether
//! a security key was touched. So a line goes there with the options of [`GUEST_OPTIONS`] alone, and one that can't go there is an error: who
//! wrote it would wait for a visitor who never gets through.

use super::key::is_security_key;
use super::kinds::{Enforced, OptionKind};
use super::line::Entry;
use super::options::Options;

/// The options of a guest's line that a relay enforces.
pub const GUEST_OPTIONS: &[OptionKind] =
    &[OptionKind::CertAuthority, OptionKind::Principals, OptionKind::ExpiryTime, OptionKind::TouchRequired, OptionKind::VerifyRequired];

/// A line for a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLine {
    /// The line, with its end and without a comment.
    pub text: String,
    /// Whether it is a key without an option, and no security key: what a relay of any version takes.
    pub bare: bool,
}

impl Entry {
    /// Gives the line as a relay is asked to admit it. `account`: whom a certificate has to name where an authority's line has no
    /// `principals=`.
    ///
    /// # Errors
    /// Why no relay could.
    pub fn for_relay(&self, account: &str) -> Result<GuestLine, String> {
        if self.options().from.is_some() {
            return Err("from= admits nobody through a relay, whose word alone says where a visitor comes from".into());
        }
        let options = self.options().for_guests(account);
        let bare = options.kinds == Enforced::NONE && !is_security_key(self.key());
        let key = ssh_key::PublicKey::from(self.key().clone()).to_openssh().map_err(|error| error.to_string())?;
        Ok(GuestLine { text: format!("{options} {key}\n").trim_start().to_owned(), bare })
    }
}

impl Options {
    /// Keeps what is a relay's affair.
    fn for_guests(&self, account: &str) -> Self {
        let kept = GUEST_OPTIONS.iter().filter(|kind| self.kinds.contains(**kind)).fold(Enforced::NONE, |set, kind| set.with(*kind));
        let named = self.cert_authority && self.principals.is_none();
        Self {
            kinds: if named { kept.with(OptionKind::Principals) } else { kept },
            cert_authority: self.cert_authority,
            touch_required: self.touch_required,
            verify_required: self.verify_required,
            principals: if named { Some(account.to_owned()) } else { self.principals.clone() },
            expiry: self.expiry,
            ..Self::default()
        }
    }
}
