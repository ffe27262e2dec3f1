//! Reads a file of revoked keys, as sshd's `RevokedKeys` takes it: a key revocation list, or public keys, one per line.

use crate::authorized_keys::{Enforced, LineError, parse};
use crate::krl::{self, KRL_MAX, Krl, KrlError};

/// Says why a file can't be used: without it, no client may log in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The file is an invalid key revocation list, or something else that is too long.
    #[error(transparent)]
    Krl(#[from] KrlError),
    /// A line isn't a public key.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// Reads either form, and returns the lines that are skipped: keys of types that can't log in anyway. An empty file revokes nothing.
///
/// # Errors
/// [`RevocationError`]: no part of the file may be used then.
pub fn read(bytes: &[u8]) -> Result<(Krl, Vec<LineError>), RevocationError> {
    if krl::is_krl(bytes) {
        return Ok((Krl::parse(bytes)?, Vec::new()));
    }
    if bytes.len() > KRL_MAX {
        return Err(KrlError::TooLong.into());
    }
    let (mut list, mut passed_over) = (Krl::default(), Vec::new());
    for line in parse(bytes) {
        match line {
            Ok(entry) if entry.options().kinds == Enforced::NONE => list.revoke_key(entry.key()),
            Ok(entry) => return Err(LineError::damaged(entry.line(), "has options: a revoked key has none".into()).into()),
            Err(error) if error.may_be_passed_over() => passed_over.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((list, passed_over))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ssh_key::PrivateKey;
    use ssh_key::private::Ed25519Keypair;

    use super::*;

    fn line(seed: u8) -> String {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])).public_key().to_openssh().unwrap()
    }

    fn revokes(list: &Krl, seed: u8) -> bool {
        list.revokes_key(PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])).public_key().key_data())
    }

    #[test]
    fn public_keys_one_a_line_are_revoked() {
        let (list, passed_over) = read(format!("# who left\n{} bob\n\n  {}\r\n", line(1), line(2)).as_bytes()).unwrap();
        assert!(revokes(&list, 1) && revokes(&list, 2) && !revokes(&list, 3) && passed_over.is_empty());
        let (list, passed_over) =
            read(format!("ssh-new@example.com AAAAE3NzaC1uZXdAZXhhbXBsZS5jb20AAAAEYWJjZA==\n{}", line(1)).as_bytes()).unwrap();
        assert!(revokes(&list, 1) && passed_over.len() == 1);
        assert_eq!(read(b""), Ok((Krl::default(), vec![])));
    }

    #[test]
    fn a_revocation_list_is_one() {
        let (list, _) = read(include_bytes!("../tests/golden/openssh.krl")).unwrap();
        assert_ne!(list, Krl::default());
        let mut bytes = Krl::default().encode().unwrap();
        bytes.extend([9, 0, 0, 0, 0]);
        assert_eq!(read(&bytes), Err(KrlError::UnknownSection(9).into()), "and not taken for lines");
        assert!(read(bytes.get(..20).unwrap()).is_err(), "nor is one that is cut short");
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in [format!("no-pty {}", line(1)), format!("{}\nnonsense\n", line(1)), line(1).split_at(50).0.into(), "\u{feff}".into()] {
            assert!(matches!(read(bad.as_bytes()), Err(RevocationError::Line(_))), "{bad}");
        }
        assert_eq!(read(&vec![b'\n'; KRL_MAX + 1]), Err(KrlError::TooLong.into()));
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_fall_over(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}
