//! Checks the flags of a security key's signature (OpenSSH's PROTOCOL.u2f).

use ssh_key::public::KeyData;

use super::checker::Denial;
use super::key::is_security_key;

/// The bit of a signature's flags that attests a touch.
const USER_PRESENT: u8 = 0x01;
/// The bit that attests that the key verified its user.
const USER_VERIFIED: u8 = 0x04;

/// What a security key's signature must attest. For any other key there is nothing to check: its signatures have no flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserPresence {
    touch: bool,
    verify: bool,
}

impl UserPresence {
    /// Makes the requirement for a key; none if it isn't a security key.
    pub(crate) fn of(key: &KeyData, touch: bool, verify: bool) -> Self {
        let security_key = is_security_key(key);
        Self { touch: touch && security_key, verify: verify && security_key }
    }

    /// Checks the flags byte of a signature; 0 if it has none.
    ///
    /// # Errors
    /// [`Denial::NotTouched`] or [`Denial::NotVerified`].
    pub fn check(self, flags: u8) -> Result<(), Denial> {
        if self.touch && flags & USER_PRESENT == 0 {
            return Err(Denial::NotTouched);
        }
        if self.verify && flags & USER_VERIFIED == 0 {
            return Err(Denial::NotVerified);
        }
        Ok(())
    }
}
