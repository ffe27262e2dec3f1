use ssh_key::PrivateKey;
use ssh_key::certificate::Builder;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::SkEd25519;

use super::*;

const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn authorities(role: Role, seed: u8) -> Authorities {
    Authorities::parse(role, &key(seed).public_key().to_openssh().unwrap()).unwrap()
}

/// What a test's certificate differs in from a good one.
struct Made {
    authority: u8,
    kind: CertType,
    names: &'static [&'static str],
    critical: &'static [(&'static str, &'static str)],
    extensions: &'static [&'static str],
    valid: (u64, u64),
}

const DEVICE: Made = Made {
    authority: 1,
    kind: CertType::User,
    names: &["cam-17"],
    critical: &[],
    extensions: &["permit-port-forwarding"],
    valid: (NOW - 60, NOW + 60),
};

fn make(made: &Made) -> Certificate {
    let mut builder = Builder::new([7; 16], PublicKey::from(key(99)), made.valid.0, made.valid.1).unwrap();
    builder.serial(5).unwrap().key_id("who").unwrap().cert_type(made.kind).unwrap();
    if made.names.is_empty() {
        builder.all_principals_valid().unwrap();
    }
    for name in made.names {
        builder.valid_principal(*name).unwrap();
    }
    for (name, value) in made.critical {
        builder.critical_option(*name, *value).unwrap();
    }
    for name in made.extensions {
        builder.extension(*name, "").unwrap();
    }
    builder.sign(&key(made.authority)).unwrap()
}

fn device(made: &Made) -> Result<String, Denial> {
    let peer = "192.0.2.7".parse().ok();
    authorities(Role::Device, 1).device(&make(made), &Krl::default(), peer, NOW).map(|(id, _)| id.to_string())
}

#[test]
fn a_device_is_the_one_that_its_certificate_names() {
    assert_eq!(device(&DEVICE), Ok("cam-17".into()));
    for (names, denial) in [
        (&[][..], Denial::NotOneDevice),
        (&["cam-17", "cam-18"], Denial::NotOneDevice),
        (&["cam-*"], Denial::NotOneDevice),
        (&["Cam-17"], Denial::NotOneDevice),
    ] {
        assert_eq!(device(&Made { names, ..DEVICE }), Err(denial), "{names:?}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_refuses_it() {
    let source: &'static [_] = &[("source-address", "198.51.100.0/24")];
    for (made, denial) in [
        (Made { authority: 2, ..DEVICE }, Denial::UnknownAuthority),
        (Made { kind: CertType::Host, ..DEVICE }, Denial::NotUserCertificate),
        (Made { valid: (NOW - 60, NOW), ..DEVICE }, Denial::CertificateExpired),
        (Made { valid: (NOW + 1, NOW + 60), ..DEVICE }, Denial::CertificateNotYetValid),
        (Made { extensions: &["permit-pty"], ..DEVICE }, Denial::NoForwarding),
        (Made { critical: source, ..DEVICE }, Denial::WrongSource),
        (Made { critical: &[("force-command", "id")], ..DEVICE }, Denial::NotEnforced(OptionKind::Command)),
        (Made { critical: &[("new-thing", "")], ..DEVICE }, Denial::CriticalOption("\"new-thing\"".into())),
    ] {
        let said = device(&made);
        match denial {
            Denial::CriticalOption(_) => assert!(matches!(said, Err(Denial::CriticalOption(_))), "{said:?}"),
            denial => assert_eq!(said, Err(denial)),
        }
    }
}

#[test]
fn a_certificate_for_another_role_is_refused() {
    let visitors = authorities(Role::Visitor, 1);
    let peer = "192.0.2.7".parse().ok();
    assert_eq!(visitors.device(&make(&DEVICE), &Krl::default(), peer, NOW), Err(Denial::UnknownAuthority));
    assert_eq!(authorities(Role::Device, 1).visitor(&make(&DEVICE), &Krl::default(), peer, NOW), Err(Denial::UnknownAuthority));
    assert_eq!(authorities(Role::Device, 1).host(&make(&DEVICE), &Krl::default(), "cam-17", NOW), Err(Denial::NotHostCertificate));
}

#[test]
fn a_visitor_reaches_what_the_patterns_say() {
    let visitors = authorities(Role::Visitor, 3);
    let made = Made { authority: 3, names: &["cam-*", "door-1"], ..DEVICE };
    let visitor = visitors.visitor(&make(&made), &Krl::default(), None, NOW).unwrap();
    let reaches = |id: &str| visitor.may_reach(&id.parse().unwrap());
    assert_eq!(["cam-17", "door-1", "door-2", "xcam-1"].map(reaches), [true, true, false, false]);
    assert_eq!(visitors.visitor(&make(&Made { names: &[], ..made }), &Krl::default(), None, NOW), Err(Denial::NoPrincipals));
}

#[test]
fn a_host_is_the_one_that_its_certificate_names() {
    let hosts = authorities(Role::Host, 4);
    let made = Made { authority: 4, kind: CertType::Host, extensions: &[], ..DEVICE };
    let check = |made: &Made, name| hosts.host(&make(made), &Krl::default(), name, NOW);
    assert_eq!(check(&made, "cam-17"), Ok(()));
    assert_eq!(check(&made, "cam-18"), Err(Denial::WrongPrincipals));
    assert_eq!(check(&Made { names: &[], ..made }, "cam-17"), Err(Denial::NoPrincipals));
}

#[test]
fn whoever_is_revoked_stays_out() {
    let mut krl = Krl::default();
    krl.revoke_serial(key(1).public_key().key_data(), 5);
    let denied = authorities(Role::Device, 1).device(&make(&DEVICE), &krl, None, NOW);
    assert_eq!(denied, Err(Denial::Revoked));
}

#[test]
fn an_authority_in_two_roles_is_found() {
    let text = [key(1), key(2)].map(|key| key.public_key().to_openssh().unwrap()).join("\n");
    let both = Authorities::parse(Role::Device, &text).unwrap();
    assert!(shared(&both, &authorities(Role::Host, 2)).is_some());
    assert!(shared(&authorities(Role::Device, 1), &authorities(Role::Host, 2)).is_none());
    assert_eq!(Authorities::parse(Role::Host, "# none\n").unwrap_err(), AuthoritiesError::None);
    assert_eq!(Authorities::parse(Role::Host, "\nnonsense").unwrap_err(), AuthoritiesError::NotAKey(2));
}

#[test]
fn a_security_keys_certificate_says_whether_it_has_to_be_touched() {
    let key = KeyData::SkEd25519(SkEd25519::new(key(99).public_key().key_data().ed25519().copied().unwrap(), "ssh:"));
    let certified = |critical: &[&str], extensions: &[&str]| {
        let mut builder = Builder::new([7; 16], key.clone(), NOW - 60, NOW + 60).unwrap();
        builder.key_id("alice").unwrap().cert_type(CertType::User).unwrap().valid_principal("cam-*").unwrap();
        for name in critical {
            builder.critical_option(*name, "").unwrap();
        }
        for name in extensions {
            builder.extension(*name, "").unwrap();
        }
        builder.extension("permit-port-forwarding", "").unwrap();
        authorities(Role::Visitor, 3).visitor(&builder.sign(&self::key(3)).unwrap(), &Krl::default(), None, NOW).unwrap().presence
    };
    let answers = |presence: UserPresence| [0, 1, 4, 5].map(|flags| presence.check(flags).is_ok());
    assert_eq!(answers(certified(&[], &[])), [false, true, false, true]);
    assert_eq!(answers(certified(&[], &["no-touch-required"])), [true, true, true, true]);
    assert_eq!(answers(certified(&["verify-required"], &[])), [false, false, false, true]);
    assert_eq!(answers(certified(&["verify-required"], &["no-touch-required"])), [false, false, true, true]);
}
