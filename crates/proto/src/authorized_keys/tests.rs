//! What the table of cases in `tests/` doesn't reach: reasons and limits.

mod properties;

use std::net::IpAddr;

use ssh_key::certificate::Builder;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{KeyData, RsaPublicKey, SkEd25519};
use ssh_key::{Mpint, PrivateKey};

use super::certificate::check_principals;
use super::pattern::{PatternMatch, match_from, match_source_address};
use super::*;
use crate::calendar::{format_expiry, parse_expiry};
use crate::error::KeyDefect;

const NOW: u64 = 1_800_000_000;

fn private(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
}

fn public(seed: u8) -> KeyData {
    private(seed).public_key().key_data().clone()
}

fn line(seed: u8) -> String {
    private(seed).public_key().to_openssh().unwrap()
}

fn security_key() -> KeyData {
    KeyData::SkEd25519(SkEd25519::new(*public(9).ed25519().unwrap(), "ssh:"))
}

fn security_line() -> String {
    ssh_key::PublicKey::from(security_key()).to_openssh().unwrap()
}

fn ring(file: &str) -> KeyRing {
    KeyRing::read("file", file.as_bytes(), Enforced::all()).unwrap()
}

fn reason(file: &[u8]) -> String {
    match KeyRing::read("file", file, Enforced::all()) {
        Err(KeyDefect::Unparseable { line, reason }) => format!("{line}: {reason}"),
        other => panic!("{other:?}"),
    }
}

fn context() -> Context<'static> {
    Context { peer: Some(IpAddr::from([127, 0, 0, 1])), now: NOW, account: Some("me") }
}

fn certificate(edit: impl FnOnce(&mut Builder)) -> ssh_key::Certificate {
    let mut builder = Builder::new([1; 16], public(1), NOW - 10, NOW + 10).unwrap();
    builder.key_id("visit").unwrap().valid_principal("me").unwrap();
    edit(&mut builder);
    builder.sign(&private(3)).unwrap()
}

#[test]
fn an_error_names_the_line_and_repeats_no_more_than_it_has_to() {
    let good = line(1);
    assert_eq!(reason(format!("# hi\n\n{good}\nvlan=\"7\" {good}\n").as_bytes()), "4: `vlan` is neither an option nor a key type");
    assert!(reason(b"-----BEGIN OPENSSH PRIVATE KEY-----\n").starts_with("1: begins with -----BEGIN"));
    assert!(reason(b"\xef\xbb\xbfssh-ed25519 x\n").contains("byte order mark"));
    assert!(reason(b"ssh-dss AAAA\n").contains("DSA"));
    assert!(reason(format!("{}\n", "x".repeat(1000)).as_bytes()).len() < 120);
    assert!(!reason(b"\x1b[31mred pty\n").contains('\x1b'));
    assert!(reason(&vec![b'x'; LINE_MAX + 1]).contains("longer than"));
}

#[test]
fn nothing_but_comments_is_empty() {
    for file in ["", "\n", "# only\n", " \t\n#", "\r\n"] {
        assert_eq!(KeyRing::read("file", file.as_bytes(), Enforced::all()).unwrap_err(), KeyDefect::Empty);
    }
}

#[test]
fn an_option_that_nobody_enforces_is_an_error_and_its_line_can_be_left_out() {
    let file = format!("tunnel=\"0\" {}\n{}\n", line(1), line(2));
    let enforced = Enforced::all().without(OptionKind::Tunnel);
    let refused = KeyRing::read("file", file.as_bytes(), enforced).unwrap_err();
    assert_eq!(refused, KeyDefect::Unparseable { line: 1, reason: "option tunnel is not enforced here".into() });
    let mut builder = KeyRing::builder(enforced);
    assert_eq!(builder.add_lenient("file", file.as_bytes()).len(), 1);
    assert_eq!(builder.build().unwrap().len(), 1);
    assert!(KeyRing::read("file", line(1).as_bytes(), Enforced::NONE).is_ok());
    assert!(KeyRing::read("file", format!("no-pty {}", line(1)).as_bytes(), Enforced::NONE).is_err());
}

#[test]
fn a_key_of_a_type_that_is_not_known_is_passed_over_by_whoever_adds_it_and_named() {
    let new = "ssh-new@example.com AAAAE3NzaC1uZXdAZXhhbXBsZS5jb20AAAAEYWJjZA==";
    let reason = "keys of type `ssh-new@example.com` are not supported".to_owned();
    let file = format!("{}\n{new} me\nno-pty {new}\n", line(1));
    let mut builder = KeyRing::builder(Enforced::all());
    let passed_over = builder.add("file", file.as_bytes()).unwrap();
    let said: Vec<_> = passed_over.iter().map(|error| (error.line, error.reason.clone())).collect();
    assert_eq!(said, [(2, reason.clone()), (3, reason.clone())]);
    let bare = format!("{new}\n{}\n", line(2));
    assert_eq!(builder.add_bare("url", bare.as_bytes(), &[]).unwrap().len(), 1);
    assert!(matches!(builder.add_bare("url", file.as_bytes(), &[]), Err(KeyDefect::Unparseable { line: 3, .. })), "it has options");
    assert_eq!(builder.add("file", new.as_bytes()), Err(KeyDefect::Unsupported { line: 1, reason: reason.clone() }));
    assert_eq!(builder.add_lenient("file", new.as_bytes()).len(), 1);
    assert_eq!(builder.build().unwrap().len(), 2);
    assert_eq!(KeyRing::read("file", file.as_bytes(), Enforced::all()).unwrap_err(), KeyDefect::Unparseable { line: 2, reason });
}

#[test]
fn fetched_keys_are_bare() {
    let mut builder = KeyRing::builder(Enforced::all());
    assert_eq!(builder.add_bare("url", format!("{}\n{}\n", line(1), line(2)).as_bytes(), &[]), Ok(vec![]));
    for options in ["no-pty", "cert-authority", "restrict", "command=\"x\""] {
        let file = format!("{}\n{options} {}\n", line(1), line(2));
        assert!(matches!(builder.add_bare("url", file.as_bytes(), &[]), Err(KeyDefect::Unparseable { line: 2, .. })), "{options}");
    }
    assert_eq!(builder.add_bare("url", b"", &[]), Err(KeyDefect::Empty));
    let rules = ["cam-*:22".parse().unwrap()];
    assert_eq!(builder.add_bare("url", format!("# theirs\n{}\n", line(3)).as_bytes(), &rules), Ok(vec![]));
    let ring = builder.clone().build().unwrap();
    let said: Vec<_> = ring.entries().map(|(_, entry)| entry.options().to_string()).collect();
    assert_eq!(said, ["", "", "permitopen=\"cam-*:22\""]);
    assert_eq!(builder.build().unwrap().len(), 3);
}

#[test]
fn a_grant_says_what_it_rests_on() {
    let grant = ring(&format!("# first\n{} me@home\n", line(1))).authorize(Offer::from(&public(1)), &context()).unwrap();
    assert_eq!((grant.source(), grant.line(), grant.comment(), grant.algorithm()), ("file", 2, "me@home", "ssh-ed25519"));
    assert!(grant.fingerprint().starts_with("SHA256:"));
    assert!(grant.certificate().is_none() && grant.expires().is_none());
    let ring = ring(&format!("cert-authority {}\n", line(3)));
    let grant = ring.authorize(Offer::from(&certificate(|_| {})), &context()).unwrap();
    let facts = grant.certificate().unwrap();
    assert_eq!((facts.key_id.as_str(), facts.serial, facts.valid_before), ("visit", 0, NOW + 10));
    assert_eq!(facts.authority, public(3).fingerprint(ssh_key::HashAlg::Sha256).to_string());
    assert_eq!(grant.fingerprint(), public(1).fingerprint(ssh_key::HashAlg::Sha256).to_string());
    assert_eq!(grant.expires(), Some(NOW + 10));
    assert!(!grant.allows_pty() && !grant.allows_port_forwarding() && !grant.allows_agent_forwarding() && !grant.allows_x11_forwarding());
}

#[test]
fn a_comment_is_fit_for_a_terminal_and_a_record() {
    let comment = format!("a\x1b[2Jb \u{202e}c {}", "é".repeat(400));
    let grant = ring(&format!("{} {comment}\n", line(1))).authorize(Offer::from(&public(1)), &context()).unwrap();
    assert!(grant.comment().len() <= COMMENT_MAX && grant.comment().starts_with("a\u{fffd}[2Jb \u{fffd}c é"));
}

#[test]
fn denials_name_the_reason() {
    let key = public(1);
    let deny = |file: String, context: Context<'_>| ring(&file).authorize(Offer::from(&key), &context).unwrap_err();
    let unproven = Context { peer: None, ..context() };
    assert_eq!(deny(line(2), context()), Denial::UnknownKey);
    assert_eq!(deny(format!("cert-authority {}", line(1)), context()), Denial::UnknownKey);
    assert_eq!(deny(format!("from=\"10.0.0.1\" {}", line(1)), context()), Denial::WrongSource);
    assert_eq!(deny(format!("from=\"10.0.0.1/40\" {}", line(1)), context()), Denial::InvalidFrom);
    assert_eq!(deny(format!("from=\"*\" {}", line(1)), unproven), Denial::SourceUnproven);
    assert_eq!(deny(format!("principals=\"me\" {}", line(1)), context()), Denial::PrincipalsOnPlainKey);
    // The first reason, not the last.
    assert_eq!(deny(format!("from=\"10.0.0.1\" {0}\nexpiry-time=\"2000\u{30}101Z\" {0}", line(1)), context()), Denial::WrongSource);
    let authority = format!("cert-authority {}", line(3));
    let refuse = |certificate: ssh_key::Certificate, context: Context<'_>| {
        ring(&authority).authorize(Offer::from(&certificate), &context).unwrap_err()
    };
    assert_eq!(refuse(certificate(|_| {}), Context { now: NOW + 10, ..context() }), Denial::CertificateExpired);
    assert_eq!(refuse(certificate(|_| {}), Context { now: NOW - 11, ..context() }), Denial::CertificateNotYetValid);
    assert_eq!(refuse(certificate(|_| {}), Context { account: Some("you"), ..context() }), Denial::WrongPrincipals);
    assert_eq!(refuse(certificate(|_| {}), Context { account: None, ..context() }), Denial::WrongPrincipals);
    let limited = certificate(|builder| drop(builder.critical_option("source-address", "127.0.0.1")));
    assert_eq!(refuse(limited, unproven), Denial::SourceUnproven);
    let strange = certificate(|builder| drop(builder.critical_option("zeal", "much")));
    assert_eq!(refuse(strange, context()), Denial::CriticalOption("`zeal`".into()));
    let unknown = ring(&line(3)).authorize(Offer::from(&certificate(|_| {})), &context());
    assert_eq!(unknown.unwrap_err(), Denial::UnknownAuthority);
}

#[test]
fn a_certificate_over_a_certificate_or_of_one_never_counts() {
    let inner = certificate(|_| {});
    let ring = ring(&format!("cert-authority {}\n{}\n", line(3), line(1)));
    // As a bare key, in the variant that skips `Offer::from`.
    let nested = KeyData::from(inner);
    assert_eq!(ring.authorize(Offer::Key(&nested), &context()).unwrap_err(), Denial::UnknownKey);
    assert!(ring.authorize(Offer::from(&nested), &context()).is_ok());
}

#[test]
fn a_certificate_that_needs_what_is_not_enforced_is_refused() {
    let authority = format!("cert-authority {}\n", line(3));
    let none = Enforced::new(&[OptionKind::CertAuthority]);
    let everything = |builder: &mut Builder| {
        for name in ["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"] {
            builder.extension(name, "").unwrap();
        }
    };
    let decide = |enforced: Enforced, edit: &dyn Fn(&mut Builder)| {
        let ring = KeyRing::read("file", authority.as_bytes(), enforced).unwrap();
        ring.authorize(Offer::from(&certificate(edit)), &context()).map(drop)
    };
    assert_eq!(decide(none, &everything), Ok(()));
    assert_eq!(decide(none, &|_| {}), Err(Denial::NotEnforced(OptionKind::PortForwarding)));
    let forced = |builder: &mut Builder| {
        everything(builder);
        builder.critical_option("force-command", "true").unwrap();
    };
    assert_eq!(decide(none, &forced), Err(Denial::NotEnforced(OptionKind::Command)));
    assert_eq!(decide(none.with(OptionKind::Command), &forced), Ok(()));
}

#[test]
fn a_security_key_has_to_be_touched_unless_the_line_says_otherwise() {
    let ours = security_line();
    let grant = |options: &str| ring(&format!("{options}{ours}")).authorize(Offer::from(&security_key()), &context()).unwrap();
    assert_eq!(grant("").check_presence(0), Err(Denial::NotTouched));
    assert_eq!(grant("").check_presence(1), Ok(()));
    assert_eq!(grant("no-touch-required ").check_presence(0), Ok(()));
    assert_eq!(grant("verify-required ").check_presence(1), Err(Denial::NotVerified));
    assert_eq!(grant("verify-required ").check_presence(5), Ok(()));
    assert_eq!(grant("verify-required,no-verify-required ").check_presence(1), Ok(()));
    let plain = ring(&line(1)).authorize(Offer::from(&public(1)), &context()).unwrap();
    assert_eq!(plain.check_presence(0), Ok(()));
    // Where touch isn't checked, such a key needs no-touch-required to come in at all.
    let untouched = Enforced::all().without(OptionKind::TouchRequired);
    assert!(matches!(KeyRing::read("file", ours.as_bytes(), untouched), Err(KeyDefect::Unparseable { .. })));
    let other_application = KeyData::SkEd25519(SkEd25519::new(*public(9).ed25519().unwrap(), "ssh:other"));
    assert!(ring(&ours).authorize(Offer::from(&other_application), &context()).is_err());
}

#[test]
fn rsa_keys_have_a_least_and_a_largest_size_in_bits() {
    let line = |bits: usize| {
        let mut modulus = vec![0xff_u8; bits.div_ceil(8)];
        modulus[0] >>= (8 - bits % 8) % 8;
        let key = RsaPublicKey::new(Mpint::from_positive_bytes(&[1, 0, 1]), Mpint::from_positive_bytes(&modulus)).unwrap();
        ssh_key::PublicKey::from(KeyData::Rsa(key)).to_openssh().unwrap()
    };
    for bits in [RSA_BITS_MIN, 2048, 3072, RSA_BITS_MAX] {
        assert_eq!(ring(&line(bits)).len(), 1, "{bits}");
    }
    for bits in [512, RSA_BITS_MIN - 1, RSA_BITS_MAX + 1] {
        assert!(reason(line(bits).as_bytes()).starts_with(&format!("1: an RSA key of {bits} bits")), "{bits}");
    }
}

#[test]
fn expiry_times_are_utc_seconds() {
    assert_eq!(parse_expiry("19700101000001Z"), Some(1));
    assert_eq!(parse_expiry("20270115"), Some(1_799_971_200));
    assert_eq!(parse_expiry("202701150800"), Some(NOW));
    assert_eq!(parse_expiry("20270115080000UTC"), Some(NOW));
    assert_eq!(parse_expiry("20240229Z"), Some(1_709_164_800));
    for text in ["20230229", "20270115Zz", "2027011", "２０２７", "99991332", "Z", "UTC", "+2027011"] {
        assert_eq!(parse_expiry(text), None, "{text}");
    }
    let ring = ring(&format!("expiry-time=\"202701150800Z\" {}", line(1)));
    assert!(ring.authorize(Offer::from(&public(1)), &context()).is_ok());
    assert!(ring.authorize(Offer::from(&public(1)), &Context { now: NOW + 1, ..context() }).is_err());
}

#[test]
fn addresses_match_as_addresses() {
    let matches = |list: &str, peer: &str| match_from(list, peer.parse().unwrap()) == PatternMatch::Matches;
    assert!(matches("127.0.0.1", "::ffff:127.0.0.1"));
    assert!(matches("2001:DB8::/32", "2001:db8::1") && matches("2001:DB8:*", "2001:db8::1"));
    assert!(matches("0.0.0.0/0", "255.255.255.255") && matches("::/0", "ffff::") && matches("::1/128", "::1"));
    assert!(!matches("10.0.0.0/8", "11.0.0.1") && !matches("fe80::1%eth0", "fe80::1"));
    let certified = |list: &str| match_source_address(list, IpAddr::from([10, 1, 2, 3]));
    assert_eq!(certified("10.0.0.0/8,::1"), PatternMatch::Matches);
    assert_eq!(certified("11.0.0.0/8"), PatternMatch::Differs);
    for list in ["", "10.*", "!10.1.2.3", "10.1.2.3/8", "10.0.0.0/8,", "localhost", "10.0.0.0/8, 10.0.0.0/8"] {
        assert_eq!(certified(list), PatternMatch::Invalid, "{list}");
    }
}

#[test]
fn a_pattern_of_many_stars_takes_no_time() {
    let pattern = format!("{}b", "a*".repeat(500));
    assert!(!matches_pattern(&pattern, &"a".repeat(HOST_MAX)));
}

#[test]
fn signatures_with_sha1_are_not_allowed() {
    for name in ["ssh-rsa", "ssh-dss", "ssh-rsa-cert-v01@openssh.com", "none", ""] {
        assert!(!signature_algorithm_allowed(name), "{name}");
    }
    for name in ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256-cert-v01@openssh.com", "sk-ssh-ed25519-cert-v01@openssh.com"] {
        assert!(signature_algorithm_allowed(name), "{name}");
    }
}

#[test]
fn names_in_a_certificate_with_commas_are_one_name() {
    let both = certificate(|builder| drop(builder.valid_principal("a,b")));
    assert!(check_principals(&both, Some("a"), None).is_err());
    assert!(check_principals(&both, Some("x,me"), None).is_ok());
    assert!(check_principals(&both, None, Some("a")).is_err());
}
