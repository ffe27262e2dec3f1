//! Writes the lines with which `sally once` asks a relay to admit its clients to its name.
//!
//! `sally once` decides what a line permits inside. The relay must know who may connect, because it lets no other client pass, and it
//! sees first whether a security key was touched. So a line goes there only with the options of [`ADMITTED_OPTIONS`], and a line that can't
//! go there is an error: its author would wait for a client that never gets through.

use super::key::is_security_key;
use super::kinds::{Enforced, OptionKind};
use super::line::KeyEntry;
use super::options::Options;

/// The options of an admitted key's line that a relay enforces.
pub const ADMITTED_OPTIONS: &[OptionKind] =
    &[OptionKind::CertAuthority, OptionKind::Principals, OptionKind::ExpiryTime, OptionKind::TouchRequired, OptionKind::VerifyRequired];

/// A line for a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedLine {
    /// The text, with the line's end and without a comment.
    pub text: String,
    /// Whether the line is a key without options, and not a security key: what a relay of any version accepts.
    pub bare: bool,
}

impl KeyEntry {
    /// Returns the line for a relay. `account`: the name that a certificate must have if an authority's line has no `principals=`.
    ///
    /// # Errors
    /// Why a relay couldn't accept the line.
    pub fn for_relay(&self, account: &str) -> Result<AdmittedLine, String> {
        if self.options().from.is_some() {
            return Err("from= admits no client through a relay: only the relay's word says where a visitor comes from".into());
        }
        let options = self.options().for_relay_only(account);
        let bare = options.kinds == Enforced::NONE && !is_security_key(self.key());
        let key = ssh_key::PublicKey::from(self.key().clone()).to_openssh().map_err(|error| error.to_string())?;
        Ok(AdmittedLine { text: format!("{options} {key}\n").trim_start().to_owned(), bare })
    }
}

impl Options {
    /// Keeps only the options that a relay enforces.
    fn for_relay_only(&self, account: &str) -> Self {
        let kept = ADMITTED_OPTIONS.iter().filter(|kind| self.kinds.contains(**kind)).fold(Enforced::NONE, |set, kind| set.with(*kind));
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
