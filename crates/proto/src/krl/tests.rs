//! Lists of our own and of ssh-keygen's, whole, cut and changed.

use proptest::prelude::*;
use ssh_key::certificate::Builder;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};

use super::*;
use crate::ssh_string;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn certificate(authority: &PrivateKey, serial: u64, key_id: &str) -> Certificate {
    let mut builder = Builder::new([7; 16], PublicKey::from(key(99)), 1, u64::MAX).unwrap();
    builder.serial(serial).unwrap().key_id(key_id).unwrap().valid_principal("cam-17").unwrap();
    builder.sign(authority).unwrap()
}

#[test]
fn serials_and_ids_are_revoked_for_their_authority_alone() {
    let (one, other) = (key(1), key(2));
    let mut krl = Krl { version: 3, generated: 5, ..Krl::default() };
    krl.revoke_serial(one.public_key().key_data(), 7);
    krl.revoke_key_id(other.public_key().key_data(), "alice");
    let krl = Krl::parse(&krl.encode().unwrap()).unwrap();
    assert_eq!((krl.version, krl.generated), (3, 5));
    assert!(krl.revokes(&certificate(&one, 7, "cam-17")));
    assert!(krl.revokes(&certificate(&other, 1, "alice")));
    assert!(!krl.revokes(&certificate(&one, 8, "alice")));
    assert!(!krl.revokes(&certificate(&other, 7, "bob")));
}

/// Written by `ssh-keygen -k` of OpenSSH 9.2: serials 1, 3 and 1000-2000 of `key(5)`, ID `bad`, and a key.
#[test]
fn what_ssh_keygen_writes_is_read() {
    let krl = Krl::parse(include_bytes!("../../tests/golden/openssh.krl")).unwrap();
    let authority = key(5);
    for (serial, revoked) in [(1, true), (2, false), (3, true), (999, false), (1000, true), (1555, true), (2000, true), (2001, false)] {
        assert_eq!(krl.revokes(&certificate(&authority, serial, "x")), revoked, "{serial}");
    }
    assert!(krl.revokes(&certificate(&authority, 50, "bad")));
    assert!(!krl.revokes(&certificate(&key(1), 1, "bad")));
    let listed = PublicKey::from_openssh(include_str!("../../tests/golden/krl_key.pub")).unwrap();
    assert!(krl.revokes_key(listed.key_data()));
}

/// Where a list has a whole number of sections: behind its head, and behind each of them.
fn ends_of_sections(list: &[u8]) -> Vec<usize> {
    let after_strings = |rest: &[u8], strings: usize| {
        let left = (0..strings).fold(rest, |rest, _| ssh_string::split(rest).unwrap().1);
        list.len() - left.len()
    };
    // Magic, format, version, date, flags; then what is reserved, and a comment.
    let mut ends = vec![after_strings(&list[36..], 2)];
    while let Some(end) = ends.last().copied().filter(|end| *end < list.len()) {
        ends.push(after_strings(&list[end + 1..], 1));
    }
    ends
}

#[test]
fn every_cut_is_noticed_but_one_between_sections() {
    let whole = include_bytes!("../../tests/golden/openssh.krl");
    let ends = ends_of_sections(whole);
    assert!(ends.len() > 2);
    for cut in 0..whole.len() {
        assert_eq!(Krl::parse(&whole[..cut]).is_ok(), ends.contains(&cut), "{cut} of {}", whole.len());
    }
}

#[test]
fn what_is_not_known_makes_a_list_unreadable() {
    let mut bytes = Krl::default().encode().unwrap();
    assert_eq!(Krl::parse(&bytes), Ok(Krl::default()));
    bytes.extend([9, 0, 0, 0, 0]);
    assert_eq!(Krl::parse(&bytes), Err(KrlError::UnknownSection(9)));
    for bad in [&b""[..], b"SSHKRL\n", b"ssh-ed25519 AAAA", &[0; 64]] {
        assert!(Krl::parse(bad).is_err());
    }
}

proptest! {
    #[test]
    fn any_list_is_read_back(serials in proptest::collection::btree_set(1_u64.., 0..50), ids in proptest::collection::vec("[a-z]{1,8}", 0..5)) {
        let authority = key(1);
        let mut krl = Krl::default();
        for serial in serials {
            krl.revoke_serial(authority.public_key().key_data(), serial);
        }
        for id in ids {
            krl.revoke_key_id(authority.public_key().key_data(), &id);
        }
        prop_assert_eq!(Krl::parse(&krl.encode().unwrap()), Ok(krl));
    }

    #[test]
    fn what_is_no_list_is_refused(bytes: Vec<u8>) {
        prop_assert_eq!(Krl::parse(&bytes), Err(KrlError::NotKrl));
    }

    #[test]
    fn a_list_with_one_byte_changed_does_no_harm(at in 8_usize.., byte: u8) {
        let mut bytes = include_bytes!("../../tests/golden/openssh.krl").to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        // What is still a list is written so that it reads the same.
        if let Ok(krl) = Krl::parse(&bytes) {
            prop_assert_eq!(Krl::parse(&krl.encode().unwrap()), Ok(krl));
        }
    }
}
